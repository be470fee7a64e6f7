"""The history in the embedded database."""

from __future__ import annotations

import sqlite3

from ilink.storage.history import Said
from ilink.storage.sqlite import Database
from ilink.wire.ids import AccountId, MessageId

__all__ = ["SqliteHistory"]


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
