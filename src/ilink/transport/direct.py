"""HTTP/1.1 straight to the server, on connections of our own.

A bot sends one small request for each message, and a general HTTP library spends more processor time on it than the bot
on everything else. This does what the seam promises and no more: no redirects, no cookies, no proxies.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Final, Self

from ilink.errors import ConfigError, LocalProtocolError
from ilink.transport.answers import PiecewiseAnswer, broken_off, no_http, too_large, unreachable
from ilink.transport.connection import Connection
from ilink.transport.exchange import Exchange
from ilink.transport.gzipped import Gunzip, is_gzipped
from ilink.transport.heads import Head, write_head
from ilink.transport.pool import KEEP_ALIVE, Pool
from ilink.transport.requests import checked_chunks
from ilink.transport.seam import MAX_ANSWER_BYTES, Request, Response, StreamedBody, StreamedResponse

__all__ = ["DirectTransport"]

_PIECE: Final = 256 << 10


class DirectTransport:
    """The network without anything in between.

    Args:
        tls: How certificates are checked; by default against the system's authorities.
        keep_alive: Seconds an idle connection is kept.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, keep_alive: float = KEEP_ALIVE) -> None:
        self._tls = tls
        self._keep_alive = keep_alive
        self._pool: Pool | None = None

    async def __aenter__(self) -> Self:
        self._pool = Pool(tls=self._tls, keep_alive=self._keep_alive)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    async def send(self, request: Request, *, timeout: float, max_bytes: int = MAX_ANSWER_BYTES) -> Response:
        """Send one request and return its whole answer; see `Transport.send`."""
        pool = self._working()
        head = write_head(request)
        loop = asyncio.get_running_loop()
        exchange = Exchange(request, loop, max_bytes=max_bytes)
        began = loop.time()
        connection = pool.take(head.origin) or await _connect(pool, request, head, timeout)
        upload: asyncio.Task[None] | None = None
        try:
            exchange.limit(timeout, left=began + timeout - loop.time())
            upload = _begin(connection, exchange, head)
            del head  # written, and a poll waits for long
            body = await exchange.wait_whole()
        finally:
            exchange.unlimit()
            if upload is not None:
                await _end(connection, upload)
            pool.give_back(connection)
        if is_gzipped(exchange.headers.get("content-encoding", "")):
            body = _open(request, body, max_bytes)
        return Response(status=exchange.status, headers=exchange.headers, body=body)

    @asynccontextmanager
    async def open_stream(self, request: Request, *, timeout: float) -> AsyncGenerator[StreamedResponse]:
        """Send one request and read its answer in pieces; see `Transport.open_stream`."""
        pool = self._working()
        head = write_head(request)
        exchange = Exchange(request, asyncio.get_running_loop(), max_bytes=None)
        connection = pool.take(head.origin) or await _connect(pool, request, head, timeout)
        upload: asyncio.Task[None] | None = None
        try:
            exchange.limit(timeout, is_idle=True)
            upload = _begin(connection, exchange, head)
            await exchange.wait_head()
            exchange.unlimit()
            stream = _DirectStream(exchange, timeout)
            yield stream
            stream.close()
        finally:
            exchange.unlimit()
            if upload is not None:
                await _end(connection, upload)
            pool.give_back(connection)

    def _working(self) -> Pool:
        if self._pool is None:
            message = "the transport is not open; use it inside `async with`"
            raise ConfigError(message)
        return self._pool


class _DirectStream(PiecewiseAnswer):
    """An answer that is read in pieces."""

    def __init__(self, exchange: Exchange, timeout: float) -> None:
        self._exchange = exchange
        self._timeout = timeout
        self._gunzip = Gunzip() if is_gzipped(exchange.headers.get("content-encoding", "")) else None
        self._is_closed = False

    @property
    def status(self) -> int:
        return self._exchange.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._exchange.headers

    def close(self) -> None:
        """End reading: the connection may carry another answer already."""
        self._is_closed = True

    async def _read_some(self) -> bytes:
        if self._is_closed:
            message = "this answer was left; read it inside its `async with`"
            raise ConfigError(message)
        if self._gunzip is None:
            return await self._exchange.next_piece(self._timeout)
        try:
            while not (plain := self._gunzip.take(_PIECE)):
                data = await self._exchange.next_piece(self._timeout)
                if not data:
                    break
                self._gunzip.feed(data)
        except zlib.error:
            raise no_http(self._exchange.request) from None
        if not plain and not self._gunzip.is_whole:
            raise broken_off(self._exchange.request)
        return plain


async def _connect(pool: Pool, request: Request, head: Head, timeout: float) -> Connection:
    try:
        async with asyncio.timeout(timeout):
            connection = await pool.connect(head.origin)
    except TimeoutError as error:
        raise unreachable(request, f" within {timeout:g} s") from error
    except OSError as error:
        raise unreachable(request, f", {_reason(error)}") from error
    except ValueError as error:  # a host that is no name in the eyes of the resolver or of TLS
        message = f"{request.method} {head.origin.scheme}://{head.origin.host}: this is no usable host"
        raise ConfigError(message) from error
    if not connection.is_open:
        raise unreachable(request, ", the server closed it at once")
    return connection


def _begin(connection: Connection, exchange: Exchange, head: Head) -> asyncio.Task[None] | None:
    """Write a request; a streamed body is written by a task of its own, for an answer may come before its end."""
    body = exchange.request.body
    if not isinstance(body, StreamedBody):
        connection.begin(exchange, head.text, body or b"")
        return None
    connection.begin(exchange, head.text, b"")
    return asyncio.create_task(_upload(connection, exchange, body))


async def _end(connection: Connection, upload: asyncio.Task[None]) -> None:
    """End an upload; a connection on which it is not whole is closed."""
    if not upload.done():
        connection.abort()
        upload.cancel()
    await asyncio.wait([upload])


async def _upload(connection: Connection, exchange: Exchange, body: StreamedBody) -> None:
    """Write a streamed body; what it raises goes to whoever waits for the answer."""
    try:
        async with aclosing(checked_chunks(body)) as chunks:
            async for chunk in chunks:
                if chunk and not await connection.write(chunk):
                    return
                exchange.progress()
    except asyncio.CancelledError:
        exchange.fail(LocalProtocolError("the body was cancelled before its end"))
        raise
    except Exception as error:  # noqa: BLE001  # raised unchanged to whoever gave the body
        exchange.fail(error)


def _open(request: Request, body: bytes, max_bytes: int) -> bytes:
    gunzip = Gunzip()
    gunzip.feed(body)
    plain = bytearray()
    try:
        while len(plain) <= max_bytes and (piece := gunzip.take(max_bytes + 1 - len(plain))):
            plain += piece
    except zlib.error:
        raise no_http(request) from None
    if len(plain) > max_bytes:
        raise too_large(request, max_bytes)
    if body and not gunzip.is_whole:
        raise broken_off(request)
    return bytes(plain)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted ({error.verify_message})"
    return error.strerror or type(error).__name__
