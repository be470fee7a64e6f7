"""Waiting for somebody to sign in again, after the token of an account was refused."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from ilink.bot.clock import Clock
from ilink.bot.stopping import StopSignal
from ilink.bot.waiting import unless_set
from ilink.errors import StoreError
from ilink.storage.accounts import Accounts, AccountState, StoredAccount

__all__ = ["wait_for_login"]

_log = logging.getLogger(__name__)

_LOOK: Final = 2.0
"""Seconds between two looks for a new login."""


async def wait_for_login(
    stored: StoredAccount, accounts: Accounts, *, clock: Clock, stop: StopSignal
) -> StoredAccount | None:
    """Wait until the person signed in again, and return what was stored then: this account, or the one after it.

    No code is shown from here: nobody may be there to scan it. None when the bot is told to stop.
    """
    account = stored.account
    _log.error("the token of %s was refused; sign in again with `ilink login`", account.account_id)
    with suppress(StoreError):  # the note is for people only
        await accounts.mark(stored, AccountState.STALE)
    stopping = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            with suppress(StoreError):  # looked at again
                found = await accounts.find(account.account_id)
                if found is not None and found.state is AccountState.ACTIVE:
                    return found
                if (successor := await _find_successor(stored, found, accounts)) is not None:
                    return successor
            await unless_set(stopping, clock.sleep(_LOOK))
    finally:
        stopping.cancel()
    return None


async def _find_successor(
    stored: StoredAccount, found: StoredAccount | None, accounts: Accounts
) -> StoredAccount | None:
    """Find the account that the owner's newer login created; times of logins say nothing when a clock was set."""
    ours = stored.account
    if ours.owner_id is None or (found is not None and found.state is not AccountState.DISPLACED):
        return None
    for other in await accounts.list():
        account = other.account
        is_heir = account.account_id != ours.account_id and account.owner_id == ours.owner_id
        if is_heir and account.base_url == ours.base_url and other.state is AccountState.ACTIVE:
            return other
    return None
