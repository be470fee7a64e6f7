"""Work that many ask for at about the same time, done as one.

Units of work share a commit already. What each of them still costs is a savepoint and statements of its own, and at
every statement the writer's thread gives the interpreter up and has to get it back. So what is asked for during one
turn of the event loop becomes one unit, which takes a few statements for all of it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Generic, TypeVar

from ilink.errors import StoreError
from ilink.storage.sqlite import Database

__all__ = ["Gathering"]

A = TypeVar("A")
R = TypeVar("R")

_MOST: Final = 256
"""How many share a unit of work at most, so that the first of them does not wait long for the last."""


class Gathering(Generic[A, R]):
    """Stores things of one kind together; for one event loop.

    Args:
        database: Where to.
        work: Stores some and returns what became of each, in their order. It may be run again with fewer of them.
    """

    def __init__(self, database: Database, work: Callable[[sqlite3.Connection, Sequence[A]], Sequence[R]]) -> None:
        self._database = database
        self._work = work
        self._waiting: list[tuple[A, asyncio.Future[R]]] = []

    def add(self, one: A) -> asyncio.Future[R]:
        """Store a thing with whatever else is asked for in this turn; the future is done once it is committed.

        One that cannot be stored fails alone. A future that is cancelled does not keep its thing from being stored.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self.flush)
        self._waiting.append((one, future))
        return future

    def flush(self) -> None:
        """Hand on now what was asked for until now."""
        waiting, self._waiting = self._waiting, []
        for first in range(0, len(waiting), _MOST):
            self._store(waiting[first : first + _MOST])

    def _store(self, some: list[tuple[A, asyncio.Future[R]]]) -> None:
        things = [thing for thing, _ in some]
        try:
            stored = self._database.submit(lambda db: self._work(db, things))
        except StoreError as error:
            _fail(some, error)
        else:
            stored.add_done_callback(partial(self._settle, some))

    def _settle(self, some: list[tuple[A, asyncio.Future[R]]], stored: asyncio.Future[Sequence[R]]) -> None:
        error = None if stored.cancelled() else stored.exception()
        if stored.cancelled():
            for _, future in some:
                future.cancel()
        elif error is None:
            for (_, future), result in zip(some, stored.result(), strict=True):
                if not future.done():
                    future.set_result(result)
        elif len(some) > 1:  # nothing of it is stored, and one that failed takes nobody with it
            for one in some:
                self._store([one])
        else:
            _fail(some, error)


def _fail(some: list[tuple[A, asyncio.Future[R]]], error: BaseException) -> None:
    for _, future in some:
        if not future.done():
            future.set_exception(error)
