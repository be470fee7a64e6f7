"""The journal in the embedded database.

Two things keep it fast. Completions and outcomes that are asked for while the last ones are being stored share the next
unit of work. And a unit of work is a handful of statements however many rows it has: every statement hands the
interpreter's lock over and back, which under load takes longer than the statement itself.
"""

# ruff: noqa: S608  # statements are built from names and counts of this module; values are always bound
from __future__ import annotations

import sqlite3
from asyncio import Future
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Self

from ilink.flows.window import Window, heard
from ilink.storage.journal import (
    Adopted,
    Arrival,
    Completed,
    Counts,
    Draft,
    InboxState,
    Ingested,
    Letter,
    OutboxState,
    Outcome,
    Outgoing,
)
from ilink.storage.journal_groups import Addition, Completion, Group, Groups, Settlement, Stored
from ilink.storage.journal_inbox import GIVEN_UP, Failure, InboxTable
from ilink.storage.journal_outbox import OutboxTable
from ilink.storage.journal_rows import (
    LETTER,
    to_letter,
)
from ilink.storage.journal_sqlite_counts import count_journals
from ilink.storage.roles import Role
from ilink.storage.sqlite import Database
from ilink.wire.ids import AccountId, ClientId, Cursor, Secret, UserId

__all__ = ["SqliteJournal"]

Row = tuple[object, ...]

_SHORT: Final = 32
"""Messages that are stored in about half a millisecond, the disk left aside."""


