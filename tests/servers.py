"""A server for tests that leaves nothing behind: a socket that stays open is found in some later test, and fails it."""

from __future__ import annotations

import asyncio
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

__all__ = ["serving", "settle"]

_TURNS: Final = 5
"""Of the event loop, until what was accepted last is known and the sockets of what was aborted are closed."""


@asynccontextmanager
async def serving(
    handler: Callable[[StreamReader, StreamWriter], Coroutine[Any, Any, None]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Run a handler for each connection, on a free port of the loopback, which is yielded.

    At the end handlers that still run are cancelled, and every connection is closed.
    """
    handling: dict[asyncio.Task[None], StreamWriter] = {}
    is_over = False

    def accept(reader: StreamReader, writer: StreamWriter) -> None:
        # No coroutine: asyncio would begin it later, perhaps after the end, and nobody would close the connection.
        if is_over:
            writer.transport.abort()
        else:
            handling[asyncio.get_running_loop().create_task(handler(reader, writer))] = writer

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        is_over = True
        server.close()
        for task in handling:
            task.cancel()
        await asyncio.gather(*handling, return_exceptions=True)
        for writer in handling.values():
            writer.transport.abort()
        await settle()
        await server.wait_closed()


async def settle() -> None:
    """Let the event loop do what it has put off, such as to close sockets."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
