"""`ilink login`: sign in at the terminal."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ilink.bot.store import StorePlace, open_store
from ilink.cli.options import BaseUrl, DatabaseUrl, DataFolder, place_of
from ilink.cli.output import errors, out
from ilink.cli.words import say
from ilink.client.client import Client
from ilink.client.terminal import sign_in_at_terminal
from ilink.errors import ApiError, ConfigError, StaleTokenError
from ilink.flows.login import AlreadyBound
from ilink.storage.accounts import Position, StoredAccount
from ilink.storage.foreign_accounts import find_foreign_accounts
from ilink.wire.ids import UserId

__all__ = ["login"]


def login(
    *,
    base_url: BaseUrl = None,
    data: DataFolder = None,
    database_url: DatabaseUrl = None,
    image: Annotated[Path | None, Parameter(help=say("login.image"))] = None,
    imported: Annotated[Path | None, Parameter(name="--import", help=say("login.import"))] = None,
    force: Annotated[bool, Parameter(negative="", show_default=False, help=say("login.force"))] = False,
) -> int:
    """Sign in with a QR code, or take over what another program is signed in as."""
    place = place_of(data, database_url)
    if imported is not None:
        return asyncio.run(_import(place, base_url, imported))
    signed_in = asyncio.run(_login(place, base_url, image, is_forced=force))
    if isinstance(signed_in, AlreadyBound):
        out().print(say("login.bound"), markup=False)
        return 0
    account = signed_in.account
    out().print(say("login.done", account=account.account_id, owner=account.owner_id or "?"), markup=False)
    return 0


async def _login(
    place: StorePlace, base_url: str | None, image: Path | None, *, is_forced: bool
) -> StoredAccount | AlreadyBound:
    async with open_store(place) as store:
        return await sign_in_at_terminal(store.accounts, base_url=base_url, is_forced=is_forced, image=image)


async def _import(place: StorePlace, base_url: str | None, source: Path) -> int:
    """Store the accounts of another program whose tokens work; 1 when there is none."""
    found = await asyncio.to_thread(find_foreign_accounts, source)
    if not found:
        raise ConfigError(say("login.import.none", folder=source))
    stored = 0
    async with open_store(place) as store:
        for one in found:
            name = one.account.account_id
            async with Client(one.account, base_url=base_url or one.account.base_url or None) as client:
                account = replace(one.account, base_url=client.base_url)
                try:
                    await client.get_config(account.owner_id or UserId(""))
                except StaleTokenError:
                    errors().print(say("login.import.stale", account=name), style="yellow", markup=False)
                    continue
                except ApiError:
                    pass  # it says no to the question, not to the token
            entry = await store.accounts.put(account)
            await store.accounts.put_position(entry, Position(cursor=one.cursor))
            out().print(say("login.import.done", account=name, owner=account.owner_id or "?"), markup=False)
            stored += 1
    if stored:
        errors().print(say("login.import.stop"), markup=False)
    return 0 if stored else 1
