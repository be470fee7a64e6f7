"""The agenda in the embedded database."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from ilink.storage.agenda import Due, Posting, Question, StoredJob, posted_letter
from ilink.storage.journal import Letter
from ilink.storage.sqlite import Database
from ilink.wire.ids import AccountId

__all__ = ["SqliteAgenda"]

_JOB: Final = "name, handler, plan, data, next_ms, last_ms, is_declared"
_ADD_JOB: Final = f"INSERT INTO jobs (account_id, {_JOB}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # names only


class SqliteAgenda:
    """The agenda of one account, beside its journal.

    Args:
        database: The open database of schema `local`.
        account: Whose agenda it is.
    """

    def __init__(self, database: Database, account: AccountId) -> None:
        self._database = database
        self._account = account

    async def read_jobs(self) -> list[StoredJob]:
        """Return all jobs, also those that are over."""
        sql = f"SELECT {_JOB} FROM jobs WHERE account_id = ? ORDER BY name"  # noqa: S608  # names only
        return await self._database.read(
            lambda connection: [_to_job(row) for row in connection.execute(sql, (self._account,))]
        )

    async def read_job(self, name: str) -> StoredJob | None:
        """Return one job; None when it is not known."""
        sql = f"SELECT {_JOB} FROM jobs WHERE account_id = ? AND name = ?"  # noqa: S608  # names only
        row = await self._database.read(lambda connection: connection.execute(sql, (self._account, name)).fetchone())
        return None if row is None else _to_job(row)

    async def put_job(self, job: StoredJob) -> None:
        """Store a job in the place of the one with its name."""
        sql = _ADD_JOB.replace("INSERT", "INSERT OR REPLACE", 1)
        await self._database.write(lambda connection: connection.execute(sql, self._job_row(job)))

    async def add_job(self, job: StoredJob) -> bool:
        """Store a job unless one with its name is known, and tell whether it was stored."""
        sql = f"{_ADD_JOB} ON CONFLICT DO NOTHING"
        return await self._database.write(lambda connection: connection.execute(sql, self._job_row(job)).rowcount > 0)

    async def remove_job(self, name: str) -> bool:
        """Forget a job, and tell whether it was to be done."""
        where = (self._account, name)

        def work(connection: sqlite3.Connection) -> bool:
            row = connection.execute("SELECT next_ms FROM jobs WHERE account_id = ? AND name = ?", where).fetchone()
            connection.execute("DELETE FROM jobs WHERE account_id = ? AND name = ?", where)
            return row is not None and row[0] is not None

        return await self._database.write(work)

    async def fire(self, due: Due, *, now_ms: int) -> Letter | None:
        """Take a due job off the agenda and put it into the inbox; see `Agenda`."""

        def work(connection: sqlite3.Connection) -> Letter | None:
            moved = connection.execute(
                "UPDATE jobs SET next_ms = ?, last_ms = ? WHERE account_id = ? AND name = ? AND next_ms = ?",
                (due.next_ms, due.due_ms, self._account, due.name, due.due_ms),
            )
            return self._post(connection, due.posting, now_ms) if moved.rowcount and due.posting else None

        return await self._database.write(work)

    async def read_questions(self) -> list[Question]:
        """Return all conversations in which a handler waits for an answer, the first to be over first."""
        sql = (
            "SELECT conversation, due_ms FROM conversations WHERE account_id = ? AND due_ms IS NOT NULL ORDER BY due_ms"
        )
        return await self._database.read(
            lambda connection: [
                Question(conversation=conversation, due_ms=due_ms)
                for conversation, due_ms in connection.execute(sql, (self._account,))
            ]
        )

    async def post(self, posting: Posting, *, now_ms: int) -> Letter | None:
        """Put an update of our own into the inbox, and return it; None when it was there before."""
        return await self._database.write(lambda connection: self._post(connection, posting, now_ms))

    async def remember(self, cause: str, name: str, result: bytes, *, now_ms: int) -> None:
        """Keep a result for the runs that follow; the first one with a name stays."""
        sql = "INSERT INTO results VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        row = (self._account, cause, name, result, now_ms)
        await self._database.write(lambda connection: connection.execute(sql, row))

    async def recall(self, cause: str) -> Mapping[str, bytes]:
        """Return the results that were kept for an update, by their names."""
        sql = "SELECT name, result FROM results WHERE account_id = ? AND cause = ?"
        return await self._database.read(lambda connection: dict(connection.execute(sql, (self._account, cause))))

    async def prune(self, before_ms: int) -> int:
        """Forget results, states and jobs that were over before a moment, and return how many rows."""
        where = (self._account, before_ms)

        def work(connection: sqlite3.Connection) -> int:
            over = connection.execute(
                "DELETE FROM jobs WHERE account_id = ? AND next_ms IS NULL AND is_declared = 0 AND last_ms < ?", where
            )
            results = connection.execute("DELETE FROM results WHERE account_id = ? AND created_ms < ?", where)
            states = connection.execute("DELETE FROM conversations WHERE account_id = ? AND expires_ms < ?", where)
            return over.rowcount + results.rowcount + states.rowcount

        return await self._database.write(work)

    def _post(self, connection: sqlite3.Connection, posting: Posting, now_ms: int) -> Letter | None:
        inserted = connection.execute(
            "INSERT INTO inbox (account_id, conversation, user_id, identity, state, received_ms, raw)"
            " VALUES (?, ?, ?, ?, 0, ?, ?) ON CONFLICT DO NOTHING",
            (self._account, posting.conversation, posting.user, posting.identity, now_ms, posting.raw),
        )
        if not inserted.rowcount or inserted.lastrowid is None:
            return None
        return posted_letter(posting, inserted.lastrowid, now_ms)

    def _job_row(self, job: StoredJob) -> tuple[object, ...]:
        return (
            self._account,
            job.name,
            job.handler,
            job.plan,
            job.data,
            job.next_ms,
            job.last_ms,
            int(job.is_declared),
        )


def _to_job(row: tuple[Any, ...]) -> StoredJob:
    name, handler, plan, data, next_ms, last_ms, is_declared = row
    return StoredJob(
        name=name,
        handler=handler,
        plan=plan,
        data=data,
        next_ms=next_ms,
        last_ms=last_ms,
        is_declared=bool(is_declared),
    )
