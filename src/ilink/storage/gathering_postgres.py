"""What many ask a PostgreSQL database for at about the same time, written in one statement.

A transaction costs the database a wait for its disk, and a process a round trip, whether it holds one thing or a
hundred. So what is asked for while the last statement is under way shares the next one: at rest nothing waits, and the
more there is to do, the less each costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, TypeAlias

from ilink.errors import StoreUnavailableError
from ilink.storage.postgres import PostgresDatabase, Row

__all__ = ["PostgresGathering"]

_MOST: Final = 64
"""How many share a statement at most: what one of them waits for, and how much goes over the wire at a time."""

_Asked: TypeAlias = "tuple[tuple[object, ...], asyncio.Future[Row]]"


class PostgresGathering:
    """Runs one statement for many calls; for one event loop.

    Args:
        database: Where to.
        statement: Takes an array for each value of a call, the same length for all, and returns a row for each call:
            first its place among them, from 1, then whatever the caller wants. It goes through the calls in their
            order, so that each sees what those before it did.

    The calls are ordered by their first value, and else as they came. It names a row that the statement locks: all
    processes lock such rows in the same order, so that none waits for another in a circle.
    """

    def __init__(self, database: PostgresDatabase, statement: str) -> None:
        self._database = database
        self._statement = statement
        self._waiting: list[_Asked] = []
        self._worker: asyncio.Task[None] | None = None

    def write(self, *values: object) -> asyncio.Future[Row]:
        """Write with whatever else is asked for; the future is done once it is committed, with the row of this call.

        It fails with StoreError as `PostgresDatabase.write` does. A call that the database refuses fails alone. One
        that is cancelled may be stored all the same.
        """
        future: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._waiting.append((values, future))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="writes that share a statement")
        return future

    async def aclose(self) -> None:
        """Wait until everything is written that was asked for."""
        while self._worker is not None:
            await asyncio.wait([self._worker])

    async def _work(self) -> None:
        try:
            while self._waiting:
                some, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                some.sort(key=_first_value)
                await self._write(some)
        finally:
            self._worker = None
            for _, future in self._waiting:
                future.cancel()
            self._waiting = []

    async def _write(self, some: Sequence[_Asked]) -> None:
        columns = [list(column) for column in zip(*(values for values, _ in some), strict=True)]
        try:
            rows = await self._database.write(self._statement, *columns)
        except asyncio.CancelledError:
            for _, future in some:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001  # whoever asked is told
            if len(some) == 1 or isinstance(error, StoreUnavailableError):
                _fail(some, error)
            else:  # nothing of it is stored, and one that is refused takes nobody with it
                for one in some:
                    await self._write([one])
        else:
            for row in rows:
                place: int = row[0]
                future = some[place - 1][1]
                if not future.done():
                    future.set_result(row)


def _first_value(asked: _Asked) -> int:
    first = asked[0][0]
    assert isinstance(first, int)
    return first


def _fail(some: Sequence[_Asked], error: Exception) -> None:
    for _, future in some:
        if not future.done():
            future.set_exception(error)
