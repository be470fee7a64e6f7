"""The agenda in PostgreSQL; every call is one round trip."""

# ruff: noqa: S608  # statements are built from names of this module; values are always bound
from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ilink.storage.agenda import Due, Posting, Question, StoredJob, posted_letter
from ilink.storage.journal import Letter
from ilink.storage.postgres import PostgresDatabase, Row
from ilink.storage.postgres_text import escaped, unescaped
from ilink.wire.ids import AccountId

__all__ = ["PostgresAgenda"]

_JOB: Final = "name, handler, plan, data, next_ms, last_ms, is_declared"
_ADD_JOB: Final = (
    f"INSERT INTO jobs (account_id, {_JOB}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (account_id, name)"
)
_PUT_JOB: Final = (
    f"{_ADD_JOB} DO UPDATE SET handler = excluded.handler, plan = excluded.plan, data = excluded.data,"
    " next_ms = excluded.next_ms, last_ms = excluded.last_ms, is_declared = excluded.is_declared"
)
_PRUNE: Final = """
WITH over AS (
    DELETE FROM jobs WHERE account_id = $1 AND next_ms IS NULL AND NOT is_declared AND last_ms < $2 RETURNING 1),
forgotten AS (DELETE FROM results WHERE account_id = $1 AND created_ms < $2 RETURNING 1),
ended AS (DELETE FROM conversations WHERE account_id = $1 AND expires_ms < $2 RETURNING 1)
SELECT (SELECT count(*) FROM over) + (SELECT count(*) FROM forgotten) + (SELECT count(*) FROM ended)"""


class PostgresAgenda:
    """The agenda of one account, beside its journal.

    Args:
        database: The open database of schema `local`.
        account: Whose agenda it is.
    """

    def __init__(self, database: PostgresDatabase, account: AccountId) -> None:
        self._database = database
        self._account = escaped(account)

    async def read_jobs(self) -> list[StoredJob]:
        """Return all jobs, also those that are over."""
        rows = await self._database.read(f"SELECT {_JOB} FROM jobs WHERE account_id = $1 ORDER BY name", self._account)
        return [_to_job(row) for row in rows]

    async def read_job(self, name: str) -> StoredJob | None:
        """Return one job; None when it is not known."""
        statement = f"SELECT {_JOB} FROM jobs WHERE account_id = $1 AND name = $2"
        row = await self._database.read_row(statement, self._account, escaped(name))
        return None if row is None else _to_job(row)

    async def put_job(self, job: StoredJob) -> None:
        """Store a job in the place of the one with its name."""
        await self._database.execute(_PUT_JOB, *self._job_row(job))

    async def add_job(self, job: StoredJob) -> bool:
        """Store a job unless one with its name is known, and tell whether it was stored."""
        return await self._database.execute(f"{_ADD_JOB} DO NOTHING", *self._job_row(job)) > 0

    async def remove_job(self, name: str) -> bool:
        """Forget a job, and tell whether it was to be done."""
        row = await self._database.write_row(
            "DELETE FROM jobs WHERE account_id = $1 AND name = $2 RETURNING next_ms", self._account, escaped(name)
        )
        return row is not None and row["next_ms"] is not None

    async def fire(self, due: Due, *, now_ms: int) -> Letter | None:
        """Take a due job off the agenda and put it into the inbox; see `Agenda`."""
        posting = due.posting
        what = (None,) * 4 if posting is None else _columns(posting)
        row = await self._database.write_row(
            "SELECT fire_job($1, $2, $3, $4, $5, $6, $7, $8, $9) AS seq",
            self._account,
            escaped(due.name),
            due.due_ms,
            due.next_ms,
            *what,
            now_ms,
        )
        return None if posting is None else _posted(row, posting, now_ms)

    async def read_questions(self) -> list[Question]:
        """Return all conversations in which a handler waits for an answer, the first to be over first."""
        rows = await self._database.read(
            "SELECT conversation, due_ms FROM conversations WHERE account_id = $1 AND due_ms IS NOT NULL"
            " ORDER BY due_ms, conversation",
            self._account,
        )
        return [Question(conversation=unescaped(row["conversation"]), due_ms=row["due_ms"]) for row in rows]

    async def post(self, posting: Posting, *, now_ms: int) -> Letter | None:
        """Put an update of our own into the inbox, and return it; None when it was there before."""
        row = await self._database.write_row(
            "SELECT post_update($1, $2, $3, $4, $5, $6) AS seq",
            self._account,
            *_columns(posting),
            now_ms,
        )
        return _posted(row, posting, now_ms)

    async def remember(self, cause: str, name: str, result: bytes, *, now_ms: int) -> None:
        """Keep a result for the runs that follow; the first one with a name stays."""
        statement = "INSERT INTO results VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"
        await self._database.execute(statement, self._account, escaped(cause), escaped(name), result, now_ms)

    async def recall(self, cause: str) -> Mapping[str, bytes]:
        """Return the results that were kept for an update, by their names."""
        statement = "SELECT name, result FROM results WHERE account_id = $1 AND cause = $2"
        rows = await self._database.read(statement, self._account, escaped(cause))
        return {unescaped(row["name"]): row["result"] for row in rows}

    async def prune(self, before_ms: int) -> int:
        """Forget results, states and jobs that were over before a moment, and return how many rows."""
        row = await self._database.write_row(_PRUNE, self._account, before_ms)
        assert row is not None
        return int(row[0])

    def _job_row(self, job: StoredJob) -> tuple[object, ...]:
        texts = (escaped(job.name), escaped(job.handler), escaped(job.plan))
        return (self._account, *texts, job.data, job.next_ms, job.last_ms, job.is_declared)


def _to_job(row: Row) -> StoredJob:
    name, handler, plan, data, next_ms, last_ms, is_declared = row
    return StoredJob(
        name=unescaped(name),
        handler=unescaped(handler),
        plan=unescaped(plan),
        data=data,
        next_ms=next_ms,
        last_ms=last_ms,
        is_declared=is_declared,
    )


def _columns(posting: Posting) -> tuple[object, ...]:
    return (escaped(posting.conversation), escaped(posting.user), escaped(posting.identity), posting.raw)


def _posted(row: Row | None, posting: Posting, now_ms: int) -> Letter | None:
    return None if row is None or row["seq"] is None else posted_letter(posting, row["seq"], now_ms)
