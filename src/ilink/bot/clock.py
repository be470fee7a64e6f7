"""Time as a bot needs it: the client's, the time of day for what is kept across restarts, and time asleep."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Final, Protocol

from ilink.client.clock import Clock as LoopClock
from ilink.client.clock import SystemClock

__all__ = ["Clock", "SteadyClock", "WallClock"]

_SET: Final = 2_000
"""Milliseconds by which a machine's clock may differ between two looks without having been set: clocks are trimmed."""


class Clock(LoopClock, Protocol):
    """Where a bot takes its time from."""

    def now_ms(self) -> int:
        """Return the time of day in milliseconds since 1970, in UTC."""
        ...

    def uptime(self) -> float:
        """Return seconds since some fixed moment, those the machine slept through included; nobody can set it."""
        ...


class WallClock(SystemClock):
    """The clocks of the running event loop and of the machine."""

    def now_ms(self) -> int:
        """Return the machine's time of day in milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def uptime(self) -> float:
        """Return the seconds since the machine was started, asleep or not."""
        return _uptime()


class SteadyClock:
    """A time of day that goes on evenly when somebody sets the machine's clock.

    Windows, due times and expiry are differences of two times; a clock that was set between the two makes nonsense of
    them. So the machine's time of day is followed while it goes as fast as time does, sleep included; when it jumps,
    this clock goes on as before and stays apart by the gap until the process ends.

    Args:
        clock: The machine's clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen_ms: int | None = None
        self._seen_at = 0.0

    def now_ms(self) -> int:
        """Return the time of day as it would be if nobody had set the clock."""
        at, wall_ms = self._clock.uptime(), self._clock.now_ms()
        now_ms = wall_ms if self._seen_ms is None else self._seen_ms + round((at - self._seen_at) * 1000)
        if abs(wall_ms - now_ms) <= _SET:
            now_ms = wall_ms
        self._seen_ms, self._seen_at = now_ms, at
        return now_ms

    def gap_ms(self) -> int:
        """Return how far the machine's time of day is ahead of this one; 0 when it was not set."""
        return self._clock.now_ms() - self.now_ms()

    def uptime(self) -> float:
        """Return seconds since some fixed moment, those the machine slept through included."""
        return self._clock.uptime()

    def monotonic(self) -> float:
        """Return seconds since some fixed moment; they never run backwards."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._clock.sleep(seconds)


# Asked several times for each message, so without a call of Python's own in between.
if sys.platform == "linux":
    _uptime = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
elif sys.platform == "darwin":
    # Unlike Python's `monotonic`, which stands still while a Mac sleeps.
    _uptime = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
else:
    _uptime = time.monotonic
