"""What is to happen at a time, and what was done for good: jobs, questions that wait for an answer, remembered results.

The seam every store of these stands behind; one class of tests holds for all of them. An agenda belongs to one account
and lives in the same store as the account's journal: what becomes due is put into the inbox as an update of our own,
in the same step that takes it off the agenda. From there on everything holds for it that holds for a message: its
handler runs until it succeeds, and what it says is stored together with its success.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from ilink.storage.journal import Letter, Record
from ilink.wire.ids import UserId

__all__ = ["FOREVER_MS", "Agenda", "Due", "Posting", "Question", "StoredJob", "posted_letter"]

FOREVER_MS: Final = 253_402_300_799_000
"""The deadline of what waits for ever: the last second that calendars have."""


class StoredJob(Record, frozen=True, kw_only=True):
    """Something that is to be done at a time, once or again and again.

    Attributes:
        name: Names it within the account.
        handler: The name of the function that does it.
        plan: When it is done, as text; a job whose plan changed is planned anew.
        data: What its function is given, as JSON.
        next_ms: When it is due; None when it is over, or its function is gone.
        last_ms: For which moment it was done last.
        is_declared: Whether the program declares it at every start, and it is remembered for ever; else it is
            forgotten some time after it was done.
    """

    name: str
    handler: str
    plan: str
    data: bytes = b"null"
    next_ms: int | None = None
    last_ms: int | None = None
    is_declared: bool = False


class Posting(Record, frozen=True, kw_only=True):
    """An update of our own, as it is put into the inbox.

    Attributes:
        identity: By what it is recognised; one that is known is not posted again.
        conversation: Its lane.
        user: Whom it concerns.
        raw: What it says, as JSON.
    """

    identity: str
    conversation: str
    user: UserId
    raw: bytes


class Due(Record, frozen=True, kw_only=True):
    """A job that is due, as it is taken off the agenda.

    Attributes:
        name: The job.
        due_ms: The moment it was due at; nothing happens when the agenda says something else by now.
        next_ms: When it is due again; None for never.
        posting: What is put into the inbox; None to skip this time.
    """

    name: str
    due_ms: int
    next_ms: int | None
    posting: Posting | None


class Question(Record, frozen=True, kw_only=True):
    """A conversation in which a handler waits for an answer.

    Attributes:
        conversation: Which.
        due_ms: When it stops waiting; FOREVER_MS for never.
    """

    conversation: str
    due_ms: int


class Agenda(Protocol):
    """The agenda of one account. Every call raises StoreError when the store fails; nothing of it is stored then."""

    async def read_jobs(self) -> list[StoredJob]:
        """Return all jobs, also those that are over."""
        ...

    async def read_job(self, name: str) -> StoredJob | None:
        """Return one job; None when it is not known."""
        ...

    async def put_job(self, job: StoredJob) -> None:
        """Store a job in the place of the one with its name."""
        ...

    async def add_job(self, job: StoredJob) -> bool:
        """Store a job unless one with its name is known, and tell whether it was stored."""
        ...

    async def remove_job(self, name: str) -> bool:
        """Forget a job, and tell whether it was to be done."""
        ...

    async def fire(self, due: Due, *, now_ms: int) -> Letter | None:
        """Take a due job off the agenda, plan its next time and put it into the inbox, in one step.

        Returns:
            The new update; None when it was skipped, or had been posted before, or the agenda says something else.
        """
        ...

    async def read_questions(self) -> list[Question]:
        """Return all conversations in which a handler waits for an answer, the first to be over first."""
        ...

    async def post(self, posting: Posting, *, now_ms: int) -> Letter | None:
        """Put an update of our own into the inbox, and return it; None when it was there before."""
        ...

    async def remember(self, cause: str, name: str, result: bytes, *, now_ms: int) -> None:
        """Keep a result for the runs that follow; the first one with a name stays."""
        ...

    async def recall(self, cause: str) -> Mapping[str, bytes]:
        """Return the results that were kept for an update, by their names."""
        ...

    async def prune(self, before_ms: int) -> int:
        """Forget results, states and jobs that were over before a moment, and return how many rows."""
        ...


def posted_letter(posting: Posting, sequence: int, now_ms: int) -> Letter:
    """Return an update of our own as it is handled."""
    return Letter(
        sequence=sequence,
        conversation=posting.conversation,
        user=posting.user,
        identity=posting.identity,
        raw=posting.raw,
        received_ms=now_ms,
    )
