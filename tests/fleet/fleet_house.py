"""What tests of the fleet share: a database with few slots, and sessions whose time can be over at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from ilink.storage.postgres import PostgresDatabase
from ilink.storage.slots import LeaseTerms, SessionId, Vacancy, WorkerInfo
from ilink.storage.slots_postgres import PostgresSlots

FEW: Final = 16
"""How many of the slots the database of a test has."""

WORKER: Final = WorkerInfo(node="node-1", pid=4242, version="0.1.0")

TERMS: Final = LeaseTerms(cool_down=600, hand_over=600)
"""Nothing ends by itself in a test."""

_AUDIT: Final = (
    "CREATE TABLE owners_audit (n bigserial PRIMARY KEY, slot_id integer, owner uuid, epoch bigint, before uuid)",
    (
        "CREATE FUNCTION keep_owners() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO owners_audit (slot_id, owner, epoch, before)"
        " VALUES (NEW.slot_id, NEW.owner, NEW.epoch, OLD.owner);"
        " RETURN NEW; END $$"
    ),
    "CREATE TRIGGER keep_owners AFTER UPDATE ON slots FOR EACH ROW EXECUTE FUNCTION keep_owners()",
)


def new_session() -> SessionId:
    return SessionId(uuid4())


def epochs(vacancies: Iterable[Vacancy]) -> dict[int, int]:
    return {one.slot: one.epoch for one in vacancies}


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresDatabase]:
    async with PostgresDatabase(url, schema="local") as database:
        yield database


@dataclass
class Fleet:
    """The leases in one database."""

    url: str
    database: PostgresDatabase
    slots: PostgresSlots

    async def start(self, *, ttl: float = 3600) -> SessionId:
        session = new_session()
        await self.slots.open_session(session, WORKER, ttl=ttl)
        return session

    async def value(self, statement: str) -> int:
        row = await self.database.read_row(statement)
        assert row is not None
        return int(row[0])

    async def expire(self, session: SessionId) -> None:
        """Let a process have said nothing for too long."""
        await self.database.execute(
            "UPDATE worker_sessions SET expires_at = clock_timestamp() - interval '1 second' WHERE session_id = $1",
            session,
        )

    async def age_releases(self) -> None:
        """Let everything have been released long ago."""
        await self.database.execute("UPDATE slots SET released_at = clock_timestamp() - interval '1 hour'")

    async def keep_audit(self) -> None:
        """Let the database write down every change of an owner."""
        for statement in _AUDIT:
            await self.database.execute(statement)

    async def audit_complaints(self) -> list[str]:
        """Slots that went from one owner to another without being free between, or whose epoch did not rise by one."""
        rows = await self.database.read("SELECT * FROM owners_audit WHERE owner IS NOT NULL ORDER BY n")
        found = [f"{row['slot_id']} was taken from {row['before']}" for row in rows if row["before"] is not None]
        last: dict[int, int] = {}
        for row in rows:
            if row["epoch"] != last.get(row["slot_id"], 0) + 1:
                found.append(f"{row['slot_id']} has epoch {row['epoch']} after {last.get(row['slot_id'], 0)}")
            last[row["slot_id"]] = row["epoch"]
        return found


@asynccontextmanager
async def open_fleet(url: str) -> AsyncIterator[Fleet]:
    """A database as new, with few slots."""
    async with opened(url) as database:
        await database.execute("DELETE FROM worker_sessions")
        await database.execute("UPDATE slots SET owner = NULL, given_to = NULL, released_by = NULL, epoch = 0")
        await database.execute("DELETE FROM slots WHERE slot_id >= $1", FEW)
        yield Fleet(url, database, PostgresSlots(database))
