"""What can be made to fail: one table for reading faults, for refusing them, and for the reference page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from ilink.gateway.problems import InvalidRequestError
from ilink.wire.endpoints import ENDPOINTS

__all__ = [
    "ACTIONS",
    "CDN_DOWNLOAD",
    "CDN_UPLOAD",
    "EVERYWHERE",
    "Action",
    "Cut",
    "FaultAction",
    "FaultSpec",
    "FaultView",
    "Stage",
    "read_action",
]

CDN_UPLOAD: Final = "cdn_upload"
CDN_DOWNLOAD: Final = "cdn_download"
_CDN: Final = frozenset({CDN_UPLOAD, CDN_DOWNLOAD})
_PROTOCOL: Final = frozenset(ENDPOINTS)
_ALL: Final = _PROTOCOL | _CDN
EVERYWHERE: Final = "*"

Stage = Literal["arrival", "effect", "answer", "transfer"]
"""When a fault strikes: before anything happens; while it happens; on the answer; on the bytes of a blob."""

_LONG_S: Final = 10 * 366 * 86_400

Cut = Literal["before", "after_effect", "after_headers", "mid_body"]


class FaultAction(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What happens; exactly one of these, where `ret`, `errcode` and `errmsg` count as one."""

    delay_ms: Annotated[int, Meta(ge=0, le=600_000)] | UnsetType = UNSET
    hang: bool | UnsetType = UNSET
    http_status: Annotated[int, Meta(ge=201, le=599)] | UnsetType = UNSET
    ret: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | UnsetType = UNSET
    errcode: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | UnsetType = UNSET
    errmsg: Annotated[str, Meta(max_length=1024)] | UnsetType = UNSET
    reset: Cut | UnsetType = UNSET
    truncate_json: bool | UnsetType = UNSET
    omit: Annotated[list[Annotated[str, Meta(min_length=1, max_length=128)]], Meta(max_length=100)] | UnsetType = UNSET
    drop_silently: bool | UnsetType = UNSET
    duplicate: Literal["same_id", "new_id"] | UnsetType = UNSET
    reorder: bool | UnsetType = UNSET
    lose_cursor: bool | UnsetType = UNSET
    corrupt: bool | UnsetType = UNSET
    slow_bytes_per_s: Annotated[int, Meta(ge=1, le=2**40)] | UnsetType = UNSET


