"""What faults do over HTTP: let a request wait, refuse it, or reset its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast

from msgspec import UNSET

from ilink.gateway.faults import Fault, Subject
from ilink.gateway.holds import Ending, Hold
from ilink.gateway.http.bodies import CallerGoneError
from ilink.gateway.problems import UnknownThingError
from ilink.gateway.refusals import Reply
from ilink.wire.codec import encode
from ilink.wire.models import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.types import Scope

    from ilink.gateway.http.calls import Call
    from ilink.gateway.service import Gateway
    from ilink.gateway.wire_log import Exchange

__all__ = ["CONNECTION", "Connection", "CutError", "Failures", "answer_at_once", "hold_of", "reset_connection"]

WholeAnswer: TypeAlias = "Callable[[int, Iterable[tuple[bytes, bytes]], bytes], bool]"
"""What a connection may have as `answer_whole`: writes status, headers and body in one piece, or returns False."""

CONNECTION: Final = "ilink.connection"
"""Where a server that can reset connections says so in the scope of a request."""


class Connection(Protocol):
    """What carries a request."""

    async def reset(self) -> None:
        """Break it as a failing network does, after what was written has left."""
        ...

    def watch(self, on_gone: Callable[[], None]) -> Callable[[], None]:
        """Call a function once when the caller leaves, at once if it has left; what is returned ends that."""
        ...


class CutError(Exception):
    """The connection of this request is to be reset."""


def hold_of(scope: Scope) -> Hold:
    """Return a wait that ends when the caller of a request leaves.

    The connection itself tells: a task that waits for ASGI's word of it costs each of ten thousand polls a kilobyte.
    Below a server that has no such connections nobody is seen leaving, and a wait takes its time.
    """
    connection = cast("Connection | None", scope.get(CONNECTION))
    return Hold(None if connection is None else connection.watch)


def answer_at_once(scope: Scope, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
    """Write a whole answer where the server can do that in one piece; False where it must be sent as ASGI has it."""
    answer_whole: WholeAnswer | None = getattr(scope.get(CONNECTION), "answer_whole", None)
    return answer_whole is not None and scope["method"] != "HEAD" and answer_whole(status, headers, body)


async def reset_connection(scope: Scope) -> None:
    """Reset the connection of a request.

    Raises:
        ConnectionResetError: The server cannot; what it makes of this error comes closest.
    """
    connection = cast("Connection | None", scope.get(CONNECTION))
    if connection is None:
        message = "a fault resets this connection, and the server has no way to do it"
        raise ConnectionResetError(message)
    await connection.reset()


class Failures:
    """Puts the faults of a gateway into its protocol's requests and answers."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def arrive(self, exchange: Exchange, call: Call, hold: Hold) -> Reply | None:
        """Let what strikes a request before it does anything happen; a reply keeps the endpoint from running.

        Raises:
            CutError, CallerGoneError: There is nobody to answer any more.
        """
        call.subject = await self._subject(exchange, call)
        fault = await self.strike_arrival(exchange, call.subject, hold)
        if fault is not None:
            return _refusal(fault)
        for fault in self._gateway.faults.striking("effect", call.subject):
            if exchange.endpoint == "getupdates":  # what is dropped there is the answer
                break
            self.strike(exchange, call.subject, fault)
            if exchange.endpoint != "sendmessage":
                return Reply(body=Answer(ret=0))
            call.is_dropped = True
            break
        return None

    def leave(self, exchange: Exchange, subject: Subject, reply: Reply) -> Reply:
        """Return an answer as the faults leave it."""
        reply.delivery, struck = self._gateway.faults.deliver(subject, encode(reply.body))
        exchange.faults += tuple((fault.id, fault.action.name) for fault in struck)
        return reply

    async def strike_arrival(self, exchange: Exchange, subject: Subject, hold: Hold) -> Fault | None:
        """Wait where a fault says so; return the one that answers in the endpoint's place, if any.

        Raises:
            CutError, CallerGoneError: There is nobody to answer any more.
        """
        for fault in self._gateway.faults.striking("arrival", subject):
            self.strike(exchange, subject, fault)
            action = fault.spec.action
            if action.delay_ms is not UNSET:
                await self._gateway.state.waiting.delay(action.delay_ms / 1000)
            elif action.reset is not UNSET:
                raise CutError
            elif action.hang is not UNSET:
                await self._hang(hold)
            else:
                return fault
        return None

    def strike(self, exchange: Exchange, subject: Subject, fault: Fault) -> None:
        """Note that a fault struck a request."""
        self._gateway.faults.strike(fault, subject)
        exchange.faults += ((fault.id, fault.action.name),)

    async def _hang(self, hold: Hold) -> None:
        try:
            ending = await self._gateway.state.waiting.wait_ended(hold)
        finally:
            hold.close()
        if ending is Ending.GONE:
            raise CallerGoneError
        raise CutError

    async def _subject(self, exchange: Exchange, call: Call) -> Subject:
        """Say whom a request is about: whom it names, else the owner of its bot."""
        named = exchange.person
        if named is None and call.bot is not None:
            named = call.bot.owner_user_id
        bot_id = exchange.bot_id
        if exchange.endpoint == "get_qrcode_status":
            try:
                code = await self._gateway.code(call.fields.get("qrcode", ""))
            except UnknownThingError:
                pass
            else:
                bot_id, named = code.bot_id, code.user_id
        return Subject(exchange.endpoint, bot_id, frozenset({named} if named else ()))


def _refusal(fault: Fault) -> Reply:
    action = fault.spec.action
    if action.http_status is not UNSET:
        return Reply(
            body=Answer(), status=action.http_status, plain=f"HTTP {action.http_status}, on purpose: {fault.id}"
        )
    return Reply(body=Answer(ret=action.ret, errcode=action.errcode, errmsg=action.errmsg))
