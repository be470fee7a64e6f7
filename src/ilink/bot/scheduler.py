"""Ordered queues side by side: a page of each in memory, the rest in the journal.

What is common to the way in and the way out: conversations take turns, as many at a time as may, each in its own order.
Nothing is held in memory that the journal could not give again, so a queue may be longer than the memory.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Event, Task, TaskGroup
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from ilink.bot.clock import Clock
from ilink.bot.observing import conversation_at_hand
from ilink.errors import StoreError

__all__ = ["Lane", "Pause", "Scheduler", "Work"]

T = TypeVar("T")
L = TypeVar("L", bound="Lane[Any]")

_log = logging.getLogger(__name__)

_PAGE: Final = 50
"""Items of one lane in memory."""

_MOST_ITEMS: Final = 20_000
"""Items in memory, roughly; when there are many lanes their pages get smaller."""

_MOST_LANES: Final = 10_000
"""Lanes in memory, besides those that sleep until somebody wakes them."""

_BURST: Final = 20
"""Items a lane takes before it lets another one have its place."""

_KEPT_SECONDS: Final = 5.0
"""A lane that rests for longer keeps nothing in memory."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Why a lane rests, and how long.

    Attributes:
        why: A word for it.
        seconds: How long; None until somebody wakes it.
    """

    why: str
    seconds: float | None = None


@dataclass(slots=True, eq=False)
class Lane(Generic[T]):
    """One conversation; what works on it keeps its own things in a subclass.

    Attributes:
        conversation: Its name.
        waiting: The items in memory, in order; whoever is done with the first takes it away.
        read_to: The place of the last item that came to memory.
        has_more: Whether the journal may hold items behind that.
        is_behind: Whether one was offered that was left in the journal, since it was read last.
        is_placed: Whether it has its turn, or waits for it.
        starts_over: Whether memory is no longer to be trusted: it is read again from its first item.
        pause: Why it rests; None when it does not.
        until_ms: Until when it rests, if that is known.
        wakes: How often it was woken: one that is just about to rest looks again.
        timer: Ends its rest.
    """

    conversation: str
    waiting: deque[T] = field(default_factory=deque[T])
    read_to: int = 0
    has_more: bool = False
    is_behind: bool = False
    is_placed: bool = False
    starts_over: bool = False
    pause: Pause | None = None
    until_ms: int | None = None
    wakes: int = 0
    timer: Task[None] | None = None


class Work(Protocol[T, L]):
    """What is done with the items of lanes."""

    def open_lane(self, conversation: str) -> L:
        """Return an empty lane."""
        ...

    def conversation_of(self, item: T) -> str:
        """Return the lane an item belongs to."""
        ...

    def place_of(self, item: T) -> int:
        """Return the place of an item; items of a lane are taken in this order."""
        ...

    async def find_conversations(self, *, after: str) -> Sequence[str]:
        """Return conversations the journal holds items of, in the order of their names; none when there is no more.

        Raises:
            StoreError: It is asked again later.
        """
        ...

    async def read_page(self, lane: L, *, limit: int) -> Sequence[T]:
        """Return the items the journal holds behind `lane.read_to`, in order.

        Raises:
            StoreError: It is asked again later.
        """
        ...

    async def settle(self, lane: L) -> None:
        """Wait until the journal knows all that was done in a lane: only then is it read, so nothing is done twice."""
        ...

    async def take_first(self, lane: L) -> Pause | None:
        """Work on the first item in memory, and take it away if it is finished; return why the lane has to rest."""
        ...

    def is_unsettled(self, lane: L) -> bool:
        """Whether there is something about a lane that the journal does not know yet, so that it is not forgotten."""
        ...


class Scheduler(Generic[T, L]):
    """Lets lanes take turns.

    Args:
        work: What is done with their items.
        most: How many lanes are worked on at the same time.
        backoff: Seconds between two looks at a journal that cannot be read.
        clock: Source of time.
        tasks: The group the work runs in; its owner waits for it.
    """

    def __init__(self, work: Work[T, L], *, most: int, backoff: float, clock: Clock, tasks: TaskGroup) -> None:
        self._work = work
        self._most = most
        self._backoff = backoff
        self._clock = clock
        self._tasks = tasks
        self._lanes: dict[str, L] = {}
        self._ready: deque[L] = deque()
        self._running = 0
        self._beside = 0
        self._asleep = 0
        self._backlog: str | None = ""
        self._has_skipped = False
        self._is_refilling = False
        self._is_stopped = False
        self._is_held = False
        self._idle = Event()
        self._started: set[Task[None]] = set()

    @property
    def is_stopped(self) -> bool:
        """Whether nothing new is begun, for good."""
        return self._is_stopped

    @property
    def running(self) -> int:
        """How many lanes are worked on."""
        return self._running + self._beside

    @property
    def beside(self) -> int:
        """How much is done beside the lanes."""
        return self._beside

    @property
    def lanes(self) -> Collection[L]:
        """The lanes in memory."""
        return self._lanes.values()

    def find(self, conversation: str) -> L | None:
        """Return a lane if it is in memory."""
        return self._lanes.get(conversation)

    def lane(self, conversation: str) -> L:
        """Return a lane, a new one if it is not in memory; whoever works on it forgets it when it is done."""
        return self._lanes.get(conversation) or self._open(conversation)

    def is_unread(self, lane: L) -> bool:
        """Whether the journal may hold items of a lane that come before those in memory, and that nobody has seen."""
        return lane.starts_over or self._may_have_older(lane) or (lane.has_more and not lane.read_to)

    def start(self) -> None:
        """Begin with what the journal holds from before."""
        self._pump()

    def look_again(self) -> None:
        """Look through the journal for what others put there or took away."""
        if self._backlog is None:
            self._backlog = ""
            for lane in self._lanes.values():
                if lane.pause is not None and lane.pause.seconds is None:
                    self._rouse(lane)
            self._pump()

    def offer(self, items: Sequence[T]) -> None:
        """Take items that have just been stored, in their order; what does not fit is read when it is its turn."""
        work, lanes, page = self._work, self._lanes, self._page
        for item in items:
            name = work.conversation_of(item)
            lane = lanes.get(name) or self._open_with_room(name)
            if lane is None:
                continue
            place = work.place_of(item)
            if lane.has_more or len(lane.waiting) >= page or self._may_have_older(lane):
                lane.has_more = lane.is_behind = True
            elif place > lane.read_to:  # a page may have been read after it was stored
                lane.waiting.append(item)
                lane.read_to = place
            self._queue(lane)
        self._pump()

    def expect(self, conversations: Iterable[str]) -> None:
        """Take note that somebody else stored items of some conversations; those that rest are left to rest."""
        for name in conversations:
            lane = self._lanes.get(name) or self._open(name)
            # From the beginning: their places may be before those of items that were offered here.
            lane.starts_over = True
            self._queue(lane)
        self._pump()

    def start_over(self, conversation: str) -> None:
        """Look through the journal for items of a conversation, from its beginning."""
        lane = self.lane(conversation)
        lane.starts_over = True
        self.wake(lane)

    def wake(self, lane: L) -> None:
        """Let a lane go on, whatever it waits for."""
        self._rouse(lane)
        self._pump()

    def rest(self, lane: L, pause: Pause) -> None:
        """Let a lane rest that is not worked on."""
        lane.pause = pause
        if pause.seconds is None:
            self._asleep += 1
        else:
            lane.until_ms = self._clock.now_ms() + int(pause.seconds * 1000)
            lane.timer = self._spawn(self._wake_after(lane, pause.seconds))
        if pause.seconds is None or pause.seconds > _KEPT_SECONDS:
            lane.waiting.clear()
            lane.read_to = 0
            lane.has_more = True

    def forget(self, lane: L) -> None:
        """Drop a lane that has nothing to do, once the journal knows all it did."""
        has_work = lane.is_placed or lane.waiting or lane.has_more or lane.starts_over or lane.pause is not None
        if not has_work and not self._work.is_unsettled(lane):
            self._lanes.pop(lane.conversation, None)
            if self._backlog is not None:
                self._pump()

    def run_beside(self, work: Callable[[], Coroutine[None, None, None]], *, after: float = 0.0) -> None:
        """Do something that takes no lane's turn, at once or after seconds; who waits for idleness waits for it."""
        if after > 0:
            self._spawn(self._run_beside_after(work, after))
        elif not self._is_stopped:
            self._beside += 1
            self._note_idle()
            self._spawn(self._run_beside(work))

    def hold(self) -> None:
        """Begin nothing new until `release`."""
        self._is_held = True
        self._note_idle()

    def release(self) -> None:
        """Go on, also with lanes that rest: what they waited for may have changed."""
        self._is_held = False
        for lane in self._lanes.values():
            self._rouse(lane)
        self._pump()

    def stop(self) -> None:
        """Begin nothing new any more."""
        self._is_stopped = True
        self._note_idle()

    async def wait_idle(self, seconds: float) -> bool:
        """Wait until nothing is worked on and nothing could be, for so long at most; tell whether that is so."""
        self._note_idle()
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def cancel(self) -> None:
        """Stop at once; what was not finished stays in the journal."""
        self._is_stopped = True
        for task in self._started:
            task.cancel()

    async def read_more(self, lane: L) -> bool:
        """Read a lane's next items from the journal; False when there is none."""
        while lane.has_more:
            await self._work.settle(lane)
            lane.is_behind = False
            limit = self._page
            try:
                page = await self._work.read_page(lane, limit=limit)
            except StoreError as error:
                _log.warning("cannot read the journal, trying again: %s", error)
                await self._clock.sleep(self._backoff)
                continue
            # What was offered while the page was read may be behind it.
            lane.has_more = len(page) == limit or lane.is_behind
            lane.waiting.extend(page)
            if page:
                lane.read_to = self._work.place_of(page[-1])
                return True
        return False

    @property
    def _page(self) -> int:
        return max(2, min(_PAGE, _MOST_ITEMS // (len(self._lanes) or 1)))

    @property
    def _has_room(self) -> bool:
        return len(self._lanes) - self._asleep < max(_MOST_LANES, 2 * self._most)

    def _open(self, conversation: str) -> L:
        lane = self._lanes[conversation] = self._work.open_lane(conversation)
        return lane

    def _open_with_room(self, conversation: str) -> L | None:
        """Return a new lane; None when there are too many, and what is offered is found in the journal later."""
        if self._has_room:
            return self._open(conversation)
        self._has_skipped = True
        if self._backlog is None:
            self._backlog = ""
        return None

    def _may_have_older(self, lane: L) -> bool:
        """Whether the journal may hold older items of this lane that nobody has looked for yet."""
        if self._backlog is None or lane.read_to:
            return False
        return self._has_skipped or lane.conversation > self._backlog

    def _queue(self, lane: L) -> None:
        if not lane.is_placed and lane.pause is None:
            lane.is_placed = True
            self._ready.append(lane)

    def _rouse(self, lane: L) -> None:
        lane.wakes += 1
        if lane.pause is not None:
            if lane.pause.seconds is None:
                self._asleep -= 1
            lane.pause = lane.until_ms = None
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        self._queue(lane)

    async def _wake_after(self, lane: L, seconds: float) -> None:
        await self._clock.sleep(seconds)
        lane.timer = None
        self.wake(lane)

    def _spawn(self, work: Coroutine[None, None, None]) -> Task[None] | None:
        """Begin something; None when what runs the tasks ends and takes no new ones: the journal may answer later."""
        try:
            task = self._tasks.create_task(work)
        except RuntimeError:
            work.close()
            self._is_stopped = True
            return None
        self._started.add(task)
        task.add_done_callback(self._started.discard)
        return task

    async def _run_beside_after(self, work: Callable[[], Coroutine[None, None, None]], seconds: float) -> None:
        await self._clock.sleep(seconds)
        self.run_beside(work)

    async def _run_beside(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        try:
            await work()
        finally:
            self._beside -= 1
            self._note_idle()

    def _pump(self) -> None:
        """Start lanes that are ready, as many as may run; look for more work when there is room."""
        if not self._is_stopped and not self._is_held:
            while self._ready and self._running < self._most:
                self._running += 1
                self._spawn(self._run(self._ready.popleft()))
            if self._backlog is not None and not self._ready and not self._is_refilling and self._has_room:
                self._is_refilling = True
                self._spawn(self._refill(self._backlog))
        self._note_idle()

    def _note_idle(self) -> None:
        may_begin = not self._is_stopped and not self._is_held and (self._ready or self._is_refilling)
        if self._running or self._beside or may_begin:
            self._idle.clear()
        else:
            self._idle.set()

    async def _refill(self, after: str) -> None:
        """Find the next conversations that have items nobody has looked for yet."""
        names: Sequence[str] | None = None
        while names is None:
            try:
                names = await self._work.find_conversations(after=after)
            except StoreError as error:
                _log.warning("cannot look through the journal, trying again: %s", error)
                await self._clock.sleep(self._backoff)
        self._is_refilling = False
        if names:
            self._backlog = names[-1]
        else:
            self._backlog = "" if self._has_skipped else None
            self._has_skipped = False
        for name in names:
            lane = self.lane(name)
            lane.has_more = True
            self._queue(lane)
        self._pump()

    async def _run(self, lane: L) -> None:
        pause: Pause | None = None
        conversation_at_hand.set(lane.conversation)  # of this task alone
        try:
            pause = await self._take_burst(lane)
        except BaseException:
            # What runs the tasks ends, by this error or for a reason of its own: it takes no new ones.
            self._is_stopped = True
            raise
        finally:
            self._running -= 1
            lane.is_placed = False
            self._put_back(lane, pause)
            self._pump()

    async def _take_burst(self, lane: L) -> Pause | None:
        """Take a lane's items until there is none, it has to rest, or it is another lane's turn."""
        for _ in range(_BURST):
            if self._is_stopped or self._is_held:
                break
            if lane.starts_over:
                await self._start_over(lane)
            if not lane.waiting and not await self.read_more(lane):
                break
            wakes = lane.wakes
            pause = await self._work.take_first(lane)
            # Whoever woke the lane meanwhile could not know that it was about to rest.
            if pause is not None and lane.wakes == wakes:
                return pause
        return None

    async def _start_over(self, lane: L) -> None:
        await self._work.settle(lane)
        lane.waiting.clear()
        lane.read_to = 0
        lane.has_more = True
        lane.starts_over = False

    def _put_back(self, lane: L, pause: Pause | None) -> None:
        """Queue a lane again if it has more to do; it keeps no place while it only rests."""
        if self._is_stopped:
            return
        if pause is not None:
            self.rest(lane, pause)
        elif lane.waiting or lane.has_more or lane.starts_over:
            self._queue(lane)
        else:
            self.forget(lane)
