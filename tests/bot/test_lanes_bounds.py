"""Lanes take turns, and hold no more in memory than pages, however much waits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from lanes_house import HandClock, at_work, journals

LONG = "ILINK_LONG_TESTS"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def open_journal(tmp_path: Path) -> AsyncIterator[Callable[[], Any]]:
    async with journals(tmp_path) as opened:
        yield opened


async def test_a_long_queue_lets_others_have_a_turn(open_journal: Callable[[], Any], clock: HandClock) -> None:
    async with open_journal() as journal, at_work(journal, clock, conversations=1) as house:
        house.gate("0")
        await house.say(*(str(number) for number in range(100)), user="busy")
        await house.until(lambda: house.begun == ["0"])
        await house.say("short", user="other")
        house.gate("0").set()
        await house.until(lambda: len(house.said) == 101)
        assert house.begun.index("short") == 20


async def test_no_more_conversations_run_than_may(open_journal: Callable[[], Any], clock: HandClock) -> None:
    async with open_journal() as journal, at_work(journal, clock, conversations=3) as house:
        for number in range(10):
            house.gate(str(number))
            await house.say(str(number), user=f"user-{number}")
        await house.until(lambda: len(house.begun) >= 3)
        await house.rest()
        assert len(house.begun) == 3
        for number in range(10):
            house.gate(str(number)).set()
        await house.until(lambda: len(house.said) == 10)


async def test_a_thousand_handlers_wait_at_the_same_time(open_journal: Callable[[], Any], clock: HandClock) -> None:
    async with open_journal() as journal, at_work(journal, clock) as house:

        async def wait_a_second(text: str, letter: Any) -> None:
            await clock.sleep(1.0)

        house.handler = wait_a_second
        for number in range(1_000):
            house.lanes.offer(await house.store(str(number), user=f"user-{number}"))
        await house.until(lambda: clock.sleepers == 1_000)
        clock.advance(1.0)
        await house.until(lambda: len(house.said) == 1_000)


async def test_a_lane_that_rests_for_long_keeps_nothing_in_memory(
    open_journal: Callable[[], Any], clock: HandClock
) -> None:
    async with open_journal() as journal, at_work(journal, clock) as house:

        async def fail(text: str, letter: Any) -> None:
            raise ValueError("no")

        house.handler = fail
        letters = await house.store(*(str(number) for number in range(60)))
        await journal.fail(letters[0].sequence, 0, error="no", due_ms=clock.now_ms() + 60_000, now_ms=clock.now_ms())
        house.lanes.wake(["u:a"])
        await house.until(lambda: clock.sleepers == 1)
        (lane,) = house.lanes._scheduler.lanes
        assert not lane.waiting
        house.handler = house.answer
        clock.advance(61)
        await house.until(lambda: len(house.said) == 60)
        assert house.said == [f"re {number}" for number in range(60)]


@pytest.mark.skipif(sys.platform == "win32", reason="memory is measured as POSIX has it")
@pytest.mark.parametrize(
    ("conversations", "messages", "most"),
    [
        pytest.param(10, 8_000, 16, id="few-long"),
        pytest.param(10_500, 10_500, 45, id="many-short"),
        pytest.param(
            2_000,
            200_000,
            100,
            marks=pytest.mark.skipif(not os.environ.get(LONG), reason=f"takes minutes; set {LONG}"),
            id="long",
        ),
    ],
)
def test_queues_longer_than_memory_stay_in_the_journal(
    tmp_path: Path, conversations: int, messages: int, most: float
) -> None:
    script = Path(__file__).with_name("crowded_lanes.py")
    arguments = [sys.executable, str(script), str(tmp_path), str(conversations), str(messages)]
    run = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=600)
    assert run.returncode == 0, run.stderr
    taken, handled = run.stdout.split()
    assert int(handled) == 2 * messages
    assert float(taken) < most
