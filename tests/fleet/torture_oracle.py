"""What an oracle makes of the polls that a gateway saw, and of what a database wrote down of who had which slot."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ilink.storage.postgres import PostgresDatabase
from ilink.storage.slots import slot_of
from ilink.wire.ids import AccountId

AUDIT: Final = (
    (
        "CREATE TABLE owners (n bigserial PRIMARY KEY, slot_id integer, owner uuid,"
        " at timestamptz NOT NULL DEFAULT clock_timestamp())"
    ),
    "CREATE TABLE stale_effects (account_id text, what text, epoch bigint, newest bigint)",
    (
        "CREATE FUNCTION keep_owners() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO owners (slot_id, owner) VALUES (NEW.slot_id, NEW.owner); RETURN NEW; END $$"
    ),
    (
        "CREATE TRIGGER keep_owners AFTER UPDATE OF owner ON slots FOR EACH ROW"
        " WHEN (OLD.owner IS DISTINCT FROM NEW.owner AND NEW.role IN ('all', 'poller'))"
        " EXECUTE FUNCTION keep_owners()"
    ),
)

NOTE: Final = (
    "IF {condition} AND v_epoch <> p_epoch THEN"
    " INSERT INTO stale_effects VALUES (p_account, '{what}', p_epoch, v_epoch); END IF;"
)


@dataclass
class Verdict:
    """What the oracle found.

    Attributes:
        complaints: What was promised and not kept.
        missing: Faults that were asked for, and left no trace.
        figures: What happened.
    """

    complaints: list[str] = field(default_factory=list[str])
    missing: list[str] = field(default_factory=list[str])
    figures: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True)
class Poll:
    """A poll as the gateway saw it: whose, by which process, and from when to when."""

    account: AccountId
    pid: int
    began: float
    ended: float


async def find_strange_polls(polls: Sequence[Poll], database: PostgresDatabase) -> list[float]:
    """Return for every poll of a process that did not have the slot when it began, how long that was ago."""
    pids = {row["session_id"]: row["pid"] for row in await database.read("SELECT * FROM worker_sessions")}
    history: dict[int, list[tuple[float, int | None]]] = {}
    for row in await database.read(
        "SELECT slot_id, owner, extract(epoch FROM at)::float8 AS at FROM owners ORDER BY n"
    ):
        history.setdefault(row["slot_id"], []).append((row["at"], pids.get(row["owner"])))
    strange: list[float] = []
    for poll in polls:
        owners = history.get(slot_of(poll.account), [])
        before = [(at, pid) for at, pid in owners if at <= poll.began]
        if before and before[-1][1] == poll.pid:
            continue
        lost = [after for (_, pid), (after, _) in itertools.pairwise(before) if pid == poll.pid]
        if lost and poll.began - lost[-1] > 0.05:  # clocks of one machine are read at different moments
            strange.append(poll.began - lost[-1])
    return strange


def find_overlaps(polls: Sequence[Poll]) -> list[float]:
    """Return for how long, each time, two processes had a poll of one account under way, as the gateway saw it."""
    found: list[float] = []
    last: dict[AccountId, Poll] = {}
    for poll in sorted(polls, key=lambda poll: poll.began):
        other = last.get(poll.account)
        if other is not None and other.pid != poll.pid and other.ended > poll.began + 0.001:
            found.append(min(other.ended, poll.ended) - poll.began)
        last[poll.account] = poll
    return found


def judge_overlaps(overlaps: Sequence[float], traces: Mapping[str, int], *, accounts: int, hold: float) -> list[str]:
    """Polls may overlap once for each account of a process that died or lost its lease, while one is held."""
    found: list[str] = []
    most = sum(traces[what] for what in ("stalls", "leases lost", "killed", "restarts")) * accounts
    if len(overlaps) > most:
        found.append(f"{len(overlaps)} times two polls of one token, above {most}")
    if (longest := max(overlaps, default=0.0)) > hold + 1:
        found.append(f"two polls of one token for {longest:.1f} s, above {hold + 1:.1f} s")
    return found
