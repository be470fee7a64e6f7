"""The way in: one ordered queue per conversation, conversations side by side, never more in memory than pages of them.

A message is in the journal before it comes here. Its handler runs until it succeeds or has failed too often; then the
lane goes on. A lane does not wait for the disk: the next handler runs while the success of the last one is stored, and
the journal keeps their order.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from asyncio import Event, Future, Task, TaskGroup
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, Protocol

from ilink.bot.clock import Clock
from ilink.bot.settings import Policies
from ilink.errors import StoreError
from ilink.storage.journal import Completed, Draft, Journal, Letter, Outgoing

__all__ = ["Lanes", "Run"]

_log = logging.getLogger(__name__)

_PAGE: Final = 50
_BURST: Final = 20
"""Messages a lane handles before it lets another one have its place."""


class Run(Protocol):
    """How a message is handled."""

    async def __call__(self, letter: Letter) -> Sequence[Draft]:
        """Run the handler of a message and return what it says; whatever it raises is a failure of the handler."""
        ...


@dataclass(slots=True)
class _Lane:
    """One conversation: a page of its messages in memory, the others in the journal."""

    conversation: str
    waiting: deque[Letter] = field(default_factory=deque[Letter])
    read_to: int = 0
    has_more: bool = False
    is_behind: bool = False
    is_queued: bool = False
    storing: Future[Completed] | None = None
    unstored: int = 0
    starts_over: bool = False


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
    ) -> None:
        self._journal = journal
        self._run_handler = run
        self._send = send
        self._policies = policies
        self._clock = clock
        self._random = random
        self._tasks = tasks
        self._on_dead = on_dead
        self._lanes: dict[str, _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self._running = 0
        self._backlog: str | None = ""
        self._is_refilling = False
        self._is_stopped = False
        self._suspects = asyncio.Lock()
        self._idle = Event()
        self._started: set[Task[None]] = set()

    def start(self) -> None:
        """Begin with what the journal holds from before."""
        self._pump()

    def look_again(self) -> None:
        """Look through the journal for what others put there, such as dead letters that are replayed."""
        if self._backlog is None:
            self._backlog = ""
            self._pump()

    def offer(self, letters: Sequence[Letter]) -> None:
        """Take messages that have just been stored, in their order."""
        for letter in letters:
            lane = self._lane(letter.conversation)
            if lane.has_more or len(lane.waiting) >= _PAGE or self._is_in_backlog(lane):
                lane.has_more = lane.is_behind = True
            elif letter.sequence > lane.read_to:  # a page may have been read after it was stored
                lane.waiting.append(letter)
                lane.read_to = letter.sequence
            self._queue(lane)
        self._pump()

    def wake(self, conversations: Sequence[str]) -> None:
        """Look again for messages of some conversations in the journal, from their beginning."""
        for name in conversations:
            lane = self._lane(name)
            lane.starts_over = True
            self._queue(lane)
        self._pump()

    async def wait_stored(self, conversation: str) -> None:
        """Wait until everything that was handled in a conversation is stored.

        Raises:
            StoreError: It could not be stored, so it will be handled again.
        """
        lane = self._lanes.get(conversation)
        if lane is not None:
            await self._settle(lane)
            if _has_failed(lane.storing):
                lane.starts_over = True
                message = "what was handled before this message could not be stored"
                raise StoreError(message)

    async def drain(self, seconds: float) -> None:
        """Begin nothing new, and let running handlers finish, for so long at most; then cancel them."""
        self._is_stopped = True
        self._note_idle()
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            _log.warning("%d handlers did not finish in %.0f s and are cancelled", self._running, seconds)
        self.cancel()
        for lane in list(self._lanes.values()):
            await self._settle(lane)

    def cancel(self) -> None:
        """Stop at once: messages whose handlers did not finish stay in the journal."""
        self._is_stopped = True
        for task in self._started:
            task.cancel()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._tasks.create_task(work)
        self._started.add(task)
        task.add_done_callback(self._started.discard)

    def _lane(self, conversation: str) -> _Lane:
        lane = self._lanes.get(conversation)
        if lane is None:
            lane = self._lanes[conversation] = _Lane(conversation)
        return lane

    def _is_in_backlog(self, lane: _Lane) -> bool:
        """Whether the journal may hold older messages of this conversation that nobody has looked for yet."""
        return self._backlog is not None and not lane.read_to and lane.conversation > self._backlog

    def _queue(self, lane: _Lane) -> None:
        if not lane.is_queued:
            lane.is_queued = True
            self._ready.append(lane)

    def _pump(self) -> None:
        """Start lanes that are ready, as many as may run; look for more work when there is room."""
        if self._is_stopped:
            return
        while self._ready and self._running < self._policies.conversations:
            self._running += 1
            self._spawn(self._work(self._ready.popleft()))
        if self._backlog is not None and not self._ready and not self._is_refilling:
            self._is_refilling = True
            self._spawn(self._refill(self._backlog))

    async def _refill(self, after: str) -> None:
        """Find the next conversations that have had messages waiting since before this process began."""
        names: list[str] | None = None
        while names is None:
            try:
                names = await self._journal.waiting_conversations(after=after)
            except StoreError as error:
                _log.warning("cannot read the inbox, trying again: %s", error)
                await self._clock.sleep(self._policies.handler_backoff.first)
        self._backlog = names[-1] if names else None
        self._is_refilling = False
        for name in names:
            lane = self._lane(name)
            lane.has_more = True
            self._queue(lane)
        self._pump()

    async def _work(self, lane: _Lane) -> None:
        """Handle a lane's messages until there is none, one has to wait, or it is another lane's turn."""
        pause: float | None = None
        try:
            for _ in range(_BURST):
                if self._is_stopped:
                    break
                if lane.starts_over:
                    await self._start_over(lane)
                if not lane.waiting and not await self._read_page(lane):
                    break
                pause = await self._handle_first(lane)
                if pause is not None:
                    break
        finally:
            self._running -= 1
            self._put_back(lane, pause)
            self._pump()
            self._note_idle()

    def _note_idle(self) -> None:
        if self._is_stopped and not self._running:
            self._idle.set()

    def _put_back(self, lane: _Lane, pause: float | None) -> None:
        """Queue a lane again if it has more to do; it keeps no place while it only waits."""
        if self._is_stopped:
            return
        if pause is not None:
            self._spawn(self._queue_after(lane, pause))
        elif lane.waiting or lane.has_more or lane.starts_over:
            self._ready.append(lane)
        else:
            lane.is_queued = False
            self._forget(lane)

    def _forget(self, lane: _Lane) -> None:
        if not (lane.is_queued or lane.unstored or lane.starts_over):
            self._lanes.pop(lane.conversation, None)

    async def _queue_after(self, lane: _Lane, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._ready.append(lane)
        self._pump()

    async def _read_page(self, lane: _Lane) -> bool:
        """Read a lane's next messages from the journal; False when there is none."""
        while lane.has_more:
            await self._settle(lane)
            lane.is_behind = False
            try:
                page = await self._journal.read_waiting(lane.conversation, after=lane.read_to, limit=_PAGE)
            except StoreError as error:
                _log.warning("cannot read the inbox, trying again: %s", error)
                await self._clock.sleep(self._policies.handler_backoff.first)
                continue
            # What was offered while the page was read may be behind it.
            lane.has_more = len(page) == _PAGE or lane.is_behind
            lane.waiting.extend(page)
            if page:
                lane.read_to = page[-1].sequence
                return True
        return False

    async def _handle_first(self, lane: _Lane) -> float | None:
        """Handle a lane's first message; return for how many seconds the lane has to wait then, if it has to."""
        letter = lane.waiting[0]
        wait_ms = letter.due_ms - self._clock.now_ms()
        if letter.due_ms and wait_ms > 0:
            return wait_ms / 1000
        if letter.interrupted >= self._policies.interruptions:
            error = f"the process died {letter.interrupted} times while this message was handled"
            return await self._store_failure(lane, letter, error, None, is_last=True)
        try:
            drafts = await self._run_suspect(letter) if letter.interrupted else await self._run_handler(letter)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return await self._fail(lane, letter, error)
        except Exception as error:  # a handler may raise anything; it is stored with its message  # noqa: BLE001
            return await self._fail(lane, letter, error)
        return await self._complete(lane, letter, drafts)

    async def _run_suspect(self, letter: Letter) -> Sequence[Draft]:
        """Run a handler that may have killed the process, written down, and the only one of its kind at a time."""
        if letter.interrupted == 1:
            await self._journal.mark_running(letter.sequence, letter.claim)
            return await self._run_handler(letter)
        async with self._suspects:
            await self._journal.mark_running(letter.sequence, letter.claim)
            return await self._run_handler(letter)

    async def _complete(self, lane: _Lane, letter: Letter, drafts: Sequence[Draft]) -> float | None:
        """Hand a success to the journal; what follows one that could not be stored is not stored either."""
        if _has_failed(lane.storing):
            lane.starts_over = True
            return self._policies.handler_backoff.first
        lane.waiting.popleft()
        lane.unstored += 1
        lane.storing = self._journal.complete(
            letter.sequence, letter.claim, drafts=drafts, state=None, now_ms=self._clock.now_ms()
        )
        lane.storing.add_done_callback(lambda done: self._completed(lane, letter, done))
        if lane.unstored >= _PAGE:
            await self._settle(lane)
        return None

    def _completed(self, lane: _Lane, letter: Letter, done: Future[Completed]) -> None:
        """Take the journal's answer to a completion."""
        lane.unstored -= 1
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            _log.warning("cannot store that message %d was handled, it will be again: %s", letter.sequence, error)
            lane.starts_over = True
            if not lane.is_queued and not self._is_stopped:
                lane.is_queued = True
                self._spawn(self._queue_after(lane, self._policies.handler_backoff.first))
            return
        completed = done.result()
        if not completed.is_accepted:
            _log.info("message %d was completed by another run", letter.sequence)
        self._send(completed.outgoing)
        self._forget(lane)

    async def _settle(self, lane: _Lane) -> None:
        """Wait until the journal has answered every completion of a lane."""
        if lane.storing is not None and not lane.storing.done():
            await asyncio.wait([lane.storing])

    async def _start_over(self, lane: _Lane) -> None:
        """Read a lane again from its first waiting message."""
        await self._settle(lane)
        lane.waiting.clear()
        lane.storing = None
        lane.read_to = 0
        lane.has_more = True
        lane.starts_over = False

    async def _fail(self, lane: _Lane, letter: Letter, error: BaseException) -> float | None:
        """Store a failed run; return for how long the lane waits for the next one."""
        if isinstance(error, StoreError) or isinstance(error.__cause__, StoreError):
            # The disk failed, not the handler: it would be a pity to give a message up for that.
            _log.warning("message %d could not be handled, trying again: %s", letter.sequence, error)
            return self._policies.handler_backoff.first
        attempt = letter.attempts + 1
        words = "".join(traceback.format_exception_only(error)).strip()
        _log.warning("handling message %d failed, attempt %d: %s", letter.sequence, attempt, words, exc_info=error)
        return await self._store_failure(lane, letter, words, error, is_last=attempt >= self._policies.attempts)

    async def _store_failure(
        self, lane: _Lane, letter: Letter, words: str, error: BaseException | None, *, is_last: bool
    ) -> float | None:
        backoff = self._policies.handler_backoff
        pause = backoff.delay(letter.attempts + 1, jitter=self._random.random())
        now_ms = self._clock.now_ms()
        # What was handled before is stored first, so that a failure never overtakes a success of its lane.
        await self._settle(lane)
        if _has_failed(lane.storing):
            lane.starts_over = True
            return backoff.first
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
            return backoff.first
        if stored is not None and not is_last:
            lane.waiting[0] = stored
            return pause
        lane.waiting.popleft()
        if stored is not None:
            _log.error("message %d was given up after %d attempts: %s", stored.sequence, stored.attempts, words)
            self._on_dead(stored, error)
        return None


def _has_failed(storing: Future[Completed] | None) -> bool:
    return storing is not None and storing.done() and (storing.cancelled() or storing.exception() is not None)
