"""Time that tests move: the gateway's clock, for tests and for the bots under test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from ilink.gateway.service import Gateway

__all__ = ["BotClock", "GatewayClock"]


class GatewayClock:
    """The gateway's own time, which windows, codes, tickets, tokens, held polls and bots under test live by."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @property
    def now(self) -> datetime:
        """What it shows, aware and in UTC."""
        return self._gateway.now

    async def advance(
        self, *, seconds: float = 0.0, minutes: float = 0.0, hours: float = 0.0, days: float = 0.0
    ) -> None:
        """Move it forward, at once: what was to come by then comes now, the answers of held polls too.

        A jump is one step. What a bot does several times in that time, a daily job for three days say, it finds due
        when it looks next; advance day by day to see every day.
        """
        clock = self._gateway.state.clock
        was_frozen = clock.is_frozen
        clock.freeze()  # while it stands still, pauses such as held polls are shortened by a jump as well
        try:
            await self._gateway.advance_clock(seconds + 60 * minutes + 3600 * hours + 86_400 * days)
        finally:
            if not was_frozen:
                clock.unfreeze()

    async def freeze(self) -> None:
        """Stop it."""
        await self._gateway.freeze_clock(frozen=True)

    async def run_on(self) -> None:
        """Let it run on from where it stands."""
        await self._gateway.freeze_clock(frozen=False)


class BotClock:
    """The gateway's time as a bot under test lives by it: its pauses end when a test moves the time."""

    def __init__(self, gateway: Gateway) -> None:
        self._clock = gateway.state.clock

    def now_ms(self) -> int:
        """Return the milliseconds since 1970."""
        return self._clock.now_ms()

    def monotonic(self) -> float:
        """Return seconds; a jump of the gateway's clock counts as time that passed."""
        return self._clock.now()

    def uptime(self) -> float:
        """Return the same seconds: this machine never sleeps."""
        return self._clock.now()

    async def sleep(self, seconds: float) -> None:
        """Wait until the gateway's clock has gone on by so much."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        is_over = asyncio.Event()
        alarm = self._clock.at(self._clock.now() + seconds, is_over.set)
        try:
            await is_over.wait()
        finally:
            alarm.cancel()
