"""What a journal costs in each store: batches in, a reply with its completion, the outcome of a send.

Sixteen accounts work side by side in one process, each with one thing at a time, as sixteen bots do. The limit is bare
PostgreSQL: rows of the same shape, written by one prepared statement with neither lock nor function nor check.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Final, Protocol

from ilink.storage.accounts_sqlite import local_database
from ilink.storage.journal import Arrival, Draft, Journal, OutboxState, Outcome, WindowEvent
from ilink.storage.journal_postgres import PostgresJournal
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.storage.postgres import PostgresDatabase
from ilink.testing.engines import PostgresEngine
from ilink.wire.ids import AccountId, ClientId, Cursor, MessageId, Secret, UserId

__all__ = ["OPERATIONS", "StoreFigures", "measure_stores"]

OPERATIONS: Final = ("ingest of 1", "ingest of 5", "completion, 1 reply", "20 completions", "settle")

_ACCOUNTS: Final = 16
_RAW: Final = (
    b'{"message_id":1234567890,"from_user_id":"o9cq800kum_4g8Py8Qw5G0a@im.wechat","item_list":[' + b"x" * 500 + b"]}"
)
_POOL: Final = 16


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """One operation in one store: rows a second, and seconds of one unit of work; the median of the rounds."""

    store: str
    operation: str
    per_second: float
    p50: float
    p99: float


class _Contestant(Protocol):
    """One account in one store."""

    async def ingest(self, number: int, count: int) -> Sequence[int]: ...

    async def complete(self, sequences: Sequence[int], name: str) -> Sequence[int]: ...

    async def settle(self, out_sequence: int) -> None: ...


class _InJournal:
    """Through a journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def ingest(self, number: int, count: int) -> Sequence[int]:
        arrivals = [
            Arrival(
                raw=_RAW,
                identity=f"m:{number}.{place}",
                conversation=f"u:{number % 8}",
                user=UserId(f"user{number % 8}"),
                context_token=Secret(f"token-{number}-" + "t" * 120),
            )
            for place in range(count)
        ]
        stored = await self._journal.ingest(
            arrivals, cursor=Cursor(f"cursor-{number}"), generation=1, hint_ms=None, now_ms=_now_ms()
        )
        return [sequence for sequence in stored.sequences if sequence is not None]

    async def complete(self, sequences: Sequence[int], name: str) -> Sequence[int]:
        completed = await asyncio.gather(
            *(
                self._journal.complete(
                    sequence, 0, drafts=[_reply(f"{name}.{sequence}", sequence)], state=None, now_ms=_now_ms()
                )
                for sequence in sequences
            )
        )
        return [message.out_sequence for one in completed for message in one.outgoing]

    async def settle(self, out_sequence: int) -> None:
        outcome = Outcome(
            out_sequence=out_sequence,
            user=UserId("user1"),
            state=OutboxState.ACCEPTED,
            event=WindowEvent.ACCEPTED,
            message_id=MessageId("7464561234567890"),
        )
        await self._journal.settle(outcome, now_ms=_now_ms())


_BARE: Final = (
    "CREATE TABLE bare_inbox (account text, seq bigserial PRIMARY KEY, conversation text, user_id text, identity text,"
    " state int, received bigint, raw bytea);"
    "CREATE UNIQUE INDEX ON bare_inbox (account, identity);"
    "CREATE INDEX ON bare_inbox (account, conversation, seq) WHERE state = 0;"
    "CREATE TABLE bare_cursor (account text PRIMARY KEY, cursor text);"
    "CREATE TABLE bare_outbox (account text, seq bigserial PRIMARY KEY, conversation text, client_id text, item bytea,"
    " state int, message_id text);"
    "CREATE UNIQUE INDEX ON bare_outbox (account, client_id);"
    "CREATE INDEX ON bare_outbox (account, conversation, seq) WHERE state = 0;"
)
_BARE_INGEST: Final = (
    "WITH moved AS (INSERT INTO bare_cursor VALUES ($1, $2) ON CONFLICT (account) DO UPDATE SET cursor = $2)"
    " INSERT INTO bare_inbox (account, conversation, user_id, identity, state, received, raw)"
    " SELECT $1, $3, $3, i, 0, $4, $5 FROM unnest($6::text[]) AS i RETURNING seq"
)
_BARE_COMPLETE: Final = (
    "WITH done AS (UPDATE bare_inbox SET state = 1 WHERE seq = ANY ($2::bigint[]))"
    " INSERT INTO bare_outbox (account, conversation, client_id, item, state)"
    " SELECT $1, 'u:1', $3 || s, $4, 0 FROM unnest($2::bigint[]) AS s RETURNING seq"
)
_BARE_SETTLE: Final = "UPDATE bare_outbox SET state = 1, message_id = $2 WHERE seq = $1"


class _Bare:
    """Without a journal: what the database itself takes."""

    def __init__(self, database: PostgresDatabase, account: str) -> None:
        self._database = database
        self._account = account

    async def ingest(self, number: int, count: int) -> Sequence[int]:
        identities = [f"m:{number}.{place}" for place in range(count)]
        rows = await self._database.write(
            _BARE_INGEST, self._account, f"cursor-{number}", f"u:{number % 8}", _now_ms(), _RAW, identities
        )
        return [row[0] for row in rows]

    async def complete(self, sequences: Sequence[int], name: str) -> Sequence[int]:
        rows = await self._database.write(_BARE_COMPLETE, self._account, sequences, f"{name}.", _RAW[:200])
        return [row[0] for row in rows]

    async def settle(self, out_sequence: int) -> None:
        await self._database.execute(_BARE_SETTLE, out_sequence, "7464561234567890")