class SqliteJournal:
    """The journal of one account; open it with `async with`, inside the database's own.

    Args:
        database: The open database of schema `local`.
        account: Whose journal it is; the account is stored already.
    """

    def __init__(self, database: Database, account: AccountId) -> None:
        self._database = database
        self._account = account
        self._inbox = InboxTable(account)
        self._outbox = OutboxTable(account)
        self._epoch = 0
        self._newest = 0
        self._groups = Groups(self._store)

    @property
    def account(self) -> AccountId:
        """Whose journal it is."""
        return self._account

    async def __aenter__(self) -> Self:
        await self._groups.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._groups.__aexit__(*exc_info)

    async def adopt(self, _role: Role = Role.ALL, /) -> Adopted:
        """Take the journal over, for everything; see `Journal`."""
        newest = 0

        def work(connection: sqlite3.Connection) -> Adopted:
            connection.execute("INSERT INTO journals (account_id) VALUES (?) ON CONFLICT DO NOTHING", (self._account,))
            where = (self._account,)
            epoch, was_open, gap_ms = connection.execute(
                "SELECT epoch + 1, is_open, clock_gap_ms FROM journals WHERE account_id = ?", where
            ).fetchone()
            connection.execute(
                "UPDATE journals SET epoch = epoch + 1, is_open = 1, clock_gap_ms = 0 WHERE account_id = ?", where
            )
            self._move_times(connection, gap_ms)
            if was_open:
                self._inbox.doubt_first(connection)
                self._outbox.doubt_first(connection)
            nonlocal newest
            newest = _newest(connection)
            return Adopted(epoch=epoch, was_open=bool(was_open))

        adopted = await self._database.write(work)
        self._epoch, self._newest = adopted.epoch, newest
        return adopted

    async def release(self) -> None:
        """Give the journal back in order."""
        where = (self._account, self._epoch)
        await self._database.write(
            lambda connection: connection.execute(
                "UPDATE journals SET is_open = 0 WHERE account_id = ? AND epoch = ?", where
            )
        )

    async def is_ours(self) -> bool:
        """Tell whether nobody has taken the journal over; see `Journal`."""
        return await self._database.read(self._is_owner)

    async def note_clock_gap(self, gap_ms: int) -> None:
        """Write down how far the machine's clock is ahead of the times that are passed in; see `Journal`."""
        parameters = (gap_ms, self._account, self._epoch)
        await self._database.write(
            lambda connection: connection.execute(
                "UPDATE journals SET clock_gap_ms = ? WHERE account_id = ? AND epoch = ?", parameters
            )
        )

    async def check(self, *, gap_ms: int) -> None:
        """Look whether writes are taken; see `Journal`."""
        await self.note_clock_gap(gap_ms)

    def _move_times(self, connection: sqlite3.Connection, gap_ms: int) -> None:
        """Move the times of what waits to those of a clock that was set; nothing expires earlier than it was to."""
        if not gap_ms:
            return
        moved = (gap_ms, self._account)
        connection.execute(
            "UPDATE inbox SET due_ms = due_ms + ? WHERE account_id = ? AND state = 0 AND due_ms > 0", moved
        )
        connection.execute(
            "UPDATE windows SET heard_ms = heard_ms + ?1, paused_until_ms = paused_until_ms + ?1,"
            " probe_ms = iif(probe_ms > 0, probe_ms + ?1, 0) WHERE account_id = ?2",
            moved,
        )
        if gap_ms > 0:
            connection.execute(
                "UPDATE outbox SET expires_ms = expires_ms + ?1, finished_ms = finished_ms + ?1 WHERE account_id = ?2",
                moved,
            )
            # Marks of duplicates are forgotten by this time.
            connection.execute("UPDATE inbox SET received_ms = received_ms + ? WHERE account_id = ?", moved)

    async def ingest(
        self, arrivals: Sequence[Arrival], *, cursor: Cursor, generation: int, hint_ms: int | None, now_ms: int
    ) -> Ingested:
        """Store a batch in one step; see `Journal`."""
        newest = 0

        def work(connection: sqlite3.Connection) -> Ingested:
            known, windows = self._inbox.look_up(connection, arrivals)
            fresh: dict[str, Arrival] = {}
            for arrival in arrivals:
                if arrival.identity not in known:
                    fresh.setdefault(arrival.identity, arrival)
            outdated = self._inbox.find_outdated(connection, arrivals, known) if known else frozenset[int]()
            sequences = self._inbox.insert(connection, list(fresh.values()), now_ms)
            self._inbox.store_context_tokens(connection, arrivals, outdated, now_ms)
            self._open_windows(connection, windows, fresh.values(), now_ms)
            self._count_repeats(connection, len(arrivals) - len(fresh), fresh.values())
            nonlocal newest
            newest = max(sequences.values(), default=0) or _newest(connection)
            first = min(sequences.values(), default=newest + 1)
            foreign = self._inbox.find_foreign(connection, after=self._newest, before=first)
            return Ingested(
                sequences=tuple(sequences.pop(arrival.identity, None) for arrival in arrivals),
                has_moved=self._move(connection, cursor, generation, hint_ms),
                outdated=outdated,
                foreign=foreign,
            )

        # With updates in it, the position is on the disk when `sync` says so: see there.
        is_synced = not arrivals
        ingested = await self._database.write(work, is_short=len(arrivals) <= _SHORT, is_synced=is_synced)
        self._newest = newest
        return ingested

    async def sync(self) -> None:
        """Return once what was ingested outlives a power cut; see `Journal`."""
        await self._database.sync()

    async def inherit(self, previous: AccountId) -> None:
        """Take over what waits in the journal of another account of the same person; see `Journal`."""
        ours = (self._account, previous)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE OR IGNORE inbox SET account_id = ? WHERE account_id = ? AND state IN (0, 2)", ours
            )
            connection.execute(
                "UPDATE OR IGNORE outbox SET account_id = ? WHERE account_id = ? AND state IN (0, 6, 7)", ours
            )
            for table in ("conversations", "jobs", "results"):
                connection.execute(f"UPDATE OR IGNORE {table} SET account_id = ? WHERE account_id = ?", ours)

        await self._database.write(work)

    async def find_arrived(self, after: int) -> tuple[list[tuple[str, UserId]], int]:
        """Return in which conversations who wrote what was stored behind a place; see `Journal`."""

        def work(connection: sqlite3.Connection) -> tuple[list[tuple[str, UserId]], int]:
            rows = connection.execute(
                "SELECT DISTINCT conversation, user_id FROM inbox WHERE account_id = ? AND seq > ?",
                (self._account, after),
            )
            return [(name, UserId(user)) for name, user in rows], _newest(connection)

        return await self._database.read(work)

    async def read_arrived(self, after: int, *, limit: int = 200) -> list[Letter]:
        """Return a page of what was stored behind a place and waits, in order; see `Journal`."""
        return await self._read_letters("state = 0 AND seq > ? ORDER BY seq LIMIT ?", (after, limit))

    async def waiting_conversations(self, *, after: str = "", limit: int = 500) -> list[str]:
        """Return conversations with waiting updates, in the order of their names."""
        return await self._read_conversations("inbox", "state = 0", after, limit)

    async def read_waiting(self, conversation: str, *, after: int = 0, limit: int = 50) -> list[Letter]:
        """Return a page of the waiting updates of a conversation, in order."""
        return await self._read_letters(
            "conversation = ? AND state = 0 AND seq > ? ORDER BY seq LIMIT ?", (conversation, after, limit)
        )

    def complete(
        self,
        sequence: int,
        claim: int,
        *,
        drafts: Sequence[Draft],
        state: bytes | None,
        now_ms: int,
        due_ms: int | None = None,
        expires_ms: int | None = None,
        others: Sequence[tuple[int, int]] = (),
        ignored: str | None = None,
    ) -> Future[Completed]:
        """Store the success of a run with everything that follows from it; see `Journal`."""
        runs = ((sequence, claim), *others)
        return self._groups.complete(Completion(runs, drafts, state, now_ms, due_ms, expires_ms, ignored))

    async def fail(
        self,
        sequence: int,
        claim: int,
        *,
        error: str,
        due_ms: int | None,
        now_ms: int,
        others: Sequence[tuple[int, int]] = (),
        is_parked: bool = False,
    ) -> Letter | None:
        """Store the failure of a run; see `Journal`."""

        def work(connection: sqlite3.Connection) -> Letter | None:
            if not self._is_owner(connection):
                return None
            run = (sequence, claim)
            failure = Failure(error, due_ms, now_ms, is_parked)
            return self._inbox.fail(connection, run, others, failure)

        return await self._database.write(work)

    async def mark_running(self, sequence: int, claim: int) -> None:
        """Write down that a suspicious update is being handled."""
        parameters = (sequence, self._account, claim)
        await self._database.write(
            lambda connection: connection.execute(
                "UPDATE inbox SET is_running = 1 WHERE seq = ? AND account_id = ? AND claim = ? AND state = 0",
                parameters,
            )
        )

    async def read_state(self, conversation: str) -> bytes | None:
        """Return a conversation's state; None when it has none."""
        row = await self._read_one(
            "SELECT state FROM conversations WHERE account_id = ? AND conversation = ?", (self._account, conversation)
        )
        return None if row is None else row[0]

    def enqueue(self, drafts: Sequence[Draft], *, now_ms: int) -> Future[list[Outgoing]]:
        """Store outgoing messages at once, and return the new ones."""
        return self._groups.add(Addition(drafts, now_ms))

    async def outgoing_conversations(self, *, after: str = "", limit: int = 500) -> list[str]:
        """Return conversations with messages that wait to be sent, in the order of their names."""
        return await self._read_conversations("outbox", "state IN (0, 6, 7)", after, limit)

    async def read_outgoing(self, conversation: str, *, after: int = 0, limit: int = 50) -> list[Outgoing]:
        """Return a page of the messages of a conversation that wait to be sent, in order."""
        return await self._database.read(
            lambda connection: self._outbox.read_waiting(connection, conversation, after=after, limit=limit)
        )

    async def read_sent(self, client_id: ClientId) -> Outgoing | None:
        """Return one outgoing message by its name; None when it is not known, or no longer."""
        found = await self._database.read(lambda connection: self._outbox.find(connection, [client_id]))
        return found[0] if found else None

    def settle(self, outcome: Outcome, *, now_ms: int) -> Future[None]:
        """Store what became of an attempt to send, and what it taught about the window."""
        return self._groups.settle(Settlement(outcome, now_ms))

    async def attach(self, out_sequence: int, item: bytes, *, now_ms: int) -> None:
        """Store what a file became by its upload."""
        await self._database.write(lambda connection: self._outbox.attach(connection, out_sequence, item, now_ms))

    async def find_needed_files(self, names: Sequence[ClientId]) -> set[ClientId]:
        """Return those of some messages, of whatever account, whose files are still to be sent."""
        return await self._database.read(lambda connection: self._outbox.find_needed_files(connection, names))

    async def read_outbox(self, states: Sequence[OutboxState], *, after: int = 0, limit: int = 100) -> list[Outgoing]:
        """Return a page of the messages in some states, oldest first."""
        return await self._database.read(
            lambda connection: self._outbox.read_states(connection, states, after=after, limit=limit)
        )

    async def decide(self, client_id: ClientId, *, is_retry: bool, now_ms: int) -> Outgoing | None:
        """Decide about a message that asked; see `Journal`."""
        return await self._database.write(
            lambda connection: self._outbox.decide(connection, client_id, is_retry=is_retry, now_ms=now_ms)
        )

    async def find_enqueued(self, after: int) -> tuple[list[str], int]:
        """Return the conversations of messages that were stored behind a place and wait, and the newest place."""
        return await self._database.read(lambda connection: self._outbox.find_enqueued(connection, after))

    async def wait_changed(self, since: int) -> int:
        """Wait until another process has written; see `Journal`."""
        return await self._database.wait_changed(since)

    async def read_windows(self, users: Sequence[UserId]) -> Mapping[UserId, Window]:
        """Return what is known about sending to some users."""
        return await self._database.read(lambda connection: self._outbox.load_windows(connection, users))

    async def read_context_token(self, user: UserId) -> Secret | None:
        """Return the newest context token of a user."""
        row = await self._read_one(
            "SELECT context_token FROM peers WHERE account_id = ? AND user_id = ?", (self._account, user)
        )
        return None if row is None else Secret(row[0])

    async def read_dead(self, *, after: int = 0, limit: int = 100) -> list[Letter]:
        """Return a page of the dead letters, oldest first."""
        return await self._read_letters(f"{GIVEN_UP} AND seq > ? ORDER BY seq LIMIT ?", (after, limit))

    async def read_letter(self, sequence: int) -> Letter | None:
        """Return one stored update, whatever became of it."""
        found = await self._read_letters("seq = ?", (sequence,))
        return found[0] if found else None

    async def read_recent(self, *, since_ms: int, limit: int = 1_000) -> list[Letter]:
        """Return the updates that came after a moment, oldest first; see `Journal`."""
        # Rows of all accounts share the sequence, so only its end is looked at.
        return await self._read_letters(
            "seq > (SELECT ifnull(max(seq), 0) FROM inbox) - ? AND received_ms >= ? ORDER BY seq", (limit, since_ms)
        )

    async def replay(self, sequences: Sequence[int]) -> list[str]:
        """Let dead and parked letters be handled again as if they had never failed; return their conversations."""
        return await self._database.write(lambda connection: self._inbox.replay(connection, sequences))

    async def drop(self, sequences: Sequence[int]) -> int:
        """Give dead and parked letters up for good, and return how many."""
        return await self._database.write(lambda connection: self._inbox.drop(connection, sequences))

    async def prune(self, before_ms: int) -> int:
        """Forget what was finished before a moment, and return how many rows."""

        def work(connection: sqlite3.Connection) -> int:
            gone = connection.execute(
                "DELETE FROM inbox WHERE account_id = ? AND state IN (1, 3) AND received_ms < ?",
                (self._account, before_ms),
            ).rowcount
            return (
                gone
                + connection.execute(
                    "DELETE FROM outbox WHERE account_id = ? AND finished_ms < ?", (self._account, before_ms)
                ).rowcount
            )

        return await self._database.write(work)

    async def count(self) -> Counts:
        """Return how much there is."""
        return await count_journals(self._database, [self._account])

    def _store(self, group: Group) -> Future[Stored]:
        """Store a group in one unit of work."""

        def work(connection: sqlite3.Connection) -> Stored:
            completed = self._complete_all(connection, group.completions) if group.completions else []
            added = [
                list(self._outbox.insert(connection, addition.drafts, addition.now_ms).values())
                for addition in group.additions
            ]
            if group.settlements:
                self._outbox.settle(connection, group.settlements, self._is_owner)
            return Stored(completed, added)

        rows = len(group.completions) + len(group.additions) + len(group.settlements)
        return self._database.submit(work, is_short=rows <= _SHORT)

    def _complete_all(self, connection: sqlite3.Connection, completions: list[Completion]) -> list[Completed]:
        taken = self._inbox.finish(connection, completions, epoch=self._epoch)
        return self._send_after(connection, completions, taken)

    def _send_after(
        self, connection: sqlite3.Connection, completions: list[Completion], taken: list[bool]
    ) -> list[Completed]:
        """Store what follows from the completions that were accepted."""
        for completion, is_taken in zip(completions, taken, strict=True):
            if is_taken and completion.state is not None:
                _store_state(connection, completion, completion.state)
        drafts = [
            draft
            for completion, is_taken in zip(completions, taken, strict=True)
            if is_taken
            for draft in completion.drafts
        ]
        stored = self._outbox.insert(connection, drafts, completions[0].now_ms)
        return [
            Completed(
                is_accepted=is_taken,
                outgoing=tuple(stored[draft.client_id] for draft in completion.drafts if draft.client_id in stored)
                if is_taken
                else (),
            )
            for completion, is_taken in zip(completions, taken, strict=True)
        ]

    def _open_windows(
        self, connection: sqlite3.Connection, known: Mapping[UserId, Window], arrivals: Iterable[Arrival], now_ms: int
    ) -> None:
        counts: dict[UserId, int] = {}
        for arrival in arrivals:
            if arrival.user and arrival.opens:
                counts[arrival.user] = counts.get(arrival.user, 0) + 1
        opened: dict[UserId, Window] = {}
        for user, count in counts.items():
            opened[user] = heard(known.get(user) or Window(), now_ms, messages=count)
        self._outbox.store_windows(connection, opened)

    def _count_repeats(self, connection: sqlite3.Connection, duplicates: int, fresh: Iterable[Arrival]) -> None:
        suspects = [arrival for arrival in fresh if arrival.resembles is not None]
        if duplicates or suspects:
            dropped = sum(arrival.state is InboxState.IGNORED for arrival in suspects)
            connection.execute(
                "UPDATE journals SET duplicates = duplicates + ?, suspects = suspects + ?,"
                " suspects_dropped = suspects_dropped + ? WHERE account_id = ?",
                (duplicates, len(suspects) - dropped, dropped, self._account),
            )

    def _move(self, connection: sqlite3.Connection, cursor: Cursor, generation: int, hint_ms: int | None) -> bool:
        """Store the cursor, unless a newer login or another process owns the position now."""
        moved = connection.execute(
            "INSERT INTO positions (account_id, generation, cursor, hint_ms)"
            " SELECT account_id, generation, ?, ? FROM accounts JOIN journals USING (account_id)"
            " WHERE account_id = ? AND generation = ? AND epoch = ?"
            " ON CONFLICT (account_id) DO UPDATE SET generation = excluded.generation, cursor = excluded.cursor,"
            " hint_ms = excluded.hint_ms",
            (cursor, hint_ms, self._account, generation, self._epoch),
        )
        return moved.rowcount > 0

    def _is_owner(self, connection: sqlite3.Connection) -> bool:
        row = connection.execute("SELECT epoch FROM journals WHERE account_id = ?", (self._account,)).fetchone()
        return row is not None and row[0] == self._epoch

    async def _read_one(self, sql: str, parameters: Row) -> tuple[Any, ...] | None:
        return await self._database.read(lambda connection: connection.execute(sql, parameters).fetchone())

    async def _read_letters(self, condition: str, parameters: Row) -> list[Letter]:
        sql = f"SELECT {LETTER} FROM inbox WHERE account_id = ? AND {condition}"
        return await self._database.read(
            lambda connection: [to_letter(row) for row in connection.execute(sql, (self._account, *parameters))]
        )

    async def _read_conversations(self, table: str, condition: str, after: str, limit: int) -> list[str]:
        """Jump from name to name in the index, instead of reading every row of long queues."""
        sql = f"SELECT min(conversation) FROM {table} WHERE account_id = ? AND {condition} AND conversation > ?"

        def work(connection: sqlite3.Connection) -> list[str]:
            names: list[str] = []
            name = after
            while len(names) < limit:
                (name,) = connection.execute(sql, (self._account, name)).fetchone()
                if name is None:
                    break
                names.append(name)
            return names

        return await self._database.read(work)


def _store_state(connection: sqlite3.Connection, completion: Completion, state: bytes) -> None:
    sequence, _ = completion.runs[0]
    if not state:
        connection.execute(
            "DELETE FROM conversations WHERE (account_id, conversation) ="
            " (SELECT account_id, conversation FROM inbox WHERE seq = ?)",
            (sequence,),
        )
        return
    connection.execute(
        "INSERT INTO conversations (account_id, conversation, state, due_ms, expires_ms)"
        " SELECT account_id, conversation, ?, ?, ? FROM inbox WHERE seq = ?"
        " ON CONFLICT DO UPDATE SET state = excluded.state, due_ms = excluded.due_ms, expires_ms = excluded.expires_ms",
        (state, completion.due_ms, completion.expires_ms, sequence),
    )


def _newest(connection: sqlite3.Connection) -> int:
    """Return the sequence of the newest update of all accounts."""
    return int(connection.execute("SELECT ifnull(max(seq), 0) FROM inbox").fetchone()[0])
