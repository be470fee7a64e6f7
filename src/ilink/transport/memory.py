"""A transport without a network: every request is a call of an ASGI application in this process.

Seen from the outside it behaves as the real one behind a server: an application that fails before it answers is an
answer 500, one that fails later is a connection that broke, one that does not answer in time is a time-out, and giving
up tells it that its caller left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Self, cast
from urllib.parse import SplitResult, unquote, urlsplit

from ilink.errors import ConfigError
from ilink.transport.answers import PiecewiseAnswer, broken_off, header_text, late, no_http, too_large, unreachable
from ilink.transport.requests import checked_chunks, describe
from ilink.transport.seam import MAX_ANSWER_BYTES, Request, Response, StreamedBody, StreamedResponse

__all__ = ["AsgiApp", "MemoryTransport"]

AsgiEvent = MutableMapping[str, object]
AsgiApp = Callable[
    [AsgiEvent, Callable[[], Awaitable[AsgiEvent]], Callable[[AsgiEvent], Awaitable[None]]], Awaitable[None]
]
"""An ASGI 3 application."""

_log = logging.getLogger(__name__)

_CHUNKS_AHEAD: Final = 8
"""How many pieces of an answer may wait before the application has to: memory stays bounded, as on a socket."""


_CONNECTION: Final = "ilink.connection"
"""Where an application finds what it can reset its connection with, as behind the gateway's own server."""


@dataclass(frozen=True, slots=True)
class _Head:
    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _End:
    is_whole: bool


@dataclass(slots=True)
class _Exchange:
    """One request on its way through the application."""

    request: Request
    timeout: float
    answer: asyncio.Queue[_Head | bytes | _End] = field(default_factory=lambda: asyncio.Queue(_CHUNKS_AHEAD))
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    limit: asyncio.Timeout | None = None
    body_error: BaseException | None = None
    is_reset: bool = False
    on_gone: Callable[[], None] | None = None

    def progress(self) -> None:
        """Postpone the limit of an exchange whose time limit is one without progress."""
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(asyncio.get_running_loop().time() + self.timeout)

    async def reset(self) -> None:
        """Break the connection: what was sent arrives, and nothing after it."""
        self.is_reset = True

    def watch(self, on_gone: Callable[[], None]) -> Callable[[], None]:
        """Call a function once when the caller leaves, at once if it has left; what is returned ends that."""
        if self.gone.is_set():
            on_gone()
        else:
            self.on_gone = on_gone
        return self.unwatch

    def unwatch(self) -> None:
        """Tell nobody when the caller leaves."""
        self.on_gone = None

    async def put(self, part: _Head | bytes | _End) -> None:
        """Hand on a part of the answer, unless nobody waits for it any more."""
        if not self.gone.is_set():
            await self.answer.put(part)

    def leave(self) -> None:
        """Give the exchange up, and free an application that waits for room in the answer."""
        self.gone.set()
        on_gone, self.on_gone = self.on_gone, None
        if on_gone is not None:
            on_gone()
        while not self.answer.empty():
            self.answer.get_nowait()

    async def next(self) -> _Head | bytes:
        """Return the next part of the answer; empty bytes are its end."""
        part = await self.answer.get()
        if not isinstance(part, _End):
            return part
        self.answer.put_nowait(part)  # for whoever asks again
        if self.body_error is not None:
            raise self.body_error
        if not part.is_whole:
            raise broken_off(self.request)
        return b""


class MemoryTransport:
    """The way to applications in this process, by the origin of the URL.

    Args:
        apps: From an origin, such as `http://ilink.test`, to the application that answers there. Other origins cannot
            be reached.
    """

    def __init__(self, apps: Mapping[str, AsgiApp]) -> None:
        self._apps = {origin.rstrip("/"): app for origin, app in apps.items()}
        self._group: asyncio.TaskGroup | None = None
        self._running: dict[asyncio.Task[None], _Exchange] = {}

    async def __aenter__(self) -> Self:
        self._group = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        group, self._group = self._group, None
        for task, exchange in self._running.items():
            exchange.leave()
            task.cancel()
        if group is not None:
            await group.__aexit__(None, None, None)

    async def send(self, request: Request, *, timeout: float, max_bytes: int = MAX_ANSWER_BYTES) -> Response:
        """Send one request and return its whole answer; see `Transport.send`."""
        exchange = self._start(request, timeout)
        try:
            async with asyncio.timeout(timeout):
                head = await _read_head(exchange)
                body = await _read_whole(exchange, max_bytes)
        except TimeoutError as error:
            raise late(exchange.request, exchange.timeout) from error
        finally:
            exchange.leave()
        return Response(status=head.status, headers=head.headers, body=body)

    @asynccontextmanager
    async def open_stream(self, request: Request, *, timeout: float) -> AsyncGenerator[StreamedResponse]:
        """Send one request and read its answer in pieces; see `Transport.open_stream`."""
        exchange = self._start(request, timeout)
        try:
            try:
                async with asyncio.timeout(timeout) as exchange.limit:
                    head = await _read_head(exchange)
                    exchange.limit = None
            except TimeoutError as error:
                raise late(exchange.request, exchange.timeout) from error
            yield _MemoryStream(head, exchange)
        finally:
            exchange.leave()

    def _start(self, request: Request, timeout: float) -> _Exchange:
        if self._group is None:
            message = "the transport is not open; use it inside `async with`"
            raise ConfigError(message)
        parts = urlsplit(request.url)
        app = self._apps.get(f"{parts.scheme}://{parts.netloc}")
        if app is None:
            raise unreachable(request, ", nothing listens there")
        exchange = _Exchange(request, timeout)
        scope = {**_scope_of(request, parts), _CONNECTION: exchange}
        task = self._group.create_task(_run(app, scope, exchange))
        self._running[task] = exchange
        task.add_done_callback(self._running.pop)
        return exchange


