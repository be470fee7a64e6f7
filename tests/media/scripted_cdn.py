"""A CDN on a real socket that does exactly what a test tells it, the wrong things too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.servers import serving

from ilink.client.answers import UploadPermission
from ilink.transport.seam import Transport
from ilink.wire.hosts import HostPolicy
from ilink.wire.models import UploadUrlRequest

Step = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """One request, and the way to answer it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    method: str
    target: str
    headers: dict[str, str]

    async def body(self) -> bytes:
        return await self.reader.readexactly(int(self.headers.get("content-length", "0")))

    async def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await self.writer.drain()

    def cut(self) -> None:
        self.writer.transport.abort()


@dataclass
class ScriptedCdn:
    """Takes one step of its script for each request; the last one again when they run out."""

    script: list[Step] = field(default_factory=list)
    requests: list[Exchange] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                exchange = Exchange(reader, writer, method, target, headers)
                step = self.script[min(len(self.requests), len(self.script) - 1)]
                self.requests.append(exchange)
                await step(exchange)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def take(self, reference: str = "ref+/=") -> Step:
        async def step(exchange: Exchange) -> None:
            self.bodies.append(await exchange.body())
            await exchange.answer(200, x_encrypted_param=reference)

        return step


def give(body: bytes, *, status: int = 200, **headers: str) -> Step:
    async def step(exchange: Exchange) -> None:
        await exchange.answer(status, body, **headers)

    return step


def give_rest(body: bytes, *, cut_after: int | None = None, **headers: str) -> Step:
    """Answer a request for a part with it, and one for all with all; cut after so many bytes of the whole."""

    async def step(exchange: Exchange) -> None:
        asked = exchange.headers.get("range", "bytes=0-")
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        lines = [f"content-length: {len(body) - start}", *(f"{name}: {value}" for name, value in headers.items())]
        if start:
            lines = ["HTTP/1.1 206 X", f"content-range: bytes {start}-{len(body) - 1}/{len(body)}", *lines]
        else:
            lines = ["HTTP/1.1 200 OK", *lines]
        exchange.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body[start:cut_after])
        await exchange.writer.drain()
        if cut_after is not None:
            exchange.writer.close()

    return step


def refuse(status: int, body: bytes = b"", **headers: str) -> Step:
    async def step(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.answer(status, body, **headers)

    return step


async def cut_at_once(exchange: Exchange) -> None:
    exchange.cut()


async def cut_within_the_body(exchange: Exchange) -> None:
    await exchange.reader.read(10)
    exchange.cut()


async def cut_after_the_body(exchange: Exchange) -> None:
    await exchange.body()
    exchange.cut()


async def cut_within_the_head(exchange: Exchange) -> None:
    await exchange.body()
    exchange.writer.write(b"HTTP/1.1 200 OK\r\nx-encr")
    await exchange.writer.drain()
    exchange.cut()


def cut_within_the_answer(body: bytes, after: int) -> Step:
    async def step(exchange: Exchange) -> None:
        exchange.writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body[:after])
        await exchange.writer.drain()
        exchange.writer.close()

    return step


async def hang(exchange: Exchange) -> None:
    await exchange.reader.read()


@asynccontextmanager
async def open_cdn(*script: Step) -> AsyncGenerator[ScriptedCdn]:
    cdn = ScriptedCdn(list(script))
    async with serving(cdn.serve) as port:
        cdn.url = f"http://127.0.0.1:{port}/c2c"
        yield cdn


@dataclass
class Door:
    """What the media client needs of a client."""

    transport: Transport
    cdn_url: str
    hosts: HostPolicy
    permissions: list[UploadPermission] = field(default_factory=list)
    asked: list[UploadUrlRequest] = field(default_factory=list)

    async def get_upload_url(self, request: UploadUrlRequest, *, timeout: float = 15.0) -> UploadPermission:
        self.asked.append(request)
        return self.permissions[min(len(self.asked), len(self.permissions)) - 1]


class StillClock:
    """Time that moves only by waiting, at once."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)
