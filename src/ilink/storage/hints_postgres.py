"""Hints through LISTEN and NOTIFY of the database that the processes share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from ilink.storage.postgres import PostgresDatabase

__all__ = ["DatabaseHints"]

_CHANNEL = "hints"


class DatabaseHints:
    """The hints of one open database; connections of their own carry them, beside all writes."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def send(self, line: str) -> None:
        """See `Hints.send`."""
        self._database.notify(_CHANNEL, line)

    def listening(
        self, callback: Callable[[str], None], *, on_gap: Callable[[], None]
    ) -> AbstractAsyncContextManager[None]:
        """See `Hints.listening`."""
        return self._database.listening(_CHANNEL, callback, on_gap=on_gap)
