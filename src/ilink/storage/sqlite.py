"""An embedded database: one writer thread that commits in groups, and readers beside it.

SQLite lets one connection write at a time, and with `synchronous=FULL` a commit waits for the disk. So all writes go
through one thread: whatever was asked for while the last commit ran shares the next one, each piece of work in a
savepoint of its own, so that one that fails takes nobody with it. A write is answered only after its commit.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, Literal, Self, TypeVar

from ilink.errors import IlinkError, StoreCorruptError, StoreError, StoreLockedError
from ilink.storage.private import create_private_file, make_private_folder

__all__ = ["Database", "Work"]

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""A unit of work: reads and writes through the connection, and neither commits nor keeps it."""

_log = logging.getLogger(__name__)

_GROUP: int = 256
"""How many units of work share a commit at most, so that the first of them does not wait long for the last."""
_READERS: int = 2
_CHECKPOINT_PAGES: int = 4_000
"""16 MiB of log are moved into the file at once: whose commit that falls to waits for it, and the pages that every
commit touches are moved once instead of four times as with SQLite's own thousand."""
_LOOK: float = 0.2
"""Seconds between two looks for commits of other processes, while somebody waits for one: a read of shared memory."""


@dataclass(slots=True)
class _Job(Generic[T]):
    work: Work[T]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[T]
    result: T | None = None
    error: BaseException | None = None

    def settle(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]  # T may itself be None


@dataclass(slots=True)
class _Wait:
    """Somebody waits for another process to commit; answered with how often that has happened."""

    since: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[int]

    def settle(self, count: int) -> None:
        if not self.future.done():
            self.future.set_result(count)

    def refuse(self, error: IlinkError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Others:
    """Counts the commits of other connections, as the writer's own connection sees them: its own do not count."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._count = 0
        self._version = self._read()
        self._looked = time.monotonic()
        self._waits: list[_Wait] = []

    @property
    def pause(self) -> float | None:
        """How long the writer may sleep; None for as long as it likes, because nobody waits."""
        return _LOOK if self._waits else None

    def add(self, wait: _Wait) -> None:
        """Take somebody who waits for the count to differ from what they know."""
        self._waits.append(wait)
        self.look()

    def look_now_and_then(self) -> None:
        """Look for commits of others, unless that was done a moment ago."""
        if self._waits and time.monotonic() - self._looked >= _LOOK:
            self.look()

    def close(self, error: IlinkError) -> None:
        """Let nobody wait any more."""
        for wait in self._waits:
            _call_in(wait.loop, partial(wait.refuse, error))

    def look(self) -> None:
        """Look for commits of others, and tell who waits for them."""
        self._looked = time.monotonic()
        version = self._read()
        if version != self._version:
            self._version = version
            self._count += 1
        for wait in self._waits:
            if wait.since != self._count:
                _call_in(wait.loop, partial(wait.settle, self._count))
        self._waits = [wait for wait in self._waits if wait.since == self._count and not wait.future.done()]

    def _read(self) -> int:
        try:
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error:  # whoever writes next is told what is wrong with the file
            return self._version


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
        self._jobs: SimpleQueue[_Job[Any] | _Wait | None] = SimpleQueue()
        self._writer: threading.Thread | None = None
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

    async def write(self, work: Work[T]) -> T:
        """Run a unit of work and return its result once it is committed.

        Raises:
            StoreError: Nothing of this unit was stored: the disk is full, the file is locked or broken, it is closed.

        Whatever the work itself raises is raised here, with nothing of it stored.

        Cancellation: the work may still run and be committed; it is never stored in part.
        """
        if self._writer is None:
            message = f"the database {self._path} is closed"
            raise StoreError(message)
        loop = asyncio.get_running_loop()
        job: _Job[T] = _Job(work, loop, loop.create_future())
        self._jobs.put(job)
        return await job.future

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
        wait = _Wait(since, loop, loop.create_future())
        self._jobs.put(wait)
        return await wait.future

    def _open(self) -> None:
        make_private_folder(self._path.parent)
        create_private_file(self._path)
        try:
            connection = self._connect()
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
                _migrate(connection, self._schema, self._path)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise self._translate(error) from error
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix=f"{self._path.stem}-read")
        self._writer = threading.Thread(
            target=self._write_in_groups, args=(connection,), name=f"{self._path.stem}-write", daemon=True
        )
        self._writer.start()

    def _connect(self, *, read_only: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, cached_statements=256)
        connection.execute("PRAGMA busy_timeout = 5000")
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

    def _write_in_groups(self, connection: sqlite3.Connection) -> None:
        others = _Others(connection)
        with closing(connection):
            while True:
                try:
                    job = self._jobs.get(timeout=others.pause)
                except Empty:
                    others.look()
                    continue
                if job is None:
                    break
                if isinstance(job, _Wait):
                    others.add(job)
                else:
                    group = self._gather(job, others)
                    self._commit(connection, group)
                    for loop in {job.loop for job in group}:
                        _settle_in(loop, [job for job in group if job.loop is loop])
                    others.look_now_and_then()
            others.close(StoreError(f"the database {self._path} was closed"))

    def _gather(self, first: _Job[Any], others: _Others) -> list[_Job[Any]]:
        """Return what was asked for while the last group was stored."""
        group = [first]
        while len(group) < _GROUP and not self._jobs.empty():
            following = self._jobs.get()
            if following is None:
                self._jobs.put(None)
                break
            if isinstance(following, _Wait):
                others.add(following)
            else:
                group.append(following)
        return group

    def _commit(self, connection: sqlite3.Connection, group: list[_Job[Any]]) -> None:
        """Run a group of jobs in one transaction; a failed commit fails all of them."""
        try:
            connection.execute("BEGIN IMMEDIATE")
            if len(group) == 1:  # needs no savepoint: what undoes it undoes the transaction
                group[0].result = group[0].work(connection)
            else:
                for job in group:
                    self._run_in_savepoint(connection, job)
            connection.execute("COMMIT")
        except Exception as error:  # handed to the callers of write()  # noqa: BLE001
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            for job in group:
                job.error = self._translate(error) if isinstance(error, sqlite3.Error) else error

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

    _call_in(loop, settle)


def _call_in(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Call something in an event loop; one that has been closed has nobody waiting."""
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        _log.debug("the event loop that waited for the database is closed")


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
        message = f"{path} was written by a newer version of ilink (schema {version}, this one knows {len(scripts)})"
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
