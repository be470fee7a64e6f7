"""A gateway's state of every earlier version, with data in it, is brought to the newest one, on both stores."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from importlib import resources

import pytest

from ilink.storage.gateway import BotRecord, CodeRecord, GatewayStore, Judgement, MailDraft, MailOutline, SendDraft
from ilink.storage.gateway_postgres import PostgresGatewayStore
from ilink.storage.gateway_sqlite import SqliteGatewayStore
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.postgres_migrations import migrations

DAY = 86_400_000
STEPS = migrations("gateway")
FILES = sorted(
    (resources.files("ilink.storage") / "migrations" / "sqlite" / "gateway").iterdir(), key=lambda step: step.name
)
OLD_DATA = """
INSERT INTO meta VALUES ('seed', '7');
INSERT INTO person (user_id, name, created_ms) VALUES ('alice', 'alice', 1);
INSERT INTO bot (bot_id, owner_user_id, state, generation, created_ms, token_hash, head_seq, last_n)
    VALUES ('b', 'alice', 'live', 1, 1, 'hash', 2, {last});
INSERT INTO entry (n, bot, user_id, direction, seq, client_id, at_ms, state, wire) VALUES
    ({first}, 1, 'alice', 0, 1, 'old', {old}, 'stored', 'one'),
    ({last}, 1, 'alice', 0, 2, 'new', {new}, 'stored', 'two');
SELECT setval('entry_n', {last});
INSERT INTO chat VALUES (1, 'alice', {new}, 0, 'newest');
INSERT INTO context_token (token, bot, user_id, issued_ms) VALUES
    ('older', 1, 'alice', {old}), ('newest', 1, 'alice', {new});