class FaultSpec(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Which requests a fault hits, how often, when by the gateway's clock, and what happens to them."""

    action: FaultAction
    endpoint: str = EVERYWHERE
    bot_id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    user_id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    nth: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    times: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    probability: Annotated[float, Meta(ge=0, le=1)] | None = None
    after_s: Annotated[float, Meta(ge=0, le=_LONG_S)] | None = None
    for_s: Annotated[float, Meta(gt=0, le=_LONG_S)] | None = None
    every_s: Annotated[float, Meta(gt=0, le=_LONG_S)] | None = None


class FaultView(FaultSpec, kw_only=True, frozen=True):
    """A fault that is set: `matched` requests fitted it so far, `hits` of them it struck."""

    id: str
    matched: int
    hits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What a fault can do, for the code, the refusals and the reference page alike.

    Attributes:
        name: What it is called in an event and in the wire log.
        keys: The fields of a `FaultAction` that make it up.
        stage: When it strikes.
        endpoints: Where it makes sense.
        words: What the caller sees, and whether the request took effect.
        evidence: What was seen of it on the real server, or who needs it.
    """

    name: str
    keys: tuple[str, ...]
    stage: Stage
    endpoints: frozenset[str]
    words: str
    evidence: str = ""


_TABLE: Final = (
    Action(
        name="delay_ms",
        keys=("delay_ms",),
        stage="arrival",
        endpoints=_ALL,
        words="The request waits so many milliseconds before anything happens. Other faults still strike it.",
    ),
    Action(
        name="hang",
        keys=("hang",),
        stage="arrival",
        endpoints=_ALL,
        words="Nothing ever happens: no effect, no answer, until the caller leaves. When the gateway stops, the"
        " connection is reset.",
    ),
    Action(
        name="http_status",
        keys=("http_status",),
        stage="arrival",
        endpoints=_ALL,
        words="No effect; the answer has this HTTP status, 201 to 599, and a body of plain text. At the CDN the text"
        " is in `x-error-message` too.",
        evidence="524 from the edge (observed: ocw#44, hermes-agent#89983); 400, 404 and 500 from the CDN (§5.8)",
    ),
    Action(
        name="ret",
        keys=("ret", "errcode", "errmsg"),
        stage="arrival",
        endpoints=_PROTOCOL,
        words="No effect; the answer is HTTP 200 with just these fields.",
        evidence="§6.2 and §6.3 list what was seen",
    ),
    Action(
        name="reset",
        keys=("reset",),
        stage="arrival",
        endpoints=_ALL,
        words="The connection is reset. `before`: no effect. `after_effect`: the request took effect and nothing of"
        " the answer leaves. `after_headers`, `mid_body`: likewise, but the answer's head, or half of it, arrives."
        " At `cdn_upload`, `mid_body` is the middle of the upload, and nothing is stored.",
    ),
    Action(
        name="truncate_json",
        keys=("truncate_json",),
        stage="answer",
        endpoints=_PROTOCOL,
        words="The request took effect; its answer is whole for HTTP, but the JSON in it stops in the middle.",
    ),
    Action(
        name="omit",
        keys=("omit",),
        stage="answer",
        endpoints=_ALL,
        words="The request took effect; these fields are missing in the answer. `msgs.context_token` means a field of"
        " every message. At the CDN the names are headers.",
        evidence="sends without message_id (observed: ocw#263); uploads without x-encrypted-param (observed: ocw#172)",
    ),
    Action(
        name="drop_silently",
        keys=("drop_silently",),
        stage="effect",
        endpoints=frozenset({"sendmessage", "getupdates", "sendtyping", "notifystart", "notifystop", CDN_UPLOAD}),
        words="Answered as a success, without effect: a send is confirmed by no `message_id` and never shown, a batch"
        " of updates is lost, an upload gets a reference to nothing.",
        evidence="observed: ocw#263, ocw#264, ocw#268, ocw#164",
    ),
    Action(
        name="duplicate",
        keys=("duplicate",),
        stage="answer",
        endpoints=frozenset({"getupdates"}),
        words="Every message of the batch comes twice, with the `same_id` or the second time with a `new_id`.",
        evidence="observed: ocw#239, ocw#66, hermes-agent#16182",
    ),
    Action(
        name="reorder",
        keys=("reorder",),
        stage="answer",
        endpoints=frozenset({"getupdates"}),
        words="The messages of a batch come in reverse order.",
        evidence="no order is documented (§4.5)",
    ),
    Action(
        name="lose_cursor",
        keys=("lose_cursor",),
        stage="answer",
        endpoints=frozenset({"getupdates"}),
        words="The answer's cursor is an empty text, which means that the old one stays; what the answer holds comes"
        " again with the next poll.",
        evidence="observed: ocw#267, clowder-ai#998",
    ),
    Action(
        name="corrupt",
        keys=("corrupt",),
        stage="transfer",
        endpoints=_CDN,
        words="Every byte of the blob is inverted: on its way down, or on its way up, so that it is stored so.",
    ),
    Action(
        name="slow_bytes_per_s",
        keys=("slow_bytes_per_s",),
        stage="transfer",
        endpoints=_CDN,
        words="The blob travels no faster than this, up or down.",
        evidence="observed: qufei1993/cc-weixin#16 for large uploads that fail",
    ),
)

ACTIONS: Final[dict[str, Action]] = {action.name: action for action in _TABLE}
"""Every action by name."""

_BY_KEY: Final = {key: action for action in _TABLE for key in action.keys}
_FLAGS: Final = frozenset({"hang", "truncate_json", "drop_silently", "reorder", "lose_cursor", "corrupt"})


def read_action(spec: FaultSpec) -> Action:
    """Return what a fault does, if that is one thing and can be done there.

    Raises:
        InvalidRequestError: It could never strike, or says two things at once; the message names what is wrong.
    """
    if spec.endpoint not in _ALL | {EVERYWHERE}:
        known = ", ".join(sorted(_ALL))
        raise InvalidRequestError(f"endpoint: there is no {spec.endpoint!r}; there are {known} and *")
    given = [key for key in FaultAction.__struct_fields__ if getattr(spec.action, key) is not UNSET]
    for key in given:
        if key in _FLAGS and getattr(spec.action, key) is False:
            raise InvalidRequestError(f"action.{key}: false does nothing; say true, or leave it out")
    actions = list(dict.fromkeys(_BY_KEY[key].name for key in given))
    if len(actions) != 1:
        said = " and ".join(actions) or "nothing"
        raise InvalidRequestError(f"action: it says {said}; say one of {', '.join(ACTIONS)}, and set several faults")
    if given == ["errmsg"]:
        raise InvalidRequestError("action.errmsg: words alone are no failure; say `ret` or `errcode` too")
    if spec.action.omit == []:
        raise InvalidRequestError("action.omit: name at least one field")
    _check_schedule(spec)
    action = ACTIONS[actions[0]]
    if spec.endpoint not in action.endpoints | {EVERYWHERE}:
        places = ", ".join(sorted(action.endpoints))
        raise InvalidRequestError(f"action.{action.name}: it makes no sense at {spec.endpoint}, only at {places}")
    return action


def _check_schedule(spec: FaultSpec) -> None:
    """Refuse a schedule that says nothing.

    Raises:
        InvalidRequestError: It is one.
    """
    if spec.every_s is None:
        return
    if spec.for_s is None:
        raise InvalidRequestError("every_s: say in `for_s` how long it lasts each time")
    if spec.for_s >= spec.every_s:
        raise InvalidRequestError("every_s: it must be longer than `for_s`, or there is no pause between")
