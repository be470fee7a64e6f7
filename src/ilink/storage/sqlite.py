"""An embedded database: one writer thread that commits in groups, and readers beside it.

SQLite lets one connection write at a time, and with `synchronous=FULL` a commit waits for the disk. So writes go
through one thread: whatever was asked for while the last commit ran shares the next one, each piece of work in a
savepoint of its own, so that one that fails takes nobody with it. A write is answered only after its commit.

The way to a thread and back takes about as long as a commit on a quick disk. So short work is committed in the event
loop while the disk is quick, nothing waits, and no other process is writing.

Most of a commit is the wait for the disk. What nobody outside is told of yet need not wait alone: it is committed, so
that it outlives the process, and is on the disk with the next commit or `sync`.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, Literal, Self, TypeVar

from ilink.errors import IlinkError, StoreCorruptError, StoreError, StoreLockedError
from ilink.storage.private import create_private_file, make_private_folder
from ilink.storage.sqlite_others import Others, Wait, call_in

__all__ = ["Database", "Work"]

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""A unit of work: reads and writes through the connection, and neither commits nor keeps it."""

_log = logging.getLogger(__name__)

_GROUP: int = 256
"""How many units of work share a commit at most, so that the first of them does not wait long for the last."""
_READERS: int = 2
_MOVED_PAGES: int = 2_000
"""Pages of log, roughly, after which it is moved into the file, by the writer's thread and after it has answered: so
many that pages that every commit touches are moved once instead of many times, and so few that the log does not grow.
The disk takes twice as long to make a file longer than to write over what it had."""
_PAGES_OF_COMMIT: int = 5
_ROWS_OF_PAGE: int = 4
"""How many pages a commit has: some that every one has, and others by the rows it changes."""
_LOG_PAGES: int = 16_000
"""64 MiB of log, after which SQLite moves it within a commit: only when the writer could not, as under a long read."""
_PATIENCE_MS: int = 5_000
"""How long a lock of another process is waited for, in the writer's thread."""
_QUICK: float = 0.001
"""Seconds a commit may take in the event loop, on average: about as long as a handler that does a little."""
_REST: float = 0.01
"""Seconds after a commit that waited for the disk when the next one probably need not."""
_LATELY: int = 8
"""Commits that such an average goes back, roughly."""


