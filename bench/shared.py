"""Gateways that share a database: how soon one wakes the polls of another, how many sends they store, what rest costs.

The limit of the sends is bare PostgreSQL: as many at a time store a row of the same shape and tell its number, in one
statement for all that came meanwhile, with neither HTTP nor judgement.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import msgspec

from bench.people import Bot, open_windows, sign_in, write
from bench.processes import Gateway, start_gateway
from bench.rawhttp import Connection, Pool
from bench.sends import BOTS, CONNECTIONS, SECONDS, SendFigures, measure_sends
from ilink.storage.gathering_postgres import PostgresGathering
from ilink.storage.postgres import PostgresDatabase
from ilink.testing.engines import NatsEngine, PostgresEngine

__all__ = ["WAKE_MS", "IdleFigures", "WakeFigures", "measure_shared"]

WAKE_MS: Final = 5.0
"""What waking a poll that another process holds may take, in the middle of all."""


_WIRE: Final = b"x" * 300
_HOLD_MS: Final = 200
_IDLE_POLLS: Final = 100
_BARE: Final = (
    "CREATE TABLE bare_entry (bot bigint, n bigserial PRIMARY KEY, user_id text, client_id text, at_ms bigint,"
    " state text, wire bytea);"
    "CREATE INDEX ON bare_entry (bot, user_id, n);"
    "CREATE INDEX ON bare_entry (bot, client_id);"
)
_BARE_SEND: Final = (
    "WITH stored AS (INSERT INTO bare_entry (bot, user_id, client_id, at_ms, state, wire)"
    " SELECT a, b, c, d, 'shown', e FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bytea[])"
    " AS given(a, b, c, d, e) RETURNING n)"
    " SELECT row_number() OVER (ORDER BY n), n FROM stored"
)
_WRITES: Final = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_user_tables"
_TOLD_AFTER: Final = 11
"""Seconds after which the server has told of everything that its connections did."""


@dataclass(frozen=True, slots=True)
class IdleFigures:
    """What polls that bring nothing cost the database.

    Attributes:
        polls: How many.
        writes: Rows that were written meanwhile, in all tables.
    """

    polls: int
    writes: int


@dataclass(frozen=True, slots=True)
class WakeFigures:
    """Seconds from the answer to a person's message, which is stored by then, to the answer of the poll it wakes.

    Attributes:
        way: Who holds the poll, and how it is told.
        stored_p50: Seconds from the message's request to its answer.
        p50: In the middle of all; a poll that is answered before the message is counts as at once.
        p99: Of all but one in a hundred.
    """

    way: str
    stored_p50: float
    p50: float
    p99: float


async def measure_shared(count: int) -> tuple[list[WakeFigures], dict[str, SendFigures], IdleFigures]:
    """Measure all on a PostgreSQL server of our own, and sends on SQLite and on the bare database beside it.

    Args:
        count: How many polls are woken in each way.
    """
    wakes: list[WakeFigures] = []
    sends: dict[str, SendFigures] = {}
    with tempfile.TemporaryDirectory(prefix="ilink-bench-") as name, PostgresEngine() as postgres, NatsEngine() as nats:
        scratch = Path(name)
        sends["limit: bare PostgreSQL"] = await _measure_bare(postgres.url("bare"))
        async with start_gateway(scratch / "sqlite") as alone:
            wakes.append(await _measure_wakes("one process, SQLite", alone, alone, count))
            sends["SQLite, one process"] = await measure_sends(alone)
        async with AsyncExitStack() as stack:
            one, other = await _pair(stack, scratch / "notify", ["--database-url", postgres.url("notify")])
            wakes.append(await _measure_wakes("one process, PostgreSQL", one, one, count))
            wakes.append(await _measure_wakes("another process, LISTEN/NOTIFY", one, other, count))
            sends["PostgreSQL, one process"] = await measure_sends(one)
            sends["PostgreSQL, two processes"] = await measure_sends(one, other)
            async with PostgresDatabase(postgres.url("notify"), schema="gateway") as database:
                idle = await _measure_idle(one, database)
        async with AsyncExitStack() as stack:
            more = ["--database-url", postgres.url("nats"), "--hints-url", nats.url]
            one, other = await _pair(stack, scratch / "nats", more)
            wakes.append(await _measure_wakes("another process, NATS", one, other, count))
    return wakes, sends, idle


async def _measure_bare(url: str) -> SendFigures:
    async with PostgresDatabase(url) as database:
        async with database.transaction() as connection:
            await connection.execute(_BARE)
        together = PostgresGathering(database, _BARE_SEND)
        before, began, numbers = time.process_time(), time.perf_counter(), itertools.count()

        async def send(place: int) -> None:
            while time.perf_counter() < began + SECONDS:
                number = next(numbers)
                await together.write(place % BOTS, "user1", f"bench-{number}", number, _WIRE)

        await asyncio.gather(*map(send, range(CONNECTIONS)))
        seconds, sent = time.perf_counter() - began, next(numbers)
        return SendFigures(sent / seconds, (time.process_time() - before) / sent)


async def _measure_idle(gateway: Gateway, database: PostgresDatabase) -> IdleFigures:
    """Poll again and again where nothing comes, and count what the database writes."""
    async with Pool(gateway.api_url, 1) as api, Pool(gateway.control_url, 1) as control:
        bot = await sign_in(api, control, "idle")
        await open_windows(control, hold_ms=_HOLD_MS)
        polls = await Connection.open(gateway.api_url)
        cursor, _ = await _poll(polls, bot, "")
        await asyncio.sleep(_TOLD_AFTER)
        before = await database.read_row(_WRITES)
        for _ in range(_IDLE_POLLS):
            cursor, _ = await _poll(polls, bot, cursor)
        await asyncio.sleep(_TOLD_AFTER)
        after = await database.read_row(_WRITES)
        polls.close()
    assert before is not None
    assert after is not None
    return IdleFigures(_IDLE_POLLS, after[0] - before[0])


async def _pair(stack: AsyncExitStack, scratch: Path, more: list[str]) -> tuple[Gateway, Gateway]:
    one = await stack.enter_async_context(start_gateway(scratch / "one", *more))
    other = await stack.enter_async_context(start_gateway(scratch / "other", *more))
    return one, other


async def _measure_wakes(way: str, writer: Gateway, holder: Gateway, count: int) -> WakeFigures:
    """Write at one gateway to a bot whose poll another holds, again and again."""
    async with Pool(writer.api_url, 1) as api, Pool(writer.control_url, 1) as control:
        await open_windows(control)
        bot = await sign_in(api, control, "woken")
        polls = await Connection.open(holder.api_url)
        stored: list[float] = []
        woken: list[float] = []
        cursor = await _first_cursor(polls, control, bot)
        for number in range(count):
            poll = asyncio.create_task(_poll(polls, bot, cursor))
            await asyncio.sleep(0.01)  # until it is held
            began = time.perf_counter()
            await write(control, bot.bot_id, bot.owner, number)
            answered = time.perf_counter()
            cursor, at = await poll
            stored.append(answered - began)
            woken.append(max(0.0, at - answered))
        polls.close()
    return WakeFigures(way, median(stored), median(woken), quantiles(woken, n=100)[98])


async def _first_cursor(polls: Connection, control: Pool, bot: Bot) -> str:
    await write(control, bot.bot_id, bot.owner, 0)
    return (await _poll(polls, bot, ""))[0]


async def _poll(polls: Connection, bot: Bot, cursor: str) -> tuple[str, float]:
    """Poll once and return the next cursor, and when the answer came."""
    body = msgspec.json.encode({"get_updates_buf": cursor})
    answer = await polls.call("POST", "/ilink/bot/getupdates", body, token=bot.token)
    return msgspec.json.decode(answer)["get_updates_buf"], time.perf_counter()
