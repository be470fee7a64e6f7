"""HTTP over aiohttp, for what goes through a proxy: tunnels, their TLS and their passwords are that library's job.

Import this module late: aiohttp takes longer to load than all of ilink.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Self
from weakref import WeakSet

import aiohttp
import yarl

from ilink.errors import (
    ConfigError,
    ConnectError,
)
from ilink.transport.answers import PiecewiseAnswer, broken_off, late, no_http, too_large, unreachable
from ilink.transport.pool import KEEP_ALIVE
from ilink.transport.proxies import ProxyMap
from ilink.transport.requests import checked_chunks, describe
from ilink.transport.seam import MAX_ANSWER_BYTES, Request, Response, StreamedBody, StreamedResponse

__all__ = ["ProxiedTransport"]

_CHUNK_BYTES: Final = 256 << 10
_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)


@dataclass(slots=True)
class _Exchange:
    """What is known of one request while it is under way.

    Attributes:
        used: The connections that carried a request before; shared by all requests of a transport.
        limit: The running time limit; None once the answer began.
        idle: Seconds by which progress postpones the limit; None where it is a limit for everything.
        is_written: Whether a connection was there and writing began.
        body_error: What the request's streamed body raised.
    """

    used: WeakSet[object]
    limit: asyncio.Timeout | None = None
    idle: float | None = None
    is_written: bool = False
    body_error: BaseException | None = None

    def progress(self) -> None:
        """Note that something moved."""
        if self.limit is not None and self.idle is not None and not self.limit.expired():
            self.limit.reschedule(asyncio.get_running_loop().time() + self.idle)


_exchange: ContextVar[_Exchange] = ContextVar("ilink_http_exchange")


class _StaleConnectionError(aiohttp.ClientConnectionError):
    """The server has closed this pooled connection already; nothing was written on it."""


class _Request(aiohttp.ClientRequest):
    """Notes when writing begins, and refuses a pooled connection that the server has closed.

    aiohttp's trace hooks tell as much, but cost an await each for every signal of every request.
    """

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        exchange = _exchange.get()
        if conn.protocol in exchange.used:
            if _has_input(conn.transport):
                raise _StaleConnectionError
        elif conn.protocol is not None:
            exchange.used.add(conn.protocol)
        exchange.is_written = True
        return await super().send(conn)


class ProxiedTransport:
    """The network through proxies: connections are kept and reused, as many at a time as there are requests.

    Args:
        proxies: Which way each host is reached.
        tls: How certificates are checked; by default against the system's authorities.
        keep_alive: Seconds an idle connection is kept.
    """

    def __init__(self, proxies: ProxyMap, *, tls: ssl.SSLContext | None = None, keep_alive: float = KEEP_ALIVE) -> None:
        self._proxies = proxies
        self._tls = tls
        self._keep_alive = keep_alive
        self._session: aiohttp.ClientSession | None = None
        self._used: WeakSet[object] = WeakSet()

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=self._keep_alive,
            ttl_dns_cache=60,
            ssl=self._tls if self._tls is not None else True,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "ilink"},
            request_class=_Request,
            read_bufsize=_CHUNK_BYTES,
            timeout=_NO_TIMEOUT,
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def send(self, request: Request, *, timeout: float, max_bytes: int = MAX_ANSWER_BYTES) -> Response:
        """Send one request and return its whole answer; see `Transport.send`."""
        exchange = _Exchange(self._used)
        try:
            async with asyncio.timeout(timeout), await self._begin(request, exchange) as answer:
                body = await _read_whole(answer, max_bytes, request)
                return Response(status=answer.status, headers=_lower(answer), body=body)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _translate(error, request, exchange, timeout) from _cause(error)

    @asynccontextmanager
    async def open_stream(self, request: Request, *, timeout: float) -> AsyncGenerator[StreamedResponse]:
        """Send one request and read its answer in pieces; see `Transport.open_stream`."""
        exchange = _Exchange(self._used, idle=timeout)
        try:
            async with asyncio.timeout(timeout) as exchange.limit:
                answer = await self._begin(request, exchange)
                exchange.limit = None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _translate(error, request, exchange, timeout) from _cause(error)
        async with answer:
            yield _ProxiedStream(answer, request, exchange, timeout)

    async def _begin(self, request: Request, exchange: _Exchange) -> aiohttp.ClientResponse:
        """Send a request and wait for the head of its answer, on another connection while pooled ones prove stale."""
        if self._session is None:
            message = "the transport is not open; use it inside `async with`"
            raise ConfigError(message)
        proxy = self._proxies.find(request.url)
        url = yarl.URL(request.url, encoded=True)
        _exchange.set(exchange)
        while True:
            try:
                return await self._session.request(
                    request.method,
                    url,
                    headers=_headers_of(request),
                    data=_data_of(request, exchange),
                    allow_redirects=False,
                    proxy=proxy,
                )
            except _StaleConnectionError:
                continue


class _ProxiedStream(PiecewiseAnswer):
    """An answer that is read in pieces."""

    def __init__(self, answer: aiohttp.ClientResponse, request: Request, exchange: _Exchange, timeout: float) -> None:
        self._answer = answer
        self._request = request
        self._exchange = exchange
        self._timeout = timeout
        self._headers = _lower(answer)

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers

    async def _read_some(self) -> bytes:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._answer.content.readany()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _translate(error, self._request, self._exchange, self._timeout) from _cause(error)


def _has_input(transport: asyncio.Transport | None) -> bool:
    """Tell whether something waits to be read: between two requests that can only be the end of the connection."""
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or (descriptor := sock.fileno()) < 0:
        return True
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([descriptor], [], [], 0)[0])
    poller = select.poll()  # select() itself refuses descriptors above 1023
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))


async def _read_whole(answer: aiohttp.ClientResponse, max_bytes: int, request: Request) -> bytes:
    """Read a body, and give up as soon as it is too large, whatever its headers say."""
    first = await answer.content.readany()
    if answer.content.at_eof() and len(first) <= max_bytes:
        return first
    parts = bytearray(first)
    while len(parts) <= max_bytes:
        chunk = await answer.content.readany()
        if not chunk:
            return bytes(parts)
        parts += chunk
    raise too_large(request, max_bytes)


def _headers_of(request: Request) -> Mapping[str, str]:
    if not isinstance(request.body, StreamedBody):
        return request.headers
    return {**request.headers, "Content-Length": str(request.body.size)}


def _data_of(request: Request, exchange: _Exchange) -> bytes | AsyncIterator[bytes] | None:
    return _watched(request.body, exchange) if isinstance(request.body, StreamedBody) else request.body


async def _watched(body: StreamedBody, exchange: _Exchange) -> AsyncGenerator[bytes]:
    """Pass a body on: every piece is progress, and its errors are kept apart from the network's."""
    try:
        async for chunk in checked_chunks(body):
            exchange.progress()
            yield chunk
    except BaseException as error:
        exchange.body_error = error
        raise


def _lower(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


def _cause(error: Exception) -> Exception | None:
    """Return what to chain: nothing whose words may hold a URL's query, a header or an answer."""
    is_wordy = isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL)
    return error if isinstance(error, aiohttp.ClientError | OSError) and not is_wordy else None


def _translate(error: Exception, request: Request, exchange: _Exchange, timeout: float) -> BaseException:
    """Say in our words what happened; whether something was written decides."""
    name = describe(request)
    if exchange.body_error is not None and not isinstance(exchange.body_error, asyncio.CancelledError):
        return exchange.body_error
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return ConfigError(f"{name}: this is no usable URL")
    if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError):
        return ConfigError(f"{name}: a header or the URL holds characters that HTTP does not allow")
    if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
        return late(request, timeout) if exchange.is_written else unreachable(request, f" within {timeout:g} s")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return ConnectError(f"{name}: the proxy refused to connect, HTTP {error.status}; check the proxy settings")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientSSLError) or not exchange.is_written:
        return unreachable(request, f", {_reason(error)}")
    if isinstance(error, aiohttp.ClientResponseError):
        return no_http(request)
    return broken_off(request, _reason(error))


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the certificate is not trusted ({error.certificate_error})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
