"""The PostgreSQL engine: one schema of one database, opened, used, migrated, and listened to."""

from __future__ import annotations

import asyncio
import multiprocessing
from dataclasses import replace

import asyncpg
import pytest

from ilink.errors import ConfigError, StoreCorruptError, StoreError
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.postgres_hints import _packed
from ilink.storage.postgres_migrations import Migration, migrations
from ilink.storage.postgres_url import PostgresUrl

STEPS = (
    Migration(1, "notes", "CREATE TABLE notes (name text PRIMARY KEY, at timestamptz DEFAULT now());"),
    Migration(4, "words", "ALTER TABLE notes ADD COLUMN words text; CREATE INDEX notes_words ON notes (words);"),
)


class TestUrl:
    def test_our_settings_are_taken_out_and_the_password_is_not_shown(self) -> None:
        url = PostgresUrl.parse("postgresql://me:hush%40@db.example:6432/bots?schema=shop&pool=7&sslmode=require")
        assert (url.namespace, url.connections, url.is_prepared) == ("shop", 7, True)
        assert url.driver_url == "postgresql://me:hush%40@db.example:6432/bots?sslmode=require"
        assert url.place == "postgresql://me@db.example:6432/bots"
        assert "hush" not in repr(url)

    def test_a_socket_is_a_place_too(self) -> None:
        assert (
            PostgresUrl.parse("postgres:///bots?host=/run/postgresql").place == "postgres:///bots?host=/run/postgresql"
        )

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://me:hush/x@db.example/bots",
            "postgresql://me:hush@more@db.example:70000/bots",
            "postgresql://me:hush#@db.example/bots",
            "mysql://me:hush@db.example/bots",
            "postgresql://me:hush@db.example/bots?schema=hush;drop",
        ],
    )
    def test_what_cannot_be_read_is_refused_and_not_repeated(self, url: str) -> None:
        with pytest.raises(ConfigError) as refused:
            PostgresUrl.parse(url)
        assert "me:hush" not in str(refused.value)
        assert refused.value.__cause__ is None

    @pytest.mark.parametrize("setting", ["pool=0", "pool=many", "prepared=maybe", "schema=Shop"])
    def test_a_setting_that_means_nothing_is_named(self, setting: str) -> None:
        with pytest.raises(ConfigError, match=setting.partition("=")[2]):
            PostgresUrl.parse(f"postgresql://me@db.example/bots?{setting}")


class TestUnits:
    async def test_a_statement_gives_rows_and_counts(self, postgres_url: str) -> None:
        async with PostgresDatabase(postgres_url, steps=STEPS) as database:
            assert await database.execute("INSERT INTO notes VALUES ('a'), ('b')") == 2
            assert [row["name"] for row in await database.read("SELECT name FROM notes ORDER BY name")] == ["a", "b"]
            row = await database.write_row("DELETE FROM notes WHERE name = $1 RETURNING name", "a")
            assert row is not None
            assert row["name"] == "a"
            assert await database.read_row("SELECT name FROM notes WHERE name = 'a'") is None

    async def test_a_transaction_that_fails_leaves_nothing(self, postgres_url: str) -> None:
        async with PostgresDatabase(postgres_url, steps=STEPS) as database:
            with pytest.raises(ZeroDivisionError):
                await self.break_off(database)
            assert await database.read("SELECT name FROM notes") == []

    async def break_off(self, database: PostgresDatabase) -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO notes VALUES ('a')")
            raise ZeroDivisionError

    async def test_what_waits_for_each_other_is_done_in_the_end(self, postgres_url: str) -> None:
        """PostgreSQL ends one of two that hold what the other wants; that one is tried again."""
        async with PostgresDatabase(postgres_url + "&deadlock_timeout=50ms", steps=STEPS) as database:
            await database.execute("INSERT INTO notes VALUES ('a'), ('b')")
            await database.execute(
                "CREATE FUNCTION crosswise(one text, other text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN"
                " UPDATE notes SET words = one WHERE name = one; PERFORM pg_sleep(0.1);"
                " UPDATE notes SET words = one WHERE name = other; END $$"
            )
            await asyncio.gather(
                database.execute("SELECT crosswise('a', 'b')"), database.execute("SELECT crosswise('b', 'a')")
            )

    async def test_no_more_connections_are_opened_than_the_url_allows(self, postgres_url: str) -> None:
        statement = (
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%busy_pool%' AND state = 'active'),"
            " pg_sleep(0.05) /* busy_pool */"
        )
        async with PostgresDatabase(postgres_url + "&pool=2", steps=STEPS) as database:
            rows = await asyncio.gather(*(database.read_row(statement) for _ in range(9)))
        assert max(row[0] for row in rows if row is not None) <= 2

    async def test_what_is_closed_says_so(self, postgres_url: str) -> None:
        database = PostgresDatabase(postgres_url, steps=STEPS)
        async with database:
            pass
        with pytest.raises(StoreError, match="is closed"):
            await database.read("SELECT 1")

    async def test_words_of_our_own_functions_are_passed_on(self, postgres_url: str) -> None:
        async with PostgresDatabase(postgres_url, steps=STEPS) as database:
            raising = "DO $$ BEGIN RAISE EXCEPTION 'sign in again' USING ERRCODE = 'IL001'; END $$"
            with pytest.raises(StoreError, match=r"^sign in again$"):
                await database.execute(raising)


