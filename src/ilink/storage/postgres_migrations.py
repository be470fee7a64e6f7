"""Bringing a PostgreSQL schema to the newest version: forward only, one process at a time, each step whole or not.

Numbers may have gaps, and a step is known by its number and by the checksum of its text. So two programs that were
given different steps under one number notice it, and a program that is older than the schema refuses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Final

import asyncpg

from ilink.errors import StoreCorruptError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

__all__ = ["OLDEST_SERVER", "Migration", "check_path", "check_schema", "migrate", "migrations"]

OLDEST_SERVER: Final = 14
"""The oldest major version of PostgreSQL that is known to work."""

_AS_LONG_AS_IT_TAKES: Final = 7 * 86_400.0
"""Seconds for a step, and for waiting until another process has done it; the driver has a limit for everything."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step.

    Attributes:
        number: Its place; steps are applied in the order of their numbers.
        name: What it brings.
        script: Its SQL statements.
    """

    number: int
    name: str
    script: str

    @property
    def checksum(self) -> str:
        """Names the text."""
        return sha256(self.script.encode()).hexdigest()


@lru_cache
def migrations(schema: str) -> tuple[Migration, ...]:
    """Return the steps of a schema in their order, from `ilink/storage/migrations/postgres/<schema>/NNNN_name.sql`."""
    folder = resources.files("ilink.storage") / "migrations" / "postgres" / schema
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple(
        Migration(int(name[:4]), name[5:].removesuffix(".sql"), (folder / name).read_text("utf-8")) for name in names
    )


async def migrate(
    connection: asyncpg.Connection[asyncpg.Record], steps: tuple[Migration, ...], *, namespace: str, place: str
) -> None:
    """Apply the steps that a schema does not have yet, under a lock that all processes of this schema share.

    Raises:
        StoreError: The server is too old or may not be written to, or the schema was made by a newer version. Nothing
            was changed.
    """
    await _check_server(connection, place)
    await check_path(connection, namespace=namespace, place=place)
    applied = await _applied(connection, namespace)
    _check(applied, steps, place)
    for step in steps:
        if step.number not in applied:
            async with connection.transaction():
                await _apply(connection, step, steps, namespace=namespace, place=place)


async def check_schema(
    connection: asyncpg.Connection[asyncpg.Record], steps: tuple[Migration, ...], *, namespace: str, place: str
) -> None:
    """Make sure that a schema is as this version wants it, and change nothing.

    Raises:
        StoreError: There is none, or it is another version's.
    """
    applied = await _applied(connection, namespace)
    if not applied:
        message = (
            f"{place} holds nothing of ilink; mend the database URL, or begin with `ilink run FILE --workers N`, which"
            " makes what it needs"
        )
        raise StoreError(message)
    _check(applied, steps, place)
    if len(applied) < len(steps):
        message = (
            f"{place} is an older version's (schema {max(applied)}, this one wants {steps[-1].number}); look with the"
            " version that works there, or let `ilink run` of this one bring it up to date"
        )
        raise StoreError(message)


async def _check_server(connection: asyncpg.Connection[asyncpg.Record], place: str) -> None:
    row = await connection.fetchrow(
        "SELECT current_setting('server_version_num')::int / 10000 AS major,"
        " current_setting('transaction_read_only')::boolean AS is_read_only, pg_is_in_recovery() AS is_replica"
    )
    assert row is not None
    if row["major"] < OLDEST_SERVER:
        message = f"{place} is PostgreSQL {row['major']}; ilink needs {OLDEST_SERVER} or newer: upgrade the server"
        raise StoreError(message)
    if row["is_replica"]:
        message = f"{place} is a read-only replica; point the database URL at the primary"
        raise StoreUnavailableError(message)
    if row["is_read_only"]:
        message = (
            f"{place} is read-only for this user (default_transaction_read_only is on); point the database URL at the"
            " primary, or use a user who may write"
        )
        raise StoreUnavailableError(message)


async def check_path(
    connection: asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record], *, namespace: str, place: str
) -> None:
    """Make sure that names mean what is in our schema: a pooler may have dropped what a connection was to begin with.

    Raises:
        StoreError: They mean something else.
    """
    path = await connection.fetchval("SELECT current_setting('search_path')")
    first = path.partition(",")[0].strip().strip('"')
    if first != namespace:
        message = (
            f"{place}: names are looked up elsewhere first (search_path is {path}), because a pooler such as PgBouncer"
            f" ignores what a connection asks for; let it run SET search_path = {namespace} on every connection to the"
            " server (connect_query)"
        )
        raise StoreError(message)


async def _applied(connection: asyncpg.Connection[asyncpg.Record], namespace: str) -> dict[int, str]:
    """Return the checksums of the applied steps by number."""
    # Looked up as rows: names are remembered by a connection, and one that waited for the lock would not see that the
    # table was made in the meantime.
    exists = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname = $1 AND relname = 'ilink_migrations')",
        namespace,
    )
    if not exists:
        return {}
    rows = await connection.fetch(f"SELECT number, checksum FROM {namespace}.ilink_migrations")  # noqa: S608 # checked
    return {row["number"]: row["checksum"] for row in rows}


def _check(applied: dict[int, str], steps: tuple[Migration, ...], place: str) -> None:
    known = {step.number: step for step in steps}
    newest = max(applied, default=0)
    if applied.keys() - known.keys():
        ours = max(known, default=0)
        message = (
            f"{place} was written by a newer version of ilink (schema {newest}, this one knows {ours}); upgrade this"
            " program, or give it a schema of its own (?schema=… in the database URL)"
        )
        raise StoreCorruptError(message)
    for number, checksum in applied.items():
        if known[number].checksum != checksum:
            message = (
                f"{place} was written by another build of ilink: step {number} ({known[number].name}) of its schema"
                " differs; run the program that made it, or give this one a schema of its own"
            )
            raise StoreCorruptError(message)


async def _apply(
    connection: asyncpg.Connection[asyncpg.Record],
    step: Migration,
    steps: tuple[Migration, ...],
    *,
    namespace: str,
    place: str,
) -> None:
    """Apply one step inside a transaction, unless another process was faster."""
    await connection.execute("SET LOCAL statement_timeout = 0")
    lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
    await connection.execute(lock, f"ilink:{namespace}", timeout=_AS_LONG_AS_IT_TAKES)
    applied = await _applied(connection, namespace)
    _check(applied, steps, place)
    if step.number in applied:
        return
    if not applied:
        await _create_namespace(connection, namespace)
    await connection.execute(step.script, timeout=_AS_LONG_AS_IT_TAKES)
    await connection.execute(
        f"INSERT INTO {namespace}.ilink_migrations (number, name, checksum) VALUES ($1, $2, $3)",  # noqa: S608 # checked
        step.number,
        step.name,
        step.checksum,
    )


async def _create_namespace(connection: asyncpg.Connection[asyncpg.Record], namespace: str) -> None:
    # Looked for first: `IF NOT EXISTS` asks for the right to create schemas even where there is nothing to create.
    if not await connection.fetchval("SELECT true FROM pg_namespace WHERE nspname = $1", namespace):
        await connection.execute(f"CREATE SCHEMA {namespace}")
    await connection.execute(
        f"CREATE TABLE IF NOT EXISTS {namespace}.ilink_migrations (number int PRIMARY KEY, name text NOT NULL,"
        " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
