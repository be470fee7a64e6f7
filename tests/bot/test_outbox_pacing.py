"""Messages keep their distance, and none of them comes in a burst."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from bot_house import FAST, Server, running

from ilink import Bot, Message
from ilink.bot.clock import WallClock
from ilink.bot.outbox.lane import OutLane
from ilink.bot.outbox.pacing import Pacer

Make = Callable[..., Bot]


class StillClock(WallClock):
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def pacer(clock: StillClock, *, conversation: float = 0.0, account: float = 0.0) -> Pacer:
    return Pacer(conversation_seconds=conversation, account_seconds=account, clock=clock, random=Random(1))


def send_at(clock: StillClock, pacer: Pacer, lane: OutLane) -> float:
    """Wait as a sender does, and return when the message goes out."""
    for _ in range(100):
        seconds = pacer.delay(lane)
        if not seconds:
            return clock.now
        clock.now += seconds
    raise AssertionError("it never may go out")


def test_without_a_distance_everything_may_go_out() -> None:
    clock = StillClock()
    paced, lane = pacer(clock), OutLane("a")
    assert [paced.delay(lane) for _ in range(3)] == [0, 0, 0]


def test_messages_of_a_conversation_keep_their_distance_with_jitter() -> None:
    clock = StillClock()
    paced, lane = pacer(clock, conversation=4), OutLane("a")
    times = [send_at(clock, paced, lane) for _ in range(20)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert times[0] == 100
    assert all(4 <= gap <= 5.01 for gap in gaps)
    assert len({round(gap, 6) for gap in gaps}) > 15


def test_a_distance_holds_when_the_lane_is_forgotten_in_between() -> None:
    clock = StillClock()
    paced = pacer(clock, conversation=4)
    assert send_at(clock, paced, OutLane("a")) == 100
    assert send_at(clock, paced, OutLane("b")) == 100
    assert send_at(clock, paced, OutLane("a")) >= 104


def test_conversations_share_the_distance_of_the_account() -> None:
    clock = StillClock()
    paced = pacer(clock, account=2)
    lanes = [OutLane(str(number)) for number in range(10)]
    waits = [paced.delay(lane) for lane in lanes]
    assert waits[0] == 0
    gaps = [later - earlier for earlier, later in pairwise(waits)]
    assert all(2 <= gap <= 2.5 for gap in gaps)


def test_a_message_that_was_late_keeps_the_next_one_away() -> None:
    clock = StillClock()
    paced = pacer(clock, account=2)
    first, second = OutLane("a"), OutLane("b")
    assert send_at(clock, paced, OutLane("c")) == 100
    paced.delay(first)
    paced.delay(second)
    clock.now = 104.9
    assert paced.delay(first) == 0
    assert paced.delay(second) == pytest.approx(2)


def test_a_place_that_was_given_back_does_not_come_back_in_a_burst() -> None:
    clock = StillClock()
    paced = pacer(clock, account=2)
    lanes = [OutLane(str(number)) for number in range(5)]
    for lane in lanes:
        paced.delay(lane)
        paced.give_back(lane)
    clock.now += 1_000
    waits = [paced.delay(lane) for lane in lanes]
    assert waits[0] == 0
    assert all(2 <= later - earlier <= 2.5 for earlier, later in pairwise(waits))


def test_what_is_remembered_of_conversations_is_bounded() -> None:
    clock = StillClock()
    paced = pacer(clock, conversation=1)
    for number in range(1_000):
        clock.now += 0.5
        paced.delay(OutLane(str(number)))
    assert len(paced._sent) < 5


@pytest.mark.parametrize("setting", ["spacing_seconds", "account_spacing_seconds"])
async def test_a_bot_keeps_the_distance(server: Server, folder: Path, setting: str) -> None:
    bot = Bot(
        data=folder,
        open_client=server.open,
        environ={},
        allow="anyone",
        policies=replace(FAST, **{setting: 0.03}),
        clock=WallClock(),
    )
    sent_at: list[float] = []
    server.fault_for = lambda _message: sent_at.append(time.monotonic())  # type: ignore[func-returns-value]

    @bot.on_text()
    async def answer(message: Message) -> None:
        for number in range(4):
            await message.reply(str(number))

    async with running(bot):
        server.says("a", "hi")
        await server.until(lambda: len(server.sent) == 4)
    assert server.heard("a") == ["0", "1", "2", "3"]
    assert all(later - earlier >= 0.03 - 1e-6 for earlier, later in pairwise(sent_at))
