"""How much there is in journals in PostgreSQL: one statement, for one account as for ten thousand."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ilink.storage.journal import Counts
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.postgres_text import escaped
from ilink.wire.ids import AccountId

__all__ = ["count_journals"]

# The conditions are those of the indexes, so that nothing is read of what is done.
_COUNT: Final = (
    "SELECT (SELECT count(*) FROM inbox WHERE account_id = ANY ($1) AND state = 0) AS waiting,"
    " (SELECT count(*) FROM inbox WHERE account_id = ANY ($1) AND (state = 2 OR is_parked) AND state = 2) AS dead,"
    " (SELECT count(*) FROM outbox WHERE account_id = ANY ($1) AND state IN (0, 6, 7)) AS outgoing,"
    " (SELECT count(*) FROM inbox WHERE account_id = ANY ($1) AND (state = 2 OR is_parked) AND state = 0) AS parked,"
    " coalesce(sum(duplicates), 0)::bigint AS duplicates, coalesce(sum(suspects), 0)::bigint AS suspects,"
    " coalesce(sum(suspects_dropped), 0)::bigint AS suspects_dropped FROM journals WHERE account_id = ANY ($1)"
)


async def count_journals(database: PostgresDatabase, accounts: Collection[AccountId]) -> Counts:
    """Return how much there is in the journals of some accounts together.

    Raises:
        StoreError: It cannot be read.
    """
    row = await database.read_row(_COUNT, [escaped(account) for account in accounts])
    assert row is not None
    return Counts(**dict(row))
