"""Hints between processes through LISTEN and NOTIFY: quick, beside all writes, and allowed to get lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import asyncpg

from ilink.storage.postgres_errors import DRIVER_ERRORS

__all__ = ["PostgresHints"]

_log = logging.getLogger(__name__)

_MOST_BYTES: Final = 7_900
"""How much one NOTIFY carries: PostgreSQL's limit is 8,000."""
_MOST_PENDING: Final = 50_000
"""Hints that wait while the database is away; more are dropped, since whoever misses them looks by themselves."""
_PAUSES: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts to connect again."""
_LOOK: Final = 15.0
"""Seconds after which a silent connection is asked whether it lives: a machine that vanished says nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class _Listener:
    channel: str
    callback: Callable[[str], None]
    on_gap: Callable[[], None] | None


class PostgresHints:
    """Hints of one process: a connection for those that come in, made anew whenever it is lost, and one for those sent.

    Args:
        connect: Opens a connection.
        place: Where it leads, for people.
    """

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection[asyncpg.Record]]], *, place: str) -> None:
        self._connect = connect
        self._place = place
        self._listeners: list[_Listener] = []
        self._hearing: asyncpg.Connection[asyncpg.Record] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._pending: dict[tuple[str, str], None] = {}
        self._sending: asyncio.Task[None] | None = None
        self._speaking: asyncpg.Connection[asyncpg.Record] | None = None
        self._is_warned = False

    async def aclose(self) -> None:
        """Stop listening, and drop what was not sent yet."""
        for task in (self._listening, self._sending):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        self._listening = self._sending = None
        if self._speaking is not None:
            self._speaking.terminate()

    def notify(self, channel: str, payload: str) -> None:
        """Send a hint soon, together with others that come up until then; the same one is sent once."""
        if len(self._pending) >= _MOST_PENDING:
            return
        self._pending[channel, payload] = None
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())

    @asynccontextmanager
    async def listening(
        self, channel: str, callback: Callable[[str], None], *, on_gap: Callable[[], None] | None = None
    ) -> AsyncGenerator[None]:
        """Call back with every hint of a channel, while inside."""
        listener = _Listener(channel, callback, on_gap)
        self._listeners.append(listener)
        try:
            await self._hear(channel)
            yield
        finally:
            self._listeners.remove(listener)

    async def _hear(self, channel: str) -> None:
        """Have a channel heard, by the connection that is there or by the first."""
        if self._listening is None:
            ready = asyncio.get_running_loop().create_future()
            self._listening = asyncio.create_task(self._listen(ready))
            await asyncio.shield(ready)
        elif self._hearing is not None:
            # A connection that is lost meanwhile is made anew, with all channels.
            with suppress(*DRIVER_ERRORS):
                await self._hearing.add_listener(channel, self._on_hint)

    async def _listen(self, ready: asyncio.Future[None]) -> None:
        """Hold a connection that hears all channels, until cancelled."""
        failures = 0
        while True:
            try:
                await self._listen_once(ready)
                failures = 0
            except DRIVER_ERRORS as error:
                _log.warning("hints from %s stay away until it can be reached again: %s", self._place, error)
            if not ready.done():  # who listens finds what they miss by themselves
                ready.set_result(None)
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
            failures += 1

    async def _listen_once(self, ready: asyncio.Future[None]) -> None:
        """Hear until the connection ends."""
        connection = await self._connect()
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _connection: lost.set())
        try:
            await self._warn_of_pooler(connection)
            for channel in {listener.channel for listener in self._listeners}:
                await connection.add_listener(channel, self._on_hint)
            self._hearing = connection
            if ready.done():
                self._tell_gap()
            else:
                ready.set_result(None)
            await _until_lost(connection, lost)
        finally:
            self._hearing = None
            connection.terminate()

    async def _warn_of_pooler(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Say once what a pooler does to hints; it gives out numbers of its own for the processes of the server."""
        if self._is_warned or await connection.fetchval("SELECT pg_backend_pid()") == connection.get_server_pid():
            return
        self._is_warned = True
        _log.warning(
            "a pooler stands between this program and %s; unless it works in session mode, hints get lost there, and"
            " what other processes do is noticed seconds later: add direct=HOST:PORT to the database URL",
            self._place,
        )

    def _on_hint(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        for line in str(payload).split("\n"):
            for listener in tuple(self._listeners):
                if listener.channel == channel:
                    listener.callback(line)

    def _tell_gap(self) -> None:
        for listener in tuple(self._listeners):
            if listener.on_gap is not None:
                listener.on_gap()

    async def _send(self) -> None:
        """Send what waits, and what comes up meanwhile."""
        while self._pending:
            pending, self._pending = self._pending, {}
            channels, payloads = _packed(pending)
            try:
                if self._speaking is None or self._speaking.is_closed():
                    self._speaking = await self._connect()
                await self._speaking.execute(
                    "SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS h (channel, payload)",
                    channels,
                    payloads,
                )
            except DRIVER_ERRORS as error:
                _log.debug("%d hints were not sent to %s: %s", len(pending), self._place, error)


async def _until_lost(connection: asyncpg.Connection[asyncpg.Record], lost: asyncio.Event) -> None:
    while not lost.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                await lost.wait()
                return
        await connection.execute("SELECT 1")


def _packed(hints: dict[tuple[str, str], None]) -> tuple[list[str], list[str]]:
    """Put hints of one channel together, each on a line of its own, as many as one NOTIFY carries."""
    channels: list[str] = []
    payloads: list[str] = []
    open_places: dict[str, int] = {}
    for channel, payload in hints:
        place = open_places.get(channel)
        if place is not None and len(payloads[place].encode()) + len(payload.encode()) < _MOST_BYTES:
            payloads[place] += "\n" + payload
        else:
            open_places[channel] = len(payloads)
            channels.append(channel)
            payloads.append(payload)
    return channels, payloads
