"""Time as a bot needs it: the client's, and the time of day for what is kept across restarts."""

from __future__ import annotations

import time
from typing import Protocol

from ilink.client.clock import Clock as LoopClock
from ilink.client.clock import SystemClock

__all__ = ["Clock", "WallClock"]


class Clock(LoopClock, Protocol):
    """Where a bot takes its time from."""

    def now_ms(self) -> int:
        """Return the time of day in milliseconds since 1970, in UTC."""
        ...


class WallClock(SystemClock):
    """The clocks of the running event loop and of the machine."""

    def now_ms(self) -> int:
        """Return the machine's time of day in milliseconds since 1970."""
        return time.time_ns() // 1_000_000
