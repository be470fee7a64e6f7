"""What clocks tell when they are read now and again: the machine slept, the program stood still, the clock was set.

Values in, values out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Gap", "Reading", "compare"]

STALL: Final = 10.0
"""Seconds by which a program may be late without anything being wrong; a busy machine is late by one or two."""

SLEEP: Final = 5.0
SET: Final = 5.0
"""Seconds by which clocks may differ between two readings; they are read one after the other, and trimmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Three clocks at one moment.

    Attributes:
        monotonic: Seconds that do not count sleep, as the event loop's timers see them.
        uptime: Seconds that do, where the platform has such a clock.
        wall_ms: The time of day in milliseconds since 1970, which somebody may set.
    """

    monotonic: float
    uptime: float
    wall_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What happened between two readings, in seconds; 0 for what did not.

    Attributes:
        slept: The machine slept so long.
        stalled: The program was late by so much: it was stopped, or something blocked it.
        jumped: The time of day was set forward by so much, or back if this is negative. Without a clock that counts
            sleep, sleep looks like this too.
    """

    slept: float = 0.0
    stalled: float = 0.0
    jumped: float = 0.0

    @property
    def is_absence(self) -> bool:
        """Whether the program may have been away, so that what it waits for may never come."""
        return self.slept > 0 or self.stalled > 0 or self.jumped > 0


def compare(before: Reading, now: Reading, *, asked: float) -> Gap | None:
    """Return what happened between two readings; None when nothing did.

    Args:
        before: The one.
        now: The other.
        asked: How many seconds the program meant to wait between them.
    """
    awake = now.monotonic - before.monotonic
    passed = now.uptime - before.uptime
    jumped = (now.wall_ms - before.wall_ms) / 1000 - passed
    gap = Gap(
        slept=passed - awake if passed - awake >= SLEEP else 0.0,
        stalled=awake - asked if awake - asked >= STALL else 0.0,
        jumped=jumped if abs(jumped) >= SET else 0.0,
    )
    return None if gap == Gap() else gap
