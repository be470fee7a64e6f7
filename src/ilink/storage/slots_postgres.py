"""The leases of a fleet in PostgreSQL; every call is one round trip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final

import msgspec

from ilink.errors import StoreLockedError
from ilink.storage.postgres import PostgresDatabase, Row
from ilink.storage.roles import Role
from ilink.storage.slots import LeaseTerms, SessionId, Survey, Vacancy, WorkerInfo, WorkerSession

__all__ = ["PostgresSlots"]

_OPEN: Final = """
SELECT open_session($1, $2, $3, $4, $5, $6, $7)"""

_RENEW: Final = """
UPDATE worker_sessions SET expires_at = clock_timestamp() + $2, report = $3::text::jsonb
WHERE session_id = $1 AND state <> 'dead'"""

_DRAIN: Final = "UPDATE worker_sessions SET state = 'draining' WHERE session_id = $1 AND state = 'live'"

_CLOSE: Final = """
WITH freed AS (
    UPDATE slots SET owner = NULL, given_to = NULL, released_by = $1, released_at = clock_timestamp() WHERE owner = $1)
UPDATE worker_sessions SET state = 'dead', expires_at = clock_timestamp() WHERE session_id = $1 AND state <> 'dead'"""
"""A slot that is claimed meanwhile is freed by whoever reaps next."""

_CLAIM: Final = "SELECT slot_id, epoch FROM claim_slots($1, $2, $3, $4)"

_RELEASE: Final = """
WITH freed AS (
    UPDATE slots s SET owner = NULL, given_to = $4, released_by = $1, released_at = clock_timestamp()
    FROM unnest($2::int[], $3::bigint[]) AS mine (slot_id, epoch)
    WHERE s.slot_id = mine.slot_id AND s.epoch = mine.epoch AND s.owner = $1 RETURNING s.slot_id)
SELECT count(*) FROM freed"""

_HELD: Final = "SELECT slot_id, epoch FROM slots WHERE owner = $1"

_SURVEY: Final = """
SELECT w.session_id, w.node, w.pid, w.version, w.weight, w.role, w.state, w.report::text AS report,
       extract(epoch FROM clock_timestamp() - w.started_at)::float8 AS age,
       extract(epoch FROM w.expires_at - clock_timestamp())::float8 AS expires_in,
       (SELECT count(*) FROM slots WHERE owner = w.session_id) AS held,
       (SELECT count(*) FROM slots WHERE role = $1 AND owner IS NULL) AS free
FROM worker_sessions w WHERE w.role = $1 AND w.state <> 'dead' ORDER BY w.started_at, w.session_id"""

_FENCE: Final = """
WITH fenced AS (
    UPDATE journals j SET
        epoch = j.epoch + 1,
        poller = CASE WHEN has_role($3, 'poller') THEN j.epoch + 1 ELSE j.poller END,
        handler = CASE WHEN has_role($3, 'handler') THEN j.epoch + 1 ELSE j.handler END,
        sender = CASE WHEN has_role($3, 'sender') THEN j.epoch + 1 ELSE j.sender END
    FROM (SELECT account_id FROM journals
          WHERE slot_of(account_id) IN (SELECT slot_id FROM slots WHERE owner = $1 AND slot_id = ANY ($2))
          ORDER BY account_id FOR UPDATE) mine
    WHERE j.account_id = mine.account_id RETURNING j.account_id)
SELECT count(*) FROM fenced"""
"""Rows are locked in the order of their names, so that two who lock many of them cannot wait for each other."""


class PostgresSlots:
    """The slots of the fleet whose accounts are in a database; see `Slots`.

    Args:
        database: Where the accounts are, open.
        role: Of those that do what.
    """

    def __init__(self, database: PostgresDatabase, *, role: Role = Role.ALL) -> None:
        self._database = database
        self._role = role

    async def open_session(self, session: SessionId, info: WorkerInfo, *, ttl: float) -> None:
        """See `Slots.open_session`."""
        what = (session, info.node, info.pid, info.version, info.weight, _seconds(ttl), self._role.value)
        row = await self._database.write_row(_OPEN, *what)
        if row is not None and row[0] is not None:
            message = (
                f"the fleet works in the other way: {row[0]} is there, and this process would be {self._role.value};"
                " end those, or start this one with the same --role"
            )
            raise StoreLockedError(message, holder=row[0])

    async def renew(self, session: SessionId, *, ttl: float, report: Mapping[str, object]) -> bool:
        """See `Slots.renew`."""
        told = msgspec.json.encode(report).decode()
        return bool(await self._database.execute(_RENEW, session, _seconds(ttl), told))

    async def drain(self, session: SessionId) -> None:
        """See `Slots.drain`."""
        await self._database.execute(_DRAIN, session)

    async def close_session(self, session: SessionId) -> None:
        """See `Slots.close_session`."""
        await self._database.execute(_CLOSE, session)

    async def reap(self) -> int:
        """See `Slots.reap`."""
        return _count(await self._database.write_row("SELECT reap_sessions()"))

    async def claim(self, session: SessionId, *, limit: int, terms: LeaseTerms) -> list[Vacancy]:
        """See `Slots.claim`."""
        cool_down, hand_over = _seconds(terms.cool_down), _seconds(terms.hand_over)
        return _vacancies(await self._database.write(_CLAIM, session, limit, cool_down, hand_over))

    async def release(self, session: SessionId, slots: Iterable[Vacancy], *, to: SessionId | None = None) -> int:
        """See `Slots.release`."""
        given = list(slots)
        numbers, epochs = [one.slot for one in given], [one.epoch for one in given]
        return _count(await self._database.write_row(_RELEASE, session, numbers, epochs, to))

    async def held(self, session: SessionId) -> list[Vacancy]:
        """See `Slots.held`."""
        return _vacancies(await self._database.read(_HELD, session))

    async def survey(self) -> Survey:
        """See `Slots.survey`."""
        rows = await self._database.read(_SURVEY, self._role.value)
        return Survey(sessions=tuple(_session(row) for row in rows), free=rows[0]["free"] if rows else 0)

    async def fence(self, session: SessionId, slots: Sequence[int]) -> int:
        """See `Slots.fence`."""
        return _count(await self._database.write_row(_FENCE, session, list(slots), self._role.value))


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def _count(row: Row | None) -> int:
    return 0 if row is None else int(row[0])


def _vacancies(rows: Iterable[Row]) -> list[Vacancy]:
    return [Vacancy(slot=row["slot_id"], epoch=row["epoch"]) for row in rows]


def _session(row: Row) -> WorkerSession:
    return msgspec.convert(
        {
            "session_id": row["session_id"],
            "info": {name: row[name] for name in ("node", "pid", "version", "weight", "role")},
            "state": row["state"],
            "age": row["age"],
            "expires_in": row["expires_in"],
            "slots": row["held"],
            "report": msgspec.json.decode(str(row["report"])),
        },
        WorkerSession,
    )
