"""What happens in the gateway, as it happens: numbered events that a reader may resume from."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, takewhile
from typing import Final, Literal, TypeAlias

from ilink.gateway.clock import as_datetime

__all__ = ["Event", "EventKind", "EventStream"]

EventKind = Literal[
    "message", "typing", "qr", "bot", "wire", "fault", "clock", "person", "read", "reset", "notice", "config"
]

_HISTORY: Final = 10_000
_OVERLAP: Final = 3_000_000
"""Microseconds that a reader who comes from another process is given once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened.

    Attributes:
        id: Increasing by one, from 1 for each gateway and each reset of it; where processes share a store, increasing.
        kind: What it is about.
        at_ms: When, by the gateway's own clock, in milliseconds since 1970.
        data: Ids and states, never texts or secrets: whoever wants more asks for the thing itself.
    """

    id: int
    kind: EventKind
    at_ms: int
    data: dict[str, object]

    @property
    def at(self) -> datetime:
        """When, aware and in UTC; made only for those who look, since most events nobody does."""
        return as_datetime(self.at_ms)


_Kept: TypeAlias = tuple[int, EventKind, int, dict[str, object]]
"""An event's id, kind, time and data: an object is made of them for those who look, which is nobody mostly."""


class EventStream:
    """Keeps the newest events and lets any number of readers follow.

    A reader that falls behind more than the history holds misses the oldest and sees so by a gap in the ids.
    """

    def __init__(self, *, history: int = _HISTORY) -> None:
        self._first: Callable[[], int] | None = None
        self._readers = 0
        self.on_reader: Callable[[], None] | None = None
        self._events: deque[_Kept] = deque(maxlen=history)
        self._newest = 0
        self._news: asyncio.Future[None] | None = None
        self._is_closed = False
        self._resets = 0

    def number_by_time(self, microseconds: Callable[[], int]) -> None:
        """Number events by the time from now on, so that several processes number them about alike.

        A reader may then go on at another process than it began at: with a few events twice rather than one missing.

        Args:
            microseconds: Real time since 1970, which those processes agree on within a second.
        """
        self._first = microseconds

    @property
    def has_readers(self) -> bool:
        """Whether anybody follows."""
        return self._readers > 0

    @property
    def newest(self) -> int:
        """The id of the newest event, 0 before the first."""
        return self._newest

    def publish(self, kind: EventKind, at_ms: int, data: dict[str, object]) -> None:
        """Add an event and wake the readers."""
        self._newest = self._newest + 1 if self._first is None else max(self._newest + 1, self._first())
        self._events.append((self._newest, kind, at_ms, data))
        if self._news is not None:
            self._wake()

    def after(self, last_id: int) -> list[Event]:
        """Return what is kept of the events after an id; one from before a restart or reset gives all that is kept."""
        if self._first is not None:
            newer = list(takewhile(lambda kept: kept[0] > last_id, reversed(self._events)))
            return [_event(kept) for kept in reversed(newer)]
        if last_id > self._newest:
            last_id = 0
        missing = min(self._newest - last_id, len(self._events))
        return [_event(kept) for kept in islice(self._events, len(self._events) - missing, None)]

    async def follow(self, last_id: int | None = None) -> AsyncGenerator[Event, None]:
        """Yield events from after `last_id` on, or only new ones when it is None, until the stream is closed."""
        position = self._newest if last_id is None else self._resumed(last_id)
        self._readers += 1
        if self.on_reader is not None:
            self.on_reader()
        try:
            async for event in self._follow(position):
                yield event
        finally:
            self._readers -= 1

    def _resumed(self, last_id: int) -> int:
        """Return where to go on after an event, which may have been read at another process."""
        if self._first is None or any(kept[0] == last_id for kept in self._events):
            return last_id
        return min(last_id, self._newest) - _OVERLAP

    async def _follow(self, position: int) -> AsyncGenerator[Event, None]:
        resets = self._resets
        while True:
            if resets != self._resets:  # what counts from 1 again is not what the position was about
                resets, position = self._resets, 0
            for event in self.after(position):
                yield event
                position = event.id
                if resets != self._resets:
                    break
            has_more = bool(self._events) and self._events[-1][0] > position
            if resets != self._resets or has_more:
                continue
            position = self._newest  # one from before a restart, which nothing came after
            if self._is_closed:
                return
            if self._news is None:
                self._news = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._news)

    def clear(self) -> None:
        """Forget everything and count from 1 again; readers go on with what comes."""
        self._events.clear()
        self._newest = 0
        self._resets += 1

    def aclose_readers(self) -> None:
        """End every reader once it has read what is there."""
        self._is_closed = True
        self._wake()

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set_result(None)
            self._news = None


def _event(kept: _Kept) -> Event:
    number, kind, at_ms, data = kept
    return Event(id=number, kind=kind, at_ms=at_ms, data=data)
