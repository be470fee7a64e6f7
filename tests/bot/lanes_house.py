"""Lanes on a real journal, with handlers that do as they are told and a clock that is set by hand."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from bot_house import ACCOUNT, AT_ONCE

from ilink.bot.clock import WallClock
from ilink.bot.handled import Handled
from ilink.bot.lane_plans import Plan
from ilink.bot.lane_policy import LanePolicy
from ilink.bot.lanes import Lanes
from ilink.bot.settings import Policies
from ilink.storage.accounts_sqlite import SqliteAccounts
from ilink.storage.journal import Arrival, Completed, Draft, InboxState, Letter, Outgoing
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.storage.sqlite import Database, Work
from ilink.wire.ids import ClientId, Cursor, UserId

_numbers = count(1)
POLICIES = Policies(handler_backoff=AT_ONCE, attempts=3)


class HandClock(WallClock):
    """A clock that stands still until it is set forward."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.wall_ms = 1_790_000_000_000
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def monotonic(self) -> float:
        return self.seconds

    def now_ms(self) -> int:
        return self.wall_ms

    @property
    def sleepers(self) -> int:
        return len(self._sleepers)

    async def sleep(self, seconds: float) -> None:
        over = asyncio.Event()
        entry = (self.seconds + seconds, over)
        self._sleepers.append(entry)
        try:
            await over.wait()
        finally:
            self._sleepers.remove(entry)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall_ms += round(seconds * 1000)
        for until, over in self._sleepers:
            if until <= self.seconds:
                over.set()


class CountingDatabase(Database):
    """Knows how much it was asked that it has not answered yet."""

    unanswered = 0

    def submit(self, work: Work[Any], **options: Any) -> asyncio.Future[Any]:
        return self._counted(super().submit(work, **options))

    async def read(self, work: Work[Any]) -> Any:
        return await self._counted(asyncio.ensure_future(super().read(work)))

    def _counted(self, answer: asyncio.Future[Any]) -> asyncio.Future[Any]:
        def count(_answer: object) -> None:
            self.unanswered -= 1

        self.unanswered += 1
        answer.add_done_callback(count)
        return answer


class MortalJournal(SqliteJournal):
    """Dies with its process at the n-th thing it is asked: nothing that is asked later is done, nor answered."""

    die_at = 0
    is_late = False
    asked = 0
    is_dead = False

    def __init__(self, database: CountingDatabase, *arguments: Any) -> None:
        super().__init__(database, *arguments)
        self._counting = database
        self.died = asyncio.Event()

    @property
    def unanswered(self) -> int:
        return self._counting.unanswered

    def _count(self) -> bool:
        """Whether this is what it dies of."""
        self.asked += 1
        return self.asked == self.die_at

    def _die(self) -> None:
        self.is_dead = True
        self.died.set()

    async def _mortal(self, work: Callable[[], Awaitable[Any]]) -> Any:
        is_fatal = self._count()
        if is_fatal and not self.is_late:
            self._die()
        if not self.is_dead:
            answer = await work()
            if not is_fatal:
                return answer
            self._die()
        return await asyncio.get_running_loop().create_future()

    async def read_waiting(self, *arguments: Any, **options: Any) -> list[Letter]:
        return await self._mortal(lambda: super(MortalJournal, self).read_waiting(*arguments, **options))

    async def waiting_conversations(self, *arguments: Any, **options: Any) -> list[str]:
        return await self._mortal(lambda: super(MortalJournal, self).waiting_conversations(*arguments, **options))

    async def fail(self, *arguments: Any, **options: Any) -> Letter | None:
        return await self._mortal(lambda: super(MortalJournal, self).fail(*arguments, **options))

    async def mark_running(self, *arguments: Any, **options: Any) -> None:
        await self._mortal(lambda: super(MortalJournal, self).mark_running(*arguments, **options))

    def complete(self, *arguments: Any, **options: Any) -> asyncio.Future[Completed]:
        is_fatal = self._count()
        if is_fatal and not self.is_late:
            self._die()
        if self.is_dead:
            return asyncio.get_running_loop().create_future()
        answer = super().complete(*arguments, **options)
        if is_fatal:
            answer.add_done_callback(lambda _: self._die())
        return answer


