"""A proxy before a PostgreSQL server whose connections can be cut."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from ilink.testing.engines import PostgresEngine


class FaultProxy:
    """Passes bytes on until it is told to cut; use it with `async with`."""

    def __init__(self, engine: PostgresEngine) -> None:
        self._engine = engine
        self._writers: set[StreamWriter] = set()
        self._listening: set[StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """The address of the database through the proxy."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return self._engine.url(pool=6).replace(f":{self._engine.port}/", f":{port}/")

    def cut(self) -> int:
        """End all connections at once, with whatever is on its way, and return how many there were."""
        writers = list(self._writers)
        for writer in writers:
            writer.transport.abort()
        return len(writers) // 2

    def deafen(self) -> int:
        """End the connections that listen for hints: what is sent meanwhile is lost. Return their number."""
        ended = len(self._listening)
        for writer in list(self._listening):
            writer.transport.abort()
        self._listening.clear()
        return ended

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._engine.port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        tasks = [
            asyncio.create_task(_pass(reader, back, lambda data: self._look(data, writer))),
            asyncio.create_task(_pass(there, writer)),
        ]
        self._tasks.update(tasks)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (writer, back):
                one.transport.abort()
                self._writers.discard(one)
                self._listening.discard(one)
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks.difference_update(tasks)

    def _look(self, data: bytes, writer: StreamWriter) -> None:
        if b"LISTEN " in data:
            self._listening.add(writer)


async def _pass(reader: StreamReader, writer: StreamWriter, look: Callable[[bytes], None] = lambda _data: None) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            look(data)
            writer.write(data)
            await writer.drain()
