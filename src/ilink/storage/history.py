"""What was said in a conversation, found by the server's ids; for as long as the journal remembers it."""

from __future__ import annotations

import sqlite3
from typing import Protocol

from ilink.storage.journal import Record
from ilink.storage.sqlite import Database
from ilink.wire.ids import AccountId, MessageId

__all__ = ["History", "Said", "SqliteHistory"]


class Said(Record, frozen=True, kw_only=True):
    """A message that was said.

    Attributes:
        raw: The whole update as it came; of our own messages the one item, as it went.
        is_ours: Whether the bot said it.
        at_ms: When it was received or accepted.
    """

    raw: bytes
    is_ours: bool
    at_ms: int


class History(Protocol):
    """What was said to and by one account."""

    async def find(self, conversation: str, message_id: MessageId) -> Said | None:
        """Return a message of a conversation by the server's id; None when it is not known, or no longer.

        Raises:
            StoreError: It could not be read.
        """
        ...


class SqliteHistory:
    """The history in the journal's tables.

    Args:
        database: The open database of schema `local`.
        account: Whose history it is.
    """

    def __init__(self, database: Database, account: AccountId) -> None:
        self._database = database
        self._account = account

    async def find(self, conversation: str, message_id: MessageId) -> Said | None:
        """Return a message of a conversation by the server's id; see `History`."""
        where = (self._account, message_id, conversation)

        def work(connection: sqlite3.Connection) -> Said | None:
            ours = connection.execute(
                "SELECT item, ifnull(finished_ms, created_ms) FROM outbox"
                " WHERE account_id = ? AND message_id = ? AND conversation = ?",
                where,
            ).fetchone()
            if ours is not None:
                return Said(raw=ours[0], is_ours=True, at_ms=ours[1])
            theirs = connection.execute(
                "SELECT raw, received_ms FROM inbox WHERE account_id = ? AND identity = ? AND conversation = ?",
                (self._account, f"m:{message_id}", conversation),
            ).fetchone()
            return None if theirs is None else Said(raw=theirs[0], is_ours=False, at_ms=theirs[1])

        return await self._database.read(work)
