"""How a fleet fares, in figures: what each process has to do, and what waits there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ilink.storage.postgres import PostgresDatabase, Row
from ilink.storage.roles import Role
from ilink.storage.slots import SessionId

__all__ = ["Figures", "read_figures"]

_ACCOUNTS: Final = """
SELECT s.owner, a.state, count(*) AS count FROM accounts a
LEFT JOIN slots s ON s.role = $1 AND s.slot_id = slot_of(a.account_id) GROUP BY s.owner, a.state"""

_INBOX: Final = """
SELECT s.owner, count(*) AS count,
       extract(epoch FROM clock_timestamp())::float8 - min(i.received_ms) / 1000.0::float8 AS age
FROM inbox i
LEFT JOIN slots s ON s.role = $1 AND s.slot_id = slot_of(i.account_id)
WHERE i.state = 0 GROUP BY s.owner"""

_OUTBOX: Final = """
SELECT s.owner, count(*) AS count,
       extract(epoch FROM clock_timestamp())::float8 - min(o.created_ms) / 1000.0::float8 AS age
FROM outbox o
LEFT JOIN slots s ON s.role = $1 AND s.slot_id = slot_of(o.account_id)
WHERE o.state IN (0, 6, 7) GROUP BY s.owner"""


@dataclass(slots=True, kw_only=True)
class Figures:
    """What is stored for the accounts of one process, or of those that nobody has.

    Attributes:
        accounts: How many there are by what is known of their tokens.
        waiting: Updates that are to be handled.
        lag: Seconds since the oldest of these came.
        outgoing: Messages that are to be sent.
        outgoing_lag: Seconds since the oldest of these was stored; a message may wait for its user to write.
    """

    accounts: Mapping[str, int] = field(default_factory=dict[str, int])
    waiting: int = 0
    lag: float = 0.0
    outgoing: int = 0
    outgoing_lag: float = 0.0


async def read_figures(database: PostgresDatabase, role: Role = Role.ALL) -> dict[SessionId | None, Figures]:
    """Return the figures of each process of a role that has slots; None is for the slots that nobody has.

    What waits to be handled counts for those who handle, and what waits to be sent for those who send.

    Raises:
        StoreError: They cannot be read.
    """
    figures: dict[SessionId | None, Figures] = {}
    accounts: dict[SessionId | None, Counter[str]] = {}
    for row in await database.read(_ACCOUNTS, role.value):
        accounts.setdefault(row["owner"], Counter())[row["state"]] += row["count"]
    for owner, states in accounts.items():
        _of(figures, owner).accounts = dict(states)
    for row in await database.read(_INBOX, role.value) if role.handles else ():
        found = _of(figures, row["owner"])
        found.waiting, found.lag = row["count"], _age(row)
    for row in await database.read(_OUTBOX, role.value) if role.sends else ():
        found = _of(figures, row["owner"])
        found.outgoing, found.outgoing_lag = row["count"], _age(row)
    return figures


def _of(figures: dict[SessionId | None, Figures], owner: SessionId | None) -> Figures:
    return figures.setdefault(owner, Figures())


def _age(row: Row) -> float:
    return max(0.0, round(float(row["age"]), 1))
