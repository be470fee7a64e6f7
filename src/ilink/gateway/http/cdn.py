"""The CDN's door: every upload and download is noted in the wire log, and may fail on purpose."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import unquote

from msgspec import UNSET

from ilink.gateway.cdn import CDN_PREFIX, FINDINGS, CdnApp
from ilink.gateway.fault_actions import CDN_DOWNLOAD, CDN_UPLOAD
from ilink.gateway.faults import Fault, Subject
from ilink.gateway.holds import Ending, Hold
from ilink.gateway.http.bodies import CallerGoneError
from ilink.gateway.http.failures import CutError, Failures, reset_connection
from ilink.gateway.linter import inspect_upload
from ilink.gateway.wire_log import Exchange
from ilink.wire.endpoints import DOWNLOAD_PATH, UPLOAD_PATH
from ilink.wire.headers import DOWNLOAD_REFERENCE, ERROR_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message, Receive, Scope, Send

    from ilink.gateway.service import Gateway

__all__ = ["CdnDoor"]

_ENDPOINTS: Final = {CDN_PREFIX + UPLOAD_PATH: CDN_UPLOAD, CDN_PREFIX + DOWNLOAD_PATH: CDN_DOWNLOAD}
_INVERTED: Final = bytes(255 - value for value in range(256))
_SLICES_PER_SECOND: Final = 10
_REFERENCE_BYTES: Final = 48


class CdnDoor:
    """Serves `/c2c` of one open gateway over HTTP."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._app = CdnApp(gateway.media)
        self._failures = Failures(gateway)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = monotonic()
        exchange = Exchange(
            at_ms=self._gateway.state.clock.now_ms(),
            endpoint=_ENDPOINTS.get(scope["path"].rstrip("/"), "?"),
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            headers=scope["headers"],
        )
        traffic = _Traffic(self._gateway, exchange, receive, send, started=started)
        try:
            if not self._gateway.faults or await self._arrive(exchange, traffic):
                await self._app({**scope, FINDINGS: traffic.findings}, traffic.receive, traffic.send)
                if traffic.is_cut_at_last:
                    raise CutError
        except CallerGoneError:
            pass
        except CutError:
            await reset_connection(scope)
        finally:
            traffic.note()

    async def _arrive(self, exchange: Exchange, traffic: _Traffic) -> bool:
        """Let faults strike a request that came; False when one of them answered it.

        Raises:
            CutError, CallerGoneError: There is nobody to answer any more.
        """
        subject = await self._subject(exchange)
        hold = Hold(_ReadAway(traffic.receive))
        fault = await self._failures.strike_arrival(exchange, subject, hold)
        if fault is not None:
            await traffic.refuse(cast("int", fault.spec.action.http_status), f"on purpose: {fault.id}")
            return False
        for fault in self._gateway.faults.striking("effect", subject):
            self._failures.strike(exchange, subject, fault)
            await traffic.pretend()
            return False
        for stage in ("transfer", "answer"):
            for fault in self._gateway.faults.striking(stage, subject):
                self._failures.strike(exchange, subject, fault)
                traffic.suffer(fault)
        return True

    async def _subject(self, exchange: Exchange) -> Subject:
        parties = await self._gateway.media.parties(_param(exchange))
        bot = None if parties is None else await self._gateway.bot_numbered(parties[0])
        if parties is None or bot is None:
            return Subject(exchange.endpoint, None)
        exchange.bot_id = bot.bot_id
        return Subject(exchange.endpoint, bot.bot_id, frozenset({parties[1] or bot.owner_user_id}))


def _param(exchange: Exchange) -> str:
    """Return the reference or permission in a request."""
    pairs = (pair.partition("=") for pair in exchange.query.split("&"))
    found = (value for name, _, value in pairs if name == "encrypted_query_param")
    return unquote(next(found, "")).replace(" ", "+")


