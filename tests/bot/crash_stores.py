"""The stores in which bots are killed: how each is opened and dies, and how it is audited and broken on purpose.

The database itself writes down whenever a journal is adopted, and whenever an update becomes finished: once by whoever
finished it, and once by what became of the row.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sqlite3
from collections.abc import Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Protocol

import asyncpg
from msgspec.structs import replace

import ilink.bot.store
import ilink.storage.journal_postgres
import ilink.storage.journal_sqlite
import ilink.storage.leases
import ilink.storage.locks
import ilink.storage.sqlite
from ilink.bot.store import StorePlace, open_store
from ilink.errors import StoreLockedError
from ilink.storage.journal_inbox import InboxTable
from ilink.storage.journal_postgres import PostgresJournal
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.postgres_url import PostgresUrl

_KEY = base64.urlsafe_b64encode(bytes(32)).decode()

At = Callable[[str], None]
"""Tells that a point was reached; it may not return."""


class CrashStore(Protocol):
    """A store, from beside the bot that works in it and from inside.

    Attributes:
        folder: Where files are that are no part of the database.
        url: The database; empty for one in the folder.
        points: Where a bot may die around a transaction.
        await_points: Parts of the names of await points that there have to be.
        pace: How many times longer than in the quickest store a bot takes to begin.
    """

    folder: Path
    url: str
    points: tuple[str, ...]
    await_points: tuple[str, ...]
    pace: float

    @property
    def place(self) -> StorePlace: ...

    async def keep_audit(self, variant: str) -> None:
        """Let the database write down what is finished; break what a variant breaks there."""
        ...

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Read from beside."""
        ...

    def doom(self, at: At, *, variant: str, around_transactions: bool) -> type[Any]:
        """Let this process tell when it comes to a point, and return the journal of a variant."""
        ...

    def unlock(self) -> None:
        """Let this process work for an account that another one works for."""
        ...


class SqliteCrashStore:
    points = ("before BEGIN IMMEDIATE", "before COMMIT", "after COMMIT")
    await_points = ("journal_sqlite:", "sqlite:write")
    pace = 1.0
    url = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def place(self) -> StorePlace:
        return StorePlace(folder=self.folder, environ={})

    async def keep_audit(self, variant: str) -> None:
        with closing(sqlite3.connect(self.folder / "ilink.db")) as connection:
            connection.executescript(
                "CREATE TABLE audit (n INTEGER PRIMARY KEY, what TEXT, epoch INTEGER, seq INTEGER);"
                " CREATE TRIGGER audit_done AFTER UPDATE OF state ON inbox WHEN NEW.state = 1"
                " BEGIN INSERT INTO audit (what, seq) VALUES ('done', NEW.seq); END;"
                " CREATE TRIGGER audit_adopted AFTER UPDATE OF epoch ON journals"
                " BEGIN INSERT INTO audit (what, epoch) VALUES ('adopted', NEW.epoch); END;"
            )

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / "ilink.db")) as connection:
            return connection.execute(sql).fetchall()

    def doom(self, at: At, *, variant: str, around_transactions: bool) -> type[Any]:
        if around_transactions:
            true_connect = sqlite3.connect
            doomed = _doomed_connection(at)
            sqlite3.connect = lambda *a, **k: true_connect(*a, **k, factory=doomed)  # type: ignore[assignment]
        journal = ilink.bot.store.SqliteJournal = _doomed_journal(_audited(variant), at, variant)  # type: ignore[misc]
        return journal

    def unlock(self) -> None:
        ilink.storage.locks._try_lock = lambda _file: True


class PostgresCrashStore:
    points = ("before a statement", "amid a statement", "after a statement")
    await_points = ("journal_postgres:", "postgres:_run")
    pace = 2.0

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url

    @property
    def place(self) -> StorePlace:
        environ = {"ILINK_DATA": str(self.folder), "ILINK_STORE_KEY": _KEY}
        return StorePlace(folder=self.folder, database_url=self.url, environ=environ)

    async def keep_audit(self, variant: str) -> None:
        async with self._connected() as connection:
            await connection.execute(_AUDIT)
            body = await connection.fetchval("SELECT pg_get_functiondef('store_group'::regproc)")
            await connection.execute(_replaced(body, _FINISH, _FINISH_AND_TELL))
            if variant == "no_fence":
                body = await connection.fetchval("SELECT pg_get_functiondef('store_group'::regproc)")
                await connection.execute(_replaced(body, "is_owner := v_epoch = p_epoch AND p_epoch > 0;", _NO_FENCE))

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        async with self._connected() as connection:
            return [tuple(row) for row in await connection.fetch(sql)]

    def doom(self, at: At, *, variant: str, around_transactions: bool) -> type[Any]:
        if around_transactions:
            PostgresDatabase._run = _doomed_run(at)  # type: ignore[method-assign]
        _wait_for_leases()
        journal = _doomed_journal(PostgresJournal, at, variant)
        ilink.storage.journal_postgres.PostgresJournal = journal  # type: ignore[misc]
        return journal

    def unlock(self) -> None:
        async def take(self: object, account: str) -> None:
            pass

        ilink.storage.leases.AccountLeases.take = take  # type: ignore[method-assign, assignment]

    @asynccontextmanager
    async def _connected(self):
        url = PostgresUrl.parse(self.url)
        connection = await asyncpg.connect(url.driver_url, server_settings={"search_path": url.namespace})
        try:
            yield connection
        finally:
            await connection.close()