class TestMigrations:
    @pytest.mark.parametrize("schema", ["local", "gateway"])
    async def test_every_earlier_version_becomes_the_newest(self, schema: str, make_postgres_url) -> None:
        steps = migrations(schema)
        assert [step.number for step in steps] == sorted({step.number for step in steps})
        newest = await columns(make_postgres_url(), schema, steps, steps)
        for count in range(1, len(steps)):
            assert await columns(make_postgres_url(), schema, steps[:count], steps) == newest

    async def test_what_is_stored_stays(self, postgres_url: str) -> None:
        async with PostgresDatabase(postgres_url, steps=STEPS[:1]) as database:
            await database.execute("INSERT INTO notes (name) VALUES ('kept')")
        async with PostgresDatabase(postgres_url, steps=STEPS) as database:
            rows = await database.read("SELECT name, words FROM notes")
        assert [tuple(row) for row in rows] == [("kept", None)]

    async def test_a_step_is_whole_or_not_there(self, postgres_url: str) -> None:
        broken = Migration(5, "broken", "CREATE TABLE half (a int); SELECT 1 / 0;")
        with pytest.raises(StoreError, match="division by zero"):
            async with PostgresDatabase(postgres_url, steps=(*STEPS, broken)):
                pass
        async with PostgresDatabase(postgres_url, steps=STEPS) as database:
            assert await database.read_row("SELECT to_regclass('half') AS half") == (None,)

    async def test_a_step_takes_as_long_as_it_takes_and_others_wait_for_it(
        self, postgres_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ilink.storage.postgres._MARGIN", 0.0)
        slow = (Migration(1, "slow", "CREATE TABLE notes (name text); SELECT pg_sleep(1);"),)

        async def open_one() -> None:
            async with PostgresDatabase(postgres_url, steps=slow, statement_timeout=0.5) as database:
                assert await database.read("SELECT name FROM notes") == []

        await asyncio.gather(open_one(), open_one())

    async def test_a_newer_schema_is_refused_and_not_touched(self, postgres_url: str) -> None:
        async with PostgresDatabase(postgres_url, steps=STEPS):
            pass
        with pytest.raises(StoreCorruptError, match=r"newer version of ilink \(schema 4, this one knows 1\)"):
            async with PostgresDatabase(postgres_url, steps=STEPS[:1]):
                pass

    async def test_a_step_of_another_build_is_refused(self, postgres_url: str) -> None:
        async with PostgresDatabase(postgres_url, steps=STEPS):
            pass
        other = replace(STEPS[1], script="ALTER TABLE notes ADD COLUMN other text;")
        with pytest.raises(StoreCorruptError, match=r"step 4 \(words\) of its schema differs"):
            async with PostgresDatabase(postgres_url, steps=(STEPS[0], other)):
                pass

    async def test_many_processes_that_start_at_once_migrate_once(self, postgres_url: str) -> None:
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=open_and_close, args=(postgres_url,)) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            await asyncio.to_thread(process.join)
        assert [process.exitcode for process in processes] == [0, 0, 0, 0]
        async with PostgresDatabase(postgres_url) as database:
            rows = await database.read("SELECT number FROM ilink_migrations ORDER BY number")
        assert [row["number"] for row in rows] == [step.number for step in migrations("local")]

    async def test_two_schemas_of_one_database_know_nothing_of_each_other(self, make_postgres_url) -> None:
        async with (
            PostgresDatabase(make_postgres_url(), steps=STEPS) as one,
            PostgresDatabase(make_postgres_url(), steps=STEPS) as other,
        ):
            await one.execute("INSERT INTO notes VALUES ('a')")
            assert await other.read("SELECT name FROM notes") == []


