"""`ilink accounts` and `ilink logout`: what this machine is signed in as, and who was let in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from cyclopts import App, Parameter
from rich import box
from rich.table import Table

from ilink.bot.store import StorePlace, open_store
from ilink.cli.options import AccountName, DatabaseUrl, DataFolder, Json, place_of
from ilink.cli.output import answer_json, errors, out
from ilink.cli.send import choose_account
from ilink.cli.words import say
from ilink.errors import ConfigError
from ilink.storage.accounts import StoredAccount
from ilink.storage.pairings import Paired, Pairings
from ilink.wire.ids import AccountId, normalize_user_id

__all__ = ["accounts", "logout"]

T = TypeVar("T")


User = Annotated[str, Parameter(help=say("accounts.user"))]

accounts = App(name="accounts", help=say("accounts.help"))


@accounts.default
def show_list(*, data: DataFolder = None, database_url: DatabaseUrl = None, json: Json = False) -> int:
    """List the accounts of this machine."""
    stored = asyncio.run(_list(place_of(data, database_url)))
    if json:
        answer_json([_describe(entry) for entry in stored])
    elif stored:
        out().print(_table(stored))
    else:
        errors().print(say("accounts.none"), markup=False)
    return 0


@accounts.command(name="pair", help=say("accounts.pair.help"))
def pair(
    code: Annotated[str, Parameter(help=say("accounts.code"))],
    *,
    account: AccountName = None,
    data: DataFolder = None,
    database_url: DatabaseUrl = None,
) -> int:
    """Let in whoever was told a code."""
    user = _with_pairings(
        place_of(data, database_url), account, lambda pairings: pairings.approve(code, now_ms=_now_ms())
    )
    if user is None:
        raise ConfigError(say("accounts.pair.none", code=code))
    out().print(say("accounts.paired", user=user), markup=False)
    return 0


@accounts.command(name="unpair", help=say("accounts.unpair.help"))
def unpair(
    user: User, *, account: AccountName = None, data: DataFolder = None, database_url: DatabaseUrl = None
) -> int:
    """Let somebody in no more."""
    user_id = normalize_user_id(user)
    if not _with_pairings(place_of(data, database_url), account, lambda pairings: pairings.remove(user_id)):
        raise ConfigError(say("accounts.unpair.none", user=user_id))
    out().print(say("accounts.unpaired", user=user_id), markup=False)
    return 0


@accounts.command(name="people", help=say("accounts.people.help"))
def people(
    *, account: AccountName = None, data: DataFolder = None, database_url: DatabaseUrl = None, json: Json = False
) -> int:
    """List who was let in, and who was told a code and waits."""
    found = _with_pairings(place_of(data, database_url), account, lambda pairings: pairings.list(now_ms=_now_ms()))
    if json:
        answer_json([{"user_id": one.user, "code": one.code, "since": one.since} for one in found])
    elif found:
        out().print(_people_table(found))
    else:
        errors().print(say("accounts.people.none"), markup=False)
    return 0


def logout(
    account: Annotated[str, Parameter(help=say("account"))],
    *,
    data: DataFolder = None,
    database_url: DatabaseUrl = None,
) -> int:
    """Forget one account."""
    account_id = AccountId(account)
    if not asyncio.run(_remove(place_of(data, database_url), account_id)):
        message = f"there is no account {account} on this machine; `ilink accounts` lists them"
        raise ConfigError(message)
    out().print(say("logout.done", account=account), markup=False)
    return 0


def _with_pairings(place: StorePlace, account: str | None, work: Callable[[Pairings], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_store(place) as store:
            chosen = choose_account(await store.accounts.list(), account)
            async with store.open_account(chosen.account.account_id) as own:
                return await work(own.pairings)

    return asyncio.run(run())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _people_table(people: tuple[Paired, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("person", "state", "since", "code"):
        table.add_column(say(f"accounts.{column}"), overflow="fold")
    for one in people:
        state = say("accounts.let_in") if one.code is None else say("accounts.waiting")
        table.add_row(one.user, state, one.since.astimezone().strftime("%Y-%m-%d %H:%M"), one.code or "")
    return table


async def _list(place: StorePlace) -> tuple[StoredAccount, ...]:
    async with open_store(place) as store:
        return await store.accounts.list()


async def _remove(place: StorePlace, account_id: AccountId) -> bool:
    """Remove an account; a bot that works for it notices, and ends that in order."""
    async with open_store(place) as store:
        return await store.accounts.remove(account_id)


def _describe(stored: StoredAccount) -> dict[str, object]:
    return {
        "account_id": stored.account.account_id,
        "owner_id": stored.account.owner_id,
        "state": stored.state.value,
        "base_url": stored.account.base_url,
        "signed_in_at": stored.signed_in_at,
    }


def _table(stored: tuple[StoredAccount, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("account", "owner", "state", "base_url", "since"):
        table.add_column(say(f"accounts.{column}"), overflow="fold")
    for entry in stored:
        since = entry.signed_in_at.astimezone().strftime("%Y-%m-%d %H:%M")
        account = entry.account
        table.add_row(account.account_id, account.owner_id or "", entry.state.value, account.base_url, since)
    return table