"""


@pytest.mark.parametrize(("first", "last"), [(1, 2), (5, (1 << 32) + 9)])
@pytest.mark.parametrize("version", range(1, len(STEPS)))
async def test_what_an_earlier_version_stored_is_there_and_goes_on(postgres_url, version, first, last):
    if version > 1 and last > 1 << 32:
        first = 1 << 32  # its tables for the numbers before are those of later days
    async with (
        PostgresDatabase(postgres_url, schema="gateway", steps=STEPS[:version]) as earlier,
        earlier.transaction() as connection,
    ):
        await connection.execute(OLD_DATA.format(first=first, last=last, old=100 * DAY, new=200 * DAY))

    async with PostgresDatabase(postgres_url, schema="gateway") as database:
        await goes_on(PostgresGatewayStore(database), first, last)


@pytest.mark.parametrize("version", range(1, len(FILES) + 1))
async def test_what_an_earlier_file_stored_is_there_and_goes_on(tmp_path, version):
    path = tmp_path / "gateway.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        for step in FILES[:version]:
            connection.executescript(step.read_text("utf-8"))
        connection.execute(f"PRAGMA user_version = {version}")
        data = OLD_DATA.format(first=1, last=2, old=100 * DAY, new=200 * DAY).replace(", last_n)", ")")
        data = data.replace("'hash', 2, 2)", "CAST('hash' AS BLOB), 2)").partition("SELECT setval")
        connection.executescript(re.sub("'(one|two)'", r"CAST('\1' AS BLOB)", data[0]))
        connection.executescript(data[2].partition(";")[2])
        connection.commit()
    async with SqliteGatewayStore(path) as store:
        await goes_on(store, 1, 2)


async def goes_on(store: GatewayStore, first: int, last: int) -> None:
    """Everything of before is there; the next message and answer come behind it, and what is old is forgotten."""
    entries = await store.entries(1, user_id="alice", after=0, limit=10)
    assert [(one.n, one.seq, one.wire) for one in entries] == [(first, 1, b"one"), (last, 2, b"two")]

    stored = await store.append(mail(at_ms=201 * DAY))
    assert (stored.n, stored.seq) == (last + 1, 3)
    assert (await store.send(answer(at_ms=201 * DAY), lambda _: Judgement(state="shown"))).n == last + 2
    await store.forget(now_ms=201 * DAY, before_ms=150 * DAY)
    left = await store.entries(1, user_id="alice", after=0, limit=10)
    assert [one.client_id for one in left] == ["new", "next", "answer"]


async def test_old_days_are_dropped_as_tables_and_days_to_come_are_made_ahead(postgres_url):
    async with PostgresDatabase(postgres_url, schema="gateway") as database:
        store = PostgresGatewayStore(database)
        await bound(store)
        tables = []
        for day in range(100, 110):
            await store.forget(now_ms=day * DAY, before_ms=(day - 3) * DAY)
            await store.append(mail(at_ms=day * DAY + 5))
            tables.append(
                len(await database.read("SELECT inhrelid FROM pg_inherits WHERE inhparent = 'entry'::regclass"))
            )

        assert tables == [2, 3, 4, 5, 5, 5, 5, 5, 5, 5]  # three days, today and tomorrow
        assert len(await store.entries(1, user_id=None, after=0, limit=100)) == 4
        spans = await database.read("SELECT n >> 32 FROM entry ORDER BY n")
        assert [row[0] for row in spans] == [6, 7, 8, 9]


async def test_many_gateways_begin_a_day_and_drop_one_once(make_postgres_url):
    url = make_postgres_url()
    async with PostgresDatabase(url, schema="gateway") as one, PostgresDatabase(url, schema="gateway") as other:
        stores = [PostgresGatewayStore(one), PostgresGatewayStore(other)]
        await bound(stores[0])

        def looks(day):
            return [store.forget(now_ms=day * DAY, before_ms=(day - 1) * DAY) for store in stores * 5]

        for day in range(100, 106):
            await asyncio.gather(*looks(day))  # else the first messages of a day may lie with those of the day before
            writes = [store.append(mail(at_ms=day * DAY + n)) for n, store in enumerate(stores * 5)]
            await asyncio.gather(*looks(day), *writes)

        async with asyncio.timeout(30):
            while await spans(one) != [4, 5, 6]:  # a day is left for later while somebody holds its table
                await stores[1].forget(now_ms=105 * DAY, before_ms=104 * DAY)
        left = await stores[0].entries(1, user_id=None, after=0, limit=100)
        assert [one.seq for one in left] == list(range(41, 61))


async def test_a_day_is_left_for_later_while_somebody_reads_for_long(postgres_url):
    async with PostgresDatabase(postgres_url, schema="gateway") as database:
        store = PostgresGatewayStore(database)
        await bound(store)
        for day in (100, 101):
            await store.forget(now_ms=day * DAY, before_ms=0)
            await store.append(mail(at_ms=day * DAY))

        async with database.transaction() as reader:
            await reader.fetch("SELECT count(*) FROM entry")
            await store.forget(now_ms=102 * DAY, before_ms=101 * DAY)
            assert await spans(database) == [0, 1, 2, 3]

        await store.forget(now_ms=102 * DAY, before_ms=101 * DAY)
        assert await spans(database) == [1, 2, 3]


async def test_a_message_and_its_answers_take_a_round_trip_each(postgres_url, monkeypatch):
    asked = []
    run = PostgresDatabase._run

    def counted(self, *arguments, **options):
        asked.append(1)
        return run(self, *arguments, **options)

    monkeypatch.setattr(PostgresDatabase, "_run", counted)
    async with PostgresDatabase(postgres_url, schema="gateway") as database:
        store = PostgresGatewayStore(database)
        await bound(store)
        asked.clear()
        for n in range(3):
            await store.append(mail(at_ms=100 + n))
            for _ in range(2):
                draft = replace(answer(at_ms=100 + n), context_token=f"t{100 + n}", client_id=f"{len(asked)}", recent=0)
                await store.send(draft, lambda _: Judgement(state="shown", counts=True, uses_token=True))

        assert len(asked) == 9
        assert (await store.chat(1, "alice")).sends == 2


async def spans(database: PostgresDatabase) -> list[int]:
    return [row[0] for row in await database.read("SELECT span FROM entry_span ORDER BY span")]


async def bound(store: PostgresGatewayStore) -> None:
    code = CodeRecord(
        qrcode="q", url="u", secret=b"s", status="confirmed", created_ms=1, expires_ms=2, known_bots=(), bot_id="b"
    )
    bot = BotRecord(
        number=0,
        bot_id="b",
        owner_user_id="alice",
        state="live",
        generation=1,
        created_ms=1,
        token_hash=b"h",
        revoke_ms=None,
        head_seq=0,
        handed_seq=0,
        acked_seq=0,
        last_poll_ms=None,
        is_notified=False,
    )
    assert await store.bind(bot, code, revoke_others_ms=None) is not None


def mail(*, at_ms: int) -> MailDraft:
    outline = MailOutline(head=b"m", after_seq=b"", after_id=b"", first_id=0)
    return MailDraft(bot=1, user_id="alice", client_id="next", at_ms=at_ms, context_token=f"t{at_ms}", outline=outline)


def answer(*, at_ms: int) -> SendDraft:
    return SendDraft(
        bot=1,
        user_id="alice",
        client_id="answer",
        context_token="newest",
        at_ms=at_ms,
        wire=b"w",
        is_idempotent=True,
        recent=3,
        recent_refused=False,
    )