class LanesHouse:
    """Lanes and everything around them."""

    def __init__(self, journal: MortalJournal, clock: HandClock) -> None:
        self.journal = journal
        self.clock = clock
        self.begun: list[str] = []
        self.said: list[str] = []
        self.dead: list[int] = []
        self.parked: list[int] = []
        self.running: Counter[str] = Counter()
        self.cancelled: list[str] = []
        self.handler: Callable[[str, Letter], Awaitable[object]] = self.answer
        self.gates: dict[str, asyncio.Event] = {}
        self.lanes: Lanes
        self._changed = asyncio.Event()

    async def answer(self, text: str, letter: Letter) -> None:
        """The handler by default: waits at the gate of its text, if there is one."""
        if (gate := self.gates.get(text)) is not None:
            await gate.wait()

    def gate(self, text: str) -> asyncio.Event:
        return self.gates.setdefault(text, asyncio.Event())

    async def run(self, letter: Letter, *, following: Sequence[Letter] = ()) -> Handled:
        text = "+".join(one.raw.decode() for one in (letter, *following))
        self.begun.append(text)
        self.running[letter.conversation] += 1
        self.change()
        try:
            await self.handler(text, letter)
        except asyncio.CancelledError:
            self.cancelled.append(text)
            raise
        finally:
            self.running[letter.conversation] -= 1
            self.change()
        draft = Draft(
            client_id=ClientId(f"re {letter.identity}"),
            conversation=letter.conversation,
            user=letter.user,
            item=f"re {text}".encode(),
        )
        return Handled(drafts=[draft])

    def send(self, outgoing: Sequence[Outgoing]) -> None:
        self.said += [message.draft.item.decode() for message in outgoing]
        self.change()

    def change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true; it is looked at whenever something happens, and now and again."""
        async with asyncio.timeout(30):
            while not condition():
                changed = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait([changed], timeout=0.005)
                changed.cancel()

    async def rest(self) -> None:
        """Let everything go on until nothing can: the clock stands, and the journal has answered whatever was asked."""
        quiet = 0
        while quiet < 20:
            quiet = 0 if self.journal.unanswered else quiet + 1
            await asyncio.sleep(0)

    async def store(self, *texts: str, user: str = "a") -> list[Letter]:
        """Store messages that nobody is told of: lanes that begin would find them, so they have begun before."""
        await self.rest()
        return await self._store(*texts, user=user)

    async def _store(self, *texts: str, user: str) -> list[Letter]:
        arrivals: list[Arrival] = []
        for text in texts:
            identity = f"m:{next(_numbers)}"
            arrivals.append(Arrival(raw=text.encode(), identity=identity, conversation=f"u:{user}", user=UserId(user)))
        now_ms = self.clock.now_ms()
        ingested = await self.journal.ingest(arrivals, cursor=Cursor("c"), generation=1, hint_ms=None, now_ms=now_ms)
        return [
            Letter(
                sequence=sequence or 0,
                conversation=arrival.conversation,
                user=arrival.user,
                identity=arrival.identity,
                raw=arrival.raw,
                received_ms=now_ms,
            )
            for arrival, sequence in zip(arrivals, ingested.sequences, strict=True)
        ]

    async def say(self, *texts: str, user: str = "a") -> list[Letter]:
        letters = await self._store(*texts, user=user)
        self.lanes.offer(letters)
        return letters

    async def states(self, letters: Sequence[Letter]) -> list[InboxState]:
        found = [await SqliteJournal.read_letter(self.journal, letter.sequence) for letter in letters]
        return [letter.state for letter in found if letter is not None]

    async def errors(self, letters: Sequence[Letter]) -> list[str | None]:
        found = [await SqliteJournal.read_letter(self.journal, letter.sequence) for letter in letters]
        return [letter.error for letter in found if letter is not None]


def by_first_word(**policies: LanePolicy) -> Plan:
    """Messages go through their lanes as their first word says."""
    return lambda letter: policies.get(letter.raw.decode().split()[0])


@asynccontextmanager
async def journals(folder: Path) -> AsyncIterator[Callable[[], Any]]:
    """Open journals of one account, one process after the other."""
    async with CountingDatabase(folder / "ilink.db", schema="local", synchronous="OFF") as database:
        accounts = SqliteAccounts(folder, database=database)
        await accounts.put(ACCOUNT)

        @asynccontextmanager
        async def open_one() -> AsyncIterator[MortalJournal]:
            async with MortalJournal(database, ACCOUNT.account_id) as journal:
                yield journal

        yield open_one


@asynccontextmanager
async def at_work(
    journal: MortalJournal,
    clock: HandClock,
    *,
    plan: Plan | None = None,
    policies: Policies = POLICIES,
    is_stopped: bool = True,
    **options: Any,
) -> AsyncIterator[LanesHouse]:
    """Let lanes work; in the end they are drained, or just cut off."""
    await journal.adopt()
    house = LanesHouse(journal, clock)
    async with asyncio.TaskGroup() as tasks:
        house.lanes = Lanes(
            journal,
            house.run,
            house.send,
            policies=replace(policies, **options),
            clock=clock,
            random=Random(1),
            tasks=tasks,
            on_dead=lambda letter, _error: house.dead.append(letter.sequence),
            on_parked=lambda letter: house.parked.append(letter.sequence),
            plan=plan,
        )
        house.lanes.start()
        try:
            yield house
            if is_stopped and not journal.is_dead:
                await house.lanes.drain(5)
        finally:
            house.lanes.cancel()
    if is_stopped and not journal.is_dead:
        await journal.release()
