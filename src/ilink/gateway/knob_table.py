"""Every switch of the gateway in one table, with what speaks for its default, and the profiles made of them.

Where reports about the real server differ, the difference is a knob (protocol §6.1, §8.4, §9). A name or a value that
is not in the table is refused with what is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import isfinite
from typing import Final, Literal

from ilink.gateway.problems import KnobError

__all__ = [
    "KNOBS",
    "PROFILES",
    "Knob",
    "KnobValue",
    "ScopeKind",
    "find_knob",
    "profile_values",
    "read_rate",
    "scoped_profile_values",
]

KnobValue = int | float | bool | str | None

ScopeKind = Literal["bot", "person"]
"""For whom a knob can be set beside the whole gateway: one bot; one person, with what is said to and by them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """One switch.

    Attributes:
        name: As in the protocol notes, `group.word`.
        kind: What its value is; `rate` is the text `sends/seconds`, such as `12/300`, or `none`.
        default: Its value in the profile `observed`.
        evidence: What it does and what is known about the real server.
        choices: The allowed texts of a `choice`.
        least: The smallest number allowed.
        most: The largest number allowed.
        is_optional: Whether null is allowed, meaning "no limit" or "off".
        scopes: For whom it can be set, beside the whole gateway.
        why_wide: Why it cannot be set for others.
    """

    name: str
    kind: Literal["integer", "number", "flag", "choice", "rate"]
    default: KnobValue
    evidence: str
    choices: tuple[str, ...] = ()
    least: float = 0
    most: float = float(2**53)
    is_optional: bool = False
    scopes: tuple[ScopeKind, ...] = ("bot", "person")
    why_wide: str = ""

    @property
    def allowed(self) -> str:
        """What may be set, in words."""
        words = {
            "flag": "true or false",
            "rate": '"none" or "sends/seconds" such as "12/300"',
            "choice": "one of " + ", ".join(f'"{choice}"' for choice in self.choices),
            "integer": f"a whole number from {self.least:.0f} to {self.most:.0f}",
            "number": f"a number from {self.least:g} to {self.most:g}",
        }[self.kind]
        return f"{words}, or null" if self.is_optional else words

    def read(self, value: object) -> KnobValue:
        """Return the value as this knob keeps it.

        Raises:
            KnobError: It is not allowed.
        """
        if value is None and self.is_optional:
            return None
        if self.kind == "flag" and isinstance(value, bool):
            return value
        if self.kind == "choice" and isinstance(value, str) and value in self.choices:
            return value
        if self.kind == "rate" and isinstance(value, str) and (value == "none" or read_rate(value) is not None):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool) and self._fits(value):
            return int(value) if self.kind == "integer" else value
        message = f"{self.name} cannot be {value!r}: allowed is {self.allowed}"
        raise KnobError(message, knob=self.name)

    def check_scope(self, kind: ScopeKind) -> None:
        """Refuse to be set for a bot or for a person where that means nothing.

        Raises:
            KnobError: It does, and this says why.
        """
        if kind not in self.scopes:
            others = "".join(f" or per {scope}" for scope in self.scopes)
            message = f"{self.name} cannot be set per {kind}, because {self.why_wide}: set it per gateway{others}"
            raise KnobError(message, knob=self.name)

    def _fits(self, value: float) -> bool:
        if self.kind not in ("integer", "number") or not isfinite(value) or not self.least <= value <= self.most:
            return False
        return self.kind == "number" or value == int(value)


def read_rate(value: str) -> tuple[int, int] | None:
    """Read `12/300` as 12 sends in 300 seconds; None for `none` and for what cannot be read."""
    sends, slash, seconds = value.partition("/")
    if slash and sends.isascii() and sends.isdigit() and seconds.isascii() and seconds.isdigit():
        pair = int(sends), int(seconds)
        return pair if 0 < pair[0] <= 1000 and 0 < pair[1] <= 10**6 else None
    return None


def _flag(name: str, evidence: str, *, default: bool) -> Knob:
    return Knob(name=name, kind="flag", default=default, evidence=evidence)


