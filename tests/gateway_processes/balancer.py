"""A load balancer of TCP connections: each goes to the next backend that takes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.servers import serving


class Balancer:
    """Backends come and go; a connection that was taken stays where it is."""

    def __init__(self) -> None:
        self.backends: list[tuple[str, int]] = []
        self.url = ""
        self._turn = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far = await self._connect()
        try:
            await asyncio.gather(_pump(reader, far[1]), _pump(far[0], writer))
        finally:
            far[1].transport.abort()
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            self._turn += 1
            host, port = self.backends[self._turn % len(self.backends)]
            with suppress(ConnectionRefusedError):
                return await asyncio.open_connection(host, port)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(ConnectionError, RuntimeError):
        writer.close()


@asynccontextmanager
async def balanced() -> AsyncIterator[Balancer]:
    """A balancer on a free port, without backends yet."""
    balancer = Balancer()
    async with serving(balancer._serve) as port:
        balancer.url = f"http://127.0.0.1:{port}"
        yield balancer