def store_at(folder: Path, url: str) -> CrashStore:
    return PostgresCrashStore(folder, url) if url else SqliteCrashStore(folder)


@asynccontextmanager
async def accounts_in(store: CrashStore):
    async with open_store(store.place) as opened:
        yield opened.accounts


_AUDIT = """
CREATE TABLE audit (n bigserial PRIMARY KEY, what text, epoch bigint, seq bigint);
CREATE FUNCTION audit_done() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO audit (what, seq) VALUES ('done', NEW.seq);
    RETURN NULL;
END $$;
CREATE FUNCTION audit_adopted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO audit (what, epoch) VALUES ('adopted', NEW.epoch);
    RETURN NULL;
END $$;
CREATE TRIGGER audit_done AFTER UPDATE OF state ON inbox FOR EACH ROW WHEN (NEW.state = 1)
    EXECUTE FUNCTION audit_done();
CREATE TRIGGER audit_adopted AFTER UPDATE OF epoch ON journals FOR EACH ROW EXECUTE FUNCTION audit_adopted();
"""
_FINISH = "taken := finish_updates(p_account, is_owner, r_place, r_seq, r_claim, c_now, c_ignored);"
_FINISH_AND_TELL = (
    f"{_FINISH} INSERT INTO audit (what, epoch, seq) SELECT 'finished', p_epoch, r.seq"
    " FROM unnest(r_place, r_seq) AS r (place, seq) WHERE taken[r.place];"
)
_NO_FENCE = "is_owner := true;"


def _replaced(script: str, sound: str, broken: str) -> str:
    assert script.count(sound) == 1, "the SQL has changed: change what stands in its place too"
    return script.replace(sound, broken)


def _doomed_run(at: At) -> Any:
    true_run = PostgresDatabase._run

    async def run(self: PostgresDatabase, ask: Any, *, is_read: bool = False) -> Any:
        async def asked(connection: Any) -> Any:
            at("before a statement")
            answer = asyncio.ensure_future(ask(connection))
            await asyncio.sleep(0)  # it is written, and not answered
            at("amid a statement")
            result = await answer
            at("after a statement")
            return result

        return await true_run(self, ask if is_read else asked, is_read=is_read)

    return run


def _wait_for_leases() -> None:
    """Let leases be short, and whoever comes wait for that of a process that was killed."""
    leases = ilink.storage.leases.AccountLeases
    assert leases.__init__.__kwdefaults__ is not None
    leases.__init__.__kwdefaults__.update(ttl=0.2, renew=0.05)
    true_take = leases.take

    async def take(self: Any, account: Any) -> None:
        while True:
            try:
                return await true_take(self, account)
            except StoreLockedError:
                await asyncio.sleep(0.02)

    leases.take = take  # type: ignore[method-assign]


def _doomed_connection(at: At) -> type[sqlite3.Connection]:
    """A connection that dies around its transactions, in the thread that writes."""

    class DoomedConnection(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            at(f"before {sql}")
            cursor = super().execute(sql, *parameters)
            at(f"after {sql}")
            return cursor

    return DoomedConnection


def _audited(variant: str) -> type[SqliteJournal]:
    """A journal that writes down, in the same transaction, what a process finished that had it as the EPOCH-th."""

    class AuditedInbox(InboxTable):
        def finish(self, connection: sqlite3.Connection, completions: Any, *, epoch: int) -> list[bool]:
            (newest,) = connection.execute("SELECT epoch FROM journals").fetchone()
            taken = super().finish(connection, completions, epoch=newest if variant == "no_fence" else epoch)
            runs = [run for one, is_taken in zip(completions, taken, strict=True) if is_taken for run in one.runs]
            connection.executemany(
                "INSERT INTO audit (what, epoch, seq) VALUES ('finished', ?, ?)",
                [(epoch, sequence) for sequence, _ in runs],
            )
            return taken

    class AuditedJournal(SqliteJournal):
        def _is_owner(self, connection: sqlite3.Connection) -> bool:
            return variant == "no_fence" or super()._is_owner(connection)

    ilink.storage.journal_sqlite.InboxTable = AuditedInbox  # type: ignore[misc]
    return AuditedJournal


def _doomed_journal(journal: Any, at: At, variant: str) -> Any:
    class DoomedJournal(journal):
        async def adopt(self, *role: Any) -> Any:
            adopted = await super().adopt(*role)
            at("adopted")
            return adopted

        async def ingest(self, arrivals: Any, **options: Any) -> Any:
            at("before ingest")
            if variant == "cursor_first":
                await super().ingest([], **options)
                at("after ingest")
            if variant == "no_dedupe":
                arrivals = [replace(arrival, identity=os.urandom(8).hex()) for arrival in arrivals]
            ingested = await super().ingest(arrivals, **options)
            at("after ingest")
            return ingested

        def complete(self, *arguments: Any, **options: Any) -> Any:
            at("before complete")
            answer = super().complete(*arguments, **options)
            answer.add_done_callback(lambda _: at("after complete"))
            return answer

        async def attach(self, *arguments: Any, **options: Any) -> None:
            at("before attach")
            await super().attach(*arguments, **options)
            at("after attach")

        def settle(self, *arguments: Any, **options: Any) -> Any:
            answer = super().settle(*arguments, **options)
            answer.add_done_callback(lambda _: at("after settle"))
            return answer

    return DoomedJournal
