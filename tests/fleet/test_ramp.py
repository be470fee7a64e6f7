"""Accounts begin in turns, and whoever does not begin after all leaves its place to the next."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from ilink.fleet.ramp import Ramp


class Clock:
    """Time that passes when somebody sleeps, and a sleep that somebody may hold up."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self.may_wake = asyncio.Event()
        self.may_wake.set()

    def uptime(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.may_wake.wait()
        self.now += seconds


def ramp(clock: Clock, *, at_once: int = 1) -> Ramp:
    return Ramp(rate=10.0, at_once=at_once, clock=clock, random=Random(1))


async def test_the_next_begins_when_one_has_begun_though_its_block_goes_on() -> None:
    at = ramp(Clock())
    async with at.admission("https://one", lambda: True) as first:
        waiting = asyncio.create_task(at.admission("https://one", lambda: True).__aenter__())
        await asyncio.sleep(0)
        assert not waiting.done()
        first.end()
        second = await waiting
        first.end()  # a second time frees nobody else's place
        third = asyncio.create_task(at.admission("https://one", lambda: True).__aenter__())
        await asyncio.sleep(0)
        assert not third.done()
        second.end()
        (await third).end()


async def test_who_is_cancelled_while_waiting_for_a_turn_leaves_the_place() -> None:
    clock = Clock()
    at = ramp(clock)
    (await at.admission("https://one", lambda: True).__aenter__()).end()
    clock.may_wake.clear()
    clock.slept.clear()
    cancelled = asyncio.create_task(at.admission("https://one", lambda: True).__aenter__())
    while not clock.slept:  # noqa: ASYNC110  # it tells nobody
        await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    clock.may_wake.set()
    async with asyncio.timeout(30), at.admission("https://one", lambda: True):
        pass


async def test_turns_are_those_of_one_server_and_waited_for_only_while_somebody_needs_them() -> None:
    clock = Clock()
    at = ramp(clock)
    for server, is_needed in [("https://one", True), ("https://two", True), ("https://one", False)]:
        async with at.admission(server, lambda is_needed=is_needed: is_needed):
            pass
    assert clock.slept == [pytest.approx(0.1, rel=0.3), pytest.approx(0.1, rel=0.3)]
