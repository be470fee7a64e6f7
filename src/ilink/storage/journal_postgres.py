"""The journal in PostgreSQL: one round trip for every unit of work.

Each unit is a function of the schema (migrations/postgres/local/0002_journal.sql) that locks the account's row first.
So sequences become visible in their order whoever writes, and what is refused to a process that was taken over from is
refused for good. The cursor and the effects are fenced in this way, never the storing of what a poll brought.

A connection may be cut while a unit of work is on its way, so that nobody knows whether it was stored. Such a unit is
asked for again under its name, and what was stored is told instead of being stored twice.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final, Self, TypeVar
from uuid import UUID, uuid4

from ilink.errors import StoreLockedError, StoreUnavailableError
from ilink.flows.window import Window
from ilink.storage.journal import (
    Adopted,
    Arrival,
    Completed,
    Counts,
    Draft,
    Ingested,
    Letter,
    OutboxState,
    Outcome,
    Outgoing,
)
from ilink.storage.journal_groups import Addition, Completion, Group, Groups, Settlement, Stored
from ilink.storage.journal_outbox import DROPPED
from ilink.storage.journal_postgres_changes import Watch, watch
from ilink.storage.journal_postgres_counts import count_journals
from ilink.storage.journal_postgres_rows import (
    arrival_columns,
    escaped,
    group_columns,
    letter,
    outgoing,
    unescaped,
    window,
)
from ilink.storage.journal_rows import LETTER, OUTGOING, WINDOW
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.roles import Role
from ilink.wire.ids import AccountId, ClientId, Cursor, Secret, UserId

__all__ = ["PostgresJournal"]

T = TypeVar("T")

_PAUSES: Final = (0.02, 0.1, 0.3, 0.6, 1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts to learn whether something was stored; a server that restarts is back by then."""
_KEEP_PAUSE: Final = timedelta(minutes=10)
"""How often all processes together look after the tables of days."""

_INGEST: Final = (
    "SELECT * FROM ingest($1, $2, $3, $4, $5, $6, $7, $8::bytea[], $9::text[], $10::text[], $11::text[], $12::text[],"
    " $13::smallint[], $14::text[], $15::boolean[], $16::text[])"
)
_STORE: Final = (
    "SELECT * FROM store_group($1, $2, $3, $4::int[], $5::bigint[], $6::bigint[],"
    " $7::bigint[], $8::bytea[], $9::bigint[], $10::bigint[], $11::text[],"
    " $12::int[], $13::bigint[], $14::text[], $15::text[], $16::text[], $17::bytea[], $18::text[], $19::bigint[],"
    " $20::boolean[], $21::text[], $22::bigint[],"
    " $23::bigint[], $24::text[], $25::smallint[], $26::smallint[], $27::bigint[], $28::bigint[], $29::boolean[],"
    " $30::boolean[], $31::text[], $32::bigint[], $33::text[])"
)
_FAIL: Final = f"SELECT {LETTER} FROM fail_update($1, $2, $3, $4, $5, $6, $7, $8::bigint[], $9::bigint[], $10, $11)"  # noqa: S608  # names only
_READ_LETTERS: Final = f"SELECT {LETTER} FROM inbox WHERE account_id = $1 AND "  # noqa: S608  # names only
_READ_OUTGOING: Final = f"SELECT {OUTGOING} FROM outbox WHERE account_id = $1 AND "  # noqa: S608  # names only
_READ_RECENT: Final = (
    f"SELECT {LETTER} FROM (SELECT * FROM inbox WHERE account_id = $1 ORDER BY seq DESC LIMIT $3) newest"  # noqa: S608  # names only
    " WHERE received_ms >= $2 ORDER BY seq"
)
_READ_WINDOWS: Final = f"SELECT {WINDOW} FROM windows WHERE account_id = $1 AND user_id = ANY ($2::text[])"  # noqa: S608  # names only
_DECIDE: Final = f"SELECT {OUTGOING} FROM decide_message($1, $2, $3, $4, $5)"  # noqa: S608  # names only
_FIND_ENQUEUED: Final = (
    "SELECT (SELECT coalesce(max(out_seq), 0) FROM outbox WHERE account_id = $1) AS newest,"
    " (SELECT calls FROM journals WHERE account_id = $1) AS calls,"
    " (SELECT array_agg(DISTINCT conversation) FROM outbox"
    " WHERE account_id = $1 AND out_seq > $2 AND state + 0 = 0) AS names"
)
_FIND_ARRIVED: Final = (
    "SELECT (SELECT coalesce(max(seq), 0) FROM inbox WHERE account_id = $1) AS newest,"
    " (SELECT calls FROM journals WHERE account_id = $1) AS calls,"
    " (SELECT array_agg(DISTINCT ARRAY[conversation, user_id]) FROM inbox WHERE account_id = $1 AND seq > $2) AS found"
)
_OWNER: Final = {Role.ALL: "poller", Role.POLLER: "poller", Role.HANDLER: "handler", Role.SENDER: "sender"}


