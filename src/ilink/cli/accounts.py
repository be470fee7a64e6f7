"""`ilink accounts` and `ilink logout`: what this machine is signed in as."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich import box
from rich.table import Table

from ilink.cli.options import DataFolder, Json
from ilink.cli.output import answer_json, errors, out
from ilink.cli.words import say
from ilink.errors import ConfigError
from ilink.storage.accounts import Accounts, StoredAccount, data_folder
from ilink.wire.ids import AccountId

__all__ = ["accounts", "logout"]


def accounts(*, data: DataFolder = None, json: Json = False) -> int:
    """List the accounts of this machine."""
    stored = asyncio.run(_list(data_folder(data)))
    if json:
        answer_json([_describe(entry) for entry in stored])
    elif stored:
        out().print(_table(stored))
    else:
        errors().print(say("accounts.none"), markup=False)
    return 0


def logout(account: Annotated[str, Parameter(help=say("account"))], *, data: DataFolder = None) -> int:
    """Forget one account."""
    account_id = AccountId(account)
    if not asyncio.run(_remove(data_folder(data), account_id)):
        message = f"there is no account {account} on this machine; `ilink accounts` lists them"
        raise ConfigError(message)
    out().print(say("logout.done", account=account), markup=False)
    return 0


async def _list(folder: Path) -> tuple[StoredAccount, ...]:
    async with Accounts(folder) as accounts:
        return await accounts.list()


async def _remove(folder: Path, account_id: AccountId) -> bool:
    """Remove an account under its lock, so that it is not taken from under a bot that runs."""
    async with Accounts(folder) as accounts:
        if await accounts.find(account_id) is None:
            return False
        with accounts.lock(account_id):
            return await accounts.remove(account_id)


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