def _choice(name: str, default: str, choices: tuple[str, ...], evidence: str) -> Knob:
    return Knob(name=name, kind="choice", default=default, choices=choices, evidence=evidence)


def _whole(name: str, default: int | None, evidence: str, *, least: int = 0, most: int = 2**53) -> Knob:
    return Knob(
        name=name,
        kind="integer",
        default=default,
        evidence=evidence,
        least=least,
        most=most,
        is_optional=default is None,
    )


def _number(name: str, default: float | None, evidence: str, *, most: float = 1e9) -> Knob:
    return Knob(name=name, kind="number", default=default, evidence=evidence, most=most, is_optional=default is None)


def _wide(knob: Knob, why: str) -> Knob:
    """Return a knob that can be set for the whole gateway only."""
    return replace(knob, scopes=(), why_wide=why)


def _per_person(knob: Knob, why: str) -> Knob:
    """Return a knob that can be set for a person, and for no bot."""
    return replace(knob, scopes=("person",), why_wide=why)


_NO_BOT_YET: Final = "the bot has no id before its code is confirmed"
_UNSCANNED: Final = "a code is made before anybody has scanned it"

_TABLE: Final = (
    _choice(
        "auth.require_headers",
        "off",
        ("off", "-14"),
        "What a request without AuthorizationType or iLink-App-Id gets. Refused in qwen-code#2908 and peer ilink-hub's"
        " notes; many clients work without (Q12). Missing ones are a finding in the wire log either way.",
    ),
    _flag(
        "bind.owner_only",
        "Whether only the owner may write to a bot. So it is on WeChat (observed: lingtai#87, ocw#69); here anyone may,"
        " so that several conversations can be tried on one bot.",
        default=False,
    ),
    _per_person(
        _number(
            "bind.revoke_delay_s",
            0,
            "Seconds from a new binding to the death of the older token; about 29 observed (ocw#69).",
            most=3600,
        ),
        _NO_BOT_YET,
    ),
    _per_person(
        _flag(
            "bind.single",
            "Whether a person has at most one live bot: a new login replaces the older one (observed: ocw#69).",
            default=True,
        ),
        _NO_BOT_YET,
    ),
    _wide(
        _number(
            "cdn.keep_s",
            604_800,
            "How long blobs are kept for transcripts, in seconds; older ones are deleted (assumed).",
        ),
        "one sweep deletes what is old, whoever it belongs to",
    ),
    _whole("cdn.max_bytes", 100 << 20, "Largest blob, encrypted; 100 MB in a mock (peer openilink-hub), unknown."),
    _flag(
        "cdn.require_taskid",
        "Whether a link by reference needs a taskid: 400 without in peer dsh-bridge, while echoes work (Q15).",
        default=False,
    ),
    _flag(
        "cdn.single_use",
        "Whether a permission to upload ends with the first 200; until then it may be tried again (Q17, assumed).",
        default=True,
    ),
    _number("cdn.ttl_s", 86_400, "Life of a link and of a permission to upload, in seconds; unknown (Q17, assumed)."),
    _choice(
        "cdn.verify",
        "size",
        ("none", "size", "full"),
        "What an upload is compared with: nothing, filesize, or rawfilemd5 and rawsize after decryption too. A check of"
        " the content exists (peer dsh-bridge), else nothing is known (Q30).",
    ),
    _flag(
        "config.return_context_token",
        "Whether getconfig returns a fresh context token; peer nanobot looks for one, nobody has captured it (Q6).",
        default=False,
    ),
    _choice(
        "context.missing",
        "accept",
        ("accept", "-2", "drop"),
        "A send without a context token: accepted (cc-connect#1643), refused (ocw#216) or dropped in silence (ocw#247)."
        " The seed calls the token required for every reply (Q5).",
    ),
    _choice(
        "context.mode",
        "lenient",
        ("lenient", "require", "strict_latest", "one_time"),
        "lenient: any token will do while the window is open (cc-connect#1643). require: it must be one that was given"
        " for this person. strict_latest: the newest of those. one_time: each once (QwenPaw#6696) (Q5).",
    ),
    _number(
        "context.ttl_s",
        None,
        "Life of a context token in seconds; null: as long as the window. Reports go from 90 s (openclaw#61174) to 48 h"
        " (ocw#225) (Q4). Counts where context.mode looks at tokens.",
    ),
    _number(
        "deliver.delay_s",
        0,
        "Seconds until an accepted message is shown; hours have been seen (ocw#261) (Q13).",
        most=1e6,
    ),
    _flag(
        "deliver.drop_silently",
        "Accept every send with ret 0, without a message_id, and show none (observed: ocw#263, #268, #278) (Q13).",
        default=False,
    ),
    _choice(
        "errors.errmsg_style",
        "named",
        ("named", "empty", "unknown_error"),
        "The words of -2 for a closed window: `prepare failed`, none (the most common form, ocw#81, #204) or"
        " `unknown error` (peer hermes) (Q7).",
    ),
    _choice(
        "errors.slot",
        "ret",
        ("ret", "errcode", "both"),
        "Where a failure's number stands. ret: -14 stands in both slots all the same, since clients look at either"
        " (Q8, R15). errcode: in errcode alone, ret stays 0.",
    ),
    _flag(
        "groups.enabled",
        "Whether messages carry a group_id. Declared, never seen on the real server, which knows no groups (Q25).",
        default=False,
    ),
    _wide(
        _number(
            "history.keep_s",
            None,
            "How long messages, context tokens, typing tickets and permissions to upload are kept, in seconds and whole"
            " days of the gateway's clock; null: for ever. The real server's own is not known (assumed).",
        ),
        "days are forgotten whole, whoever their messages belong to",
    ),
    _choice(
        "ids.send_as",
        "number",
        ("number", "string", "omit"),
        "sendmessage's message_id: declared uint64; a raw-looking log shows a text (ocw#263); absent in older answers"
        " (Q9).",
    ),
    _whole(
        "limits.batch_bytes",
        512 * 1024,
        "Bytes of messages in one answer to a poll, the first always fits (assumed).",
        least=1,
    ),
    _whole("limits.batch_messages", 100, "Messages in one answer to a poll (assumed).", least=1, most=10_000),
    _wide(
        _whole(
            "limits.body_bytes",
            1024 * 1024,
            "Largest request body; a larger one is refused with HTTP 413 before it is read (assumed).",
            least=1024,
        ),
        "a body is bounded before it is known whose it is",
    ),
    _wide(
        _whole(
            "limits.connections",
            None,
            "Connections that one address may have open; those beyond are answered with HTTP 503 and closed. For"
            " gateways that strangers can reach (assumed).",
            least=1,
        ),
        "a connection is counted before it is known whose it is",
    ),
    _choice(
        "limits.items",
        "any",
        ("any", "no_text_with_voice", "one"),
        "How many items a send may have. The official client sends one, peer wechatbot two; text with voice was refused"
        " with -3 (ocw#282).",
    ),
    _wide(
        Knob(
            name="limits.requests",
            kind="rate",
            default="none",
            evidence="Requests that one address may make in so many seconds; more are answered with HTTP 429 and"
            " `retry-after`, unread. For gateways that strangers can reach (assumed).",
        ),
        "a request is counted before it is known whose it is",
    ),
    _whole(
        "limits.text_bytes",
        16_384,
        "UTF-8 bytes of one text; more are refused with -2 (peer weilink, measured) (Q27).",
        least=1,
    ),
    _whole(
        "limits.text_truncate",
        None,
        "Characters of a text that are shown; null shows all. About 2,000 in hermes-agent#16411 (Q27).",
        least=1,
    ),
    _choice(
        "notify.required",
        "off",
        ("off", "drop", "-14"),
        "What sends get before notifystart: nothing special, a silent drop (peer dsh-bridge), or -14, polls too (Q11).",
    ),
    _whole(
        "poll.backlog_s",
        86_400,
        "How old a message may be that an empty or unknown cursor still gets, in seconds (Q2).",
    ),
    _choice(
        "poll.conflict",
        "newest",
        ("newest", "split", "http403", "stale"),
        "A second poll while one is held: the older is answered empty; both live and share the stream (lingtai#83); the"
        " second gets HTTP 403 (peer dsh-bridge); the older gets -14 (Q3).",
    ),
    _flag(
        "poll.consume_on_send",
        "Whether a message counts as acknowledged once its answer was written (ocw#164), not with the next poll (Q1).",
        default=False,
    ),
    _number(
        "poll.duplicate_rate",
        0,
        "Probability that a message is handed out again about a second later (ocw#239).",
        most=1,
    ),
    _whole(
        "poll.error_delay_ms",
        1000,
        "How long a poll's failure is held back, against clients that poll again at once (§8.3, assumed).",
        most=60_000,
    ),
    _whole("poll.hold_ms", 30_000, "How long a poll without news is held; 35 s in the seed (Q18).", most=600_000),
    _whole(
        "poll.suggest_ms",
        35_000,
        "longpolling_timeout_ms in a poll's answer; 0 leaves it out. Some clients take it as their exact limit (R9).",
        most=3_600_000,
    ),
    _choice(
        "poll.unknown_cursor",
        "restart",
        ("restart", "-14"),
        "A cursor that is not this bot's: read like an empty one and noted, or refused (§8.4, assumed).",
    ),
    _per_person(
        _whole("qr.code_attempts", 3, "Wrong digits until a code is blocked (assumed) (Q21).", least=1, most=100),
        _NO_BOT_YET,
    ),
    _per_person(
        _whole("qr.code_len", 6, "Digits to type (observed: hermes-agent#17768).", least=1, most=12), _NO_BOT_YET
    ),
    _per_person(
        _whole(
            "qr.hold_ms",
            10_000,
            "How long a status poll without news is held; at most 10 s, since a client gives up at 15 s (R10b).",
            most=35_000,
        ),
        _NO_BOT_YET,
    ),
    _per_person(
        _flag(
            "qr.require_code",
            "Whether every scan asks for digits; some accounts only on the real server (Q21).",
            default=False,
        ),
        _NO_BOT_YET,
    ),
    _wide(
        _choice(
            "qr.stale_token",
            "ignore",
            ("ignore", "-3"),
            "Unknown tokens in local_token_list: passed over, or the code is refused with -3 (peer nanobot) (Q22).",
        ),
        _UNSCANNED,
    ),
    _wide(
        _whole("qr.ttl_s", 120, "Life of a code; about 2 minutes (peer ilink-hub).", least=1, most=86_400), _UNSCANNED
    ),
    _flag(
        "quota.count_rejected",
        "Whether refused sends count too: yes in cc-connect#1643 and peer ilink-hub (Q28).",
        default=False,
    ),
    _flag(
        "quota.count_tool_items",
        "Whether tool messages (items 11, 12) count (peer nanobot) (Q23).",
        default=True,
    ),
    _whole(
        "quota.per_inbound",
        10,
        "Sends per message of the person (observed: ocw#81, #202; weixin-bot#3); 0: none at all.",
        most=1_000_000,
    ),
    Knob(
        name="quota.rate",
        kind="rate",
        default="none",
        evidence="Sends in so many seconds per person, beside the allowance; about 12/300 (peer ilink-hub, measured).",
    ),
    _whole(
        "quota.window_s",
        86_400,
        "How long after a person's message a bot may send: 24 h (observed: ocw#156, #185, #204).",
        least=1,
    ),
    _choice(
        "quote.endindex",
        "global",
        ("global", "relative"),
        "How `endindex` of selected words counts; the official client understands both (Q26).",
    ),
    _choice(
        "quote.style",
        "svr_id",
        ("svr_id", "embedded", "type8", "type0"),
        "What a quote carries: the id alone (since September 2026), the whole item (until April), an empty item of type"
        " 8 (ocw#23) or 0 (ocw#222) (Q26).",
    ),
    _flag(
        "render.tool_items",
        "Whether phones show tool messages; a tester saw nothing (peer dsh-bridge) (Q23).",
        default=False,
    ),
    _flag(
        "render.voice",
        "Whether phones show voice that a bot sent: accepted, invisible (observed: ocw#215, openhermit#199) (Q24).",
        default=False,
    ),
    _flag(
        "send.client_id_idempotent",
        "Whether a client_id that comes again is answered with the first message's id and shown once (peer weixin-bot)"
        " (Q10).",
        default=True,
    ),
    _number(
        "session.idle_s",
        None,
        "Seconds without a call after which polls get -14; null: never (ocw#155) (Q20).",
    ),
    _flag(
        "session.revive_by_notify",
        "Whether notifystart ends a death by idleness (ocw#155) (Q20).",
        default=True,
    ),
    _number("token.ttl_s", None, "Life of a token in seconds; null: no end is known (Q19)."),
    _number(
        "typing.shown_s",
        25,
        "How long typing is seen without another sendtyping: 5 s by peer weixin-bot, 25 s in a mock, for ever in"
        " hermes-agent#38085.",
        most=1e6,
    ),
    _number(
        "typing.ticket_ttl_s",
        86_400,
        "Life of a typing ticket; never measured, clients keep it up to 24 h (§3.3).",
    ),
    _choice(
        "upload.forms",
        "both",
        ("both", "full", "param"),
        "Which permissions getuploadurl returns: upload_full_url, upload_param or both (R11, Q16). Clients that know"
        " only Tencent's hosts need `param`.",
    ),
    _choice(
        "video.play_length_unit",
        "seconds",
        ("seconds", "milliseconds"),
        "Unit of a received video's play_length: seconds in peer weilink, milliseconds in weixin-bot and wechatbot"
        " (Q14). The field is there when the extra `media` is installed.",
    ),
)

