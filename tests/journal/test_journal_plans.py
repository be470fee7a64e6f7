"""What is looked up by its key is read by its key, however much waits, whoever else is there, whatever was empty."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest
from journal_house import BOT, arrival, draft, sign_in

from ilink.storage.journal import OutboxState, Outcome, WindowEvent
from ilink.storage.journal_postgres import PostgresJournal
from ilink.storage.postgres import PostgresDatabase
from ilink.wire.ids import AccountId, ClientId, Cursor, MessageId, UserId

WAITING = 3_000
OTHERS = 300
MOST_ROWS = 400
"""How many a call may read: a page or two, of every table of a day."""
KEPT = 7
"""After how many calls a statement's plan is kept for good, and one more."""

_FILL = f"""
INSERT INTO inbox (day, account_id, seq, conversation, user_id, identity, state, received_ms, raw)
SELECT $1 - n % 3, CASE WHEN n <= {WAITING} THEN '{BOT}' ELSE 'other' || n % {OTHERS} END, nextval('inbox_seq'),
       'u:' || n % 30, n % 30, 'old:' || n, CASE WHEN n <= {WAITING} THEN 0 ELSE 1 END, $2, 'x'
FROM generate_series(1, {WAITING + OTHERS * 10}) n"""
_FILL_OUTBOX = f"""
INSERT INTO outbox (account_id, out_seq, conversation, user_id, client_id, is_progress, item, created_ms, state)
SELECT CASE WHEN n <= {WAITING} THEN '{BOT}' ELSE 'other' || n % {OTHERS} END, nextval('outbox_seq'), 'u:' || n % 30,
       n % 30, 'old:' || n, false, 'x', $1, CASE WHEN n <= {WAITING} THEN 0 ELSE 1 END
FROM generate_series(1, {WAITING + OTHERS * 10}) n"""
_READ = (
    "SELECT (SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes WHERE schemaname = current_schema())"
    " + (SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables WHERE schemaname = current_schema()) AS rows"
)

Call = Callable[[int], Awaitable[object]]


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[PostgresDatabase]:
    """A database in which one account of many has a long queue, and the tables of today and tomorrow were empty."""
    async with PostgresDatabase(f"{postgres_url}&pool=1") as database:
        now_ms = time.time_ns() // 1_000_000
        day = now_ms // 86_400_000 - 1
        await sign_in(database, BOT)
        for number in (day - 2, day - 1, day, day + 1, day + 2):
            await database.execute("SELECT make_inbox_day($1)", number)
        await database.execute(_FILL, day, now_ms)
        await database.execute(_FILL_OUTBOX, now_ms)
        await database.execute("VACUUM ANALYZE")
        yield database


async def rows_read(database: PostgresDatabase) -> int:
    """How many rows and entries of indexes the only connection has read."""
    await database.read("SELECT pg_stat_force_next_flush()")
    row = await database.read_row(_READ)
    assert row is not None
    return int(row["rows"])


def calls_of(journal: PostgresJournal) -> Mapping[str, Call]:
    now_ms = time.time_ns() // 1_000_000
    numbers: list[int] = []
    messages: list[int] = []

    async def ingest(turn: int) -> None:
        arrivals = [arrival(f"new:{turn}.{n}", f"user{n}", token="x") for n in range(5)]
        stored = await journal.ingest(
            [*arrivals, arrival("old:7")], cursor=Cursor("c"), generation=1, hint_ms=None, now_ms=now_ms
        )
        numbers[:] = [number for number in stored.sequences if number is not None]

    async def complete(turn: int) -> None:
        done = [
            journal.complete(number, 0, drafts=[draft(f"{turn}.{number}", cause=number)], state=b"s", now_ms=now_ms)
            for number in numbers[:3]
        ]
        for answer in await asyncio.gather(*done):
            messages[:] = [message.out_sequence for message in answer.outgoing]

    async def settle(_turn: int) -> None:
        outcome = Outcome(
            out_sequence=messages[0],
            user=UserId("alice"),
            state=OutboxState.ACCEPTED,
            event=WindowEvent.ACCEPTED,
            message_id=MessageId("1"),
        )
        await journal.settle(outcome, now_ms=now_ms)

    async def enqueue(turn: int) -> None:
        await journal.enqueue([draft(f"more {turn}")], now_ms=now_ms)

    return {
        "ingest": ingest,
        "complete": complete,
        "attach": lambda _: journal.attach(messages[0], b"x", now_ms=now_ms),
        "settle": settle,
        "mark_running": lambda _: journal.mark_running(numbers[3], 0),
        "fail": lambda _: journal.fail(numbers[3], 0, error="e", due_ms=now_ms, now_ms=now_ms),
        "give up": lambda _: journal.fail(
            numbers[4], 0, error="e", due_ms=None, now_ms=now_ms, others=[(numbers[3], 1)]
        ),
        "enqueue": enqueue,
        "decide": lambda _: journal.decide(ClientId("old:7"), is_retry=True, now_ms=now_ms),
        "find_enqueued": lambda _: journal.find_enqueued(messages[0]),
        "find_arrived": lambda _: journal.find_arrived(numbers[0]),
        "read_arrived": lambda _: journal.read_arrived(numbers[0]),
        "read_waiting": lambda _: journal.read_waiting("u:7"),
        "read_outgoing": lambda _: journal.read_outgoing("u:7"),
        "read_sent": lambda _: journal.read_sent(ClientId("old:7")),
        "read_letter": lambda _: journal.read_letter(numbers[0]),
        "read_recent": lambda _: journal.read_recent(since_ms=now_ms + 1, limit=100),
        "waiting_conversations": lambda _: journal.waiting_conversations(),
        "outgoing_conversations": lambda _: journal.outgoing_conversations(),
        "is_ours": lambda _: journal.is_ours(),
    }


async def test_no_call_reads_what_it_does_not_want(database: PostgresDatabase) -> None:
    read: dict[str, int] = {}
    async with PostgresJournal(database, AccountId(BOT)) as journal:
        await journal.adopt()
        calls = calls_of(journal)
        for turn in range(KEPT):
            for name, call in calls.items():
                before = await rows_read(database)
                await call(turn)
                read[name] = max(read.get(name, 0), await rows_read(database) - before)
    assert {name: count for name, count in read.items() if count > MOST_ROWS} == {}
