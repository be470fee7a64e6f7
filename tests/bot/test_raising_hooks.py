"""A hook that raises ends the bot with its error, and leaves nothing behind, whatever else was going on."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from bot_house import FAST, Server, sign_in

from ilink import Bot, Message
from ilink.bot.clock import WallClock
from ilink.bot.scheduler import Lane, Pause, Scheduler

Make = Callable[..., Bot]


@pytest.mark.parametrize("people", [1, 2, 40])
@pytest.mark.parametrize("conversations", [1, 2, 2_000])
async def test_an_error_of_a_hook_ends_the_bot_whoever_else_is_served(
    make_bot: Make, server: Server, people: int, conversations: int
) -> None:
    bot = make_bot(policies=replace(FAST, attempts=1, conversations=conversations))

    @bot.on_text()
    async def fail(message: Message) -> None:
        await asyncio.sleep(0)
        raise ValueError(message.text)

    @bot.on_dead_letter
    def complain(_letter: object, _error: object) -> None:
        message = "nobody listens"
        raise LookupError(message)

    for number in range(people):
        for _ in range(3):
            server.says(f"user {number}", "hello")
    with pytest.raises((LookupError, ExceptionGroup)) as caught:
        await bot.serve(login=sign_in)
    # Several may have been told before the first one's error was heard.
    found = caught.value.exceptions if isinstance(caught.value, ExceptionGroup) else [caught.value]
    assert all(isinstance(error, LookupError) for error in found)
    gc.collect()  # a coroutine that was never awaited says so when it goes


class Work:
    """Lanes of numbers, each of which is done at once; 13 fails."""

    def __init__(self) -> None:
        self.done: list[int] = []

    def open_lane(self, conversation: str) -> Lane[int]:
        return Lane(conversation)

    def conversation_of(self, item: int) -> str:
        return str(item)

    def place_of(self, item: int) -> int:
        return item

    async def find_conversations(self, *, after: str) -> Sequence[str]:
        return []

    async def read_page(self, lane: Lane[int], *, limit: int) -> Sequence[int]:
        return []

    async def settle(self, lane: Lane[int]) -> None:
        """Nothing waits to be stored."""

    async def take_first(self, lane: Lane[int]) -> Pause | None:
        number = lane.waiting.popleft()
        await asyncio.sleep(0)
        if number == 13:
            raise LookupError(number)
        self.done.append(number)
        return None

    def is_unsettled(self, lane: Lane[int]) -> bool:
        return False


async def test_what_comes_after_an_error_is_left_alone() -> None:
    """The journal's answers come from tasks of its own, also when an error has ended those of the scheduler."""
    work = Work()
    opened: list[Scheduler[int, Lane[int]]] = []

    async def be() -> None:
        async with asyncio.TaskGroup() as tasks:
            scheduler = Scheduler(work, most=2, backoff=0.0, clock=WallClock(), tasks=tasks)
            opened.append(scheduler)
            scheduler.start()
            for _ in range(3):  # it finds that the journal holds nothing
                await asyncio.sleep(0)
            scheduler.offer([12, 13, 14, 15])
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await be()
    (scheduler,) = opened
    scheduler.offer([99])
    scheduler.run_beside(lambda: asyncio.sleep(0), after=1.0)
    assert scheduler.is_stopped
    assert [type(error) for error in caught.value.exceptions] == [LookupError]
    assert 99 not in work.done
    gc.collect()


async def test_a_group_that_ends_for_its_own_reason_is_given_nothing_new() -> None:
    work = Work()

    async def fail() -> None:
        raise ValueError

    async def be() -> None:
        async with asyncio.TaskGroup() as tasks:
            scheduler = Scheduler(work, most=2, backoff=0.0, clock=WallClock(), tasks=tasks)
            tasks.create_task(fail())
            try:
                await asyncio.Event().wait()
            finally:
                scheduler.offer([1])

    with pytest.raises(ExceptionGroup):
        await be()
    assert work.done == []
    gc.collect()
