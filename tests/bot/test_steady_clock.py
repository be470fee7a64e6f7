"""The bot's time of day goes on evenly when somebody sets the machine's."""

from __future__ import annotations

import time

from bot_house import HastyClock

from ilink.bot.clock import SteadyClock, WallClock


class StillClock(HastyClock):
    """Stands still unless it is moved."""

    def now_ms(self) -> int:
        return 1_790_000_000_000 + self.ahead_ms + self.set_ms

    def uptime(self) -> float:
        return 5_000 + self.ahead_ms / 1000


def test_time_that_passes_counts_asleep_or_not() -> None:
    clock = StillClock()
    steady = SteadyClock(clock)
    before = steady.now_ms()
    clock.ahead_ms += 86_400_000
    assert steady.now_ms() - before == 86_400_000
    assert steady.gap_ms() == 0


def test_a_clock_that_is_set_changes_nothing_but_the_gap() -> None:
    clock = StillClock()
    steady = SteadyClock(clock)
    before = steady.now_ms()
    for set_ms in (86_400_000, -86_400_000, 2_001, -2_001):
        clock.set_ms = set_ms
        clock.ahead_ms += 1_000
        assert steady.now_ms() - before == clock.ahead_ms
        assert steady.gap_ms() == set_ms
    clock.set_ms = 0
    assert steady.gap_ms() == 0


def test_a_clock_that_is_trimmed_is_followed() -> None:
    clock = StillClock()
    steady = SteadyClock(clock)
    for _ in range(100):
        clock.set_ms += 1_500
        assert steady.now_ms() == clock.now_ms()


def test_the_machines_uptime_goes_on() -> None:
    clock = WallClock()
    before = clock.uptime()
    assert before > 0
    while clock.uptime() <= before:
        time.sleep(0)
