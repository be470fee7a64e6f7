"""Lanes that wait behind a message that failed too often, until a person decides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from lanes_house import HandClock, LanesHouse, at_work, by_first_word, journals

from ilink.bot.lane_policy import LanePolicy
from ilink.storage.journal import InboxState, Letter

DONE, IGNORED, WAITING, DEAD = InboxState.DONE, InboxState.IGNORED, InboxState.WAITING, InboxState.DEAD


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def open_journal(tmp_path: Path) -> AsyncIterator[Callable[[], Any]]:
    async with journals(tmp_path) as opened:
        yield opened


def breaks(house: LanesHouse) -> None:
    async def fail(text: str, letter: Letter) -> None:
        if text.endswith("poison"):
            raise ValueError("cannot take this")

    house.handler = fail


async def until_parked(house: LanesHouse, clock: HandClock, *, lanes: int = 1) -> None:
    for _ in range(100):
        if house.lanes.parked == lanes:
            return
        clock.advance(1)
        await house.rest()
    raise AssertionError("no lane was parked")


async def test_a_message_that_always_fails_parks_its_lane_and_no_other(
    open_journal: Callable[[], Any], clock: HandClock
) -> None:
    async with open_journal() as journal, at_work(journal, clock, on_failure="park") as house:
        breaks(house)
        letters = await house.say("poison", "after")
        await house.say("good", user="b")
        await until_parked(house, clock)
        assert house.said == ["re good"]
        assert house.begun.count("poison") == 3
        assert house.parked == [letters[0].sequence]
        assert house.dead == []
        assert await house.states(letters) == [WAITING, WAITING]
        assert (await journal.count()).parked == 1


async def test_a_parked_lane_stays_parked_for_the_next_process_and_for_new_messages(
    open_journal: Callable[[], Any], clock: HandClock
) -> None:
    async with open_journal() as journal, at_work(journal, clock, on_failure="park") as house:
        breaks(house)
        await house.say("poison", "after")
        await until_parked(house, clock)
    async with open_journal() as journal, at_work(journal, clock, on_failure="park") as house:
        await until_parked(house, clock)
        await house.say("newer")
        await house.rest()
        assert house.begun == []


@pytest.mark.parametrize(("is_replayed", "said"), [(True, ["re poison", "re after"]), (False, ["re after"])])
async def test_replaying_or_dropping_lets_the_lane_go_on(
    open_journal: Callable[[], Any], clock: HandClock, is_replayed: bool, said: list[str]
) -> None:
    async with open_journal() as journal, at_work(journal, clock, on_failure="park") as house:
        breaks(house)
        letters = await house.say("poison", "after")
        await until_parked(house, clock)
        house.handler = house.answer
        if is_replayed:
            assert await journal.replay([letters[0].sequence]) == ["u:a"]
        else:
            assert await journal.drop([letters[0].sequence]) == 1
        house.lanes.look_again()
        await house.until(lambda: house.said == said)
        assert house.lanes.parked == 0
        assert await house.states(letters) == [DONE if is_replayed else IGNORED, DONE]


async def test_looking_again_leaves_a_lane_parked_that_nobody_decided_about(
    open_journal: Callable[[], Any], clock: HandClock
) -> None:
    async with open_journal() as journal, at_work(journal, clock, on_failure="park") as house:
        breaks(house)
        await house.say("poison")
        await until_parked(house, clock)
        house.lanes.look_again()
        await house.until(lambda: house.lanes.parked == 1)
        assert len(house.parked) == 1


async def test_commands_reach_a_parked_lane(open_journal: Callable[[], Any], clock: HandClock) -> None:
    plan = by_first_word(stop=LanePolicy(overtakes=True, cancels_running=True))
    async with open_journal() as journal, at_work(journal, clock, plan=plan, on_failure="park") as house:
        breaks(house)
        letters = await house.say("poison", "after")
        await until_parked(house, clock)
        await house.say("stop")
        await house.until(lambda: house.said == ["re stop"])
        assert await house.states(letters) == [WAITING, WAITING]
        assert house.lanes.parked == 1


async def test_a_command_that_always_fails_parks_nothing(open_journal: Callable[[], Any], clock: HandClock) -> None:
    plan = by_first_word(stop=LanePolicy(overtakes=True))
    async with open_journal() as journal, at_work(journal, clock, plan=plan, on_failure="park") as house:
        breaks(house)
        letters = await house.say("stop poison")
        while not house.dead:
            clock.advance(1)
            await house.rest()
        await house.say("after")
        await house.until(lambda: house.said == ["re after"])
        assert await house.states(letters) == [DEAD]


async def test_a_message_that_kills_the_process_parks_its_lane(
    open_journal: Callable[[], Any], clock: HandClock
) -> None:
    options = {"on_failure": "park", "interruptions": 2}
    letters: list[Letter] = []
    for number in range(3):
        async with open_journal() as journal, at_work(journal, clock, is_stopped=False, **options) as house:
            if not number:
                letters = await house.store("killer")
                house.lanes.wake(["u:a"])
            house.gate("killer")
            if number < 2:
                await house.until(lambda: house.begun == ["killer"])
            else:
                await until_parked(house, clock)
                assert house.begun == []
    assert house.parked == [letters[0].sequence]
