"""The embedded database: durable, grouped, isolated, and clear when the disk or the file is not as it should be."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ilink.errors import StoreCorruptError, StoreError, StoreLockedError
from ilink.storage import sqlite
from ilink.storage.sqlite import Database


@pytest.fixture
def schema(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of migrations of our own, with one table in its first file."""
    folder = tmp_path / "package" / "migrations" / "sqlite" / "probe"
    folder.mkdir(parents=True)
    (folder / "0001_initial.sql").write_text("CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT);\n")
    monkeypatch.setattr(sqlite.resources, "files", lambda _: tmp_path / "package")
    return folder


@pytest.fixture
async def database(schema: Path, tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(tmp_path / "data" / "probe.db", schema="probe", synchronous="OFF") as database:
        yield database


def put(key: str, value: str = "") -> sqlite.Work[None]:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO t VALUES (?, ?)", (key, value))

    return work


def keys(connection: sqlite3.Connection) -> list[str]:
    return [key for (key,) in connection.execute("SELECT k FROM t ORDER BY k")]


async def test_what_was_written_is_read_by_readers_and_by_the_next_process(database: Database) -> None:
    await database.write(put("a"))
    assert await database.read(keys) == ["a"]
    await database.aclose()
    async with Database(database.path, schema="probe") as again:
        assert await again.read(keys) == ["a"]


async def test_file_and_its_companions_are_private_from_birth(database: Database) -> None:
    await database.write(put("a"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in database.path.parent.iterdir()}
    assert modes == {"probe.db": 0o600, "probe.db-wal": 0o600, "probe.db-shm": 0o600}
    assert stat.S_IMODE(database.path.parent.stat().st_mode) == 0o700


async def test_writes_asked_for_together_share_commits(database: Database) -> None:
    gate = threading.Event()
    commits: list[str] = []

    def wait(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(lambda statement: commits.append(statement) if statement == "COMMIT" else None)
        gate.wait()

    first = asyncio.create_task(database.write(wait))
    rest = [asyncio.create_task(database.write(put(f"{number:03}"))) for number in range(100)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *rest)
    assert len(commits) <= 3
    assert len(await database.read(keys)) == 100


async def test_one_that_fails_takes_nobody_with_it(database: Database) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        put("lost")(connection)
        raise LookupError("mine")

    results = await asyncio.gather(
        database.write(put("a")), database.write(fail), database.write(put("b")), return_exceptions=True
    )
    assert isinstance(results[1], LookupError)
    assert await database.read(keys) == ["a", "b"]


async def test_broken_constraint_is_a_store_error_that_names_the_file(database: Database) -> None:
    await database.write(put("a"))
    with pytest.raises(StoreError, match=r"probe\.db: UNIQUE"):
        await database.write(put("a"))


async def test_full_disk_stores_nothing_and_the_next_write_works(database: Database) -> None:
    def limit(pages: int) -> sqlite.Work[None]:
        return lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").close()

    await database.write(limit(4))
    with pytest.raises(StoreError, match="disk is full"):
        await database.write(put("big", "x" * 1_000_000))
    await database.write(limit(1_000_000))
    await database.write(put("small"))
    assert await database.read(keys) == ["small"]


async def test_full_disk_never_answers_a_neighbour_that_was_rolled_back(database: Database) -> None:
    await database.write(lambda connection: connection.execute("PRAGMA max_page_count = 4").close())
    results = await asyncio.gather(
        *(database.write(put(f"{number}", "x" * 2_000)) for number in range(30)), return_exceptions=True
    )
    stored = {f"{number}" for number, result in enumerate(results) if result is None}
    assert any(isinstance(result, StoreError) for result in results)
    assert set(await database.read(keys)) == stored


async def test_cancelled_write_is_whole_or_absent(database: Database) -> None:
    gate = threading.Event()
    blocker = asyncio.create_task(database.write(lambda _: gate.wait()))
    cancelled = asyncio.create_task(database.write(put("a")))
    await asyncio.sleep(0)
    cancelled.cancel()
    gate.set()
    await blocker
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await database.write(put("b"))
    assert await database.read(keys) in (["a", "b"], ["b"])


async def test_closing_finishes_what_was_asked_for(database: Database) -> None:
    tasks = [asyncio.create_task(database.write(put(f"{number:03}"))) for number in range(50)]
    await asyncio.sleep(0)
    await database.aclose()
    await asyncio.gather(*tasks)
    async with Database(database.path, schema="probe") as again:
        assert len(await again.read(keys)) == 50


async def test_closed_database_says_so(database: Database) -> None:
    await database.aclose()
    with pytest.raises(StoreError, match="is closed"):
        await database.write(put("a"))
    with pytest.raises(StoreError, match="is closed"):
        await database.read(keys)


async def test_reader_cannot_write(database: Database) -> None:
    with pytest.raises(StoreError, match="readonly"):
        await database.read(put("a"))


async def test_later_migrations_run_once_and_keep_what_is_there(database: Database, schema: Path) -> None:
    await database.write(put("a"))
    await database.aclose()
    (schema / "0002_more.sql").write_text(
        "ALTER TABLE t ADD COLUMN extra TEXT NOT NULL DEFAULT 'new';\nCREATE INDEX i ON t (extra);\n"
    )
    for _ in range(2):
        async with Database(database.path, schema="probe") as again:
            rows = await again.read(lambda connection: connection.execute("SELECT k, extra FROM t").fetchall())
            assert rows == [("a", "new")]


async def test_failed_migration_leaves_the_file_as_it_was(database: Database, schema: Path) -> None:
    await database.aclose()
    (schema / "0002_bad.sql").write_text("CREATE TABLE u (k TEXT);\nCREATE TABLE t (k TEXT);\n")
    with pytest.raises(StoreError, match="already exists"):
        async with Database(database.path, schema="probe"):
            pass
    with sqlite3.connect(database.path) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert tables == {"t"}


async def test_file_of_a_newer_version_is_refused(database: Database, schema: Path) -> None:
    await database.aclose()
    (schema / "0002_more.sql").write_text("CREATE TABLE u (k TEXT);\n")
    async with Database(database.path, schema="probe"):
        pass
    (schema / "0002_more.sql").unlink()
    with pytest.raises(StoreCorruptError, match="newer version"):
        async with Database(database.path, schema="probe"):
            pass


async def test_file_that_is_no_database_is_refused(schema: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.db"
    path.write_bytes(b"this is no database, " * 100)
    with pytest.raises(StoreCorruptError, match="damaged"):
        async with Database(path, schema="probe"):
            pass


async def test_lock_of_another_process_is_a_typed_error(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_PATIENCE_MS", 1)
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreLockedError, match="locked by another process"):
        await database.write(put("a"))
    other.execute("COMMIT")
    other.close()
    await database.write(put("a"))
    assert await database.read(keys) == ["a"]


async def test_file_in_the_place_of_the_folder_is_a_store_error(schema: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(StoreError, match="cannot make the folder"):
        async with Database(tmp_path / "a" / "b.db", schema="probe"):
            pass


class TestShortWork:
    """Short work is committed in the event loop, if that waits for nothing but a quick disk."""

    @pytest.fixture(autouse=True)
    async def pace(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every disk is quick, however busy the machine is."""
        monkeypatch.setattr(sqlite, "_QUICK", 60.0)
        await database.write(put("first"))

    async def where(self, database: Database, key: str) -> int:
        """Store something short, and return the thread it was stored in."""

        def work(connection: sqlite3.Connection) -> int:
            put(key)(connection)
            return threading.get_ident()

        return await database.write(work, is_short=True)

    async def test_it_is_committed_in_the_event_loop_while_the_disk_is_quick(self, database: Database) -> None:
        assert await self.where(database, "a") == threading.get_ident()
        assert await database.read(keys) == ["a", "first"]

    async def test_other_work_never_is(self, database: Database) -> None:
        assert await database.write(lambda _: threading.get_ident()) != threading.get_ident()

    async def test_nothing_is_committed_in_the_event_loop_before_the_disk_is_known(self, schema: Path) -> None:
        async with Database(schema.parent / "new.db", schema="probe") as new:
            assert await self.where(new, "a") != threading.get_ident()
            assert await self.where(new, "b") == threading.get_ident()

    async def test_a_disk_that_hung_is_left_to_the_writer_until_it_was_quick_for_long(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite, "_QUICK", 1.0)
        database._pace.note(10.0)
        assert await self.where(database, "a") != threading.get_ident()
        number = 0
        while await self.where(database, f"b{number}") != threading.get_ident():
            number += 1
        assert number >= 1

    async def test_it_waits_for_what_was_asked_for_before(self, database: Database) -> None:
        begun, release = threading.Event(), threading.Event()

        def slow(connection: sqlite3.Connection) -> None:
            begun.set()
            release.wait(10)
            put("slow")(connection)

        earlier = asyncio.create_task(database.write(slow))
        await asyncio.to_thread(begun.wait, 10)
        short = asyncio.create_task(self.where(database, "a"))
        await asyncio.sleep(0)
        assert not short.done()
        release.set()
        assert await short != threading.get_ident()
        await earlier

    async def test_another_process_that_writes_is_waited_for_beside_the_event_loop(self, database: Database) -> None:
        other = sqlite3.connect(database.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        short = asyncio.create_task(self.where(database, "a"))
        await asyncio.sleep(0)
        assert not short.done()
        other.execute("COMMIT")
        other.close()
        assert await short != threading.get_ident()

    async def test_the_event_loop_never_waits_for_a_lock(self, database: Database) -> None:
        def patience(connection: sqlite3.Connection) -> int:
            return int(connection.execute("PRAGMA busy_timeout").fetchone()[0])

        assert await database.write(patience, is_short=True) == 0
        assert await database.write(patience) == 0  # the writer's own patience is for beginning only

    async def test_it_queues_up_behind_what_waits(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        class Line:
            """A queue in which somebody always waits."""

            def __init__(self, line: object) -> None:
                self.line = line

            def empty(self) -> bool:
                return False

            def __getattr__(self, name: str) -> object:
                return getattr(self.line, name)

        monkeypatch.setattr(sqlite, "_GROUP", 1)
        monkeypatch.setattr(database, "_jobs", Line(database._jobs))
        assert await self.where(database, "a") != threading.get_ident()

    async def test_what_it_raises_is_raised_and_nothing_of_it_is_stored(self, database: Database) -> None:
        def fail(connection: sqlite3.Connection) -> None:
            put("a")(connection)
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await database.write(fail, is_short=True)
        with pytest.raises(StoreError, match="UNIQUE"):
            await database.write(put("first"), is_short=True)
        assert await self.where(database, "b") == threading.get_ident()
        assert await database.read(keys) == ["b", "first"]

    async def test_ctrl_c_in_the_middle_of_it_leaves_the_database_usable(self, database: Database) -> None:
        def interrupted(connection: sqlite3.Connection) -> None:
            put("a")(connection)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            database._commits_here(sqlite._Job(interrupted, asyncio.get_running_loop(), asyncio.Future()))
        assert await self.where(database, "b") == threading.get_ident()
        assert await database.read(keys) == ["b", "first"]

    async def test_a_closed_database_says_so(self, database: Database) -> None:
        await database.aclose()
        with pytest.raises(StoreError, match="is closed"):
            await self.where(database, "a")

    @pytest.mark.parametrize("is_short", [True, False])
    async def test_the_log_is_moved_into_the_file_after_so_many_pages(
        self, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_short: bool
    ) -> None:
        monkeypatch.setattr(sqlite, "_MOVED_PAGES", 50)
        for number in range(20):
            await database.write(put(str(number)), is_short=is_short)
        await database.write(lambda _: None)  # the writer did what it was asked for before
        copy = tmp_path / "copy.db"
        copy.write_bytes(database.path.read_bytes())
        alone = sqlite3.connect(copy)
        assert len(keys(alone)) >= 10
        alone.close()


class TestWhatNeedNotWaitForTheDiskAlone:
    @pytest.fixture
    async def database(self, schema: Path) -> AsyncIterator[Database]:
        async with Database(schema.parent / "full.db", schema="probe", synchronous="FULL") as database:
            await database.write(put("first"))
            yield database

    def level(self, key: str) -> Callable[[sqlite3.Connection], int]:
        """Store something, and tell what the commit of it will wait for: 2 is the disk."""

        def work(connection: sqlite3.Connection) -> int:
            put(key)(connection)
            return int(connection.execute("PRAGMA synchronous").fetchone()[0])

        return work

    @pytest.mark.parametrize("is_short", [True, False])
    async def test_its_commit_waits_for_nothing_and_those_of_others_for_the_disk(
        self, database: Database, *, is_short: bool
    ) -> None:
        assert await database.write(self.level("a"), is_short=is_short, is_synced=False) == 1
        assert await database.write(self.level("b"), is_short=is_short) == 2
        assert await database.write(self.level("c"), is_short=is_short, is_synced=False) == 1
        assert await database.read(keys) == ["a", "b", "c", "first"]

    async def test_what_follows_it_finds_the_disk_waited_for_and_it_finds_that_done_away_with_when_nobody_writes(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite, "_QUICK", 10.0)  # so that all is committed in this loop
        said: list[bool] = []
        true_set = Database._set_sync

        def note(self: Database, connection: sqlite3.Connection, *, is_synced: bool) -> None:
            if is_synced is not self._syncs:
                said.append(is_synced)
            true_set(self, connection, is_synced=is_synced)

        monkeypatch.setattr(Database, "_set_sync", note)
        await database.write(put("a"), is_short=True)
        assert said == []  # where all wait for the disk nothing else is expected
        await database.write(put("b"), is_short=True, is_synced=False)
        assert said == [False, True]
        await database.write(put("c"), is_short=True)
        assert said == [False, True]
        async with asyncio.timeout(10):
            while said != [False, True, False]:  # noqa: ASYNC110  # a list tells nobody
                await asyncio.sleep(0.005)
        assert await database.write(self.level("d"), is_short=True) == 2

    async def test_in_a_group_with_one_that_waits_it_waits_too(self, database: Database) -> None:
        begun, release = threading.Event(), threading.Event()

        def slow(_: sqlite3.Connection) -> None:
            begun.set()
            release.wait(10)

        earlier = asyncio.create_task(database.write(slow))
        await asyncio.to_thread(begun.wait, 10)
        both = asyncio.gather(
            database.write(self.level("a"), is_synced=False), database.write(self.level("b"), is_synced=True)
        )
        await asyncio.sleep(0)
        release.set()
        assert await both == [2, 2]
        await earlier

    async def test_a_database_that_waits_for_no_disk_has_nothing_to_catch_up_with(self, schema: Path) -> None:
        async with Database(schema.parent / "off.db", schema="probe", synchronous="OFF") as off:
            assert await off.write(self.level("a"), is_synced=False) == 0
            assert await written(off, off.sync()) == 0

    async def test_sync_waits_for_the_disk_once(self, database: Database) -> None:
        await database.write(put("a"), is_synced=False)
        assert await written(database, database.sync()) > 0
        assert await written(database, database.sync()) == 0

    async def test_sync_costs_nothing_behind_a_commit_that_waited(self, database: Database) -> None:
        await database.write(put("a"), is_synced=False)
        await database.write(put("b"))
        assert await written(database, database.sync()) == 0

    async def test_a_commit_without_anything_to_write_does_not_count_for_it(self, database: Database) -> None:
        await database.write(put("a"), is_synced=False)
        await database.write(lambda connection: connection.execute("DELETE FROM t WHERE k = 'nobody'"))
        assert await written(database, database.sync()) > 0

    async def test_sync_that_fails_is_owed_still(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_: sqlite3.Connection) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        await database.write(put("a"), is_synced=False)
        with monkeypatch.context() as broken:
            broken.setattr(sqlite, "_touch", full)
            with pytest.raises(StoreError, match="full"):
                await database.sync()
        assert await written(database, database.sync()) > 0


async def written(database: Database, work: Awaitable[None]) -> int:
    """Return how many bytes the log has grown by some work."""
    log = database.path.with_name(f"{database.path.name}-wal")
    before = log.stat().st_size
    await work
    return log.stat().st_size - before
