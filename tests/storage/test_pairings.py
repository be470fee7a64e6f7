"""Who was let in and who asks to be, in every store."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ilink.storage.accounts_sqlite import local_database
from ilink.storage.pairings import GuessesLocked, Pairings
from ilink.storage.pairings_postgres import PostgresPairings
from ilink.storage.pairings_sqlite import SqlitePairings
from ilink.storage.postgres import PostgresDatabase
from ilink.wire.ids import AccountId, UserId

BOT = AccountId("bot@im.bot")
OpenPairings = Callable[[AccountId], Pairings]


@pytest.fixture(params=["sqlite", "postgres"])
async def open_pairings(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenPairings]:
    """Opens the pairings of an account, those of one store."""
    if request.param == "sqlite":
        async with local_database(tmp_path, synchronous="OFF") as database:
            yield lambda account: SqlitePairings(database, account)
    else:
        async with PostgresDatabase(request.getfixturevalue("postgres_url")) as database:
            yield lambda account: PostgresPairings(database, account)


class TestPairings:
    async def ask(self, pairings: Pairings, user: str, *, by: str = "m", now_ms: int = 0, code: str = "AAAA2222"):
        return await pairings.ask(UserId(user), by=by, new_code=lambda: code, now_ms=now_ms, lasts_ms=1000, most=2)

    async def test_the_message_that_asked_is_told_again_when_it_is_handled_again(
        self, open_pairings: OpenPairings
    ) -> None:
        pairings = open_pairings(BOT)
        first = await self.ask(pairings, "bob", by="m1")
        again = await self.ask(pairings, "bob", by="m1", code="BBBB2222")
        other = await self.ask(pairings, "bob", by="m2")
        assert [(asked.code, asked.must_tell) for asked in (first, again, other) if asked] == [
            ("AAAA2222", True),
            ("AAAA2222", True),
            ("AAAA2222", False),
        ]

    async def test_accounts_know_nothing_of_each_other(self, open_pairings: OpenPairings) -> None:
        ours, theirs = open_pairings(BOT), open_pairings(AccountId("other@im.bot"))
        await self.ask(ours, "bob")
        assert await theirs.approve("AAAA2222", now_ms=1) is None
        assert await ours.approve("aaaa-2222", now_ms=1) == "bob"
        assert (await ours.is_paired(UserId("bob")), await theirs.is_paired(UserId("bob"))) == (True, False)
        assert [one.user for one in await theirs.list(now_ms=1)] == []

    async def test_a_code_is_used_once_and_not_after_its_time(self, open_pairings: OpenPairings) -> None:
        pairings = open_pairings(BOT)
        await self.ask(pairings, "bob")
        assert await pairings.approve("AAAA2222", now_ms=1000) is None
        await self.ask(pairings, "bob", now_ms=1000)
        assert await pairings.approve("AAAA2222", now_ms=1999) == "bob"
        assert await pairings.approve("AAAA2222", now_ms=1999) is None

    async def test_a_right_code_forgets_wrong_ones(self, open_pairings: OpenPairings) -> None:
        pairings = open_pairings(BOT)
        await self.ask(pairings, "bob")
        results = [
            await pairings.approve(code, now_ms=1, wrong_codes=2, lock_ms=100)
            for code in ("x", "AAAA2222", "y", "z", "w")
        ]
        assert results == [None, "bob", None, None, GuessesLocked(101)]

    async def test_somebody_can_be_shut_out_again(self, open_pairings: OpenPairings) -> None:
        pairings = open_pairings(BOT)
        await self.ask(pairings, "bob")
        await pairings.approve("AAAA2222", now_ms=1)
        assert await pairings.remove(UserId("bob")) is True
        assert await pairings.remove(UserId("bob")) is False
        assert await pairings.is_paired(UserId("bob")) is False

    async def test_no_more_may_wait_than_is_allowed(self, open_pairings: OpenPairings) -> None:
        pairings = open_pairings(BOT)
        asked = await asyncio.gather(
            *(self.ask(pairings, user, code=f"{user}2222") for user in ("AAAA", "BBBB", "CCCC", "DDDD"))
        )
        assert sum(one is not None for one in asked) == 2
        assert len(await pairings.list(now_ms=1)) == 2

    async def test_one_code_lets_one_person_in_however_often_it_is_given_at_once(
        self, open_pairings: OpenPairings
    ) -> None:
        pairings = open_pairings(BOT)
        await self.ask(pairings, "bob")
        results = await asyncio.gather(*(pairings.approve("AAAA2222", now_ms=1) for _ in range(4)))
        assert sorted(map(str, results)) == ["None", "None", "None", "bob"]


async def test_what_is_kept_on_disk_is_private(tmp_path: Path) -> None:
    async with local_database(tmp_path, synchronous="OFF") as database:
        await TestPairings().ask(SqlitePairings(database, BOT), "bob")
        modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir() if path.is_file()}
    assert modes == {0o600}
