"""Looks through lanes for the messages that overtake: those of before are handled ahead of those that come now."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import islice
from typing import Final

from ilink.bot.lane_plans import LetterLane, Plans
from ilink.bot.scheduler import Scheduler
from ilink.errors import StoreError
from ilink.storage.journal import Journal, Letter

__all__ = ["Looks"]

_log = logging.getLogger(__name__)

_PAGE: Final = 100
"""Messages that are read at a time."""


class Looks:
    """Finds messages that overtake where a lane has not come yet.

    Args:
        journal: Where messages wait.
        scheduler: Lets their lanes take turns.
        plans: Tells which overtake.
        overtake: Handles one beside its lane; False when too many do so already.
        backoff: Seconds between two looks at a journal that cannot be read.
    """

    def __init__(
        self,
        journal: Journal,
        scheduler: Scheduler[Letter, LetterLane],
        plans: Plans,
        overtake: Callable[[LetterLane, Letter], bool],
        *,
        backoff: float,
    ) -> None:
        self._journal = journal
        self._scheduler = scheduler
        self._plans = plans
        self._overtake = overtake
        self._backoff = backoff
        self._running = 0

    @property
    def running(self) -> int:
        """How many lanes are being looked through."""
        return self._running

    def is_needed(self, lane: LetterLane) -> bool:
        """Whether messages that overtake may wait in a lane that nobody has seen, or that found no place."""
        if lane.wants_look or lane.is_looking or lane.starts_over:
            return True
        return not lane.is_looked and (lane.has_more or self._scheduler.is_unread(lane))

    def note_seen(self, lane: LetterLane) -> None:
        """Take note that a message has come: where all before it were seen, those that stay in the journal are too."""
        if not self.is_needed(lane):
            lane.is_looked = True

    def take(self, lane: LetterLane, letter: Letter) -> bool:
        """Handle a message that overtakes and has just come; False when it is found in its lane, after older ones."""
        if not self.is_needed(lane):
            return self._overtake(lane, letter)
        lane.wants_look = True
        self.look(lane)
        return False

    def look(self, lane: LetterLane, *, after: float = 0.0) -> None:
        """Begin to look through a lane, beside it; one that lost something is read anew first."""
        if not lane.is_looking and not lane.has_lost:
            lane.is_looking = True
            self._scheduler.run_beside(lambda: self._look(lane), after=after)

    async def _look(self, lane: LetterLane) -> None:
        self._running += 1
        try:
            has_seen_all = await self._see_all(lane)
        except StoreError as error:
            _log.warning("cannot read the journal, trying again: %s", error)
            lane.is_looking, lane.wants_look = False, True
            self.look(lane, after=self._backoff)
            return
        finally:
            self._running -= 1
        lane.is_looking, lane.is_looked = False, has_seen_all
        if not has_seen_all and not lane.commands:  # else it is looked again when those are done
            self.look(lane, after=self._backoff)
        self._scheduler.forget(lane)

    async def _see_all(self, lane: LetterLane) -> bool:
        while True:
            lane.wants_look = False
            if not self._take_those_of_memory(lane) or not await self._take_those_of_journal(lane):
                lane.wants_look = True
                return False
            if not lane.wants_look:  # by one that came meanwhile
                return True

    def _take_those_of_memory(self, lane: LetterLane) -> bool:
        """Take those that found no place before; the first one has its turn. False when there is no place again."""
        waiting = list(islice(lane.waiting, 1, None))
        return all(self._overtake(lane, letter) for letter in waiting if self._plans.overtakes(letter))

    async def _take_those_of_journal(self, lane: LetterLane) -> bool:
        """Take those behind what is in memory; False when there is no place for more."""
        # What is in memory is read anew when it starts over; who runs meanwhile is one of those.
        starts_over = lane.starts_over and lane.running is None
        after = 0 if starts_over else lane.read_to
        while True:
            with lane.reading():
                page = await self._journal.read_waiting(lane.conversation, after=after, limit=_PAGE)
            for letter in page:
                # Else its lane has read it meanwhile, and taken it.
                is_unread = starts_over or letter.sequence > lane.read_to
                if is_unread and self._plans.overtakes(letter) and not self._overtake(lane, letter):
                    return False
            if len(page) < _PAGE:
                return True
            after = page[-1].sequence
