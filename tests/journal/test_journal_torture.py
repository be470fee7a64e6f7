"""Processes that stall, die and are taken over from, on one PostgreSQL; an oracle tells what was promised and not kept.

The processes are tasks, each with a database and connections of its own: one that stalls stands still at every await
point, one that dies does nothing any more. Two kinds of servers hand messages out: one hands each message out once,
whatever the cursor says, so that only stalls are fair; the other one goes by the cursor, and processes die as well.
Both hand some messages out again. The variants are broken on purpose, and the oracle has to notice.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import pytest
from journal_house import sign_in
from msgspec.structs import replace

from ilink.storage.journal import Arrival, Draft
from ilink.storage.journal_postgres import PostgresJournal
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.postgres_migrations import Migration, migrations
from ilink.wire.ids import AccountId, ClientId, Cursor, UserId

pytestmark = pytest.mark.timeout(240)

ACCOUNTS = tuple(f"bot{number}@im.bot" for number in range(4))
WORKERS = 3
MESSAGES = 60
"""Per account."""

_BEGIN = "    sequences := array_fill(NULL::bigint, ARRAY[v_count]);\n"
BROKEN = {
    "no dedupe": ("SELECT array_agg(i.seq IS NOT NULL ORDER BY a.n),", "SELECT array_agg(false ORDER BY a.n),"),
    "no fence": ("is_owner := v_epoch = p_epoch AND p_epoch > 0;", "is_owner := true;"),
    "fence on the append": (
        _BEGIN,
        f"{_BEGIN}    IF v_epoch <> p_epoch THEN has_moved := false; newest := p_after; RETURN; END IF;\n",
    ),
}
"""What the variants change in the SQL of the journal."""


def steps_of(variant: str) -> tuple[Migration, ...]:
    """Return the steps of the schema with the same broken in all that have it: a later one may replace a function."""
    if variant not in BROKEN:
        return migrations("local")
    sound, broken = BROKEN[variant]
    steps = migrations("local")
    assert any(sound in step.script for step in steps), "the SQL has changed: break it anew"
    return tuple(Migration(step.number, step.name, step.script.replace(sound, broken)) for step in steps)


@dataclass
class Server:
    """What an account's server says, and what it said."""

    random: Random
    goes_by_cursor: bool
    said: list[str] = field(default_factory=list)
    place: int = 0

    def say(self) -> None:
        self.said.append(f"{len(self.said)}")

    def poll(self, cursor: str) -> tuple[list[str], str]:
        start = int(cursor or 0) if self.goes_by_cursor else self.place
        out = self.said[start : start + 5]
        self.place = max(self.place, start + len(out))
        if start and self.random.random() < 0.3:
            out = [self.random.choice(self.said[max(0, start - 6) : start]), *out]
        return out, f"{start + len(self.said[start : start + 5])}"


@dataclass
class World:
    random: Random
    servers: dict[str, Server]
    variant: str
    dies: bool


class Process:
    """Works for accounts until it is taken over from, stalls or dies."""

    def __init__(self, world: World, database: PostgresDatabase) -> None:
        self.world = world
        self.database = database
        self.may_move = asyncio.Event()
        self.may_move.set()
        self.work: set[asyncio.Task[None]] = set()

    async def still(self) -> None:
        await self.may_move.wait()

    def take(self, account: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self._work_for(account))
        self.work.add(task)
        task.add_done_callback(self.work.discard)
        return task

    async def die(self) -> None:
        for task in list(self.work):
            task.cancel()
        await asyncio.gather(*self.work, return_exceptions=True)

    async def _work_for(self, account: str) -> None:
        async with PostgresJournal(self.database, AccountId(account)) as journal:
            adopted = await journal.adopt()
            await self.still()
            row = await self.database.read_row("SELECT cursor FROM positions WHERE account_id = $1", account)
            cursor = "" if row is None else row["cursor"]
            while True:
                texts, newer = self.world.servers[account].poll(cursor)
                await self.still()
                if not await self._store(journal, texts, newer):
                    return
                cursor = newer
                await self.still()
                if not await self._handle(journal, adopted.epoch):
                    return
                await asyncio.sleep(0.001)

    async def _store(self, journal: PostgresJournal, texts: list[str], cursor: str) -> bool:
        arrivals = [
            Arrival(raw=text.encode(), identity=f"m:{text}", conversation=f"u:{int(text) % 3}", user=UserId("u"))
            for text in texts
        ]
        options = {"cursor": Cursor(cursor), "generation": 1, "hint_ms": None, "now_ms": 1}
        if self.world.variant == "cursor first":
            await journal.ingest([], **options)
            await asyncio.sleep(0.02)
        return (await journal.ingest(arrivals, **options)).has_moved

    async def _handle(self, journal: PostgresJournal, epoch: int) -> bool:
        for conversation in await journal.waiting_conversations():
            for letter in await journal.read_waiting(conversation):
                await self.still()
                await asyncio.sleep(self.world.random.random() * 0.002)
                names = [f"{letter.raw.decode()}/{part}/{epoch}/{journal.account}" for part in ("a", "b")]
                reply = Draft(client_id=ClientId(""), conversation=conversation, user=letter.user, item=letter.raw)
                drafts = [replace(reply, client_id=ClientId(name), cause=letter.sequence) for name in names]
                done = await journal.complete(letter.sequence, letter.claim, drafts=drafts, state=None, now_ms=1)
                if not done.is_accepted:
                    return False
        return True