class _ReadAway:
    """Looks out for a caller who leaves while a transfer waits.

    What they send meanwhile is read and thrown away: a body that nobody reads would hide that its connection is gone.
    """

    __slots__ = ("_receive",)

    def __init__(self, receive: Receive) -> None:
        self._receive = receive

    def __call__(self, on_gone: Callable[[], None]) -> Callable[[], object]:
        return asyncio.get_running_loop().create_task(self._read(on_gone)).cancel

    async def _read(self, on_gone: Callable[[], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        on_gone()


class _Traffic:
    """What goes up and down in one request, as faults let it."""

    def __init__(self, gateway: Gateway, exchange: Exchange, receive: Receive, send: Send, *, started: float) -> None:
        self._started = started
        self._is_noted = False
        self._gateway = gateway
        self._exchange = exchange
        self._receive = receive
        self._send = send
        self._is_corrupt = False
        self._rate: int | None = None
        self._cut: str | None = None
        self._omitted = frozenset[str]()
        self._announced = 0
        self.received = 0
        self.sent = 0
        self.findings: list[str] = []

    @property
    def _is_upload(self) -> bool:
        return self._exchange.endpoint == CDN_UPLOAD

    @property
    def is_cut_at_last(self) -> bool:
        """Whether the connection is to be reset once the request has taken effect."""
        return self._cut is not None

    def suffer(self, fault: Fault) -> None:
        """Take up what a fault does to the bytes."""
        action = fault.spec.action
        if action.corrupt is not UNSET:
            self._is_corrupt = True
        elif action.slow_bytes_per_s is not UNSET:
            self._rate = min(action.slow_bytes_per_s, self._rate or action.slow_bytes_per_s)
        elif action.omit is not UNSET:
            self._omitted |= {name.lower() for name in action.omit}
        elif action.reset is not UNSET and self._cut is None:
            self._cut = action.reset

    def note(self) -> None:
        """Note the exchange, unless that was done."""
        if self._is_noted:
            return
        self._is_noted = True
        exchange = self._exchange
        exchange.held_ms = int((monotonic() - self._started) * 1000)
        exchange.request = b'{"bytes":%d}' % self.received if self.received else b""
        exchange.response = b'{"bytes":%d}' % self.sent if self.sent else b""
        if exchange.endpoint in (CDN_UPLOAD, CDN_DOWNLOAD):
            self._gateway.tallies.add_media(
                up=self.received if self._is_upload else 0, down=0 if self._is_upload else self.sent
            )
        self._gateway.note(exchange)

    async def receive(self) -> Message:
        """Return what the caller sends next."""
        message = await self._receive()
        body: bytes = message.get("body", b"")
        self.received += len(body)
        if self._is_upload:
            if self._rate is not None:
                await self._gateway.state.waiting.delay(len(body) / self._rate)
            if self._cut == "mid_body" and self.received >= self._length(self._exchange.headers) / 2:
                raise CutError
            if self._is_corrupt:
                return {**message, "body": bytes(body).translate(_INVERTED)}
        return message

    async def send(self, message: Message) -> None:
        """Send what the CDN answers."""
        if message["type"] == "http.response.start":
            await self._send_head(message)
        elif self._cut in ("after_effect", "after_headers"):
            pass
        elif self._is_upload:
            await self._pass_on(message)
        else:
            await self._send_slowly(message)

    async def refuse(self, status: int, words: str) -> None:
        """Answer with an error in the CDN's way."""
        body = b"" if status in (204, 304) else words.encode()
        await self._answer(status, {ERROR_MESSAGE: words, "content-type": "text/plain"}, body)

    async def pretend(self) -> None:
        """Take an upload, throw it away, and answer as if it had been stored."""
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise CallerGoneError
            more = message.get("more_body", False)
        reference = self._gateway.state.ids.draw("fault reference", _REFERENCE_BYTES).hex()
        await self._answer(200, {DOWNLOAD_REFERENCE: reference}, b"")

    async def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        headers["content-length"] = str(len(body))
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send_head({"type": "http.response.start", "status": status, "headers": pairs})
        await self._pass_on({"type": "http.response.body", "body": body})

    async def _send_head(self, message: Message) -> None:
        self._exchange.status = message["status"]
        if self._is_upload:
            await self._inspect()
        if self._cut == "after_effect":
            return
        headers = [pair for pair in message["headers"] if pair[0].decode("latin-1") not in self._omitted]
        self._announced = self._length(headers)
        if self._cut == "after_headers" and not self._announced:
            # An answer without a body would be whole with its head; this one is to be seen as cut.
            headers = [(name, b"1" if name == b"content-length" else value) for name, value in headers]
        await self._send({**message, "headers": headers})

    async def _inspect(self) -> None:
        """Find what is wrong with an upload, before its caller knows the answer."""
        if self._exchange.method != "POST":
            self._exchange.findings += ("upload_by_put",)
            return
        announced = await self._gateway.media.announced(_param(self._exchange))
        if announced is not None and announced != (self._length(self._exchange.headers) or self.received):
            self._exchange.findings += ("upload_size_mismatch",)
        elif not self._exchange.faults:  # what a fault made of the bytes is not the client's
            self._exchange.findings += tuple(self.findings)
            if self._exchange.status == 200:
                self._exchange.findings += await inspect_upload(self._gateway.media, _param(self._exchange))

    async def _send_slowly(self, message: Message) -> None:
        body: bytes = message.get("body", b"")
        if self._is_corrupt:
            body = bytes(body).translate(_INVERTED)
        if self._cut == "mid_body":
            left = self._announced // 2 - self.sent
            if len(body) >= left:
                await self._pass_on({**message, "body": body[:left], "more_body": True})
                raise CutError
        while self._rate is not None and body:
            piece, body = body[: self._slice], body[self._slice :]
            await self._pause(len(piece) / self._rate)
            await self._pass_on({**message, "body": piece, "more_body": True})
        await self._pass_on({**message, "body": body})

    @property
    def _slice(self) -> int:
        return max(1, (self._rate or 0) // _SLICES_PER_SECOND)

    async def _pause(self, seconds: float) -> None:
        """Wait, unless the caller leaves: a slow answer can be very long."""
        hold = Hold(_ReadAway(self._receive))
        try:
            ending = await self._gateway.state.waiting.wait(hold, seconds)
            if ending is Ending.GONE:
                raise CallerGoneError
            if ending is Ending.STOPPING:
                self._rate = None  # the rest goes at once: no pause would be one any more
        finally:
            hold.close()

    async def _pass_on(self, message: Message) -> None:
        self.sent += len(message.get("body", b""))
        if not message.get("more_body", False):
            self.note()  # now, so that whoever read the answer finds it in the wire log
        await self._send(message)

    @staticmethod
    def _length(headers: list[tuple[bytes, bytes]]) -> int:
        return int(next((value for name, value in headers if name == b"content-length"), b"0"))
