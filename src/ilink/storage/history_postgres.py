"""The history in PostgreSQL."""

from __future__ import annotations

from typing import Final

from ilink.storage.history import Said
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.postgres_text import escaped
from ilink.wire.ids import AccountId, MessageId

__all__ = ["PostgresHistory"]

_FIND: Final = """
SELECT item AS raw, true AS is_ours, coalesce(finished_ms, created_ms) AS at_ms FROM outbox
WHERE account_id = $1 AND message_id = $2 AND conversation = $3
UNION ALL
SELECT raw, false, received_ms FROM inbox WHERE account_id = $1 AND identity = 'm:' || $2 AND conversation = $3
ORDER BY is_ours DESC LIMIT 1"""


class PostgresHistory:
    """The history in the journal's tables.

    Args:
        database: The open database of schema `local`.
        account: Whose history it is.
    """

    def __init__(self, database: PostgresDatabase, account: AccountId) -> None:
        self._database = database
        self._account = escaped(account)

    async def find(self, conversation: str, message_id: MessageId) -> Said | None:
        """Return a message of a conversation by the server's id; see `History`."""
        row = await self._database.read_row(_FIND, self._account, escaped(message_id), escaped(conversation))
        return None if row is None else Said(raw=row["raw"], is_ours=row["is_ours"], at_ms=row["at_ms"])
