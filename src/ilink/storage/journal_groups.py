"""Completions, additions and outcomes of one journal, stored in groups.

What is asked for while the last group is being stored shares the next one: one unit of work, however much it is. Within
a group, and from group to group, everything is stored in the order of the calls.
"""

from __future__ import annotations

from asyncio import CancelledError, Future, get_running_loop, wait
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

from msgspec import Struct

from ilink.errors import IlinkError, StoreError
from ilink.storage.journal import Completed, Draft, Outcome, Outgoing

__all__ = ["Addition", "Completion", "Group", "Groups", "Settlement", "Stored"]

T = TypeVar("T")

_LINGER: Final = 0.005
"""Seconds an outcome waits for others to share a unit of work with: nobody waits for it."""


class Completion(Struct, frozen=True):
    """The success of a run; see `Journal.complete`."""

    runs: tuple[tuple[int, int], ...]
    drafts: Sequence[Draft]
    state: bytes | None
    now_ms: int
    due_ms: int | None
    expires_ms: int | None
    ignored: str | None


class Addition(Struct, frozen=True):
    """Messages that belong to no completion; see `Journal.enqueue`."""

    drafts: Sequence[Draft]
    now_ms: int


class Settlement(Struct, frozen=True):
    """An outcome, and when it was one."""

    outcome: Outcome
    now_ms: int


@dataclass(slots=True)
class Group:
    """What is stored in one unit of work, in this order: what a handler sends at once follows what was sent before."""

    completions: list[Completion] = field(default_factory=list[Completion])
    additions: list[Addition] = field(default_factory=list[Addition])
    settlements: list[Settlement] = field(default_factory=list[Settlement])


class Stored(Struct, frozen=True):
    """What became of a group: an answer for each completion and each addition."""

    completed: Sequence[Completed]
    added: Sequence[list[Outgoing]]


class Groups:
    """Stores groups, one after the other; open it with `async with`.

    Args:
        store: Begins to store a group; raises StoreError when it cannot even begin.
    """

    def __init__(self, store: Callable[[Group], Future[Stored]]) -> None:
        self._store = store
        self._completions: list[tuple[Completion, Future[Completed]]] = []
        self._additions: list[tuple[Addition, Future[list[Outgoing]]]] = []
        self._settlements: list[tuple[Settlement, Future[None]]] = []
        self._storing: Future[Stored] | None = None
        self._broken: BaseException | None = None
        self._is_awake = False
        self._is_lingering = False
        self._is_closing = False
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._is_closing = True
        while self._storing is not None or self._has_waiting:
            if self._storing is None:
                self._store_waiting()
            else:
                await wait([self._storing])
        self._is_closed = True
        if self._broken is not None:
            raise self._broken

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

    @property
    def _has_waiting(self) -> bool:
        return bool(self._completions or self._additions or (self._settlements and self._may_settle))

    @property
    def _may_settle(self) -> bool:
        """Whether outcomes have waited for others long enough."""
        return self._is_closing or not self._is_lingering

    def _wake(self) -> None:
        """Begin with the next group when this turn of the event loop is over, if none is being stored."""
        if not self._is_awake and self._storing is None:
            self._is_awake = True
            get_running_loop().call_soon(self._store_waiting)
        self._refuse_when_closed()

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

    def _store_waiting(self) -> None:
        """Store what was asked for until now, all of it in one unit of work."""
        self._is_awake = False
        if self._storing is not None or not self._has_waiting:
            return
        completions, self._completions = self._completions, []
        additions, self._additions = self._additions, []
        settlements: list[tuple[Settlement, Future[None]]] = []
        if self._may_settle:  # else a reply that somebody waits for would wait for outcomes that nobody does
            settlements, self._settlements = self._settlements, []
        group = Group([one for one, _ in completions], [one for one, _ in additions], [one for one, _ in settlements])

        def answer(storing: Future[Stored]) -> None:
            self._storing = None
            error = CancelledError() if storing.cancelled() else storing.exception()
            if error is not None:
                self._give_up(error, completions, additions, settlements)
                return
            stored = storing.result()
            _answer(completions, stored.completed)
            _answer(additions, stored.added)
            _answer(settlements, [None] * len(settlements))
            if self._has_waiting:
                self._wake()

        try:
            storing = self._store(group)
        except IlinkError as error:
            self._give_up(error, completions, additions, settlements)
            return
        if storing.done():  # as on a quick disk
            answer(storing)
        else:
            self._storing = storing
            storing.add_done_callback(answer)

    def _give_up(self, error: BaseException, *groups: Iterable[tuple[object, Future[Any]]]) -> None:
        """Tell those whose group was not stored, and those who asked since: what follows from it fails too."""
        if not isinstance(error, IlinkError):  # whoever closes the journal gets it
            self._broken, self._is_closed = error, True
            error = StoreError("the journal is closed")
        for waiting in groups:
            _fail(error, waiting)
        self._fail_waiting(error)


def _fail(error: IlinkError, waiting: Iterable[tuple[object, Future[Any]]]) -> None:
    for _, answer in waiting:
        if not answer.done():
            answer.set_exception(error)


def _answer(waiting: Sequence[tuple[object, Future[T]]], results: Sequence[T]) -> None:
    for (_, answer), result in zip(waiting, results, strict=True):
        if not answer.done():
            answer.set_result(result)
