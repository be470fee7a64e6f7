"""Who waits for others to write to a journal in PostgreSQL, and how they come to know.

A hint comes at once. What a hint missed is found by one read for all journals of this process that somebody waits for:
those who do not own a journal count on its row what they did to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakKeyDictionary

from ilink.errors import StoreError
from ilink.storage.postgres import PostgresDatabase

__all__ = ["Watch", "watch"]

_log = logging.getLogger(__name__)

_SWEEP: Final = 5.0
"""Seconds between two looks for what hints missed."""


class Watch:
    """Counts the changes of one journal that were noticed."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting: list[asyncio.Future[None]] = []

    async def wait(self, since: int) -> int:
        """Wait until the count is another one than `since`, and return it."""
        while self._count == since:
            changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(changed)
            try:
                await changed
            finally:
                if changed in self._waiting:
                    self._waiting.remove(changed)
        return self._count

    def tell(self) -> None:
        """Count a change."""
        self._count += 1
        waiting, self._waiting = self._waiting, []
        for changed in waiting:
            if not changed.done():
                changed.set_result(None)


class _Changes:
    """All watches of one process on one database, by account."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._watches: defaultdict[str, list[Watch]] = defaultdict(list)
        self._seen: dict[str, int] = {}
        self._work: asyncio.Task[None] | None = None
        self._is_listening = asyncio.Event()

    async def add(self, account: str, watch: Watch, since: int | None) -> None:
        self._watches[account].append(watch)
        if since is not None:
            self._seen.setdefault(account, since)
        if self._work is None:
            self._is_listening.clear()
            self._work = asyncio.create_task(self._notice(), name=f"changes of journals in {self._database.place}")
        await self._is_listening.wait()

    async def remove(self, account: str, watch: Watch) -> None:
        self._watches[account].remove(watch)
        if not self._watches[account]:
            del self._watches[account]
            self._seen.pop(account, None)
        if not self._watches and self._work is not None:
            work, self._work = self._work, None
            work.cancel()
            await asyncio.wait([work])

    async def _notice(self) -> None:
        async with self._database.listening("journal", self._on_hint, on_gap=self._on_gap):
            self._is_listening.set()
            while True:
                try:
                    await self._sweep()
                except StoreError as error:
                    _log.debug("cannot look for changes of journals, trying again: %s", error)
                await asyncio.sleep(_SWEEP)

    async def _sweep(self) -> None:
        rows = await self._database.read(
            "SELECT account_id, calls FROM journals WHERE account_id = ANY ($1::text[])", list(self._watches)
        )
        for row in rows:
            account, calls = row["account_id"], row["calls"]
            if self._seen.get(account, calls) != calls:
                self._on_hint(account)
            self._seen[account] = calls

    def _on_hint(self, account: str) -> None:
        for one in self._watches.get(account, ()):
            one.tell()

    def _on_gap(self) -> None:
        """The connection for hints was made anew: look at everything once."""
        for watches in self._watches.values():
            for one in watches:
                one.tell()


_all_changes: WeakKeyDictionary[PostgresDatabase, _Changes] = WeakKeyDictionary()


@asynccontextmanager
async def watch(database: PostgresDatabase, account: str, *, since: int | None) -> AsyncGenerator[Watch, None]:
    """Watch the journal of an account for what others write, until the block ends.

    Args:
        database: Where it is.
        account: Whose.
        since: The count on its row that is known; None to begin with the first look.
    """
    changes = _all_changes.setdefault(database, _Changes(database))
    one = Watch()
    await changes.add(account, one, since)
    try:
        yield one
    finally:
        await changes.remove(account, one)
