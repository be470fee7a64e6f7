"""Accounts in every store: replaced only by a login that worked, written only by who read the newest one."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from ilink.errors import StoreError, StoreLockedError
from ilink.storage.accounts import Accounts, AccountState, Position, data_folder
from ilink.storage.accounts_postgres import PostgresAccounts
from ilink.storage.accounts_sqlite import SqliteAccounts, local_database, write_context_token, write_position
from ilink.storage.keys import StoreKeys
from ilink.storage.postgres import PostgresDatabase
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, Cursor, Secret, UserId

OWNER, OTHER = UserId("o9cq80Owner@im.wechat"), UserId("o9cq80Other@im.wechat")
OpenAccounts = Callable[[], AbstractAsyncContextManager[Accounts]]
KEYS = StoreKeys([Secret("17" * 32)])
POSITION = Position(cursor=Cursor("Y3Vyc29yOjQx"), hint_ms=20_000)


def account(
    name: str = "a", *, token: str = "t", owner: UserId | None = OWNER, at: str = "https://x.example"
) -> Account:
    return Account(account_id=AccountId(f"{name}@im.bot"), token=Secret(token), base_url=at, owner_id=owner)


@pytest.fixture
def clock() -> list[datetime]:
    """The time of day, one second later at each look."""
    return [datetime(2026, 11, 22, tzinfo=UTC)]


@pytest.fixture(params=["sqlite", "postgres"])
async def open_accounts(request: pytest.FixtureRequest, tmp_path: Path, clock: list[datetime]) -> OpenAccounts:
    """Opens the accounts of one and the same store, as a program does."""

    def now() -> datetime:
        clock[0] += timedelta(seconds=1)
        return clock[0]

    if request.param == "sqlite":
        return lambda: SqliteAccounts(tmp_path / "data", now=now)
    url = request.getfixturevalue("postgres_url")

    @asynccontextmanager
    async def in_postgres() -> AsyncIterator[Accounts]:
        async with PostgresDatabase(url) as database:
            yield PostgresAccounts(database, keys=KEYS, now=now)

    return in_postgres


@pytest.fixture
async def accounts(open_accounts: OpenAccounts) -> AsyncIterator[Accounts]:
    async with open_accounts() as store:
        yield store


async def test_account_comes_back_as_it_was_stored(accounts: Accounts) -> None:
    stored = await accounts.put(account("A-b", token="a@im.bot:t"))
    found = await accounts.find(AccountId("A-b@im.bot"))
    assert found == stored
    assert (stored.generation, stored.state) == (1, AccountState.ACTIVE)
    assert stored.signed_in_at == datetime(2026, 11, 22, 0, 0, 1, tzinfo=UTC)
    assert await accounts.find(AccountId("a-b@im.bot")) is None


async def test_account_survives_the_program(open_accounts: OpenAccounts) -> None:
    async with open_accounts() as store:
        stored = await store.put(account(owner=None))
        await store.put_position(stored, POSITION)
        await store.put_context_token(stored, OTHER, Secret("AARz"))
    async with open_accounts() as store:
        assert await store.list() == (stored,)
        assert await store.position(stored.account.account_id) == POSITION
        assert await store.context_token(stored.account.account_id, OTHER) == Secret("AARz")


async def test_owners_of_two_logins_at_once_have_one_live_bot(open_accounts: OpenAccounts) -> None:
    async with open_accounts() as one, open_accounts() as other:
        await asyncio.gather(*(store.put(account(f"{n}")) for n in range(4) for store in (one, other)))
        states = sorted(entry.state for entry in await one.list())
    assert states == [AccountState.ACTIVE] + [AccountState.DISPLACED] * 3


async def test_logins_of_one_account_at_once_are_counted(open_accounts: OpenAccounts) -> None:
    async with open_accounts() as one, open_accounts() as other:
        stored = await asyncio.gather(*(store.put(account(token=f"{n}")) for n in range(3) for store in (one, other)))
        newest = await other.find(AccountId("a@im.bot"))
    assert sorted(entry.generation for entry in stored) == [1, 2, 3, 4, 5, 6]
    assert newest is not None
    assert newest.account.token == next(entry.account.token for entry in stored if entry.generation == 6)


async def test_list_shows_the_newest_login_first(accounts: Accounts) -> None:
    for name in "abc":
        await accounts.put(account(name, owner=UserId(name)))
    await accounts.put(account("a", owner=UserId("a")))
    assert [entry.account.account_id for entry in await accounts.list()] == ["a@im.bot", "c@im.bot", "b@im.bot"]


async def test_same_bot_of_the_same_owner_keeps_position_and_context_tokens(accounts: Accounts) -> None:
    first = await accounts.put(account(token="old"))
    await accounts.put_position(first, POSITION)
    await accounts.put_context_token(first, OWNER, Secret("AARz"))
    second = await accounts.put(account(token="new"))
    assert (second.generation, second.account.token) == (2, Secret("new"))
    assert await accounts.position(second.account.account_id) == POSITION
    assert await accounts.context_token(second.account.account_id, OWNER) == Secret("AARz")


async def test_same_bot_of_another_owner_starts_anew(accounts: Accounts) -> None:
    first = await accounts.put(account())
    await accounts.put_position(first, POSITION)
    await accounts.put_context_token(first, OWNER, Secret("AARz"))
    second = await accounts.put(account(owner=OTHER))
    assert await accounts.position(second.account.account_id) == Position()
    assert await accounts.context_token(second.account.account_id, OWNER) is None


async def test_new_bot_displaces_the_owners_older_one(accounts: Accounts) -> None:
    old = await accounts.put(account("old", token="dead"))
    await accounts.put_position(old, POSITION)
    await accounts.put_context_token(old, OWNER, Secret("AARz"))
    await accounts.put(account("stranger", owner=OTHER))
    await accounts.put(account("new"))
    displaced = await accounts.find(old.account.account_id)
    assert displaced is not None
    assert (displaced.state, displaced.account.token) == (AccountState.DISPLACED, Secret(""))
    assert await accounts.position(old.account.account_id) == Position()
    assert await accounts.context_token(old.account.account_id, OWNER) is None
    others = {entry.account.account_id: entry.state for entry in await accounts.list()}
    assert others["stranger@im.bot"] == others["new@im.bot"] == AccountState.ACTIVE
    with pytest.raises(StoreError, match="signed in again"):
        await accounts.put_position(old, POSITION)


async def test_bot_on_another_server_is_nobody_s_successor(accounts: Accounts) -> None:
    """A login at the local gateway must not kill the account at WeChat."""
    await accounts.put(account("real", at="https://ilinkai.weixin.qq.com"))
    await accounts.put(account("local", at="http://127.0.0.1:4100"))
    assert {entry.state for entry in await accounts.list()} == {AccountState.ACTIVE}


async def test_bots_without_an_owner_displace_nobody(accounts: Accounts) -> None:
    await accounts.put(account("a", owner=None))
    await accounts.put(account("b", owner=None))
    assert {entry.state for entry in await accounts.list()} == {AccountState.ACTIVE}


async def test_older_login_may_not_write(accounts: Accounts) -> None:
    old = await accounts.put(account(token="old"))
    new = await accounts.put(account(token="new"))
    with pytest.raises(StoreError, match="signed in again by another process"):
        await accounts.put_position(old, POSITION)
    with pytest.raises(StoreError, match="signed in again by another process"):
        await accounts.put_context_token(old, OWNER, Secret("AARz"))
    await accounts.mark(old, AccountState.STALE)
    assert await accounts.find(new.account.account_id) == new
    assert await accounts.position(new.account.account_id) == Position()


async def test_removed_account_takes_everything_along(accounts: Accounts) -> None:
    stored = await accounts.put(account())
    await accounts.put_position(stored, POSITION)
    await accounts.put_context_token(stored, OWNER, Secret("AARz"))
    assert await accounts.remove(stored.account.account_id)
    assert not await accounts.remove(stored.account.account_id)
    assert await accounts.list() == ()
    with pytest.raises(StoreError, match="was removed"):
        await accounts.put_position(stored, POSITION)
    again = await accounts.put(account())
    assert await accounts.position(again.account.account_id) == Position()
    assert await accounts.context_token(again.account.account_id, OWNER) is None


async def test_login_sends_the_ten_newest_tokens_that_may_work(accounts: Accounts) -> None:
    for number in range(12):
        await accounts.put(account(str(number), token=f"t{number}", owner=UserId(str(number))))
    await accounts.put(account("newest", token="t-newest", owner=UserId("11")))
    tokens = [token.reveal() for token in await accounts.known_tokens()]
    assert tokens == ["t-newest", *(f"t{number}" for number in range(10, 1, -1))]


async def test_stale_token_is_still_known(accounts: Accounts) -> None:
    stored = await accounts.put(account(token="t"))
    await accounts.mark(stored, AccountState.STALE)
    assert await accounts.known_tokens() == (Secret("t"),)
    assert (await accounts.put(account(token="t2"))).state is AccountState.ACTIVE


async def test_users_of_one_account_are_not_those_of_another(accounts: Accounts) -> None:
    first, second = await accounts.put(account("a")), await accounts.put(account("b", owner=OTHER))
    await accounts.put_context_token(first, OWNER, Secret("for-a"))
    await accounts.put_context_token(second, OWNER, Secret("for-b"))
    await accounts.put_context_token(first, OWNER, Secret("newest"))
    assert await accounts.context_token(first.account.account_id, OWNER) == Secret("newest")
    assert await accounts.context_token(second.account.account_id, OWNER) == Secret("for-b")
    assert await accounts.context_token(first.account.account_id, UserId(OWNER.lower())) is None


async def test_position_and_token_are_written_with_the_rest_or_not_at_all(tmp_path: Path) -> None:
    async with SqliteAccounts(tmp_path) as accounts:
        await write_together(accounts)


async def write_together(accounts: SqliteAccounts) -> None:
    old = await accounts.put(account())
    account_id = old.account.account_id
    await accounts.put(account())

    def work(connection: sqlite3.Connection, generation: int) -> None:
        write_context_token(connection, account_id, 2, OWNER, Secret("AARz"), at_ms=1)
        write_position(connection, account_id, generation, POSITION)

    with pytest.raises(StoreError):
        await accounts.database.write(partial(work, generation=1))
    assert await accounts.context_token(account_id, OWNER) is None
    await accounts.database.write(partial(work, generation=2))
    assert await accounts.context_token(account_id, OWNER) == Secret("AARz")
    assert await accounts.position(account_id) == POSITION


async def test_failed_write_leaves_the_older_credentials(accounts: Accounts) -> None:
    stored = await accounts.put(account(token="old"))
    broken = Account(account_id=stored.account.account_id, token=Secret("new"), base_url=None)
    with pytest.raises(StoreError):
        await accounts.put(broken)
    assert await accounts.find(stored.account.account_id) == stored


async def test_shared_database_stays_open(tmp_path: Path) -> None:
    async with local_database(tmp_path) as database:
        async with SqliteAccounts(tmp_path, database=database) as store:
            stored = await store.put(account())
        async with SqliteAccounts(tmp_path, database=database) as store:
            assert await store.list() == (stored,)


async def test_cancelled_write_is_whole_or_nothing(accounts: Accounts) -> None:
    writes = [asyncio.create_task(accounts.put(account(str(n), owner=UserId(str(n))))) for n in range(20)]
    await asyncio.sleep(0)
    for write in writes[::2]:
        write.cancel()
    await asyncio.gather(*writes, return_exceptions=True)
    stored = {entry.account.account_id for entry in await accounts.list()}
    assert stored >= {f"{n}@im.bot" for n in range(1, 20, 2)}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows protects a user's folders by their ACL")
async def test_everything_is_private_from_birth(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with SqliteAccounts(tmp_path / "new" / "data") as store:
            stored = await store.put(account())
            await store.put_position(stored, POSITION)
            store.lock(stored.account.account_id).acquire().release()
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").rglob("*")}
    finally:
        os.umask(before)
    files = {name: mode for name, mode in modes.items() if name.startswith("ilink.db") or name.endswith(".lock")}
    assert {"ilink.db", "ilink.db-wal", "ilink.db-shm"} <= files.keys()
    assert set(files.values()) == {0o600}
    assert {modes["data"], modes["locks"]} == {0o700}


def hold(folder: str, account_id: str, ready: Event, done: Event) -> None:
    with SqliteAccounts(Path(folder)).lock(AccountId(account_id)):
        ready.set()
        done.wait(20)


async def test_second_process_is_refused_and_told_who_holds_the_account(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(str(tmp_path), "a@im.bot", ready, done))
    holder.start()
    try:
        assert await asyncio.to_thread(ready.wait, 20)
        accounts = SqliteAccounts(tmp_path)
        with pytest.raises(StoreLockedError, match=rf"the account a@im\.bot is in use by pid {holder.pid}"):
            accounts.lock(AccountId("a@im.bot")).acquire()
        with accounts.lock(AccountId("A@im.bot")):
            pass
    finally:
        done.set()
        await asyncio.to_thread(holder.join)
    with SqliteAccounts(tmp_path).lock(AccountId("a@im.bot")):
        pass


def test_folder_is_the_argument_else_the_variable_else_the_users(tmp_path: Path) -> None:
    assert data_folder(tmp_path, environ={"ILINK_DATA": "/elsewhere"}) == tmp_path
    assert data_folder(environ={"ILINK_DATA": str(tmp_path)}) == tmp_path
    assert data_folder(environ={"ILINK_DATA": "~/x"}) == Path.home() / "x"
    assert data_folder(environ={"ILINK_DATA": ""}).name == "ilink"


def test_token_is_in_no_representation() -> None:
    assert "hush" not in repr(account(token="hush"))