async def measure_stores(rounds: int, *, seconds: float = 2.0) -> list[StoreFigures]:
    """Measure all stores in turn, round by round.

    Args:
        rounds: How many; the medians are returned.
        seconds: How long each operation is repeated.
    """
    taken: dict[tuple[str, str], list[StoreFigures]] = {}
    with _schemas() as url, tempfile.TemporaryDirectory(prefix="ilink-bench-") as folder:
        for turn in range(rounds):
            for name, open_store in _STORES.items():
                async with open_store(f"{url}_{turn}_{len(name)}", Path(folder) / str(turn)) as contestants:
                    for figures in await _measure(name, contestants, seconds):
                        taken.setdefault((name, figures.operation), []).append(figures)
    return [sorted(some, key=lambda one: one.per_second)[len(some) // 2] for some in taken.values()]


@contextmanager
def _schemas() -> Generator[str, None, None]:
    """Give the beginning of the addresses of fresh schemas, on the server that is given, or on one of our own."""
    if given := os.environ.get("ILINK_TEST_POSTGRES_URL"):
        yield f"{given}{'&' if '?' in given else '?'}pool={_POOL}&schema=bench{os.getpid()}"
        return
    with PostgresEngine(shared_buffers="256MB") as engine:
        yield engine.url("bench").replace("?", f"?pool={_POOL}&")


async def _measure(name: str, contestants: Sequence[_Contestant], seconds: float) -> list[StoreFigures]:
    replies: list[list[int]] = [[] for _ in contestants]
    arrived: list[list[int]] = [[] for _ in contestants]
    numbers = iter(range(10**9))

    async def ingest(place: int, count: int) -> int:
        arrived[place] += await contestants[place].ingest(next(numbers), count)
        return count

    async def complete(place: int, count: int) -> int:
        if len(arrived[place]) < count:
            return 0
        taken, arrived[place][-count:] = arrived[place][-count:], []
        replies[place] += await contestants[place].complete(taken, "r")
        return count

    async def settle(place: int, _count: int) -> int:
        if not replies[place]:
            return 0
        await contestants[place].settle(replies[place].pop())
        return 1

    steps: dict[str, Callable[[int], Awaitable[int]]] = {
        "ingest of 1": lambda place: ingest(place, 1),
        "ingest of 5": lambda place: ingest(place, 5),
        "completion, 1 reply": lambda place: complete(place, 1),
        "20 completions": lambda place: complete(place, 20),
        "settle": lambda place: settle(place, 1),
    }
    return [await _repeat(name, operation, steps[operation], len(contestants), seconds) for operation in OPERATIONS]


async def _repeat(
    name: str, operation: str, step: Callable[[int], Awaitable[int]], accounts: int, seconds: float
) -> StoreFigures:
    """Repeat an operation in all accounts at once until the time is over, or there is nothing more to do."""
    delays: list[float] = []
    rows = 0

    async def work(place: int) -> None:
        nonlocal rows
        while (begun := time.perf_counter()) < end and (done := await step(place)):
            delays.append(time.perf_counter() - begun)
            rows += done

    begun = time.perf_counter()
    end = begun + seconds
    async with asyncio.TaskGroup() as tasks:
        for place in range(accounts):
            tasks.create_task(work(place))
    cuts = quantiles(delays, n=100)
    return StoreFigures(name, operation, rows / (time.perf_counter() - begun), cuts[49], cuts[98])


@asynccontextmanager
async def _open_sqlite(_url: str, folder: Path) -> AsyncGenerator[list[_Contestant], None]:
    async with local_database(folder) as database, AsyncExitStack() as exits:
        names = _names()
        await database.write(
            lambda connection: connection.executemany(
                "INSERT INTO accounts (account_id, owner_id, base_url, token, generation, state, created_at_ms)"
                " VALUES (?, 'o', 'http://x', 't', 1, 'active', 0)",
                [(name,) for name in names],
            )
        )
        yield [await _adopted(exits, SqliteJournal(database, AccountId(name))) for name in names]


@asynccontextmanager
async def _open_postgres(url: str, _folder: Path) -> AsyncGenerator[list[_Contestant], None]:
    async with PostgresDatabase(url) as database, AsyncExitStack() as exits:
        names = _names()
        await database.execute(
            "INSERT INTO accounts (account_id, base_url, key_id, token, generation, state, created_at_ms)"
            " SELECT name, 'http://x', '', 't', 1, 'active', 0 FROM unnest($1::text[]) AS name",
            names,
        )
        yield [await _adopted(exits, PostgresJournal(database, AccountId(name))) for name in names]


@asynccontextmanager
async def _open_bare(url: str, _folder: Path) -> AsyncGenerator[list[_Contestant], None]:
    async with PostgresDatabase(url) as database:
        async with database.transaction() as connection:
            await connection.execute(_BARE)
        yield [_Bare(database, name) for name in _names()]


_STORES: Final = {
    "limit: bare PostgreSQL": _open_bare,
    "journal in PostgreSQL": _open_postgres,
    "journal in SQLite": _open_sqlite,
}


async def _adopted(exits: AsyncExitStack, journal: SqliteJournal | PostgresJournal) -> _Contestant:
    opened = await exits.enter_async_context(journal)
    await opened.adopt()
    return _InJournal(opened)


def _names() -> list[str]:
    return [f"bot{number}@im.bot" for number in range(_ACCOUNTS)]


def _reply(name: str, cause: int) -> Draft:
    return Draft(client_id=ClientId(name), conversation="u:1", user=UserId("user1"), item=_RAW[:200], cause=cause)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
