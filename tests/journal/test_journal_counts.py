"""How much there is in many journals together is told at once, on both stores."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from ilink.bot.store import Store, find_place, open_store
from ilink.storage.journal import Arrival, Counts, Draft
from ilink.storage.keys import new_key
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.sqlite import Database
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, ClientId, Cursor, Secret, UserId

ALICE, LANE = UserId("alice"), "u:alice"
BOTS = [AccountId(f"bot-{number}@im.bot") for number in range(4)]


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Store, None]:
    data: Any = tmp_path / "data" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    environ = {} if request.param == "sqlite" else {"ILINK_STORE_KEY": new_key()}
    async with open_store(find_place(data, environ=environ)) as opened:
        for number, bot in enumerate(BOTS):
            await opened.accounts.put(account(bot, number))
            await fill(opened, bot, number)
        yield opened


def account(bot: AccountId, number: int) -> Account:
    return Account(
        account_id=bot, owner_id=UserId(f"owner-{number}"), base_url="https://one.test", token=Secret(f"token-{number}")
    )


async def fill(store: Store, bot: AccountId, number: int) -> None:
    """Store `number` updates twice, of which one is dead and one parked, and as many messages."""
    arrivals = [Arrival(raw=b"raw", identity=f"m:{n}", conversation=LANE, user=ALICE) for n in range(number)]
    async with store.open_account(bot) as own:
        journal = own.journal
        await journal.adopt()
        ingested = await journal.ingest(arrivals, cursor=Cursor("cursor"), generation=1, hint_ms=None, now_ms=1)
        await journal.ingest(arrivals, cursor=Cursor("cursor"), generation=1, hint_ms=None, now_ms=2)
        drafts = [Draft(client_id=ClientId(f"c-{n}"), conversation=LANE, user=ALICE, item=b"i") for n in range(number)]
        await journal.enqueue(drafts, now_ms=3)
        if ingested.sequences:
            assert ingested.sequences[0] is not None
            await journal.fail(ingested.sequences[0], 0, error="no", due_ms=None, now_ms=4)


async def test_all_of_some_accounts_is_counted_and_nothing_of_others(store: Store) -> None:
    assert await store.count(BOTS) == Counts(waiting=3, dead=3, outgoing=6, duplicates=6)
    assert await store.count(BOTS[1:3]) == Counts(waiting=1, dead=2, outgoing=3, duplicates=3)
    assert await store.count(BOTS[:1]) == Counts(waiting=0, dead=0, outgoing=0, duplicates=0)


async def test_of_no_account_there_is_nothing(store: Store) -> None:
    assert await store.count([]) == Counts(waiting=0, dead=0, outgoing=0, duplicates=0)


async def test_ten_thousand_accounts_are_asked_for_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever scrapes metrics every few seconds costs the store one look, and nothing for those without work."""
    asked: list[object] = []
    for kind, name in ((PostgresDatabase, "_run"), (Database, "read")):
        run = getattr(kind, name)

        def counted(self: Any, *arguments: Any, run: Any = run, **options: Any) -> Any:
            asked.append(self)
            return run(self, *arguments, **options)

        monkeypatch.setattr(kind, name, counted)
    many = [*BOTS, *(AccountId(f"idle-{number}@im.bot") for number in range(10_000))]
    assert (await store.count(many)).outgoing == 6
    assert len(asked) == 1