class TestHints:
    async def test_hints_of_one_process_reach_another(self, postgres_url: str) -> None:
        async with PostgresDatabase(postgres_url) as one, PostgresDatabase(postgres_url) as other:
            heard: asyncio.Queue[str] = asyncio.Queue()
            async with other.listening("mail", heard.put_nowait), one.listening("other", heard.put_nowait):
                for number in range(50):
                    one.notify("mail", str(number))
                assert [await heard.get() for _ in range(50)] == [str(number) for number in range(50)]

    async def test_other_schemas_do_not_hear_them(self, make_postgres_url) -> None:
        async with PostgresDatabase(make_postgres_url()) as one, PostgresDatabase(make_postgres_url()) as other:
            heard: asyncio.Queue[str] = asyncio.Queue()
            async with one.listening("mail", heard.put_nowait), other.listening("mail", heard.put_nowait):
                one.notify("mail", "for one")
                other.notify("mail", "for other")
                assert sorted([await heard.get(), await heard.get()]) == ["for one", "for other"]
                await one.execute("SELECT pg_sleep(0.05)")
                assert heard.empty()

    async def test_a_lost_connection_is_made_anew_and_told_of(self, postgres_url: str) -> None:
        async with PostgresDatabase(postgres_url) as database:
            heard: asyncio.Queue[str] = asyncio.Queue()
            gaps: asyncio.Queue[None] = asyncio.Queue()
            async with database.listening("mail", heard.put_nowait, on_gap=lambda: gaps.put_nowait(None)):
                await cut_everybody(postgres_url)
                await gaps.get()
                database.notify("mail", "lost with the connection, maybe")
                while True:
                    database.notify("mail", "again")
                    try:
                        async with asyncio.timeout(0.5):
                            await heard.get()
                            break
                    except TimeoutError:
                        continue

    def test_hints_go_together_as_far_as_they_fit(self) -> None:
        channels, payloads = _packed(dict.fromkeys(("a", f"{number:0200}") for number in range(100)))
        assert set(channels) == {"a"}
        assert len(payloads) == 3
        assert max(len(payload) for payload in payloads) < 8000
        assert "\n".join(payloads).split("\n") == [f"{number:0200}" for number in range(100)]


def open_and_close(url: str) -> None:
    async def main() -> None:
        async with PostgresDatabase(url):
            pass

    asyncio.run(main())


async def columns(url: str, schema: str, first: tuple[Migration, ...], then: tuple[Migration, ...]) -> list[tuple]:
    """What a schema looks like that was made in two goes."""
    async with PostgresDatabase(url, schema=schema, steps=first):
        pass
    async with PostgresDatabase(url, schema=schema, steps=then) as database:
        rows = await database.read(
            "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
            " WHERE table_schema = $1 ORDER BY 1, 2",
            database.namespace,
        )
    return [tuple(row) for row in rows]


async def cut_everybody(url: str) -> None:
    """End all connections of a schema, as an operator or a proxy may."""
    place = PostgresUrl.parse(url)
    connection = await asyncpg.connect(place.driver_url)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND application_name = 'ilink' AND query LIKE '%LISTEN%'"
        )
    finally:
        await connection.close()
