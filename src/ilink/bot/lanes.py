"""The way in: one ordered queue per conversation, conversations side by side, never more in memory than pages of them.

A message is in the journal before it comes here. Its handler runs until it succeeds or has failed too often; then the
lane goes on. A lane does not wait for the disk: the next handler runs while the success of the last one is stored, and
the journal keeps their order.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from asyncio import Future, TaskGroup
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from ilink.bot.clock import Clock
from ilink.bot.handled import Handled
from ilink.bot.scheduler import Lane, Pause, Scheduler
from ilink.bot.settings import Policies
from ilink.errors import StoreError
from ilink.storage.journal import Completed, Journal, Letter, Outgoing

__all__ = ["Lanes", "Run"]

_log = logging.getLogger(__name__)

_MOST_UNSTORED: Final = 50
"""Successes of a lane that may be on their way to the disk."""


class Run(Protocol):
    """How a message is handled."""

    async def __call__(self, letter: Letter) -> Handled:
        """Run the handler of a message and return what follows; whatever it raises is a failure of the handler."""
        ...


@dataclass(slots=True, eq=False)
class _Lane(Lane[Letter]):
    """A conversation and what of it is on its way to the disk."""

    storing: Future[Completed] | None = None
    unstored: int = 0


class Lanes:
    """Handles what the journal holds for one account.

    Args:
        journal: Where messages wait.
        run: How one is handled.
        send: Called with what is to be sent once it is stored.
        policies: What happens when something does not work.
        clock: Source of time.
        random: Source of jitter.
        tasks: The group the handlers run in; its owner waits for them.
        on_dead: Called with a message that was given up.
        on_due: Called with the moment when a conversation is to be looked at though nobody writes, once that is stored.
    """

    def __init__(
        self,
        journal: Journal,
        run: Run,
        send: Callable[[Sequence[Outgoing]], None],
        *,
        policies: Policies,
        clock: Clock,
        random: Random,
        tasks: TaskGroup,
        on_dead: Callable[[Letter, BaseException | None], None],
        on_due: Callable[[int], None] = lambda _due_ms: None,
    ) -> None:
        self._journal = journal
        self._run_handler = run
        self._send = send
        self._policies = policies
        self._clock = clock
        self._random = random
        self._on_dead = on_dead
        self._on_due = on_due
        self._suspects = asyncio.Lock()
        self._scheduler: Scheduler[Letter, _Lane] = Scheduler(
            self, most=policies.conversations, backoff=policies.handler_backoff.first, clock=clock, tasks=tasks
        )

    def start(self) -> None:
        """Begin with what the journal holds from before."""
        self._scheduler.start()

    def look_again(self) -> None:
        """Look through the journal for what others put there, such as dead letters that are replayed."""
        self._scheduler.look_again()

    def offer(self, letters: Sequence[Letter]) -> None:
        """Take messages that have just been stored, in their order."""
        self._scheduler.offer(letters)

    def wake(self, conversations: Sequence[str]) -> None:
        """Look again for messages of some conversations in the journal, from their beginning."""
        for name in conversations:
            self._scheduler.start_over(name)

    async def wait_stored(self, conversation: str) -> None:
        """Wait until everything that was handled in a conversation is stored.

        Raises:
            StoreError: It could not be stored, so it will be handled again.
        """
        lane = self._scheduler.find(conversation)
        if lane is not None:
            await self.settle(lane)
            if _has_failed(lane.storing):
                lane.starts_over = True
                message = "what was handled before this message could not be stored"
                raise StoreError(message)

    async def drain(self, seconds: float) -> None:
        """Begin nothing new, and let running handlers finish, for so long at most; then cancel them."""
        self._scheduler.stop()
        if not await self._scheduler.wait_idle(seconds):
            running = self._scheduler.running
            _log.warning("%d handlers did not finish in %.0f s and are cancelled", running, seconds)
        self.cancel()
        for lane in list(self._scheduler.lanes):
            await self.settle(lane)

    def cancel(self) -> None:
        """Stop at once: messages whose handlers did not finish stay in the journal."""
        self._scheduler.cancel()

    def open_lane(self, conversation: str) -> _Lane:
        """Return an empty lane; see `Work`."""
        return _Lane(conversation)

    def conversation_of(self, item: Letter) -> str:
        """Return the lane of a message; see `Work`."""
        return item.conversation

    def place_of(self, item: Letter) -> int:
        """Return the place of a message; see `Work`."""
        return item.sequence

    async def find_conversations(self, *, after: str) -> Sequence[str]:
        """Return conversations with waiting messages; see `Work`."""
        return await self._journal.waiting_conversations(after=after)

    async def read_page(self, lane: _Lane, *, limit: int) -> Sequence[Letter]:
        """Return the next waiting messages; see `Work`."""
        if not lane.read_to:
            lane.storing = None  # what could not be stored comes again now
        return await self._journal.read_waiting(lane.conversation, after=lane.read_to, limit=limit)

    async def settle(self, lane: _Lane) -> None:
        """Wait until the journal has answered every completion of a lane; see `Work`."""
        if lane.storing is not None and not lane.storing.done():
            await asyncio.wait([lane.storing])

    def is_unsettled(self, lane: _Lane) -> bool:
        """Whether the journal has not answered yet; see `Work`."""
        return lane.unstored > 0

    async def take_first(self, lane: _Lane) -> Pause | None:
        """Handle a lane's first message; see `Work`."""
        letter = lane.waiting[0]
        wait_ms = letter.due_ms - self._clock.now_ms()
        if letter.due_ms and wait_ms > 0:
            return _again(wait_ms / 1000)
        if letter.interrupted >= self._policies.interruptions:
            error = f"the process died {letter.interrupted} times while this message was handled"
            return await self._store_failure(lane, letter, error, None, is_last=True)
        try:
            handled = await self._run_suspect(letter) if letter.interrupted else await self._run_handler(letter)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return await self._fail(lane, letter, error)
        except Exception as error:  # a handler may raise anything; it is stored with its message  # noqa: BLE001
            return await self._fail(lane, letter, error)
        return await self._complete(lane, letter, handled)

    async def _run_suspect(self, letter: Letter) -> Handled:
        """Run a handler that may have killed the process, written down, and the only one of its kind at a time."""
        if letter.interrupted == 1:
            await self._journal.mark_running(letter.sequence, letter.claim)
            return await self._run_handler(letter)
        async with self._suspects:
            await self._journal.mark_running(letter.sequence, letter.claim)
            return await self._run_handler(letter)

    async def _complete(self, lane: _Lane, letter: Letter, handled: Handled) -> Pause | None:
        """Hand a success to the journal; what follows one that could not be stored is not stored either."""
        if _has_failed(lane.storing):
            lane.starts_over = True
            return _again(self._policies.handler_backoff.first)
        lane.waiting.popleft()
        lane.unstored += 1
        lane.storing = self._journal.complete(
            letter.sequence,
            letter.claim,
            drafts=handled.drafts,
            state=handled.state,
            now_ms=self._clock.now_ms(),
            due_ms=handled.due_ms,
            expires_ms=handled.expires_ms,
        )
        lane.storing.add_done_callback(lambda done: self._completed(lane, letter, handled, done))
        if lane.unstored >= _MOST_UNSTORED:
            await self.settle(lane)
        return None

    def _completed(self, lane: _Lane, letter: Letter, handled: Handled, done: Future[Completed]) -> None:
        """Take the journal's answer to a completion."""
        lane.unstored -= 1
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            _log.warning("cannot store that message %d was handled, it will be again: %s", letter.sequence, error)
            lane.starts_over = True
            if not lane.is_placed and lane.pause is None and not self._scheduler.is_stopped:
                self._scheduler.rest(lane, _again(self._policies.handler_backoff.first))
            return
        completed = done.result()
        if not completed.is_accepted:
            _log.info("message %d was completed by another run", letter.sequence)
        elif handled.due_ms is not None:
            self._on_due(handled.due_ms)
        self._send(completed.outgoing)
        self._scheduler.forget(lane)

    async def _fail(self, lane: _Lane, letter: Letter, error: BaseException) -> Pause | None:
        """Store a failed run; return for how long the lane waits for the next one."""
        if isinstance(error, StoreError) or isinstance(error.__cause__, StoreError):
            # The disk failed, not the handler: it would be a pity to give a message up for that.
            _log.warning("message %d could not be handled, trying again: %s", letter.sequence, error)
            return _again(self._policies.handler_backoff.first)
        attempt = letter.attempts + 1
        words = "".join(traceback.format_exception_only(error)).strip()
        _log.warning("handling message %d failed, attempt %d: %s", letter.sequence, attempt, words, exc_info=error)
        return await self._store_failure(lane, letter, words, error, is_last=attempt >= self._policies.attempts)

    async def _store_failure(
        self, lane: _Lane, letter: Letter, words: str, error: BaseException | None, *, is_last: bool
    ) -> Pause | None:
        backoff = self._policies.handler_backoff
        pause = backoff.delay(letter.attempts + 1, jitter=self._random.random())
        now_ms = self._clock.now_ms()
        # What was handled before is stored first, so that a failure never overtakes a success of its lane.
        await self.settle(lane)
        if _has_failed(lane.storing):
            lane.starts_over = True
            return _again(backoff.first)
        try:
            stored = await self._journal.fail(
                letter.sequence,
                letter.claim,
                error=words,
                due_ms=None if is_last else now_ms + int(pause * 1000),
                now_ms=now_ms,
            )
        except StoreError as store_error:
            _log.warning("cannot store that message %d failed: %s", letter.sequence, store_error)
            return _again(backoff.first)
        if stored is not None and not is_last:
            lane.waiting[0] = stored
            return _again(pause)
        lane.waiting.popleft()
        if stored is not None:
            _log.error("message %d was given up after %d attempts: %s", stored.sequence, stored.attempts, words)
            self._on_dead(stored, error)
        return None


def _again(seconds: float) -> Pause:
    return Pause("retry", seconds)


def _has_failed(storing: Future[Completed] | None) -> bool:
    return storing is not None and storing.done() and (storing.cancelled() or storing.exception() is not None)
