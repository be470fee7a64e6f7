"""Servers that do with each connection what a test says."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from socket import SO_LINGER, SOL_SOCKET

from tests.servers import serving

from ilink.transport.seam import Request, StreamedBody

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class RawServer:
    """A server that does with each connection what the test says."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.connections = 0
        self.heads: list[bytes] = []

    async def read_request(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                return head + await reader.readexactly(int(line.partition(b":")[2]))
        return head

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def raw_server(handler: Handler, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[RawServer, str]]:
    raw = RawServer(handler)
    async with serving(raw.handle, tls=tls) as port:
        yield raw, f"{'https' if tls else 'http'}://127.0.0.1:{port}"


def post(url: str, body: bytes | StreamedBody = b"{}") -> Request:
    return Request(method="POST", url=f"{url}/ilink/bot/sendmessage?secret=hush", body=body)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection the hard way, so that the other side is told at once that it broke."""
    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def answering(*parts: bytes, then_reset: bool = False) -> Handler:
    """Return a handler that reads one request, writes the parts and closes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await RawServer.read_request(RawServer(handle), reader)
        for part in parts:
            writer.write(part)
            await writer.drain()
        if then_reset:
            reset(writer)

    return handle