@dataclass(slots=True)
class _Job(Generic[T]):
    work: Work[T]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[T]
    is_synced: bool = True
    result: T | None = None
    error: BaseException | None = None

    def settle(self) -> None:
        """Answer, unless nobody waits any more."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]  # T may itself be None


class _MoveLog:
    """The log is to be moved into the file."""


class _Pace:
    """How long commits take of late: where the disk is quick, waiting for a thread takes longer than for the disk."""

    def __init__(self) -> None:
        self._seconds: float | None = None

    @property
    def is_quick(self) -> bool:
        """Whether a commit is worth no thread."""
        return self._seconds is not None and self._seconds < _QUICK

    def note(self, seconds: float) -> None:
        """Learn from a commit; after one that hung for long, many quick ones have to follow."""
        before = seconds if self._seconds is None else self._seconds
        self._seconds = before + (seconds - before) / _LATELY


class Database:
    """One SQLite file; open it with `async with`.

    Args:
        path: The file. It and its folder are made, readable by nobody else.
        schema: The name of the folder of numbered SQL files below `ilink/storage/migrations/sqlite`.
        synchronous: "FULL" survives a power cut; "NORMAL" survives a crash of the process; "OFF" is for tests.
    """

    def __init__(self, path: Path, *, schema: str, synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL") -> None:
        self._path = path
        self._schema = schema
        self._synchronous = synchronous
        self._jobs: SimpleQueue[_Job[Any] | Wait | _MoveLog | None] = SimpleQueue()
        self._writer: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._turn = threading.Lock()
        """Held by who uses the connection that writes: the writer, or an event loop."""
        self._pace = _Pace()
        self._syncs = True
        """Whether a commit waits for the disk now; what `synchronous` asks for is the most it does."""
        self._has_unsynced = False
        self._has_both_kinds = False
        """Whether some work waits for the disk here and other work does not."""
        self._is_resting = False
        self._log_pages = 0
        self._readers: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._reader_connections: list[sqlite3.Connection] = []

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._open)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish what was asked for, and close. Later calls raise StoreError."""
        writer, self._writer = self._writer, None
        readers, self._readers = self._readers, None
        if writer is None or readers is None:
            return
        self._jobs.put(None)
        await asyncio.to_thread(writer.join)
        await asyncio.to_thread(readers.shutdown)
        for connection in self._reader_connections:
            connection.close()
        self._reader_connections.clear()

    async def write(self, work: Work[T], *, is_short: bool = False, is_synced: bool = True) -> T:
        """Run a unit of work and return its result once it is committed.

        Args:
            work: The unit. Those that are asked for at the same time may be stored in any order.
            is_short: Whether it takes well under a millisecond itself, and so may be committed in the event loop.
            is_synced: Whether it is on the disk before this returns. Otherwise it outlives the process, but not a power
                cut, until `sync` or another write has returned.

        Raises:
            StoreError: Nothing of this unit was stored: the disk is full, the file is locked or broken, it is closed.

        Whatever the work itself raises is raised here, with nothing of it stored.

        Cancellation: the work may still run and be committed; it is never stored in part.
        """
        return await self.submit(work, is_short=is_short, is_synced=is_synced)

    def submit(self, work: Work[T], *, is_short: bool = False, is_synced: bool = True) -> asyncio.Future[T]:
        """Ask for a unit of work as `write` does, and return at once: the future is done when `write` would return.

        Raises:
            StoreError: The database is closed.
        """
        if self._writer is None:
            message = f"the database {self._path} is closed"
            raise StoreError(message)
        loop = asyncio.get_running_loop()
        job: _Job[T] = _Job(work, loop, loop.create_future(), is_synced or self._synchronous != "FULL")
        if is_short and self._commits_here(job):
            job.settle()
        else:
            self._jobs.put(job)
        return job.future

    async def sync(self) -> None:
        """Return once everything that was committed before is on the disk; that costs nothing if it is there already.

        Raises:
            StoreError: It is not, or nobody knows: what was committed may be gone after a power cut.

        Cancellation: harmless.
        """
        if self._has_unsynced:
            await self.write(_touch, is_short=True)

    async def read(self, work: Work[T]) -> T:
        """Run a unit of work that only reads, beside the writer; it sees every write that was answered before.

        Raises:
            StoreError: The file is locked, broken or closed.
        """
        if self._readers is None:
            message = f"the database {self._path} is closed"
            raise StoreError(message)
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._run_read, work)

    async def wait_changed(self, since: int) -> int:
        """Wait until another process, or another `Database` of the same file, has written.

        Args:
            since: What the last call returned; 0 at the beginning.

        Returns:
            How often that was noticed; at once, if it differs from `since`. Several writes may be noticed as one,
            within a quarter of a second. Nothing is written for it.

        Raises:
            StoreError: The database is closed, or was closed meanwhile.

        Cancellation: harmless.
        """
        if self._writer is None:
            message = f"the database {self._path} is closed"
            raise StoreError(message)
        loop = asyncio.get_running_loop()
        wait = Wait(since, loop, loop.create_future())
        self._jobs.put(wait)
        return await wait.future

    def _open(self) -> None:
        make_private_folder(self._path.parent)
        create_private_file(self._path)
        try:
            connection = self._connect()
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
                _migrate(connection, self._schema, self._path)
                connection.execute("PRAGMA busy_timeout = 0")  # an event loop never waits, the writer knows how to
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise self._translate(error) from error
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix=f"{self._path.stem}-read")
        self._connection = connection
        self._writer = threading.Thread(
            target=self._write_in_groups, args=(connection,), name=f"{self._path.stem}-write", daemon=True
        )
        self._writer.start()

    def _connect(self, *, read_only: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, cached_statements=256)
        connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        return connection

    def _run_read(self, work: Work[T]) -> T:
        try:
            connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = self._connect(read_only=True)
                self._reader_connections.append(connection)
            return work(connection)
        except sqlite3.Error as error:
            raise self._translate(error) from error

    def _commits_here(self, job: _Job[Any]) -> bool:
        """Commit in the event loop, if that waits for nothing but a quick disk; False when it is for the writer."""
        connection = self._connection
        if connection is None or not self._pace.is_quick or not self._jobs.empty():
            return False
        if not self._turn.acquire(blocking=False):
            return False
        try:
            self._set_sync(connection, is_synced=job.is_synced)
            if not _begins(connection):
                return False
            self._commit(connection, [job])
            self._expect_next(connection, job)
        finally:
            self._turn.release()
        if self._log_pages >= _MOVED_PAGES:
            self._jobs.put(_MoveLog())
        return True

    def _write_in_groups(self, connection: sqlite3.Connection) -> None:
        with self._turn:
            others = Others(connection)
        while True:
            try:
                job = self._jobs.get(timeout=others.pause)
            except Empty:
                with self._turn:
                    others.look()
                continue
            if job is None:
                break
            with self._turn:
                group = self._do(connection, job, others)
            for loop in {job.loop for job in group}:
                _settle_in(loop, [job for job in group if job.loop is loop])
            if self._log_pages >= _MOVED_PAGES:
                with self._turn:
                    self._log_pages = 0
                    _move_log(connection)
        with self._turn, closing(connection):
            others.close(StoreError(f"the database {self._path} was closed"))

    def _do(self, connection: sqlite3.Connection, job: _Job[Any] | Wait | _MoveLog, others: Others) -> list[_Job[Any]]:
        """Do what was asked for first, with what can be done together with it; return what is to be answered."""
        group: list[_Job[Any]] = []
        if isinstance(job, Wait):
            others.add(job)
        elif isinstance(job, _Job):
            group = self._gather(job, others)
            self._commit(connection, group)
            others.look_now_and_then()
        return group

    def _gather(self, first: _Job[Any], others: Others) -> list[_Job[Any]]:
        """Return what was asked for while the last group was stored."""
        group = [first]
        while len(group) < _GROUP and not self._jobs.empty():
            following = self._jobs.get()
            if following is None:
                self._jobs.put(None)
                break
            if isinstance(following, Wait):
                others.add(following)
            elif isinstance(following, _Job):
                group.append(following)
        return group

    def _commit(self, connection: sqlite3.Connection, group: list[_Job[Any]]) -> None:
        """Run a group of jobs in one transaction, which may have begun; a failed commit fails all of them."""
        changes = connection.total_changes
        try:
            if not connection.in_transaction:  # as it is for an event loop
                self._set_sync(connection, is_synced=any(job.is_synced for job in group))
                _begin(connection)
            if len(group) == 1:  # needs no savepoint: what undoes it undoes the transaction
                group[0].result = group[0].work(connection)
            else:
                for job in group:
                    self._run_in_savepoint(connection, job)
            began = time.perf_counter()
            connection.execute("COMMIT")
            if self._syncs:
                self._pace.note(time.perf_counter() - began)
            changed = connection.total_changes - changes
            if changed or group[0].work is _touch:  # else there was nothing to write, and nothing waited for the disk
                self._has_unsynced = not self._syncs
                self._log_pages += _PAGES_OF_COMMIT + changed // _ROWS_OF_PAGE
        except BaseException as error:  # handed to the callers of write()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if not isinstance(error, Exception):
                raise
            for job in group:
                job.error = self._translate(error) if isinstance(error, sqlite3.Error) else error

    def _set_sync(self, connection: sqlite3.Connection, *, is_synced: bool) -> None:
        """Let the next commit wait for the disk, or not; that is said between transactions."""
        if is_synced is not self._syncs:
            connection.execute(f"PRAGMA synchronous = {self._synchronous if is_synced else 'NORMAL'}")
            self._syncs = is_synced

    def _expect_next(self, connection: sqlite3.Connection, job: _Job[Any]) -> None:
        """Get ready for what probably comes next, so that nobody waits for that.

        What must be on the disk follows what need not be at once: said while the processor has all of SQLite at hand,
        that takes half the time. What need not be follows later, when somebody writes again.
        """
        if not job.is_synced:
            self._has_both_kinds = True
            try:
                self._set_sync(connection, is_synced=True)
            except sqlite3.Error:
                return  # the next commit says it again
        elif self._has_both_kinds and not self._is_resting:
            self._is_resting = True
            job.loop.call_later(_REST, self._expect_unsynced, connection)

    def _expect_unsynced(self, connection: sqlite3.Connection) -> None:
        self._is_resting = False
        if self._turn.acquire(blocking=False):
            try:
                with suppress(sqlite3.Error):  # it was closed
                    self._set_sync(connection, is_synced=False)
            finally:
                self._turn.release()

    def _run_in_savepoint(self, connection: sqlite3.Connection, job: _Job[Any]) -> None:
        connection.execute("SAVEPOINT work")
        try:
            job.result = job.work(connection)
        except Exception as error:  # handed to the caller of write()
            job.error = self._translate(error) if isinstance(error, sqlite3.Error) else error
            if not connection.in_transaction:  # a full disk may have rolled the whole group back
                raise sqlite3.OperationalError(str(error)) from error
            connection.execute("ROLLBACK TO work")
        connection.execute("RELEASE work")

    def _translate(self, error: sqlite3.Error) -> IlinkError:
        words = str(error)
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            return StoreError(f"{self._path}: {words}")
        if "locked" in words or "busy" in words:
            return StoreLockedError(f"{self._path} is locked by another process: {words}")
        if "malformed" in words or "not a database" in words:
            return StoreCorruptError(f"{self._path} is damaged: {words}; restore it from a backup or move it away")
        if "full" in words:
            return StoreError(f"nothing was stored in {self._path}: the disk is full; make room and try again")
        return StoreError(f"nothing was stored in {self._path}: {words}")


