"""What a lane does with messages that come while a handler is busy, as its policies say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from lanes_house import POLICIES, HandClock, LanesHouse, at_work, by_first_word, journals

from ilink import ConfigError
from ilink.bot.lane_policy import LanePolicy
from ilink.errors import StoreError
from ilink.storage.journal import InboxState, Letter

DONE, IGNORED, WAITING, DEAD = InboxState.DONE, InboxState.IGNORED, InboxState.WAITING, InboxState.DEAD

PLAN = by_first_word(
    restart=LanePolicy(mode="restart"),
    drop=LanePolicy(mode="drop"),
    merge=LanePolicy(mode="merge", merge_seconds=1.0, merge_most_seconds=3.0, merge_most_messages=4),
    stop=LanePolicy(overtakes=True, cancels_running=True),
    peek=LanePolicy(overtakes=True),
)

Work = Callable[..., Any]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def open_journal(tmp_path: Path) -> AsyncIterator[Callable[[], Any]]:
    async with journals(tmp_path) as opened:
        yield opened


@pytest.fixture
async def house(open_journal: Callable[[], Any], clock: HandClock) -> AsyncIterator[LanesHouse]:
    async with open_journal() as journal, at_work(journal, clock, plan=PLAN) as house:
        yield house
        for gate in house.gates.values():
            gate.set()


class TestQueue:
    async def test_messages_without_a_policy_are_handled_one_after_the_other(self, house: LanesHouse) -> None:
        house.gate("one")
        await house.say("one", "two")
        await house.until(lambda: house.begun == ["one"])
        await house.rest()
        assert house.begun == ["one"]
        house.gate("one").set()
        await house.until(lambda: house.said == ["re one", "re two"])


class TestRestart:
    async def test_a_newer_message_takes_the_place_of_the_running_one(self, house: LanesHouse) -> None:
        house.gate("restart 1")
        letters = await house.say("restart 1")
        await house.until(lambda: house.begun == ["restart 1"])
        letters += await house.say("restart 2")
        await house.until(lambda: house.said == ["re restart 2"])
        assert house.cancelled == ["restart 1"]
        assert await house.states(letters) == [IGNORED, DONE]
        assert (await house.errors(letters))[0] == f"message {letters[1].sequence} took its place"

    async def test_what_waited_for_its_turn_is_not_begun_when_something_newer_waits_too(
        self, house: LanesHouse
    ) -> None:
        house.gate("first")
        letters = await house.say("first", "restart 1", "restart 2", "restart 3")
        house.gate("first").set()
        await house.until(lambda: house.said == ["re first", "re restart 3"])
        assert await house.states(letters) == [DONE, IGNORED, IGNORED, DONE]

    async def test_a_handler_that_ignores_its_cancellation_has_said_nothing(self, house: LanesHouse) -> None:
        async def stubborn(text: str, letter: Letter) -> None:
            if text == "restart 1":
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    return

        house.handler = stubborn
        letters = await house.say("restart 1")
        await house.until(lambda: house.begun == ["restart 1"])
        await house.say("restart 2")
        await house.until(lambda: house.said == ["re restart 2"])
        assert await house.states(letters) == [IGNORED]

    async def test_a_handler_that_fails_while_it_is_cancelled_is_not_tried_again(self, house: LanesHouse) -> None:
        async def clumsy(text: str, letter: Letter) -> None:
            if text == "restart 1":
                try:
                    await asyncio.Event().wait()
                finally:
                    raise ValueError("cannot even stop")

        house.handler = clumsy
        letters = await house.say("restart 1")
        await house.until(lambda: house.begun == ["restart 1"])
        await house.say("restart 2")
        await house.until(lambda: house.said == ["re restart 2"])
        assert house.begun == ["restart 1", "restart 2"]
        assert await house.states(letters) == [IGNORED]

    async def test_messages_of_another_policy_wait_for_their_turn(self, house: LanesHouse) -> None:
        house.gate("restart 1")
        await house.say("restart 1")
        await house.until(lambda: house.begun == ["restart 1"])
        await house.say("other")
        await house.rest()
        assert house.cancelled == []
        house.gate("restart 1").set()
        await house.until(lambda: house.said == ["re restart 1", "re other"])

    async def test_of_a_long_backlog_only_the_last_is_handled(self, house: LanesHouse) -> None:
        house.gate("first")
        letters = await house.say("first", *(f"restart {number}" for number in range(230)))
        house.gate("first").set()
        await house.until(lambda: house.said == ["re first", "re restart 229"])
        assert house.begun == ["first", "restart 229"]
        assert await house.states(letters) == [DONE, *[IGNORED] * 229, DONE]

    async def test_other_conversations_do_not_notice(self, house: LanesHouse) -> None:
        house.gate("restart 1")
        await house.say("restart 1", user="a")
        await house.until(lambda: house.begun == ["restart 1"])
        await house.say("restart 2", user="b")
        await house.until(lambda: house.said == ["re restart 2"])
        assert house.cancelled == []


class TestDrop:
    async def test_what_comes_while_the_handler_runs_is_ignored_with_the_reason(self, house: LanesHouse) -> None:
        house.gate("drop 1")
        letters = await house.say("drop 1")
        await house.until(lambda: house.begun == ["drop 1"])
        letters += await house.say("drop 2", "drop 3")
        house.gate("drop 1").set()
        await house.until(lambda: house.said == ["re drop 1"])
        await house.rest()
        assert house.begun == ["drop 1"]
        assert await house.states(letters) == [DONE, IGNORED, IGNORED]
        assert (await house.errors(letters))[1] == f"it came while message {letters[0].sequence} was handled"

    async def test_what_comes_afterwards_is_handled(self, house: LanesHouse) -> None:
        await house.say("drop 1")
        await house.until(lambda: house.said == ["re drop 1"])
        await house.say("drop 2")
        await house.until(lambda: house.said == ["re drop 1", "re drop 2"])

    async def test_messages_of_another_policy_wait(self, house: LanesHouse) -> None:
        house.gate("drop 1")
        await house.say("drop 1")
        await house.until(lambda: house.begun == ["drop 1"])
        await house.say("other")
        house.gate("drop 1").set()
        await house.until(lambda: house.said == ["re drop 1", "re other"])

    async def test_a_decision_that_cannot_be_stored_is_not_made(
        self, house: LanesHouse, monkeypatch: pytest.MonkeyPatch, clock: HandClock
    ) -> None:
        house.gate("drop 1")
        await house.say("drop 1")
        await house.until(lambda: house.begun == ["drop 1"])
        letters = await house.store("drop 2")
        true_complete = house.journal.complete

        def fail(*arguments: Any, **options: Any) -> Any:
            answer = asyncio.get_running_loop().create_future()
            answer.set_exception(StoreError("the disk is full"))
            return answer

        monkeypatch.setattr(house.journal, "complete", fail)
        house.lanes.offer(letters)
        await house.rest()
        monkeypatch.setattr(house.journal, "complete", true_complete)
        house.gate("drop 1").set()
        while len(house.said) < 2:
            clock.advance(1)
            await house.rest()
        assert house.said == ["re drop 1", "re drop 2"]


class TestMerge:
    async def test_messages_that_follow_each_other_are_handled_as_one(
        self, house: LanesHouse, clock: HandClock
    ) -> None:
        letters = await house.say("merge 1")
        await house.until(lambda: clock.sleepers == 1)
        letters += await house.say("merge 2")
        clock.advance(1.0)
        await house.until(lambda: house.said == ["re merge 1+merge 2"])
        assert await house.states(letters) == [DONE, DONE]

    async def test_every_message_makes_it_wait_for_quiet_again(self, house: LanesHouse, clock: HandClock) -> None:
        await house.say("merge 1")
        await house.until(lambda: clock.sleepers == 1)
        clock.advance(0.9)
        await house.say("merge 2")
        clock.advance(0.2)
        await house.rest()
        assert house.begun == []
        await house.until(lambda: clock.sleepers == 1)
        clock.advance(0.7)
        await house.rest()
        assert house.begun == []
        clock.advance(0.2)
        await house.until(lambda: house.said == ["re merge 1+merge 2"])

    async def test_after_some_time_it_is_handled_though_more_keeps_coming(
        self, house: LanesHouse, clock: HandClock
    ) -> None:
        await house.say("merge 1")
        await house.until(lambda: clock.sleepers == 1)
        for number in (2, 3):
            clock.advance(0.9)
            await house.say(f"merge {number}")
            await house.rest()
        await house.until(lambda: clock.sleepers == 1)
        clock.advance(0.8)
        await house.rest()
        assert house.begun == []
        clock.advance(0.45)
        await house.until(lambda: house.begun == ["merge 1+merge 2+merge 3"])

    async def test_as_many_as_may_be_are_handled_at_once(self, house: LanesHouse, clock: HandClock) -> None:
        await house.say("merge 1")
        await house.until(lambda: clock.sleepers == 1)
        await house.say("merge 2", "merge 3", "merge 4", "merge 5")
        await house.until(lambda: house.said == ["re merge 1+merge 2+merge 3+merge 4"])
        clock.advance(1.0)
        await house.until(lambda: house.begun[1:] == ["merge 5"])

    async def test_a_message_of_another_policy_ends_the_wait(self, house: LanesHouse, clock: HandClock) -> None:
        await house.say("merge 1", "merge 2")
        await house.until(lambda: clock.sleepers == 1)
        await house.say("other")
        await house.until(lambda: house.said == ["re merge 1+merge 2", "re other"])

    async def test_a_clock_that_is_set_makes_the_wait_no_longer(self, house: LanesHouse, clock: HandClock) -> None:
        await house.say("merge 1")
        await house.until(lambda: clock.sleepers == 1)
        clock.wall_ms -= 3_600_000
        clock.advance(1.0)
        await house.until(lambda: house.said == ["re merge 1"])

    async def test_what_waited_in_the_journal_does_not_wait_again(
        self, open_journal: Callable[[], Any], clock: HandClock
    ) -> None:
        async with open_journal() as journal, at_work(journal, clock, plan=PLAN) as house:
            letters = await house.say("merge 1", "merge 2")
            await house.until(lambda: clock.sleepers == 1)
        assert house.begun == []
        clock.advance(60)
        async with open_journal() as journal, at_work(journal, clock, plan=PLAN) as house:
            await house.until(lambda: house.said == ["re merge 1+merge 2"])
            assert await house.states(letters) == [DONE, DONE]

    async def test_what_failed_as_one_is_tried_again_as_one_and_given_up_as_one(
        self, house: LanesHouse, clock: HandClock
    ) -> None:
        async def fail(text: str, letter: Letter) -> None:
            raise ValueError("no")

        house.handler = fail
        letters = await house.say("merge 1", "merge 2")
        while len(house.dead) < 2:
            clock.advance(1)
            await house.rest()
        assert house.begun == ["merge 1+merge 2"] * 3
        assert house.dead == [letter.sequence for letter in letters]
        assert await house.states(letters) == [DEAD, DEAD]

    async def test_a_long_backlog_is_handled_in_groups_in_order(self, house: LanesHouse, clock: HandClock) -> None:
        house.gate("first")
        await house.say("first", *(f"merge {number}" for number in range(120)))
        clock.advance(60)
        house.gate("first").set()
        await house.until(lambda: len(house.said) == 31)
        texts = "+".join(said.removeprefix("re ") for said in house.said[1:]).split("+")
        assert texts == [f"merge {number}" for number in range(120)]


class TestOvertaking:
    async def test_a_command_is_handled_at_once_beside_the_lane(self, house: LanesHouse) -> None:
        house.gate("one")
        await house.say("one", "two")
        await house.until(lambda: house.begun == ["one"])
        await house.say("peek")
        await house.until(lambda: house.said == ["re peek"])
        house.gate("one").set()
        await house.until(lambda: house.said == ["re peek", "re one", "re two"])
        assert house.begun == ["one", "peek", "two"]

    async def test_a_command_cancels_what_runs_and_what_waits_behind_is_handled(self, house: LanesHouse) -> None:
        house.gate("one")
        letters = await house.say("one", "two")
        await house.until(lambda: house.begun == ["one"])
        letters += await house.say("stop")
        await house.until(lambda: sorted(house.said) == ["re stop", "re two"])
        assert house.cancelled == ["one"]
        assert await house.states(letters) == [IGNORED, DONE, DONE]
        assert (await house.errors(letters))[0] == f"message {letters[2].sequence} cancelled it"

    async def test_a_command_cancels_what_came_with_it(self, house: LanesHouse) -> None:
        house.gate("one")
        letters = await house.say("one", "stop", "three")
        await house.until(lambda: sorted(house.said) == ["re stop", "re three"])
        assert await house.states(letters) == [IGNORED, DONE, DONE]

    async def test_a_command_cancels_what_waits_to_be_tried_again(self, house: LanesHouse, clock: HandClock) -> None:
        async def fail(text: str, letter: Letter) -> None:
            if text == "one":
                raise ValueError("no")

        house.handler = fail
        letters = await house.say("one", "two")
        await house.until(lambda: clock.sleepers == 1)
        await house.say("stop")
        await house.until(lambda: house.said == ["re two", "re stop"] or house.said == ["re stop", "re two"])
        clock.advance(1)
        await house.rest()
        assert house.begun.count("one") == 1
        assert await house.states(letters) == [IGNORED, DONE]

    async def test_what_was_cancelled_before_its_turn_is_not_begun_when_its_turn_comes(
        self, open_journal: Callable[[], Any], clock: HandClock
    ) -> None:
        async with open_journal() as journal, at_work(journal, clock, plan=PLAN, conversations=1) as house:
            house.gate("busy")
            await house.say("busy", user="b")
            await house.until(lambda: house.begun == ["busy"])
            letters = await house.say("one", "two")
            await house.say("stop")
            await house.until(lambda: house.said == ["re stop"])
            await house.rest()
            house.gate("busy").set()
            await house.until(lambda: house.said == ["re stop", "re busy", "re two"])
            assert house.begun == ["busy", "stop", "two"]
            assert await house.states(letters) == [IGNORED, DONE]

    async def test_a_command_alone_cancels_nothing(self, house: LanesHouse) -> None:
        letters = await house.say("stop")
        await house.until(lambda: house.said == ["re stop"])
        letters += await house.say("one")
        await house.until(lambda: house.said == ["re stop", "re one"])
        assert await house.states(letters) == [DONE, DONE]

    async def test_commands_are_handled_in_their_order(self, house: LanesHouse) -> None:
        house.gate("peek 1")
        await house.say("peek 1", "peek 2", "peek 3")
        await house.until(lambda: len(house.begun) > 0)
        await house.rest()
        assert house.begun == ["peek 1"]
        house.gate("peek 1").set()
        await house.until(lambda: house.said == ["re peek 1", "re peek 2", "re peek 3"])

    async def test_commands_of_before_are_handled_before_those_that_come_now(
        self, open_journal: Callable[[], Any], clock: HandClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with open_journal() as journal:
            may_look, true_look = asyncio.Event(), journal.waiting_conversations

            async def look(*arguments: Any, **options: Any) -> list[str]:
                await may_look.wait()
                return await true_look(*arguments, **options)

            monkeypatch.setattr(journal, "waiting_conversations", look)
            async with at_work(journal, clock, plan=PLAN) as house:
                await house.store("peek 1", "one")
                await house.say("peek 2")
                await house.rest()
                may_look.set()
                await house.until(lambda: len(house.said) == 3)
                assert [text for text in house.begun if text != "one"] == ["peek 1", "peek 2"]

    async def test_a_failed_command_is_tried_again_beside_the_lane_and_given_up(
        self, house: LanesHouse, clock: HandClock
    ) -> None:
        async def fail(text: str, letter: Letter) -> None:
            if text == "peek":
                raise ValueError("no")
            await house.answer(text, letter)

        house.handler = fail
        house.gate("one")
        letters = await house.say("one", "peek")
        while not house.dead:
            clock.advance(1)
            await house.rest()
        assert house.begun.count("peek") == 3
        assert await house.states(letters) == [WAITING, DEAD]
        house.gate("one").set()
        await house.until(lambda: house.said == ["re one"])

    async def test_a_command_reaches_a_conversation_that_is_far_behind(self, house: LanesHouse) -> None:
        house.gate("0")
        await house.say(*(str(number) for number in range(200)))
        await house.until(lambda: house.begun == ["0"])
        await house.say("stop")
        await house.until(lambda: len(house.said) == 200)
        assert house.begun.count("stop") == 1
        assert [said for said in house.said if said != "re stop"] == [f"re {number}" for number in range(1, 200)]

    async def test_a_flood_of_commands_overtakes_some_at_a_time(self, house: LanesHouse) -> None:
        house.gate("one")
        house.gate("peek 0")
        await house.say("one")
        await house.say(*(f"peek {number}" for number in range(40)))
        await house.until(lambda: len(house.begun) == 2)
        await house.rest()
        assert len(house.begun) == 2
        house.gate("peek 0").set()
        await house.until(lambda: len(house.said) == 40)
        assert house.said == [f"re peek {number}" for number in range(40)]
        house.gate("one").set()
        await house.until(lambda: len(house.said) == 41)
        assert len(set(house.said)) == 41
        assert len(house.begun) == 41

    async def test_commands_of_before_that_are_pages_away_are_handled_before_those_that_come_now(
        self, open_journal: Callable[[], Any], clock: HandClock
    ) -> None:
        async with open_journal() as journal:
            async with at_work(journal, clock, plan=PLAN) as house:
                early = [f"peek {number}" for number in range(30)]
                await house.store(*map(str, range(100)), *early[:10], *map(str, range(100, 300)), *early[10:])
            async with at_work(journal, clock, plan=PLAN) as house:
                house.gate("0")
                await house.until(lambda: house.begun[:1] == ["0"])
                await house.say("peek 30")
                await house.until(lambda: len(house.begun) == 32)
                assert house.begun == ["0", *early, "peek 30"]
                house.gate("0").set()
                await house.until(lambda: len(house.said) == 331)
                assert [text for text in house.begun if "peek" not in text] == [str(number) for number in range(300)]

    async def test_a_command_that_could_not_be_stored_while_its_lane_was_looked_through_is_handled_again(
        self, open_journal: Callable[[], Any], clock: HandClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with open_journal() as journal:
            async with at_work(journal, clock, plan=PLAN, is_stopped=False) as house:
                letters = await house.store("peek", *(str(number) for number in range(120)))
            go_on, failed = asyncio.Event(), False
            true_read, true_complete = journal.read_waiting, journal.complete

            async def read(*arguments: Any, **options: Any) -> list[Letter]:
                page = await true_read(*arguments, **options)
                if options.get("limit") == 100:
                    await go_on.wait()
                return page

            def complete(sequence: int, *arguments: Any, **options: Any) -> asyncio.Future[Any]:
                nonlocal failed
                if sequence != letters[0].sequence or failed:
                    return true_complete(sequence, *arguments, **options)
                failed = True
                answer = asyncio.get_running_loop().create_future()
                answer.set_exception(StoreError("the disk is full"))
                return answer

            monkeypatch.setattr(journal, "read_waiting", read)
            monkeypatch.setattr(journal, "complete", complete)
            async with at_work(journal, clock, plan=PLAN) as house:
                house.gate("0")
                await house.until(lambda: failed)
                await house.rest()
                house.gate("0").set()
                for _ in range(8):
                    clock.advance(POLICIES.handler_backoff.first)
                    await house.rest()
                await house.until(lambda: "re peek" in house.said)
                go_on.set()
                await house.until(lambda: len(house.said) == 121)
                assert await house.states(letters) == [DONE] * 121

    async def test_a_message_that_is_cancelled_while_newer_ones_are_found_takes_no_other_away(
        self, house: LanesHouse, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looking, go_on = asyncio.Event(), asyncio.Event()
        true_read = house.journal.read_waiting

        async def read(*arguments: Any, **options: Any) -> list[Letter]:
            if options.get("after") and not looking.is_set():
                looking.set()
                await go_on.wait()
            return await true_read(*arguments, **options)

        monkeypatch.setattr(house.journal, "read_waiting", read)
        letters = await house.say("restart one", *[f"plain {number}" for number in range(60)], "restart two")
        await looking.wait()
        await house.say("stop")
        await house.until(lambda: "stop" in house.begun)
        go_on.set()
        await house.until(lambda: len(house.said) == 62)
        await house.rest()
        assert house.begun == ["stop", *(f"plain {number}" for number in range(60)), "restart two"]
        assert await house.states(letters) == [IGNORED] + [DONE] * 61

    async def test_a_command_that_is_found_in_the_journal_overtakes_too(
        self, open_journal: Callable[[], Any], clock: HandClock
    ) -> None:
        async with open_journal() as journal, at_work(journal, clock, plan=PLAN) as house:
            letters = await house.store("one", "two", "stop")
        async with open_journal() as journal, at_work(journal, clock, plan=PLAN) as house:
            house.gate("one")
            house.gate("two")
            await house.until(lambda: house.said == ["re stop"])
            house.gate("two").set()
            await house.until(lambda: house.said == ["re stop", "re two"])
            assert await house.states(letters) == [IGNORED, DONE, DONE]

    async def test_a_command_cancels_a_message_that_fails_just_then_and_waits_to_be_tried_again(
        self, house: LanesHouse, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        is_failing, has_looked, has_failed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        true_fail, true_read = house.journal.fail, house.journal.read_waiting

        async def fail(*arguments: Any, **options: Any) -> Letter | None:
            is_failing.set()
            await has_looked.wait()
            stored = await true_fail(*arguments, **options)
            has_failed.set()
            return stored

        async def read(*arguments: Any, **options: Any) -> list[Letter]:
            page = await true_read(*arguments, **options)
            if is_failing.is_set() and not has_looked.is_set():  # the command sees it as it was before
                has_looked.set()
                await has_failed.wait()
            return page

        async def handle(text: str, letter: Letter) -> None:
            if text == "work":
                raise ValueError("a bad moment")

        monkeypatch.setattr(house.journal, "fail", fail)
        monkeypatch.setattr(house.journal, "read_waiting", read)
        house.handler = handle
        letters = await house.say("work", "more")
        await is_failing.wait()
        letters += await house.say("stop")
        await house.until(lambda: sorted(house.said) == ["re more", "re stop"])
        assert house.begun.count("work") == 1  # though no time has passed
        await house.rest()
        assert await house.states(letters) == [IGNORED, DONE, DONE]

    async def test_nothing_goes_past_a_message_while_it_is_not_known_whether_a_command_cancelled_it(
        self, house: LanesHouse, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        is_failing, has_looked, has_failed, may_answer = (asyncio.Event() for _ in range(4))
        true_fail, true_read, true_complete = house.journal.fail, house.journal.read_waiting, house.journal.complete
        refused: list[asyncio.Future[Any]] = []

        async def fail(*arguments: Any, **options: Any) -> Letter | None:
            is_failing.set()
            await has_looked.wait()
            stored = await true_fail(*arguments, **options)
            has_failed.set()
            return stored

        async def read(*arguments: Any, **options: Any) -> list[Letter]:
            page = await true_read(*arguments, **options)
            if is_failing.is_set() and not has_looked.is_set():  # the command sees it as it was before
                has_looked.set()
                await has_failed.wait()
            return page

        def complete(*arguments: Any, **options: Any) -> asyncio.Future[Any]:
            answer = true_complete(*arguments, **options)
            if options.get("ignored") is None or refused:
                return answer

            async def answered() -> Any:
                result = await answer
                await may_answer.wait()
                return result

            refused.append(asyncio.ensure_future(answered()))
            return refused[0]

        async def handle(text: str, letter: Letter) -> None:
            if text == "work":
                raise ValueError("a bad moment")

        monkeypatch.setattr(house.journal, "fail", fail)
        monkeypatch.setattr(house.journal, "read_waiting", read)
        monkeypatch.setattr(house.journal, "complete", complete)
        house.handler = handle
        letters = await house.say("work", "more")
        await is_failing.wait()
        letters += await house.say("stop")
        await house.until(lambda: bool(refused))
        for _ in range(5):
            house.clock.advance(5.0)
            await house.rest()
        assert "more" not in house.begun
        may_answer.set()
        await house.until(lambda: sorted(house.said) == ["re more", "re stop"])
        await house.rest()
        assert await house.states(letters) == [IGNORED, DONE, DONE]

    async def test_a_command_cancels_a_message_while_newer_ones_are_looked_for_in_the_journal(
        self, house: LanesHouse, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looking, go_on = asyncio.Event(), asyncio.Event()
        true_read = house.journal.read_waiting

        async def read(*arguments: Any, **options: Any) -> list[Letter]:
            if options.get("after") and not looking.is_set():
                looking.set()
                await go_on.wait()
            return await true_read(*arguments, **options)

        monkeypatch.setattr(house.journal, "read_waiting", read)
        letters = await house.say("restart one", *[f"plain {number}" for number in range(60)])
        await looking.wait()
        letters += await house.say("stop")
        await house.until(lambda: "stop" in house.begun)
        go_on.set()
        await house.until(lambda: len(house.said) == 61)
        assert "restart one" not in house.begun
        await house.rest()
        assert await house.states(letters) == [IGNORED] + [DONE] * 61

    async def test_a_command_behind_something_that_could_not_be_stored_is_handled_once_more_with_its_lane(
        self, house: LanesHouse, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        true_complete = house.journal.complete
        failures = 0

        def complete(*arguments: Any, **options: Any) -> asyncio.Future[Any]:
            nonlocal failures
            failures += 1
            if failures > 1:
                return true_complete(*arguments, **options)
            answer = asyncio.get_running_loop().create_future()
            answer.set_exception(StoreError("the disk is full"))
            return answer

        monkeypatch.setattr(house.journal, "complete", complete)
        gate = house.gate("peek")
        await house.rest()  # a lane that has more to read from before would begin anew at once
        letters = await house.say("peek", "one")
        await house.until(lambda: sorted(house.begun) == ["one", "peek"])
        await house.until(lambda: house.clock.sleepers == 1)  # the lane begins anew in a moment
        house.clock.advance(POLICIES.handler_backoff.first / 2)  # so that the command would come after that
        gate.set()
        await house.rest()
        assert house.said == []
        for _ in range(8):
            house.clock.advance(POLICIES.handler_backoff.first / 4)
            await house.rest()
        await house.until(lambda: len(house.said) == 2)
        await house.rest()
        assert sorted(house.said) == ["re one", "re peek"]
        assert house.begun.count("peek") == 2
        assert await house.states(letters) == [DONE, DONE]


class TestStopping:
    @pytest.mark.parametrize("kind", ["plain", "restart", "drop", "peek", "stop"])
    async def test_a_handler_that_does_not_end_in_time_is_cut_off_and_runs_again(
        self, open_journal: Callable[[], Any], clock: HandClock, kind: str
    ) -> None:
        async with open_journal() as journal, at_work(journal, clock, plan=PLAN) as house:
            house.gate(kind)
            letters = await house.say(kind)
            await house.until(lambda: house.begun == [kind])
            await house.lanes.drain(0)
            assert await house.states(letters) == [WAITING]
        async with open_journal() as journal, at_work(journal, clock, plan=PLAN) as house:
            await house.until(lambda: house.said == [f"re {kind}"])

    async def test_a_handler_may_finish_while_the_bot_stops(
        self, open_journal: Callable[[], Any], clock: HandClock
    ) -> None:
        async with open_journal() as journal, at_work(journal, clock, plan=PLAN) as house:
            house.gate("peek")
            house.gate("one")
            letters = await house.say("one", "peek")
            await house.until(lambda: sorted(house.begun) == ["one", "peek"])
            draining = asyncio.ensure_future(house.lanes.drain(10))
            await house.rest()
            assert not draining.done()
            house.gate("peek").set()
            house.gate("one").set()
            await draining
            assert await house.states(letters) == [DONE, DONE]

    async def test_waiting_for_more_messages_does_not_hold_the_stop_up(
        self, open_journal: Callable[[], Any], clock: HandClock
    ) -> None:
        async with open_journal() as journal, at_work(journal, clock, plan=PLAN) as house:
            letters = await house.say("merge 1")
            await house.until(lambda: clock.sleepers == 1)
            await house.lanes.drain(10)
            assert await house.states(letters) == [WAITING]

    async def test_a_handler_that_is_superseded_and_stopped_at_once_is_decided_about_later(
        self, open_journal: Callable[[], Any], clock: HandClock
    ) -> None:
        async with open_journal() as journal, at_work(journal, clock, plan=PLAN) as house:
            house.gate("restart 1")
            letters = await house.say("restart 1")
            await house.until(lambda: house.begun == ["restart 1"])
            letters += await house.say("restart 2")
            house.lanes.cancel()
            await house.rest()
            assert await house.states(letters) == [WAITING, WAITING]
        async with open_journal() as journal, at_work(journal, clock, plan=PLAN) as house:
            await house.until(lambda: house.said == ["re restart 2"])
            assert await house.states(letters) == [IGNORED, DONE]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "sometimes"}, "sometimes"),
        ({"merge_seconds": 0}, "merge_seconds"),
        ({"merge_most_messages": -1}, "merge_most_messages"),
        ({"seconds": 0}, "seconds=0"),
        ({"cancels_running": True}, "overtakes=True"),
        ({"overtakes": True, "mode": "merge"}, "merge"),
    ],
)
def test_a_policy_that_means_nothing_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        LanePolicy(**options)
