"""What a database that is not as it should be says, and what to do about it; before anything is touched."""

from __future__ import annotations

import asyncio
import logging
import traceback

import asyncpg
import pytest

from ilink.errors import StoreCorruptError, StoreError, StoreUnavailableError
from ilink.storage import postgres, postgres_migrations
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.postgres_migrations import Migration
from ilink.testing.engines import PostgresEngine

CANARY = "canary words that a person wrote"
STEPS = (Migration(1, "notes", "CREATE TABLE notes (name text PRIMARY KEY);"),)


async def refusal(url: str, kind: type[StoreError] = StoreError) -> StoreError:
    with pytest.raises(kind) as refused:
        async with PostgresDatabase(url, steps=STEPS, connect_timeout=20.0):
            pass
    assert "hush" not in str(refused.value)
    return refused.value


class TestOpening:
    async def test_nobody_there(self) -> None:
        error = await refusal("postgresql://me:hush@127.0.0.1:1/bots", StoreUnavailableError)
        assert "postgresql://me@127.0.0.1:1/bots" in str(error)
        assert "cannot be reached" in str(error)
        assert error.transient

    async def test_no_such_host(self) -> None:
        error = await refusal("postgresql://me:hush@no-such-host.invalid/bots", StoreUnavailableError)
        assert "host and port in the database URL" in str(error)

    async def test_no_such_database(self, make_postgres_url) -> None:
        url = make_postgres_url().replace("/postgres?", "/nosuch?")
        error = await refusal(url)
        assert "createdb" in str(error)
        assert not error.transient

    async def test_a_user_who_may_only_read(self, postgres_url: str) -> None:
        error = await refusal(postgres_url + "&default_transaction_read_only=on", StoreUnavailableError)
        assert "point the database URL at the primary" in str(error)

    async def test_a_server_that_is_too_old(self, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgres_migrations, "OLDEST_SERVER", 99)
        assert "ilink needs 99 or newer" in str(await refusal(postgres_url))

    async def test_a_schema_of_others(self, postgres_url: str) -> None:
        """Somebody else's user may not make what is missing."""
        async with PostgresDatabase(postgres_url, steps=STEPS) as database:
            name = f"guest_{database.namespace}"
            await database.execute(f"CREATE ROLE {name} LOGIN")
            await database.execute(f"GRANT USAGE ON SCHEMA {database.namespace} TO {name}")
            await database.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {database.namespace} TO {name}")
        guest = postgres_url.replace("postgres@", f"{name}@")
        async with PostgresDatabase(guest, steps=STEPS) as database:
            with pytest.raises(StoreError, match="grant it"):
                await database.execute("INSERT INTO notes VALUES ('a')")
        with pytest.raises(StoreError, match="grant it"):
            async with PostgresDatabase(guest, steps=(*STEPS, Migration(2, "more", "CREATE TABLE more (a int);"))):
                pass

    async def test_a_wrong_password_and_a_replica(self, own_postgres: PostgresEngine) -> None:
        connection = await asyncpg.connect(own_postgres.url().partition("?")[0])
        await connection.execute("CREATE ROLE me LOGIN SUPERUSER PASSWORD 'secret'")
        await connection.close()
        (own_postgres.data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n", "utf-8")
        await asyncio.to_thread(own_postgres.restart)
        right = own_postgres.url().replace("postgres@", "me:secret@")
        wrong = own_postgres.url().replace("postgres@", "me:hush@")
        assert "mend user and password in the database URL" in str(await refusal(wrong))
        async with PostgresDatabase(right, steps=STEPS) as database:
            await database.execute("INSERT INTO notes VALUES ('kept')")
        await asyncio.to_thread(own_postgres.become_replica)
        error = await refusal(right, StoreUnavailableError)
        assert "is a read-only replica; point the database URL at the primary" in str(error)


class TestAtWork:
    @pytest.mark.parametrize(
        ("code", "kind", "words"),
        [
            ("53100", StoreUnavailableError, "disk is full"),
            ("25006", StoreUnavailableError, "read-only"),
            ("53300", StoreUnavailableError, "max_connections"),
            ("55P03", StoreUnavailableError, "nothing was stored"),
            ("57P03", StoreUnavailableError, "being started or stopped"),
            ("XX001", StoreCorruptError, "damaged"),
            ("42P01", StoreCorruptError, "not as this version of ilink left it"),
            ("23505", StoreError, "refused what was asked"),
        ],
    )
    async def test_what_the_server_says_is_told_with_what_to_do(
        self, postgres_url: str, code: str, kind: type[StoreError], words: str
    ) -> None:
        async with PostgresDatabase(postgres_url, steps=STEPS) as database:
            raising = f"DO $$ BEGIN RAISE EXCEPTION 'so it is' USING ERRCODE = '{code}'; END $$"
            with pytest.raises(kind, match=words) as told:
                await database.execute(raising)
        assert type(told.value) is kind
        assert database.place in str(told.value)
        assert not getattr(told.value, "is_uncertain", False)

    @pytest.mark.parametrize(
        ("statement", "arguments"),
        [
            ("INSERT INTO notes VALUES ($1)", [CANARY]),
            ("SELECT CAST($1::text AS integer)", [CANARY]),
            ("SELECT CAST($1::text AS json)", [CANARY]),
            ("SELECT $1::integer", [CANARY]),
            ("INSERT INTO notes SELECT NULL FROM (SELECT $1::text) AS given", [CANARY]),
        ],
    )
    async def test_no_value_is_told_in_an_error_or_in_what_caused_it(
        self, postgres_url: str, statement: str, arguments: list[object]
    ) -> None:
        async with PostgresDatabase(postgres_url, steps=STEPS) as database:
            await database.execute("INSERT INTO notes VALUES ($1)", CANARY)
            with pytest.raises(StoreError, match="refused what was asked") as told:
                await database.execute(statement, *arguments)
        assert CANARY not in "".join(traceback.format_exception(told.value))

    async def test_a_statement_that_takes_too_long_is_given_up(self, postgres_url: str) -> None:
        async with PostgresDatabase(postgres_url, steps=STEPS, statement_timeout=0.05) as database:
            with pytest.raises(StoreUnavailableError, match="took too long"):
                await database.execute("SELECT pg_sleep(20)")
            assert await database.read("SELECT name FROM notes") == []

    async def test_a_cut_write_is_uncertain_and_a_cut_read_is_asked_again(self, postgres_url: str) -> None:
        async with PostgresDatabase(postgres_url, steps=STEPS) as database:
            slow = f"SELECT pg_sleep(30) /* cut {database.namespace} */"
            writing = asyncio.create_task(database.write(slow))
            await cut(database, slow)
            with pytest.raises(StoreUnavailableError, match="not known") as told:
                await writing
            assert told.value.is_uncertain
            quick = f"SELECT pg_sleep(CASE WHEN count(*) = 0 THEN 30 ELSE 0 END) FROM notes /* {database.namespace} */"
            reading = asyncio.create_task(database.read(quick))
            await cut(database, quick, "INSERT INTO notes VALUES ('a')")
            assert len(await reading) == 1

    async def test_a_server_that_restarts_is_found_again(
        self, own_postgres: PostgresEngine, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.CRITICAL)
        async with PostgresDatabase(own_postgres.url(), steps=STEPS) as database:
            await asyncio.gather(*(database.execute("SELECT pg_sleep(0.01)") for _ in range(5)))
            await asyncio.to_thread(own_postgres.stop, at_once=True)
            with pytest.raises(StoreUnavailableError) as told:
                await database.execute("INSERT INTO notes VALUES ('away')")
            assert not told.value.is_uncertain
            await asyncio.to_thread(own_postgres.start)
            await database.execute("INSERT INTO notes VALUES ('back')")
            assert [row["name"] for row in await database.read("SELECT name FROM notes")] == ["back"]

    async def test_a_server_that_stands_still_is_not_waited_for_for_ever(
        self, own_postgres: PostgresEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres, "_MARGIN", 0.2)
        database = PostgresDatabase(own_postgres.url(), steps=STEPS, statement_timeout=5.0)
        async with database:
            pass
        impatient = PostgresDatabase(own_postgres.url(), steps=STEPS, statement_timeout=0.3, connect_timeout=5.0)
        async with impatient:
            await impatient.read("SELECT name FROM notes")
            own_postgres.freeze()
            try:
                with pytest.raises(StoreUnavailableError, match="did not answer in time") as told:
                    await impatient.execute("INSERT INTO notes VALUES ('a')")
                assert told.value.is_uncertain
            finally:
                own_postgres.thaw()
            await impatient.execute("INSERT INTO notes VALUES ('b')")


async def cut(database: PostgresDatabase, statement: str, first: str | None = None) -> None:
    """End the connection that runs a statement, as soon as it does."""
    while True:
        found = await database.read(
            "SELECT pid FROM pg_stat_activity WHERE query = $1 AND state = 'active' AND wait_event = 'PgSleep'",
            statement,
        )
        if found:
            break
    if first is not None:
        await database.execute(first)
    await database.execute("SELECT pg_terminate_backend($1)", found[0]["pid"])
