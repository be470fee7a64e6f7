"""Lanes that take turns: nothing that was offered, woken or left in the journal is forgotten."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from lanes_house import HandClock

from ilink.bot import scheduler as scheduling
from ilink.bot.scheduler import Lane, Pause, Scheduler

Item = tuple[str, int]


class Work:
    """Items of conversations, all of which a journal holds until they are done."""

    def __init__(self) -> None:
        self.journal: dict[str, list[int]] = defaultdict(list)
        self.gates: dict[str, asyncio.Event] = {}
        self.pauses: list[Pause] = []
        self.begun: list[str] = []
        self.done: list[str] = []
        self._changed = asyncio.Event()

    def open_lane(self, conversation: str) -> Lane[Item]:
        return Lane(conversation)

    def conversation_of(self, item: Item) -> str:
        return item[0]

    def place_of(self, item: Item) -> int:
        return item[1]

    async def find_conversations(self, *, after: str) -> Sequence[str]:
        """One at a time, so that looking through the journal takes many steps."""
        return sorted(name for name, places in self.journal.items() if places and name > after)[:1]

    async def read_page(self, lane: Lane[Item], *, limit: int) -> Sequence[Item]:
        return [(lane.conversation, place) for place in self.journal[lane.conversation] if place > lane.read_to][:limit]

    async def settle(self, lane: Lane[Item]) -> None:
        """Everything is stored at once."""

    def is_unsettled(self, lane: Lane[Item]) -> bool:
        return False

    async def take_first(self, lane: Lane[Item]) -> Pause | None:
        self.begun.append(lane.conversation)
        self.change()
        if (gate := self.gates.get(lane.conversation)) is not None:
            await gate.wait()
        if self.pauses:
            return self.pauses.pop()
        name, place = lane.waiting.popleft()
        self.journal[name].remove(place)
        self.done.append(name)
        self.change()
        return None

    def store(self, name: str, place: int) -> Item:
        self.journal[name].append(place)
        return name, place

    def change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await self._changed.wait()


@pytest.fixture
def work() -> Work:
    return Work()


@asynccontextmanager
async def at_work(work: Work, *, most: int) -> AsyncIterator[Scheduler[Any, Any]]:
    async with asyncio.TaskGroup() as tasks:
        scheduler: Scheduler[Any, Any] = Scheduler(work, most=most, backoff=1.0, clock=HandClock(), tasks=tasks)
        scheduler.start()
        yield scheduler
        scheduler.cancel()


async def test_a_lane_that_is_woken_while_it_is_about_to_rest_goes_on(work: Work) -> None:
    gate = work.gates["a"] = asyncio.Event()
    work.pauses.append(Pause("window"))
    async with at_work(work, most=1) as scheduler:
        scheduler.offer([work.store("a", 1)])
        await work.until(lambda: work.begun == ["a"])
        lane = scheduler.find("a")
        assert lane is not None
        scheduler.wake(lane)
        gate.set()
        await work.until(lambda: work.done == ["a"])


async def test_a_lane_rests_until_it_is_woken(work: Work) -> None:
    work.pauses.append(Pause("window"))
    async with at_work(work, most=1) as scheduler:
        scheduler.offer([work.store("a", 1)])
        await work.until(lambda: work.begun == ["a"])
        assert await scheduler.wait_idle(30)
        lane = scheduler.find("a")
        assert lane is not None
        assert (lane.pause, work.done) == (Pause("window"), [])
        scheduler.wake(lane)
        await work.until(lambda: work.done == ["a"])


async def test_what_had_no_room_is_found_though_the_search_had_passed_its_place(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "_MOST_LANES", 0)  # so there is room for twice as many as run
    for name in ("m", "n"):
        work.store(name, 1)
        work.gates[name] = asyncio.Event()
    async with at_work(work, most=1) as scheduler:
        await work.until(lambda: work.begun == ["m"])
        while scheduler.find("n") is None:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0)
        scheduler.offer([work.store("a", 2)])
        assert scheduler.find("a") is None
        for gate in work.gates.values():
            gate.set()
        await work.until(lambda: sorted(work.done) == ["a", "m", "n"])