KNOBS: Final[dict[str, Knob]] = {knob.name: knob for knob in _TABLE}
"""Every knob by name, in the order of their names."""

PROFILES: Final[dict[str, dict[str, KnobValue]]] = {
    "observed": {},
    "strict": {
        "auth.require_headers": "-14",
        "bind.owner_only": True,
        "context.missing": "-2",
        "context.mode": "require",
        "limits.items": "one",
        "poll.unknown_cursor": "-14",
        "qr.stale_token": "-3",
        "quota.rate": "12/300",
    },
    "lenient": {
        "quota.per_inbound": 1_000_000,
        "quota.window_s": 10 * 365 * 86_400,
        "render.tool_items": True,
        "render.voice": True,
        "limits.text_bytes": 1024 * 1024,
    },
    "consume_on_send": {"poll.consume_on_send": True},
    "quota_hard": {
        "errors.errmsg_style": "empty",
        "quota.count_rejected": True,
        "quota.per_inbound": 6,
        "quota.rate": "12/300",
    },
    "international_edge": {"poll.hold_ms": 10_000, "poll.suggest_ms": 15_000},
    "suppressed": {"deliver.drop_silently": True},
}
"""Named sets: what differs from the defaults of the table."""


def profile_values(profile: str) -> dict[str, KnobValue]:
    """Return the value of every knob in a profile.

    Raises:
        KnobError: There is no such profile.
    """
    if profile not in PROFILES:
        message = f"there is no profile {profile!r}: allowed are {', '.join(PROFILES)}"
        raise KnobError(message, knob="profile")
    return {knob.name: knob.default for knob in _TABLE} | PROFILES[profile]


def scoped_profile_values(profile: str, kind: ScopeKind) -> dict[str, KnobValue]:
    """Return the value in a profile of every knob that can be set for a bot, or for a person.

    Raises:
        KnobError: There is no such profile.
    """
    return {name: value for name, value in profile_values(profile).items() if kind in KNOBS[name].scopes}


def find_knob(name: str) -> Knob:
    """Return a knob.

    Raises:
        KnobError: There is none of this name; the message has the nearest ones.
    """
    knob = KNOBS.get(name)
    if knob is None:
        near = get_close_matches(name, KNOBS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(KNOBS)}"
        message = f"there is no knob {name!r}; {hint}"
        raise KnobError(message, knob=name)
    return knob