class PostgresJournal:
    """The journal of one account; open it with `async with`, inside the database's own.

    Args:
        database: The open database of schema `local`.
        account: Whose journal it is; the account is stored already.
        new_id: Names units of work, so that one whose answer was lost is known again.
    """

    def __init__(self, database: PostgresDatabase, account: AccountId, *, new_id: Callable[[], UUID] = uuid4) -> None:
        self._database = database
        self._account = account
        self._key = escaped(account)
        self._new_id = new_id
        self._role = Role.ALL
        self._lease: tuple[UUID | None, int | None] = (None, None)
        self._epoch = 0
        self._newest = 0
        self._calls: int | None = None
        self._groups = Groups(lambda group: asyncio.create_task(self._store(group), name=f"journal of {account}"))
        self._exits: AsyncExitStack | None = None
        self._watch: Watch | None = None

    @property
    def account(self) -> AccountId:
        """Whose journal it is."""
        return self._account

    async def __aenter__(self) -> Self:
        await self._groups.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        try:
            await self._groups.__aexit__(*exc_info)
        finally:
            if self._exits is not None:
                await self._exits.aclose()

    async def adopt(self, role: Role = Role.ALL, /) -> Adopted:
        """Take the journal over; see `Journal`."""
        self._role = role
        adopter = self._new_id()
        row = await self._surely(
            lambda _: self._database.write_row(
                "SELECT * FROM adopt_journal($1, $2, $3, $4, $5)", self._key, adopter, role.value, *self._lease
            )
        )
        assert row is not None
        if row["epoch"] is None:
            message = f"the slot of {self._account} went to another process of the fleet; that one works for it"
            raise StoreLockedError(message, holder="another process of the fleet")
        self._epoch, self._newest = row["epoch"], row["newest"]
        return Adopted(epoch=row["epoch"], was_open=row["was_open"])

    def adopt_only_with(self, session: UUID, slot_epoch: int) -> None:
        """Let `adopt` be refused with StoreLockedError unless a session of a fleet still has the account's slot.

        Args:
            session: The process, as its fleet knows it.
            slot_epoch: With which epoch it took the slot.
        """
        self._lease = (session, slot_epoch)

    async def release(self) -> None:
        """Give the journal back in order."""
        await self._database.execute(
            "UPDATE journals SET is_open = is_open AND handler <> $2, is_sending = is_sending AND sender <> $2"
            " WHERE account_id = $1 AND $2 IN (handler, sender)",
            self._key,
            self._epoch,
        )

    async def is_ours(self) -> bool:
        """Tell whether nobody has taken the journal over; see `Journal`."""
        column = _OWNER[self._role]
        row = await self._database.read_row(f"SELECT {column} FROM journals WHERE account_id = $1", self._key)  # noqa: S608  # a name of this module
        return row is not None and row[0] == self._epoch

    async def note_clock_gap(self, gap_ms: int) -> None:
        """Write down how far the machine's clock is ahead of the times that are passed in; see `Journal`."""
        await self._database.execute(
            "UPDATE journals SET clock_gap_ms = CASE WHEN handler = $2 THEN $3 ELSE clock_gap_ms END"
            " WHERE account_id = $1 AND $2 IN (poller, handler, sender)",
            self._key,
            self._epoch,
            gap_ms,
        )

    async def check(self, *, gap_ms: int) -> None:
        """Look whether writes are taken; see `Journal`."""
        await self.note_clock_gap(gap_ms)
        await self._database.prove_room()

    async def ingest(
        self, arrivals: Sequence[Arrival], *, cursor: Cursor, generation: int, hint_ms: int | None, now_ms: int
    ) -> Ingested:
        """Store a batch in one step; see `Journal`.

        After a cut connection a batch may come here again that was stored. Its updates are `foreign` then: stored since
        the last batch that this process knows of.
        """
        place = (self._key, self._epoch, generation, escaped(cursor), hint_ms, now_ms, self._newest)
        row = await self._database.write_row(_INGEST, *place, *arrival_columns(arrivals))
        assert row is not None
        self._newest = row["newest"]
        if self._role is not Role.ALL or not row["has_moved"]:
            self._tell()
        return Ingested(
            sequences=tuple(row["sequences"]),
            has_moved=row["has_moved"],
            outdated=frozenset(n for n, is_outdated in enumerate(row["outdated"] or ()) if is_outdated),
            foreign=tuple(unescaped(name) for name in row["others"] or ()),
        )

    async def sync(self) -> None:
        """Do nothing: the database answers when a commit outlives a power cut; see `Journal`."""

    async def inherit(self, previous: AccountId) -> None:
        """Take over what waits in the journal of another account of the same person; see `Journal`."""
        await self._surely(
            lambda _: self._database.execute("SELECT inherit_journal($1, $2)", self._key, escaped(previous))
        )

    async def find_arrived(self, after: int) -> tuple[list[tuple[str, UserId]], int]:
        """Return in which conversations who wrote what was stored behind a place; see `Journal`."""
        row = await self._database.read_row(_FIND_ARRIVED, self._key, after)
        assert row is not None
        self._calls = row["calls"]
        found = [(unescaped(name), UserId(unescaped(user))) for name, user in row["found"] or ()]
        return found, row["newest"]

    async def read_arrived(self, after: int, *, limit: int = 200) -> list[Letter]:
        """Return a page of what was stored behind a place and waits, in order; see `Journal`."""
        return await self._read_letters("state + 0 = 0 AND seq > $2 ORDER BY seq LIMIT $3", after, limit)

    async def waiting_conversations(self, *, after: str = "", limit: int = 500) -> list[str]:
        """Return conversations with waiting updates, in the order of their names."""
        return await self._names("SELECT waiting_conversations($1, $2, $3)", escaped(after), limit)

    async def read_waiting(self, conversation: str, *, after: int = 0, limit: int = 50) -> list[Letter]:
        """Return a page of the waiting updates of a conversation, in order."""
        return await self._read_letters(
            "conversation = $2 AND state = 0 AND seq > $3 ORDER BY seq LIMIT $4", escaped(conversation), after, limit
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
        numbers, claims = [number for number, _ in others], [run for _, run in others]
        run = (self._key, self._epoch, sequence, claim, escaped(error), due_ms, now_ms, numbers, claims, is_parked)
        row = await self._surely(lambda is_again: self._database.write_row(_FAIL, *run, is_again))
        return None if row is None else letter(row)

    async def mark_running(self, sequence: int, claim: int) -> None:
        """Write down that a suspicious update is being handled."""
        await self._database.execute(
            "UPDATE inbox SET is_running = true WHERE account_id = $1 AND seq = $2 AND claim = $3 AND state + 0 = 0",
            self._key,
            sequence,
            claim,
        )

    async def read_state(self, conversation: str) -> bytes | None:
        """Return a conversation's state; None when it has none."""
        row = await self._database.read_row(
            "SELECT state FROM conversations WHERE account_id = $1 AND conversation = $2",
            self._key,
            escaped(conversation),
        )
        return None if row is None else row["state"]

    def enqueue(self, drafts: Sequence[Draft], *, now_ms: int) -> Future[list[Outgoing]]:
        """Store outgoing messages at once, and return the new ones."""
        return self._groups.add(Addition(drafts, now_ms))

    async def outgoing_conversations(self, *, after: str = "", limit: int = 500) -> list[str]:
        """Return conversations with messages that wait to be sent, in the order of their names."""
        return await self._names("SELECT outgoing_conversations($1, $2, $3)", escaped(after), limit)

    async def read_outgoing(self, conversation: str, *, after: int = 0, limit: int = 50) -> list[Outgoing]:
        """Return a page of the messages of a conversation that wait to be sent, in order."""
        return await self._read_outgoing(
            "conversation = $2 AND state IN (0, 6, 7) AND out_seq > $3 ORDER BY out_seq LIMIT $4",
            escaped(conversation),
            after,
            limit,
        )

    async def read_sent(self, client_id: ClientId) -> Outgoing | None:
        """Return one outgoing message by its name; None when it is not known, or no longer."""
        found = await self._read_outgoing("client_id = $2", escaped(client_id))
        return found[0] if found else None

    def settle(self, outcome: Outcome, *, now_ms: int) -> Future[None]:
        """Store what became of an attempt to send, and what it taught about the window."""
        return self._groups.settle(Settlement(outcome, now_ms))

    async def attach(self, out_sequence: int, item: bytes, *, now_ms: int) -> None:
        """Store what a file became by its upload."""
        await self._surely(
            lambda _: self._database.execute(
                "UPDATE outbox SET item = $3, uploaded_ms = $4"
                " WHERE account_id = $1 AND out_seq = $2 AND state + 0 IN (0, 6, 7)",
                self._key,
                out_sequence,
                item,
                now_ms,
            )
        )

    async def find_needed_files(self, names: Sequence[ClientId]) -> set[ClientId]:
        """Return those of some messages, of whatever account, whose files are still to be sent."""
        rows = await self._database.read(
            "SELECT client_id FROM outbox"
            " WHERE client_id = ANY ($1::text[]) AND file IS NOT NULL AND state IN (0, 6, 7)",
            [escaped(name) for name in names],
        )
        return {ClientId(unescaped(row["client_id"])) for row in rows}

    async def read_outbox(self, states: Sequence[OutboxState], *, after: int = 0, limit: int = 100) -> list[Outgoing]:
        """Return a page of the messages in some states, oldest first."""
        return await self._read_outgoing(
            "state = ANY ($2::smallint[]) AND out_seq > $3 ORDER BY out_seq LIMIT $4",
            [int(state) for state in states],
            after,
            limit,
        )

    async def decide(self, client_id: ClientId, *, is_retry: bool, now_ms: int) -> Outgoing | None:
        """Decide about a message that asked; see `Journal`."""
        reason = None if is_retry else DROPPED
        row = await self._database.write_row(_DECIDE, self._key, self._epoch, escaped(client_id), now_ms, reason)
        if row is not None and (not self._epoch or not self._role.sends):
            self._tell()
        return None if row is None else outgoing(row)

    async def find_enqueued(self, after: int) -> tuple[list[str], int]:
        """Return the conversations of messages that were stored behind a place and wait, and the newest place.

        None is missed: places are given out under the account's lock, so who sees one sees all before it.
        """
        row = await self._database.read_row(_FIND_ENQUEUED, self._key, after)
        assert row is not None
        self._calls = row["calls"]
        return [unescaped(name) for name in row["names"] or ()], row["newest"]

    async def wait_changed(self, since: int) -> int:
        """Wait until another process may have written; see `Journal`.

        A hint tells within milliseconds. Hints may get lost, so some seconds later a look at the account's row finds
        what they missed: one read for all accounts of this process.
        """
        if self._watch is None:
            self._exits = AsyncExitStack()
            self._watch = await self._exits.enter_async_context(watch(self._database, self._key, since=self._calls))
        return await self._watch.wait(since)

    async def read_windows(self, users: Sequence[UserId]) -> Mapping[UserId, Window]:
        """Return what is known about sending to some users."""
        rows = await self._database.read(_READ_WINDOWS, self._key, [escaped(user) for user in users])
        return dict(window(row) for row in rows)

    async def read_context_token(self, user: UserId) -> Secret | None:
        """Return the newest context token of a user."""
        row = await self._database.read_row(
            "SELECT context_token FROM peers WHERE account_id = $1 AND user_id = $2", self._key, escaped(user)
        )
        return None if row is None else Secret(unescaped(row["context_token"]))

    async def read_dead(self, *, after: int = 0, limit: int = 100) -> list[Letter]:
        """Return a page of the dead letters, oldest first."""
        return await self._read_letters("(state = 2 OR is_parked) AND seq > $2 ORDER BY seq LIMIT $3", after, limit)

    async def read_letter(self, sequence: int) -> Letter | None:
        """Return one stored update, whatever became of it."""
        found = await self._read_letters("seq = $2", sequence)
        return found[0] if found else None

    async def read_recent(self, *, since_ms: int, limit: int = 1_000) -> list[Letter]:
        """Return the updates that came after a moment, oldest first; see `Journal`."""
        return [letter(row) for row in await self._database.read(_READ_RECENT, self._key, since_ms, limit)]

    async def replay(self, sequences: Sequence[int]) -> list[str]:
        """Let dead and parked letters be handled again as if they had never failed; return their conversations."""
        rows = await self._database.write("SELECT replay_updates($1, $2::bigint[])", self._key, list(sequences))
        return [unescaped(row[0]) for row in rows]

    async def drop(self, sequences: Sequence[int]) -> int:
        """Give dead and parked letters up for good, and return how many."""
        row = await self._database.write_row("SELECT drop_updates($1, $2::bigint[])", self._key, list(sequences))
        assert row is not None
        return int(row[0])

    async def prune(self, before_ms: int) -> int:
        """Forget what was finished before a moment, and return how many rows; see `Journal`.

        Updates lie in a table for each day. Now and then one of the processes makes those of the next days, and drops
        those that no account needs any more. Rows are deleted where that does not come: what outlived its day, and days
        that another account needs for longer.
        """
        row = await self._database.write_row("SELECT prune_journal($1, $2)", self._key, before_ms)
        assert row is not None
        await self._database.write("SELECT keep_inbox_days($1)", _KEEP_PAUSE)
        return int(row[0])

    async def count(self) -> Counts:
        """Return how much there is."""
        return await count_journals(self._database, [self._account])

    async def _store(self, group: Group) -> Stored:
        """Store a group in one round trip."""
        name, columns = self._new_id(), group_columns(group)
        row = await self._surely(lambda _: self._database.write_row(_STORE, self._key, self._epoch, name, *columns))
        assert row is not None
        if self._role is not Role.ALL or not row["is_owner"]:
            self._tell()
        return _stored(group, row["taken"], row["out_sequences"])

    def _tell(self) -> None:
        """Let the owner know, and whoever else waits, that something was written for them."""
        self._database.notify("journal", self._key)

    async def _surely(self, ask: Callable[[bool], Awaitable[T]]) -> T:
        """Ask until it is known whether it was stored; an error then means that it was not, or that nobody can tell.

        Args:
            ask: Asks, and is told whether an answer to it was lost before.
        """
        is_again = False
        for pause in (*_PAUSES, None):
            try:
                return await ask(is_again)
            except StoreUnavailableError as error:
                is_again = is_again or error.is_uncertain
                if not is_again or pause is None:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError  # the last pause is None

    async def _names(self, sql: str, *values: object) -> list[str]:
        return [unescaped(row[0]) for row in await self._database.read(sql, self._key, *values)]

    async def _read_letters(self, condition: str, *values: object) -> list[Letter]:
        return [letter(row) for row in await self._database.read(_READ_LETTERS + condition, self._key, *values)]

    async def _read_outgoing(self, condition: str, *values: object) -> list[Outgoing]:
        return [outgoing(row) for row in await self._database.read(_READ_OUTGOING + condition, self._key, *values)]


def _stored(group: Group, taken: Sequence[bool], out_sequences: Sequence[int | None]) -> Stored:
    """Return what became of a group, from what became of its parts."""
    places = iter(out_sequences)
    known: dict[ClientId, Outgoing] = {}

    def new_of(drafts: Sequence[Draft], now_ms: int) -> list[Outgoing]:
        found = [
            Outgoing(out_sequence=place, draft=draft, created_ms=now_ms)
            for draft, place in zip(drafts, places, strict=False)
            if place is not None
        ]
        known.update((message.draft.client_id, message) for message in found)
        return found

    for completion in group.completions:
        new_of(completion.drafts, completion.now_ms)
    completed = [
        Completed(
            is_accepted=is_taken,
            outgoing=tuple(known[draft.client_id] for draft in completion.drafts if draft.client_id in known)
            if is_taken
            else (),
        )
        for completion, is_taken in zip(group.completions, taken, strict=True)
    ]
    return Stored(completed, [new_of(addition.drafts, addition.now_ms) for addition in group.additions])
