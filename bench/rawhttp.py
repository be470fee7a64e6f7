"""The cheapest HTTP client there is here: one connection, one request at a time, raw asyncio and httptools."""

from __future__ import annotations

import asyncio
import ssl
from typing import Self
from urllib.parse import urlsplit

import httptools

__all__ = ["Connection", "Pool"]


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection to a loopback server."""

    __slots__ = ("_answer", "_body", "_host", "_parser", "_transport")

    def __init__(self, host: str) -> None:
        self._host = host.encode()
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[bytes] | None = None
        self._body = b""

    @classmethod
    async def open(cls, url: str, *, tls: ssl.SSLContext | None = None) -> Self:
        """Connect to the server of a URL, over TLS where a context is given."""
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: cls(parts.netloc), parts.hostname, parts.port, ssl=tls)
        return connection

    def call(self, method: str, path: str, body: bytes = b"", *, token: str = "") -> asyncio.Future[bytes]:
        """Send a request; the future is the body of its answer, whatever the status."""
        authorization = f"AuthorizationType: ilink_bot_token\r\nAuthorization: Bearer {token}\r\n" if token else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host.decode()}\r\nContent-Type: application/json\r\n"
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(f"{head}{authorization}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return self._answer

    @property
    def is_closed(self) -> bool:
        """Whether either side has ended it."""
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._body)


class Pool:
    """Several connections, each lent to one request at a time."""

    def __init__(self, url: str, size: int, *, tls: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._tls = tls
        self._size = size
        self._free: asyncio.Queue[Connection] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        for _ in range(self._size):
            self._free.put_nowait(await Connection.open(self._url, tls=self._tls))
        return self

    async def __aexit__(self, *_: object) -> None:
        while not self._free.empty():
            self._free.get_nowait().close()

    async def call(self, method: str, path: str, body: bytes = b"", *, token: str = "") -> bytes:
        """Send a request on the next free connection and return the body of its answer."""
        connection = await self._free.get()
        try:
            if connection.is_closed:  # servers end what was idle for long
                connection = await Connection.open(self._url, tls=self._tls)
            return await connection.call(method, path, body, token=token)
        finally:
            self._free.put_nowait(connection)