def _settle_in(loop: asyncio.AbstractEventLoop, jobs: list[_Job[Any]]) -> None:
    """Answer the jobs of one event loop with one wake-up; a loop that has been closed has nobody waiting."""

    def settle() -> None:
        for job in jobs:
            job.settle()

    call_in(loop, settle)


def _touch(connection: sqlite3.Connection) -> None:
    """Write something that changes nothing, because a commit without anything to write does not wait for the disk."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version}")


def _begins(connection: sqlite3.Connection) -> bool:
    """Begin a transaction that writes; False when another process does, or something is wrong."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error:
        return False
    return True


def _begin(connection: sqlite3.Connection) -> None:
    """Begin a transaction that writes, and wait for another process that does."""
    if not _begins(connection):
        connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
        try:
            connection.execute("BEGIN IMMEDIATE")
        finally:
            connection.execute("PRAGMA busy_timeout = 0")


def _move_log(connection: sqlite3.Connection) -> None:
    """Move the log into the file, as far as nobody reads what is older; the rest is moved later."""
    try:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.Error as error:
        _log.warning("the log of the database stays where it is for now: %s", error)


def _migrate(connection: sqlite3.Connection, schema: str, path: Path) -> None:
    """Bring the file to the newest version, each numbered SQL file in a transaction of its own, under a write lock."""
    folder = resources.files("ilink.storage") / "migrations" / "sqlite" / schema
    scripts = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    for number, script in enumerate(scripts, start=1):
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < number:
            for statement in _statements(script.read_text("utf-8")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(scripts):
        message = (
            f"{path} was written by a newer version of ilink (schema {version}, this one knows {len(scripts)}); upgrade"
            " this program, or give it a data folder of its own"
        )
        raise StoreCorruptError(message)


def _statements(script: str) -> list[str]:
    statements: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements
