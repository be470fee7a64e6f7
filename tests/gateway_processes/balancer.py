"""A load balancer of TCP connections: each goes to the next backend that takes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Balancer:
    """Backends come and go; a connection that was taken stays where it is."""

    def __init__(self) -> None:
        self.backends: list[tuple[str, int]] = []
        self.url = ""
        self._turn = 0
        self._running: set[asyncio.Task[None]] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            far = await self._connect()
            await asyncio.gather(_pump(reader, far[1]), _pump(far[0], writer))
        finally:
            self._running.discard(task)
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            self._turn += 1
            host, port = self.backends[self._turn % len(self.backends)]
            with suppress(ConnectionRefusedError):
                return await asyncio.open_connection(host, port)

    async def aclose(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


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
    server = await asyncio.start_server(balancer._serve, "127.0.0.1", 0)
    balancer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield balancer
    finally:
        server.close()
        await balancer.aclose()
