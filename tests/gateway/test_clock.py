"""The gateway's time: moments come by jumps, pauses only while it is frozen."""

from __future__ import annotations

import asyncio

import pytest

from ilink.gateway.clock import Clock


class RealTime:
    """The time that a clock stands on, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def real() -> RealTime:
    return RealTime()


@pytest.fixture
def clock(real: RealTime) -> Clock:
    return Clock(wall=lambda: 1_790_000_000.0, monotonic=real)


def test_time_is_real_until_somebody_moves_it(clock: Clock, real: RealTime) -> None:
    assert clock.now() == 1_790_000_000.0
    real.seconds += 2.5
    assert clock.now_ms() == 1_790_000_002_500
    clock.advance(90_000)
    assert clock.now() == 1_790_090_002.5


def test_a_frozen_clock_stands_and_goes_on_from_there(clock: Clock, real: RealTime) -> None:
    clock.freeze()
    real.seconds += 100
    assert clock.now() == 1_790_000_000.0
    clock.advance(7)
    clock.unfreeze()
    assert clock.now() == 1_790_000_007.0
    real.seconds += 1
    assert clock.now() == 1_790_000_008.0


def test_a_reset_to_a_moment_stands_there_exactly_and_runs_on_from_there(clock: Clock, real: RealTime) -> None:
    shown = set[float]()
    for real.seconds in (0.1234567, 3333.3, 98765.4321, 1e6 / 7):
        clock.reset(2.0**30 + 0.05)  # near a power of two, where numbers round differently on both sides
        for _ in range(10):
            clock.advance(0.1)
        shown.add(clock.now())
    assert len(shown) == 1
    clock.unfreeze()
    real.seconds += 2.5
    assert clock.now() == pytest.approx(2.0**30 + 3.55)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_time_only_moves_forward(clock: Clock, seconds: float) -> None:
    with pytest.raises(ValueError, match="forward"):
        clock.advance(seconds)


async def test_a_jump_reaches_moments_in_their_order_and_no_pause(clock: Clock) -> None:
    rung: list[str] = []
    clock.at(clock.now() + 20, lambda: rung.append("late"))
    clock.at(clock.now() + 10, lambda: rung.append("early"))
    clock.at(clock.now() + 30, lambda: rung.append("never"))
    clock.after(1, lambda: rung.append("pause"))
    clock.advance(20)
    assert rung == ["early", "late"]


async def test_pauses_of_a_frozen_clock_end_by_jumps(clock: Clock, real: RealTime) -> None:
    rung: list[str] = []
    clock.freeze()
    clock.after(30, lambda: rung.append("pause"))
    real.seconds += 100
    clock.advance(29)
    assert rung == []
    clock.advance(1)
    assert rung == ["pause"]


async def test_a_pause_goes_on_where_it_stood_when_the_clock_runs_again(clock: Clock, real: RealTime) -> None:
    rung: list[str] = []
    clock.after(30, lambda: rung.append("pause"))
    real.seconds += 20
    clock.freeze()
    real.seconds += 1000
    clock.unfreeze()
    real.seconds += 9
    clock.freeze()
    clock.advance(0)
    assert rung == []
    clock.advance(1)
    assert rung == ["pause"]


async def test_a_cancelled_alarm_never_rings(clock: Clock) -> None:
    rung: list[int] = []
    alarms = [clock.at(clock.now() + 1, lambda n=n: rung.append(n)) for n in range(3000)]
    for alarm in alarms[:2999]:
        alarm.cancel()
        alarm.cancel()
    clock.advance(1)
    assert rung == [2999]


async def test_real_time_rings_without_a_jump() -> None:
    clock = Clock()
    rung = asyncio.Event()
    clock.at(clock.now() + 0.01, rung.set)
    await rung.wait()
    await clock.pause(0.001)