@asynccontextmanager
async def world_of(
    url: str, variant: str, *, goes_by_cursor: bool, seed: int
) -> AsyncIterator[tuple[World, list[Process]]]:
    random = Random(seed)
    servers = {name: Server(random, goes_by_cursor) for name in ACCOUNTS}
    world = World(random, servers, variant, dies=goes_by_cursor)
    async with AsyncExitStack() as exits:
        processes = []
        for _ in range(WORKERS):
            database = await exits.enter_async_context(PostgresDatabase(f"{url}&pool=3", steps=steps_of(variant)))
            processes.append(Process(world, database))
        for name in ACCOUNTS:
            await sign_in(processes[0].database, name)
        await keep_audit(processes[0].database)
        yield world, processes
        for process in processes:
            process.may_move.set()
            await process.die()


async def keep_audit(database: PostgresDatabase) -> None:
    """Let the database itself write down who owned a journal when a reply was stored."""
    async with database.transaction() as connection:
        await connection.execute(
            "CREATE TABLE audit (account_id text, client_id text, epoch bigint);"
            "CREATE FUNCTION audit_reply() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " INSERT INTO audit SELECT account_id, NEW.client_id, epoch FROM journals j"
            " WHERE j.account_id = NEW.account_id;"
            " RETURN NEW; END $$;"
            "CREATE TRIGGER audit_reply AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION audit_reply();"
        )


async def torment(world: World, processes: list[Process]) -> None:
    """Let people write while processes stall, die and take over from each other."""
    for name in ACCOUNTS:
        world.random.choice(processes).take(name)
    while any(len(server.said) < MESSAGES for server in world.servers.values()):
        for server in world.servers.values():
            server.say()
        event = world.random.random()
        process = world.random.choice(processes)
        if event < 0.2:
            process.may_move.clear()
            asyncio.get_running_loop().call_later(world.random.uniform(0.02, 0.2), process.may_move.set)
        elif event < 0.3 and world.dies:
            await process.die()
        if world.random.random() < 0.5:
            world.random.choice(processes).take(world.random.choice(ACCOUNTS))
        await asyncio.sleep(0.01)


async def calm_down(processes: list[Process], is_done: Callable[[], object], *, looks: int) -> None:
    """Let one process finish what there is, while those that stalled go on as well."""
    for process in processes:
        process.may_move.set()
    for name in ACCOUNTS:
        processes[0].take(name)
    for _ in range(looks):
        if await is_done():  # type: ignore[misc]
            return
        await asyncio.sleep(0.05)


async def complaints(world: World, database: PostgresDatabase) -> list[str]:
    """Everything that was promised and not kept."""
    found: list[str] = []
    stored = defaultdict(list)
    for row in await database.read("SELECT account_id, identity, seq FROM inbox ORDER BY seq"):
        stored[row["account_id"]].append(row["identity"])
    for name, server in world.servers.items():
        names = Counter(stored[name])
        found += [f"lost by {name}: {text}" for text in server.said if f"m:{text}" not in names]
        found += [f"stored {count} times by {name}: {one}" for one, count in names.items() if count > 1]
    replies = defaultdict(list)
    for row in await database.read(
        "SELECT account_id, conversation, client_id, cause_seq FROM outbox ORDER BY out_seq"
    ):
        replies[row["account_id"], row["conversation"]].append((row["cause_seq"], row["client_id"].split("/")[:2]))
    for (name, conversation), sent in replies.items():
        if [cause for cause, _ in sent] != sorted(cause for cause, _ in sent):
            found.append(f"out of order: {name} {conversation}")
        parts = Counter((cause, *parts) for cause, parts in sent)
        found += [f"answered {count} times by {name}: {part}" for part, count in parts.items() if count > 1]
        halves = Counter(cause for cause, _ in sent)
        found += [f"{count} replies of {name} to {cause}" for cause, count in halves.items() if count != 2]
    found += [
        f"completed by a process that was taken over from: {row['client_id']}"
        for row in await database.read("SELECT client_id, epoch FROM audit")
        if row["client_id"].split("/")[2] != str(row["epoch"])
    ]
    return found


async def torture(url: str, variant: str, *, goes_by_cursor: bool, seed: int) -> list[str]:
    async with world_of(url, variant, goes_by_cursor=goes_by_cursor, seed=seed) as (world, processes):
        await torment(world, processes)

        async def is_done() -> bool:
            row = await processes[1].database.read_row(
                "SELECT count(*) FILTER (WHERE state = 0) AS waiting, count(DISTINCT (account_id, identity)) AS many"
                " FROM inbox"
            )
            assert row is not None
            return row["waiting"] == 0 and row["many"] >= sum(len(server.said) for server in world.servers.values())

        # What is broken on purpose may never be done.
        await calm_down(processes, is_done, looks=800 if variant == "sound" else 200)
        return await complaints(world, processes[1].database)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("goes_by_cursor", [False, True], ids=["hands out once", "by cursor"])
async def test_nothing_is_lost_stored_twice_or_answered_twice(
    postgres_url: str, goes_by_cursor: bool, seed: int
) -> None:
    assert await torture(postgres_url, "sound", goes_by_cursor=goes_by_cursor, seed=seed) == []


@pytest.mark.parametrize(
    ("variant", "goes_by_cursor", "words"),
    [
        ("no dedupe", True, "stored 2 times"),
        ("no fence", False, "taken over from"),
        ("fence on the append", False, "lost"),
        ("cursor first", True, "lost"),
    ],
)
async def test_the_oracle_finds_what_is_broken_on_purpose(
    make_postgres_url: Callable[[], str], variant: str, goes_by_cursor: bool, words: str
) -> None:
    for seed in range(4):
        found = await torture(make_postgres_url(), variant, goes_by_cursor=goes_by_cursor, seed=seed)
        if any(words in complaint for complaint in found):
            return
    pytest.fail(f"nobody noticed that the journal is broken: {variant}")
