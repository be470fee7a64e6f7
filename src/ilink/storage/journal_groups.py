"""Completions, additions and outcomes of one journal, stored in groups.

What is asked for while the last group is being stored shares the next one: one unit of work, however much it is. Within
a group, and from group to group, everything is stored in the order of the calls.
"""

from __future__ import annotations

from asyncio import Event, Future, Task, create_task, get_running_loop
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

from ilink.errors import IlinkError, StoreError
from ilink.storage.journal import Completed, Draft, Outcome, Outgoing

__all__ = ["Addition", "Completion", "Group", "Groups", "Settlement", "Stored"]

T = TypeVar("T")

_LINGER: Final = 0.005
"""Seconds an outcome waits for others to share a unit of work with: nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Completion:
    """The success of a run; see `Journal.complete`."""

    runs: tuple[tuple[int, int], ...]
    drafts: Sequence[Draft]
    state: bytes | None
    now_ms: int
    due_ms: int | None
    expires_ms: int | None
    ignored: str | None


@dataclass(frozen=True, slots=True)
class Addition:
    """Messages that belong to no completion; see `Journal.enqueue`."""

    drafts: Sequence[Draft]
    now_ms: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """An outcome, and when it was one."""

    outcome: Outcome
    now_ms: int


@dataclass(slots=True)
class Group:
    """What is stored in one unit of work, in this order: what a handler sends at once follows what was sent before."""

    completions: list[Completion] = field(default_factory=list[Completion])
    additions: list[Addition] = field(default_factory=list[Addition])
    settlements: list[Settlement] = field(default_factory=list[Settlement])


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a group: an answer for each completion and each addition."""

    completed: Sequence[Completed]
    added: Sequence[list[Outgoing]]


class Groups:
    """Stores groups, one after the other; open it with `async with`.

    Args:
        store: Stores a group.
        name: Whose, for people who look at tasks.
    """

    def __init__(self, store: Callable[[Group], Awaitable[Stored]], *, name: str) -> None:
        self._store = store
        self._name = name
        self._completions: list[tuple[Completion, Future[Completed]]] = []
        self._additions: list[tuple[Addition, Future[list[Outgoing]]]] = []
        self._settlements: list[tuple[Settlement, Future[None]]] = []
        self._has_work: Event | None = None
        self._storing: Task[None] | None = None
        self._is_lingering = False
        self._is_closing = False
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._is_closing = True
        if self._settlements or self._storing is not None:
            self._wake()
        if self._storing is not None:
            await self._storing
        self._is_closed = True

    def complete(self, completion: Completion) -> Future[Completed]:
        """Store a completion with the next group."""
        answer: Future[Completed] = get_running_loop().create_future()
        self._completions.append((completion, answer))
        self._wake()
        return answer

    def add(self, addition: Addition) -> Future[list[Outgoing]]:
        """Store messages with the next group."""
        answer: Future[list[Outgoing]] = get_running_loop().create_future()
        self._additions.append((addition, answer))
        self._wake()
        return answer

    def settle(self, settlement: Settlement) -> Future[None]:
        """Store an outcome soon."""
        answer: Future[None] = get_running_loop().create_future()
        self._settlements.append((settlement, answer))
        if len(self._settlements) == 1:  # those after it wait for as long as the first
            self._is_lingering = True
            get_running_loop().call_later(_LINGER, self._end_linger)
        self._refuse_when_closed()
        return answer

    def _wake(self) -> None:
        """Begin with the next group. Nobody works before the first: a journal that only takes what comes needs none."""
        if self._has_work is None and not self._is_closed:
            self._has_work = Event()
            self._storing = create_task(self._store_forever(self._has_work), name=self._name)
        if self._has_work is not None:
            self._has_work.set()
        self._refuse_when_closed()

    async def _store_forever(self, has_work: Event) -> None:
        """Store what was asked for, all of it in one unit of work, until the journal is closed."""
        try:
            while not self._is_closing or self._completions or self._additions or self._settlements:
                await has_work.wait()
                has_work.clear()
                if self._completions or self._additions or (self._settlements and self._may_settle):
                    await self._store_waiting()
        finally:
            self._is_closed = True
            self._refuse_when_closed()

    @property
    def _may_settle(self) -> bool:
        """Whether outcomes have waited for others long enough."""
        return self._is_closing or not self._is_lingering

    def _end_linger(self) -> None:
        self._is_lingering = False
        self._wake()

    def _refuse_when_closed(self) -> None:
        if self._is_closed:
            self._fail_waiting(StoreError("the journal is closed"))

    def _fail_waiting(self, error: IlinkError) -> None:
        for waiting in (self._completions, self._additions, self._settlements):
            _fail(error, waiting)
        self._completions, self._additions, self._settlements = [], [], []

    async def _store_waiting(self) -> None:
        completions, self._completions = self._completions, []
        additions, self._additions = self._additions, []
        settlements: list[tuple[Settlement, Future[None]]] = []
        if self._may_settle:  # else a reply that somebody waits for would wait for outcomes that nobody does
            settlements, self._settlements = self._settlements, []
        group = Group([one for one, _ in completions], [one for one, _ in additions], [one for one, _ in settlements])
        try:
            stored = await self._store(group)
        except IlinkError as error:
            # What was asked for in the meantime follows from what failed, so it fails too: order before progress.
            for waiting in (completions, additions, settlements):
                _fail(error, waiting)
            self._fail_waiting(error)
            return
        except BaseException:  # whoever closes the journal gets it; nobody waits for an answer that never comes
            for waiting in (completions, additions, settlements):
                _fail(StoreError("the journal is closed"), waiting)
            raise
        _answer(completions, stored.completed)
        _answer(additions, stored.added)
        _answer(settlements, [None] * len(settlements))


def _fail(error: IlinkError, waiting: Iterable[tuple[object, Future[Any]]]) -> None:
    for _, answer in waiting:
        if not answer.done():
            answer.set_exception(error)


def _answer(waiting: Sequence[tuple[object, Future[T]]], results: Sequence[T]) -> None:
    for (_, answer), result in zip(waiting, results, strict=True):
        if not answer.done():
            answer.set_result(result)
