"""Commands that cancel a message as it fails: nothing goes past it, and nothing is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from lanes_house import HandClock, LanesHouse, at_work, by_first_word, journals

from ilink.bot.lane_policy import LanePolicy
from ilink.storage.journal import Completed, InboxState, Letter

DONE, IGNORED, WAITING = InboxState.DONE, InboxState.IGNORED, InboxState.WAITING

PLAN = by_first_word(
    merge=LanePolicy(mode="merge", merge_seconds=1.0, merge_most_messages=2),
    stop=LanePolicy(overtakes=True, cancels_running=True),
)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[LanesHouse]:
    async with (
        journals(tmp_path) as open_journal,
        open_journal() as journal,
        at_work(journal, HandClock(), plan=PLAN) as house,
    ):
        await house.rest()
        yield house


async def expect_that_only_the_first_was_left_out(house: LanesHouse, letters: list[int]) -> None:
    """Let time pass until the lane is at rest: the command was handled first, then what was merged with the first."""
    for _ in range(5):
        await house.rest()
        house.clock.advance(1.0)
    await house.until(lambda: len(house.said) == 3)
    await house.rest()
    assert house.said == ["re stop", "re merge 2", "re more"]
    assert await house.states(letters) == [IGNORED, DONE, DONE, DONE]


async def test_nothing_goes_past_a_message_whose_cancellation_is_refused_as_its_lane_goes_on(
    house: LanesHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_read, true_complete = house.journal.read_waiting, house.journal.complete
    letters: list[Letter] = []
    seen: list[InboxState] = []
    refusals: list[int] = []

    async def read(*arguments: Any, **options: Any) -> list[Letter]:
        if options.get("limit") != 1 or refusals:
            return await true_read(*arguments, **options)
        house.clock.advance(5.0)  # so that the lane goes on in the next turn of the event loop, as the command does
        await asyncio.sleep(0)
        return letters[:1]  # as it was before it failed

    def complete(sequence: int, *arguments: Any, **options: Any) -> asyncio.Future[Any]:
        if options.get("ignored") is None or refusals:
            return true_complete(sequence, *arguments, **options)
        refusals.append(sequence)
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(Completed(is_accepted=False))  # at once, as on a quick disk
        return answer

    async def handle(text: str, letter: Letter) -> None:
        if text == "work":
            raise ValueError("a bad moment")
        if text == "more":
            seen.extend(await house.states(letters[:1]))

    monkeypatch.setattr(house.journal, "read_waiting", read)
    monkeypatch.setattr(house.journal, "complete", complete)
    house.handler = handle
    letters += await house.say("work", "more")
    await house.until(lambda: house.clock.sleepers == 1)
    letters += await house.say("stop")
    await house.until(lambda: sorted(house.said) == ["re more", "re stop"])
    await house.rest()
    assert refusals == [letters[0].sequence]
    assert seen == [IGNORED]
    assert await house.states(letters) == [IGNORED, DONE, DONE]


async def test_what_was_merged_with_a_message_that_is_cancelled_as_it_fails_is_handled(
    house: LanesHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_failing, is_cancelled = asyncio.Event(), asyncio.Event()
    true_fail = house.journal.fail

    async def fail(*arguments: Any, **options: Any) -> Letter | None:
        is_failing.set()
        await is_cancelled.wait()
        return await true_fail(*arguments, **options)

    async def handle(text: str, letter: Letter) -> None:
        if text == "merge 1+merge 2":
            raise ValueError("a bad moment")

    monkeypatch.setattr(house.journal, "fail", fail)
    house.handler = handle
    letters = await house.say("merge 1", "merge 2", "more")
    await is_failing.wait()
    letters += await house.say("stop")
    await house.until(lambda: house.said == ["re stop"])
    is_cancelled.set()
    await expect_that_only_the_first_was_left_out(house, letters)


async def test_what_came_after_a_command_is_handled_though_it_was_merged_with_what_that_cancels(
    house: LanesHouse,
) -> None:
    is_running = asyncio.Event()

    async def handle(text: str, letter: Letter) -> None:
        if text == "merge 1+merge 2":
            is_running.set()
            await asyncio.Event().wait()

    house.handler = handle
    letters = await house.say("merge 1")
    letters += await house.store("stop")  # found only when the others are being handled
    letters += await house.say("merge 2", "more")
    await is_running.wait()
    house.lanes.offer(letters[1:2])
    await house.until(lambda: house.said == ["re stop"])
    await expect_that_only_the_first_was_left_out(house, letters)
