"""How the handling of messages ends: what is handed to the journal then, and what its answer means to their lane."""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from ilink.bot.clock import Clock
from ilink.bot.error_text import error_text
from ilink.bot.handled import Handled
from ilink.bot.lane_plans import LetterLane
from ilink.bot.scheduler import Pause, Scheduler
from ilink.bot.settings import Policies
from ilink.errors import StoreError
from ilink.storage.journal import Completed, Journal, Letter, Outgoing

__all__ = ["PARKED", "Endings", "Retry", "again"]

_log = logging.getLogger(__name__)

PARKED: Final = Pause("parked")
"""A message that failed too often holds its lane up."""


@dataclass(frozen=True, slots=True)
class Retry:
    """A message is not finished.

    Attributes:
        pause: How long it has to wait.
        letter: The message as it is now.
    """

    pause: Pause
    letter: Letter


class Endings:
    """Stores how the handling of messages ended.

    Args:
        journal: Where messages wait.
        scheduler: Lets their lanes take turns.
        send: Called with what is to be sent once it is stored.
        policies: What happens when something does not work.
        clock: Source of time.
        random: Source of jitter.
        on_dead: Called with a message that was given up.
        on_due: Called with the moment when a conversation is to be looked at though nobody writes, once that is stored.
        on_parked: Called with a message that failed too often and holds its lane up.
    """

    def __init__(
        self,
        journal: Journal,
        scheduler: Scheduler[Letter, LetterLane],
        send: Callable[[Sequence[Outgoing]], None],
        *,
        policies: Policies,
        clock: Clock,
        random: Random,
        on_dead: Callable[[Letter, BaseException | None], None],
        on_due: Callable[[int], None],
        on_parked: Callable[[Letter], None],
    ) -> None:
        self._journal = journal
        self._scheduler = scheduler
        self._send = send
        self._policies = policies
        self._clock = clock
        self._random = random
        self._on_dead = on_dead
        self._on_due = on_due
        self._on_parked = on_parked

    async def settle(self, lane: LetterLane) -> None:
        """Wait until the journal has answered every completion of a lane, and the lane knows."""
        if lane.storing is not None and lane.unstored:
            await asyncio.wait([lane.storing])  # an answer that is there is taken in the next turn of the event loop

    def finish(
        self, lane: LetterLane, letters: Sequence[Letter], handled: Handled, *, ignored: str | None = None
    ) -> bool:
        """Hand the end of messages to the journal; False when the lane has to start over.

        What follows something that could not be stored is not stored either.
        """
        if lane.has_lost:
            lane.starts_over = True
            lane.take_back(letters)
            return False
        letter = letters[0]
        lane.unstored += 1
        lane.storing = self._journal.complete(
            letter.sequence,
            letter.claim,
            drafts=handled.drafts,
            state=handled.state,
            now_ms=self._clock.now_ms(),
            due_ms=handled.due_ms,
            expires_ms=handled.expires_ms,
            others=_runs_of(letters[1:]) if len(letters) > 1 else (),
            ignored=ignored,
        )
        lane.storing.add_done_callback(lambda done: self._finished(lane, letters, handled, done))
        return True

    def _finished(self, lane: LetterLane, letters: Sequence[Letter], handled: Handled, done: Future[Completed]) -> None:
        """Take the journal's answer to the end of messages."""
        lane.unstored -= 1
        was_in_hand = bool(lane.in_hand) and lane.let_go(letters)
        if done.cancelled():
            return
        sequence = letters[-1].sequence
        if (error := done.exception()) is not None:
            lane.take_back(letters)
            _log.warning("cannot store that message %d was handled, it will be again: %s", sequence, error)
            lane.starts_over = True
            if not lane.is_placed and lane.pause is None and not self._scheduler.is_stopped:
                self._scheduler.rest(lane, again(self._policies.handler_backoff.first))
            return
        completed = done.result()
        if not completed.is_accepted:
            _log.info("message %d was completed by another run", sequence)
            if was_in_hand:  # or it failed just then and waits to be handled again: only the journal knows
                lane.starts_over = True
                lane.late.difference_update(letter.sequence for letter in letters)
        elif handled.due_ms is not None:
            self._on_due(handled.due_ms)
        self._send(completed.outgoing)
        self._scheduler.forget(lane)

    async def fail(
        self, lane: LetterLane, letters: Sequence[Letter], error: BaseException, *, may_park: bool
    ) -> Retry | None:
        """Store a failed run; return how long the next one has to wait."""
        letter = letters[0]
        if isinstance(error, StoreError) or isinstance(error.__cause__, StoreError):
            # The disk failed, not the handler: it would be a pity to give a message up for that.
            _log.warning("message %d could not be handled, trying again: %s", letter.sequence, error)
            return Retry(again(self._policies.handler_backoff.first), letter)
        attempt = letter.attempts + 1
        words = error_text(error)
        _log.warning("handling message %d failed, attempt %d: %s", letter.sequence, attempt, words, exc_info=error)
        is_last = attempt >= self._policies.attempts
        return await self._store_failure(lane, letters, words, error, is_last=is_last, may_park=may_park)

    async def give_up(self, lane: LetterLane, letters: Sequence[Letter], why: str, *, may_park: bool) -> Retry | None:
        """Store that messages are not tried again; see `fail`."""
        return await self._store_failure(lane, letters, why, None, is_last=True, may_park=may_park)

    async def _store_failure(
        self,
        lane: LetterLane,
        letters: Sequence[Letter],
        words: str,
        error: BaseException | None,
        *,
        is_last: bool,
        may_park: bool,
    ) -> Retry | None:
        letter = letters[0]
        backoff = self._policies.handler_backoff
        pause = backoff.delay(letter.attempts + 1, jitter=self._random.random())
        now_ms = self._clock.now_ms()
        parks = is_last and may_park and self._policies.on_failure == "park"
        # What was handled before is stored first, so that a failure never overtakes a success of its lane.
        await self.settle(lane)
        if lane.has_lost:
            lane.starts_over = True
            return Retry(again(backoff.first), letter)
        try:
            stored = await self._journal.fail(
                letter.sequence,
                letter.claim,
                error=words,
                due_ms=None if is_last else now_ms + int(pause * 1000),
                now_ms=now_ms,
                others=_runs_of(letters[1:]),
                is_parked=parks,
            )
        except StoreError as store_error:
            _log.warning("cannot store that message %d failed: %s", letter.sequence, store_error)
            return Retry(again(backoff.first), letter)
        if stored is not None and not is_last:
            return Retry(again(pause), stored)
        if stored is not None and parks:
            self._note_parked(stored, words)
            return Retry(PARKED, stored)
        if stored is None and len(letters) > 1:
            lane.starts_over = True  # those that were handled with it wait still
            return Retry(again(backoff.first), letter)
        lane.let_go(letters)
        if stored is not None:
            self._note_dead(stored, letters[1:], words, error)
        return None

    def _note_parked(self, letter: Letter, words: str) -> None:
        _log.error(
            "message %d failed %d times and holds up %s until it is replayed or dropped: %s",
            letter.sequence,
            letter.attempts,
            letter.conversation,
            words,
        )
        self._on_parked(letter)

    def _note_dead(self, letter: Letter, others: Sequence[Letter], words: str, error: BaseException | None) -> None:
        for one in (letter, *others):
            _log.error("message %d was given up after %d attempts: %s", one.sequence, letter.attempts, words)
            self._on_dead(one, error)


def _runs_of(letters: Sequence[Letter]) -> list[tuple[int, int]]:
    return [(letter.sequence, letter.claim) for letter in letters]


def again(seconds: float) -> Pause:
    """Return why a lane rests whose first message is tried again."""
    return Pause("retry", seconds)
