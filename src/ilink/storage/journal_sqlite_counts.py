"""How much there is in journals in the embedded database: one statement, for one account as for ten thousand."""

# ruff: noqa: S608  # the statement is built from constants; values are always bound
from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from ilink.storage.journal import Counts
from ilink.storage.journal_inbox import GIVEN_UP
from ilink.storage.sqlite import Database
from ilink.wire.ids import AccountId

__all__ = ["count_journals"]

_OURS: Final = "account_id IN (SELECT value FROM json_each(?1))"
# The conditions are those of the indexes, so that nothing is read of what is done.
_COUNT: Final = (
    f"SELECT (SELECT count(*) FROM inbox WHERE {_OURS} AND state = 0),"
    f" (SELECT count(*) FROM inbox WHERE {_OURS} AND {GIVEN_UP} AND state = 2),"
    f" (SELECT count(*) FROM outbox WHERE {_OURS} AND state IN (0, 6, 7)),"
    f" (SELECT count(*) FROM inbox WHERE {_OURS} AND {GIVEN_UP} AND state = 0),"
    " total(duplicates), total(suspects), total(suspects_dropped)"
    f" FROM journals WHERE {_OURS}"
)


async def count_journals(database: Database, accounts: Collection[AccountId]) -> Counts:
    """Return how much there is in the journals of some accounts together.

    Raises:
        StoreError: It cannot be read.
    """
    ours = json.dumps(list(accounts))
    rows = await database.read(lambda connection: connection.execute(_COUNT, (ours,)).fetchall())
    waiting, dead, outgoing, parked, duplicates, suspects, suspects_dropped = map(int, rows[0])
    return Counts(
        waiting=waiting,
        dead=dead,
        outgoing=outgoing,
        duplicates=duplicates,
        suspects=suspects,
        suspects_dropped=suspects_dropped,
        parked=parked,
    )
