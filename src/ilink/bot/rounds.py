"""What has to be looked at now and again, for all accounts of a process together: no account has a task for it."""

from __future__ import annotations

import contextvars
from asyncio import Event, TaskGroup
from collections import deque
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import Context
from typing import Final, Protocol

from ilink.bot.clock import Clock, WallClock
from ilink.bot.watch import Watch
from ilink.errors import StoreError
from ilink.flows.clocks import Gap

__all__ = ["Looks", "Rounds"]

_PRUNE: Final = 3_600.0
_SWEEP: Final = 60.0
"""Seconds between two looks for dead letters that somebody replays, and for messages that expired."""


class Looks(Protocol):
    """What an account does when it is its turn."""

    def note_gap(self, gap: Gap) -> None:
        """Take note that the machine slept, the program stood still or the clock was set."""
        ...

    async def look(self) -> None:
        """Look at what lasts for seconds."""
        ...

    def look_again(self) -> None:
        """Look at what lasts for minutes."""
        ...

    async def keep_house(self) -> None:
        """Forget what is old: at the beginning, and once an hour.

        Raises:
            StoreError: It is forgotten the next time.
        """
        ...


class _Member:
    """One account.

    Attributes:
        account: What it does.
        context: Whose account it is, for everything that is begun from here.
        kept_at: When its house was kept last.
    """

    __slots__ = ("account", "context", "kept_at")

    def __init__(self, account: Looks) -> None:
        self.account = account
        self.context: Context = contextvars.copy_context()
        self.kept_at: float | None = None


class Rounds:
    """Goes round the accounts of a process, while `going` is open.

    Args:
        clock: Source of time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Only the machine's clocks tell what the machine did; a test's own is moved on purpose.
        machine = clock if isinstance(clock, WallClock) else WallClock()
        self._watch = Watch(machine, on_gap=self._note_gap, on_look=self._look)
        self._members: dict[Looks, _Member] = {}
        self._to_keep: deque[_Member] = deque()
        self._has_some = Event()
        self._have_begun = Event()

    @contextmanager
    def joined(self, account: Looks) -> Generator[None, None, None]:
        """Go to an account as well, until the block ends; its house is kept soon."""
        member = self._members[account] = _Member(account)
        self._to_keep.append(member)
        self._has_some.set()
        try:
            yield
        finally:
            del self._members[account]

    @asynccontextmanager
    async def going(self) -> AsyncGenerator[None, None]:
        """Go round and round until the block ends."""
        async with TaskGroup() as tasks:
            going = [tasks.create_task(work) for work in (self._watch.run(), self._sweep(), self._keep_houses())]
            try:
                yield
            finally:
                for task in going:
                    task.cancel()

    def _note_gap(self, gap: Gap) -> None:
        for member in list(self._members.values()):
            member.context.run(member.account.note_gap, gap)

    async def _look(self) -> None:
        for member in list(self._members.values()):
            await member.account.look()

    async def _sweep(self) -> None:
        await self._have_begun.wait()
        while True:
            await self._clock.sleep(_SWEEP)
            now = self._clock.monotonic()
            for member in list(self._members.values()):
                member.context.run(member.account.look_again)
                if member.kept_at is not None and now - member.kept_at >= _PRUNE:
                    member.kept_at = None
                    self._to_keep.append(member)
            self._has_some.set()

    async def _keep_houses(self) -> None:
        """Keep one house after the other: nobody waits for it, and all at once would keep the store from other work."""
        while True:
            await self._has_some.wait()
            self._has_some.clear()
            while self._to_keep:
                member = self._to_keep.popleft()
                if member.account in self._members:
                    with suppress(StoreError):
                        await member.account.keep_house()
                    member.kept_at = self._clock.monotonic()
            self._have_begun.set()
