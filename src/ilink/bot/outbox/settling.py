"""What became of messages on its way to the journal."""

from __future__ import annotations

import logging
from asyncio import Future, wait
from collections.abc import Callable

from ilink.bot.clock import Clock
from ilink.bot.outbox.lane import OutLane
from ilink.storage.journal import Journal, Outcome

__all__ = ["Settling"]

_log = logging.getLogger(__name__)


class Settling:
    """Hands outcomes to the journal, without waiting for it; what it could not store is handed over again.

    Args:
        journal: Where outcomes are kept.
        clock: Source of time.
        backoff: Seconds before what could not be stored is handed over again.
        on_stored: Called when an outcome is stored.
        on_lost: Called when one could not be stored; whoever works on the lane next waits for `finish`.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        clock: Clock,
        backoff: float,
        on_stored: Callable[[OutLane, Outcome], None],
        on_lost: Callable[[OutLane], None],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._backoff = backoff
        self._on_stored = on_stored
        self._on_lost = on_lost

    def hand_over(self, lane: OutLane, outcome: Outcome, *, now_ms: int) -> None:
        """Give an outcome to the journal."""

        def look(settling: Future[None]) -> None:
            if settling.cancelled() or settling.exception() is not None:
                lane.has_lost = True
                self._on_lost(lane)
            elif lane.unsettled.get(outcome.out_sequence) is outcome:
                del lane.unsettled[outcome.out_sequence]
                self._on_stored(lane, outcome)

        lane.unsettled[outcome.out_sequence] = outcome
        lane.settling = self._journal.settle(outcome, now_ms=now_ms)
        lane.settling.add_done_callback(look)

    async def finish(self, lane: OutLane) -> None:
        """Wait until the journal knows everything that was done in a lane."""
        while lane.unsettled and lane.settling is not None:
            await wait([lane.settling])
            if lane.has_lost:
                _log.warning("cannot store what became of %d messages, trying again", len(lane.unsettled))
                await self._clock.sleep(self._backoff)
                lane.has_lost = False
                for outcome in list(lane.unsettled.values()):
                    self.hand_over(lane, outcome, now_ms=self._clock.now_ms())
        lane.has_lost = False
