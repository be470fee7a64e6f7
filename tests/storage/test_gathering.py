"""What many ask for at about the same time is stored as one, and each is answered as if it had been alone."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from ilink.errors import StoreError
from ilink.storage.gateway import BotRecord, CodeRecord, MailDraft, MailOutline, Progress
from ilink.storage.gateway_sqlite import SqliteGatewayStore
from ilink.storage.gathering import Gathering
from ilink.storage.sqlite import Database


class Names:
    """Stores names beside one another in `meta`; "bad" cannot be."""

    def __init__(self) -> None:
        self.units: list[list[str]] = []

    def store(self, db: sqlite3.Connection, names: Sequence[str]) -> list[str]:
        self.units.append(list(names))
        for name in names:
            db.execute("INSERT INTO meta (name, value) VALUES (?, '')", (name,))
            if name == "bad":
                raise ValueError(name)
        return [name.upper() for name in names]


async def stored_names(database: Database) -> set[str]:
    rows = await database.read(lambda db: db.execute("SELECT name FROM meta").fetchall())
    return {name for (name,) in rows}


async def test_what_is_asked_for_in_one_turn_is_one_unit_of_work(tmp_path: Path) -> None:
    names = Names()
    async with Database(tmp_path / "d.sqlite", schema="gateway", synchronous="OFF") as database:
        gathering = Gathering(database, names.store)
        assert await asyncio.gather(*(gathering.add(name) for name in "abc")) == ["A", "B", "C"]
        assert await gathering.add("d") == "D"
    assert names.units == [["a", "b", "c"], ["d"]]


async def test_so_many_that_the_first_would_wait_long_become_several_units(tmp_path: Path) -> None:
    names = Names()
    async with Database(tmp_path / "d.sqlite", schema="gateway", synchronous="OFF") as database:
        gathering = Gathering(database, names.store)
        asked = [f"name {number}" for number in range(600)]
        assert await asyncio.gather(*map(gathering.add, asked)) == [name.upper() for name in asked]
        assert await stored_names(database) == set(asked)
    assert [len(unit) for unit in names.units] == [256, 256, 88]


async def test_one_that_cannot_be_stored_fails_alone(tmp_path: Path) -> None:
    names = Names()
    async with Database(tmp_path / "d.sqlite", schema="gateway", synchronous="OFF") as database:
        gathering = Gathering(database, names.store)
        outcomes = await asyncio.gather(*map(gathering.add, ["a", "bad", "c"]), return_exceptions=True)
        assert [outcomes[0], repr(outcomes[1]), outcomes[2]] == ["A", "ValueError('bad')", "C"]
        assert await stored_names(database) == {"a", "c"}


async def test_who_gives_up_takes_nobody_with_them(tmp_path: Path) -> None:
    names = Names()
    async with Database(tmp_path / "d.sqlite", schema="gateway", synchronous="OFF") as database:
        gathering = Gathering(database, names.store)
        left, stays = gathering.add("left"), gathering.add("stays")
        left.cancel()
        assert await stays == "STAYS"
        with suppress(asyncio.CancelledError):
            await left
        assert await stored_names(database) == {"left", "stays"}


async def test_a_closed_database_refuses_each_of_them(tmp_path: Path) -> None:
    async with Database(tmp_path / "d.sqlite", schema="gateway", synchronous="OFF") as database:
        gathering = Gathering(database, Names().store)
    outcomes = await asyncio.gather(gathering.add("a"), gathering.add("b"), return_exceptions=True)
    assert all(isinstance(outcome, StoreError) for outcome in outcomes)


def mail(bot: int, text: str) -> MailDraft:
    return MailDraft(
        bot=bot,
        user_id="alice@im.wechat",
        client_id=text,
        at_ms=7,
        context_token=f"token of {text}",
        outline=MailOutline(head=b'{"seq":', after_seq=b',"message_id":', after_id=b"}", first_id=0),
    )


async def add_bot(store: SqliteGatewayStore, name: str) -> int:
    record = BotRecord(
        number=0,
        bot_id=name,
        owner_user_id="alice@im.wechat",
        state="live",
        generation=1,
        created_ms=1,
        token_hash=name.encode(),
        revoke_ms=None,
        head_seq=0,
        handed_seq=0,
        acked_seq=0,
        last_poll_ms=None,
        is_notified=False,
    )
    code = CodeRecord(
        qrcode=name, url="", secret=b"", status="confirmed", created_ms=1, expires_ms=2, known_bots=(), bot_id=name
    )
    bound = await store.bind(record, code, revoke_others_ms=None)
    assert bound is not None
    return bound.number


async def test_a_message_to_a_bot_that_is_no_more_fails_alone(tmp_path: Path) -> None:
    async with SqliteGatewayStore(tmp_path / "g.sqlite", synchronous="OFF") as store:
        bot = await add_bot(store, "one")
        first, lost, second = await asyncio.gather(
            *(store.append(mail(number, text)) for number, text in ((bot, "a"), (99, "b"), (bot, "c"))),
            return_exceptions=True,
        )
        assert isinstance(lost, StoreError)
        assert not isinstance(first, BaseException)
        assert not isinstance(second, BaseException)
        assert (first.seq, second.seq) == (1, 2)
        assert [entry.n for entry in await store.entries(bot, user_id=None, after=0, limit=9)] == [first.n, second.n]


@pytest.mark.parametrize("count", [1, 2, 3, 63, 64, 65, 200])
async def test_messages_of_one_turn_are_numbered_in_their_order(tmp_path: Path, count: int) -> None:
    async with SqliteGatewayStore(tmp_path / "g.sqlite", synchronous="OFF") as store:
        bots = [await add_bot(store, name) for name in ("one", "two", "three")]
        asked = [mail(bots[number % 3], f"text {number}") for number in range(count)]
        stored = await asyncio.gather(*map(store.append, asked))
        assert [one.n for one in stored] == list(range(1, count + 1))
        assert [one.seq for one in stored] == [1 + number // 3 for number in range(count)]
        assert [one.wire for one in stored] == [b'{"seq":%d,"message_id":%d}' % (one.seq, one.n) for one in stored]
        (newest,) = await store.context_tokens(bots[0], limit=1)
        assert newest.token.startswith("token of text ")


async def test_how_far_a_bot_has_read_never_goes_back_within_a_turn(tmp_path: Path) -> None:
    async with SqliteGatewayStore(tmp_path / "g.sqlite", synchronous="OFF") as store:
        bots = [await add_bot(store, name) for name in ("one", "two")]
        await asyncio.gather(
            store.advance(Progress(bot=bots[0], handed_seq=5, acked_seq=4, last_poll_ms=8)),
            store.advance(Progress(bot=bots[1], handed_seq=1, acked_seq=1, last_poll_ms=None)),
            store.advance(Progress(bot=bots[0], handed_seq=3, acked_seq=5, last_poll_ms=None)),
            store.advance(Progress(bot=bots[0], handed_seq=3, acked_seq=3, last_poll_ms=None)),
        )
        read = [(bot.handed_seq, bot.acked_seq, bot.last_poll_ms) for bot in await store.bots()]
        assert read == [(5, 5, 8), (1, 1, None)]


async def test_a_message_on_its_way_is_stored_before_the_store_closes(tmp_path: Path) -> None:
    async with SqliteGatewayStore(tmp_path / "g.sqlite", synchronous="OFF") as store:
        bot = await add_bot(store, "one")
        stored, _ = await asyncio.gather(store.append(mail(bot, "last")), store.aclose())
        assert stored.seq == 1