class _MemoryStream(PiecewiseAnswer):
    """An answer that is read in pieces."""

    def __init__(self, head: _Head, exchange: _Exchange) -> None:
        self._head = head
        self._exchange = exchange

    @property
    def status(self) -> int:
        return self._head.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._head.headers

    async def _read_some(self) -> bytes:
        try:
            async with asyncio.timeout(self._exchange.timeout):
                part = await self._exchange.next()
        except TimeoutError as error:
            raise late(self._exchange.request, self._exchange.timeout) from error
        return part if isinstance(part, bytes) else b""


async def _run(app: AsgiApp, scope: AsgiEvent, exchange: _Exchange) -> None:
    """Run the application for one request, as a server does: whatever it raises breaks this connection only."""
    is_begun = is_over = False
    body = _pieces(exchange.request)

    async def receive() -> AsgiEvent:
        if exchange.gone.is_set():
            return {"type": "http.disconnect"}
        try:
            piece = await anext(body, None)
        except Exception as error:  # noqa: BLE001  # raised unchanged to whoever gave the body
            exchange.body_error = error
            await exchange.put(_End(is_whole=False))
            return {"type": "http.disconnect"}
        if piece is None:
            await exchange.gone.wait()
            return {"type": "http.disconnect"}
        exchange.progress()
        return {"type": "http.request", "body": piece[0], "more_body": piece[1]}

    async def send(event: AsgiEvent) -> None:
        nonlocal is_begun, is_over
        if event["type"] == "http.response.start":
            is_begun = True
            pairs = cast("Iterable[tuple[bytes, bytes]]", event.get("headers", ()))
            headers = {name.decode("latin-1").lower(): header_text(value) for name, value in pairs}
            await exchange.put(_Head(cast("int", event["status"]), headers))
            return
        if chunk := bytes(cast("bytes", event.get("body", b""))):
            await exchange.put(chunk)
        if not event.get("more_body", False):
            is_over = True
            await exchange.put(_End(is_whole=True))

    try:
        await app(scope, receive, send)
    except Exception:  # noqa: BLE001  # a server's door: an error breaks one connection and is logged
        _log.exception("the application failed on %s", describe(exchange.request))
    finally:
        is_begun = is_begun or exchange.is_reset
        if not is_begun and exchange.body_error is None:
            await exchange.put(_Head(500, {}))
        if not is_over:
            await exchange.put(_End(is_whole=not is_begun))


async def _pieces(request: Request) -> AsyncGenerator[tuple[bytes, bool]]:
    """Return the request's body as pieces, each with whether more follow."""
    if not isinstance(request.body, StreamedBody):
        yield request.body or b"", False
        return
    async for chunk in checked_chunks(request.body):
        yield chunk, True
    yield b"", False


async def _read_head(exchange: _Exchange) -> _Head:
    part = await exchange.next()
    if isinstance(part, _Head):
        return part
    raise no_http(exchange.request)


async def _read_whole(exchange: _Exchange, max_bytes: int) -> bytes:
    parts = bytearray()
    while isinstance(part := await exchange.next(), bytes) and part:
        parts += part
        if len(parts) > max_bytes:
            raise too_large(exchange.request, max_bytes)
    return bytes(parts)


def _scope_of(request: Request, parts: SplitResult) -> AsgiEvent:
    headers = {"host": parts.netloc, "user-agent": "ilink", **{n.lower(): v for n, v in request.headers.items()}}
    if isinstance(request.body, StreamedBody):
        headers["content-length"] = str(request.body.size)
    elif request.body is not None:
        headers["content-length"] = str(len(request.body))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": parts.scheme,
        "path": unquote(parts.path) or "/",
        "raw_path": parts.path.encode() or b"/",
        "root_path": "",
        "query_string": parts.query.encode(),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        "client": ("127.0.0.1", 0),
        "server": (parts.hostname or "", parts.port or 80),
    }
