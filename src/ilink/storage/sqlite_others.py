"""Commits of other processes, noticed by looking at a number in shared memory."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from ilink.errors import IlinkError

__all__ = ["Others", "Wait", "call_in"]

_log = logging.getLogger(__name__)

_LOOK: Final = 0.2
"""Seconds between two looks for commits of other processes, while somebody waits for one: a read of shared memory."""


@dataclass(slots=True)
class Wait:
    """Somebody waits for another process to commit; answered with how often that has happened."""

    since: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[int]

    def settle(self, count: int) -> None:
        """Answer, unless nobody waits any more."""
        if not self.future.done():
            self.future.set_result(count)

    def refuse(self, error: IlinkError) -> None:
        """Say that there will be no answer."""
        if not self.future.done():
            self.future.set_exception(error)


class Others:
    """Counts the commits of other connections, as the writer's own connection sees them: its own do not count."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._count = 0
        self._version = self._read()
        self._looked = time.monotonic()
        self._waits: list[Wait] = []

    @property
    def pause(self) -> float | None:
        """How long the writer may sleep; None for as long as it likes, because nobody waits."""
        return _LOOK if self._waits else None

    def add(self, wait: Wait) -> None:
        """Take somebody who waits for the count to differ from what they know."""
        self._waits.append(wait)
        self.look()

    def look_now_and_then(self) -> None:
        """Look for commits of others, unless that was done a moment ago."""
        if self._waits and time.monotonic() - self._looked >= _LOOK:
            self.look()

    def close(self, error: IlinkError) -> None:
        """Let nobody wait any more."""
        for wait in self._waits:
            call_in(wait.loop, partial(wait.refuse, error))

    def look(self) -> None:
        """Look for commits of others, and tell who waits for them."""
        self._looked = time.monotonic()
        version = self._read()
        if version != self._version:
            self._version = version
            self._count += 1
        for wait in self._waits:
            if wait.since != self._count:
                call_in(wait.loop, partial(wait.settle, self._count))
        self._waits = [wait for wait in self._waits if wait.since == self._count and not wait.future.done()]

    def _read(self) -> int:
        try:
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error:  # whoever writes next is told what is wrong with the file
            return self._version


def call_in(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Call something in an event loop; one that has been closed has nobody waiting."""
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        _log.debug("the event loop that waited for the database is closed")
