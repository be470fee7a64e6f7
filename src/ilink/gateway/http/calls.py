"""The endpoints as HTTP knows them: path, methods, and how a body becomes a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import parse_qs

from ilink.errors import RemoteProtocolError
from ilink.gateway.bots import Bot
from ilink.gateway.door import BotDoor
from ilink.gateway.faults import Subject
from ilink.gateway.holds import Hold
from ilink.gateway.refusals import Reply
from ilink.wire import endpoints as wire
from ilink.wire.codec import decode, decode_object, is_array
from ilink.wire.models import (
    ConfigRequest,
    NotifyRequest,
    SendMessageRequest,
    TypingRequest,
    UpdatesRequest,
    UploadUrlRequest,
    WireModel,
    given,
)

__all__ = ["CALLS", "Call", "Endpoint", "UnreadableError"]

M = TypeVar("M", bound=WireModel)


@dataclass(slots=True, kw_only=True)
class Call:
    """One request on its way to the door.

    Attributes:
        door: Where it goes.
        host: Where it was sent to.
        query: As it came.
        body: Whole.
        hold: The caller's wait.
        bot: Who calls; set before an endpoint with a token runs.
        subject: Whom it is about; set where there are faults.
        is_dropped: Whether a fault lets a send be accepted and never shown.
    """

    door: BotDoor
    host: str
    query: str
    body: bytes
    hold: Hold = field(default_factory=Hold)
    bot: Bot | None = None
    subject: Subject | None = None
    is_dropped: bool = False

    @property
    def fields(self) -> dict[str, str]:
        """The query, field by field; of a repeated one the first."""
        return {name: values[0] for name, values in parse_qs(self.query, keep_blank_values=True).items()}

    @property
    def caller(self) -> Bot:
        """The bot that calls an endpoint with a token."""
        assert self.bot is not None
        return self.bot


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path."""

    name: str
    methods: tuple[str, ...]
    has_token: bool
    run: Callable[[Call], Awaitable[Reply]]
    """Reads the body at once, which may raise UnreadableError, and returns what answers."""


class UnreadableError(Exception):
    """A body that the protocol has a refusal for."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


def _read(call: Call, model: type[M], *, may_be_empty: bool = False) -> M:
    """Read the body as a model; fields of a wrong type are refused by name, those about the client itself are not."""
    if may_be_empty and not call.body.strip():
        return model()
    try:
        decoded = decode(call.body, model)
    except RemoteProtocolError as error:
        raise UnreadableError(call.door.refuse_body("the body is no JSON object", call.bot)) from error
    wrong = [path for path in decoded.problems if not path.startswith("base_info")]
    if wrong:
        raise UnreadableError(call.door.refuse_body(f"{wrong[0]} invalid", call.bot))
    return decoded.value


def _get_bot_qrcode(call: Call) -> Awaitable[Reply]:
    return call.door.get_bot_qrcode(_local_tokens(call))


def _local_tokens(call: Call) -> list[str]:
    """Read `local_token_list`; older clients send no body, others an empty one (protocol §2.1)."""
    if not call.body.strip():
        return []
    try:
        tokens = decode_object(call.body).get("local_token_list")
    except RemoteProtocolError as error:
        raise UnreadableError(call.door.refuse_body("the body is no JSON object", call.bot)) from error
    if tokens is None:
        return []
    if not is_array(tokens):
        raise UnreadableError(call.door.refuse_body("local_token_list invalid", call.bot))
    return [token for token in tokens if isinstance(token, str) and token.strip()]


def _get_qrcode_status(call: Call) -> Awaitable[Reply]:
    query = call.fields
    return call.door.get_qrcode_status(
        query.get("qrcode", ""),
        verify_code=query.get("verify_code", ""),
        host=call.host,
        hold=call.hold,
    )


def _getupdates(call: Call) -> Awaitable[Reply]:
    request = _read(call, UpdatesRequest)
    return call.door.getupdates(call.caller, given(request.get_updates_buf, ""), hold=call.hold)


def _sendmessage(call: Call) -> Awaitable[Reply]:
    request = _read(call, SendMessageRequest)
    message = given(request.msg, None)
    return call.door.sendmessage(call.caller, message, call.body, is_dropped=call.is_dropped)


def _getconfig(call: Call) -> Awaitable[Reply]:
    return call.door.getconfig(call.caller, _read(call, ConfigRequest))


def _sendtyping(call: Call) -> Awaitable[Reply]:
    return call.door.sendtyping(call.caller, _read(call, TypingRequest))


def _getuploadurl(call: Call) -> Awaitable[Reply]:
    return call.door.request_upload(call.caller, _read(call, UploadUrlRequest))


def _notifystart(call: Call) -> Awaitable[Reply]:
    _read(call, NotifyRequest, may_be_empty=True)
    return call.door.notifystart(call.caller)


def _notifystop(call: Call) -> Awaitable[Reply]:
    _read(call, NotifyRequest, may_be_empty=True)
    return call.door.notifystop(call.caller)


def _endpoint(
    endpoint: wire.Endpoint, run: Callable[[Call], Awaitable[Reply]], *, methods: tuple[str, ...] = ("POST",)
) -> tuple[str, Endpoint]:
    return f"/{endpoint.path}", Endpoint(endpoint.name, methods, endpoint.has_token, run)


CALLS: Final[dict[str, Endpoint]] = dict(
    (
        _endpoint(wire.GET_BOT_QRCODE, _get_bot_qrcode, methods=("GET", "POST")),
        _endpoint(wire.GET_QRCODE_STATUS, _get_qrcode_status, methods=("GET",)),
        _endpoint(wire.GETUPDATES, _getupdates),
        _endpoint(wire.SENDMESSAGE, _sendmessage),
        _endpoint(wire.GETCONFIG, _getconfig),
        _endpoint(wire.SENDTYPING, _sendtyping),
        _endpoint(wire.GETUPLOADURL, _getuploadurl),
        _endpoint(wire.NOTIFYSTART, _notifystart),
        _endpoint(wire.NOTIFYSTOP, _notifystop),
    )
)
"""Every path and what serves it."""
