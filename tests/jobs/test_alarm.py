"""Whoever waits for the next due thing hears of one that is due earlier."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from bot_house import HastyClock

from ilink.bot.alarm import Alarm
from ilink.errors import StoreError


class StillClock(HastyClock):
    """A clock on which every pause lasts for ever."""

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.Event().wait()


async def test_what_is_noted_is_looked_for_though_the_clock_stands_still() -> None:
    looks: list[int] = []
    looked = asyncio.Event()

    async def look() -> int | None:
        looks.append(len(looks))
        looked.set()
        return None

    clock = StillClock()
    alarm = Alarm(look, clock=clock)
    task = asyncio.create_task(alarm.run())
    await looked.wait()
    looked.clear()
    await asyncio.sleep(0)
    alarm.note(clock.now_ms() + 5_000)
    async with asyncio.timeout(45):
        await looked.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert len(looks) == 2


async def test_a_store_that_fails_is_asked_again() -> None:
    looked = asyncio.Event()
    failures = [StoreError("full"), StoreError("full")]

    async def look() -> int | None:
        if failures:
            raise failures.pop()
        looked.set()
        return None

    clock = HastyClock()
    task = asyncio.create_task(Alarm(look, clock=clock).run())
    async with asyncio.timeout(45):
        await looked.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert clock.slept[:2] == [1.0, 1.0]
