"""A look at the clocks every few seconds: whoever sleeps does not notice it otherwise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from ilink.bot.clock import Clock
from ilink.flows.clocks import Gap, Reading, compare

__all__ = ["Watch"]

_TICK: Final = 5.0
"""Seconds between two looks; a poll after sleep begins no later than this."""


class Watch:
    """Tells when the machine slept, the program stood still or the clock was set.

    Args:
        clock: The machine's clocks.
        on_gap: Called with what happened.
        on_look: Called at every look, for what else has to be looked at now and again.
    """

    def __init__(self, clock: Clock, *, on_gap: Callable[[Gap], None], on_look: Callable[[], Awaitable[None]]) -> None:
        self._clock = clock
        self._on_gap = on_gap
        self._on_look = on_look

    async def run(self) -> None:
        """Look, until cancelled."""
        before = self._read()
        while True:
            await self._clock.sleep(_TICK)
            now = self._read()
            gap = compare(before, now, asked=_TICK)
            before = now
            if gap is not None:
                self._on_gap(gap)
            await self._on_look()

    def _read(self) -> Reading:
        clock = self._clock
        return Reading(monotonic=clock.monotonic(), uptime=clock.uptime(), wall_ms=clock.now_ms())
