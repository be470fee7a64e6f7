"""The accounts that programs are signed in as, where reading each of them stopped, and its users' context tokens.

The seam every store of accounts stands behind; one class of tests holds for all of them.

Every login of an account raises its generation. What is written for an account names the generation it was read with:
a process that still runs on an older login is refused, so that it cannot overwrite what the newer one stored
(observed: nanobot#5195).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol, TypeVar

from ilink.errors import StoreError
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, Cursor, Secret, UserId

__all__ = [
    "DATA_VARIABLE",
    "AccountReader",
    "AccountState",
    "Accounts",
    "Position",
    "StoredAccount",
    "data_folder",
    "from_ms",
    "to_ms",
    "usable_tokens",
]

Row = TypeVar("Row")

_log = logging.getLogger(__name__)

DATA_VARIABLE: Final = "ILINK_DATA"

_BEGINNING: Final = Cursor("")
_MAX_TOKENS: Final = 10
"""How many stored tokens a login sends along (official 2.4.9)."""


class AccountState(StrEnum):
    """What is known of an account's token."""

    ACTIVE = "active"
    STALE = "stale"
    DISPLACED = "displaced"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAccount:
    """An account as this machine knows it.

    Attributes:
        account: The identity and its token.
        generation: How many logins of it this machine has stored; it goes with whatever is written for the account.
        state: `active`; `stale` after its token was refused; `displaced` after its owner signed another bot in.
        signed_in_at: When its newest login worked.
    """

    account: Account
    generation: int
    state: AccountState
    signed_in_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where reading an account stopped.

    Attributes:
        cursor: What the next poll presents; empty at the beginning.
        hint_ms: The server's newest suggestion for the time limit of a poll, if it gave one.
    """

    cursor: Cursor = _BEGINNING
    hint_ms: int | None = None


def data_folder(folder: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where accounts and journals are: the argument, else `ILINK_DATA`, else the user's data folder."""
    if folder is not None:
        return folder
    if chosen := environ.get(DATA_VARIABLE):
        return Path(chosen).expanduser()
    # Loaded late: most programs that import this module name a folder.
    from platformdirs import user_data_path

    return user_data_path("ilink", appauthor=False)


class Accounts(Protocol):
    """The accounts of a store. Every call raises StoreError when the store does not take or give what was asked."""

    async def put(self, account: Account) -> StoredAccount:
        """Store an account whose login has just worked; this is the only way that credentials change.

        The same bot of the same owner keeps its position and context tokens. The same bot with another owner starts
        anew. Other accounts of this owner are displaced, because a person has one live bot (observed: ocw#69), and lose
        their token, position and context tokens; what was journaled for them stays.

        Raises:
            StoreError: Nothing was stored; the older credentials are still there.
        """
        ...

    async def find(self, account_id: AccountId) -> StoredAccount | None:
        """Return one account, or None."""
        ...

    async def list(self) -> tuple[StoredAccount, ...]:
        """Return all accounts, the newest login first."""
        ...

    async def known_tokens(self) -> tuple[Secret, ...]:
        """Return the tokens a login sends along, newest first, ten at most: those that may still work."""
        ...

    async def remove(self, account_id: AccountId) -> bool:
        """Forget an account with its position and context tokens; False if there is none."""
        ...

    async def mark(self, stored: StoredAccount, state: AccountState) -> None:
        """Note what became of an account's token. A newer login of the account is not touched."""
        ...

    async def position(self, account_id: AccountId) -> Position:
        """Return where reading an account stopped; the beginning if it never began."""
        ...

    async def put_position(self, stored: StoredAccount, position: Position) -> None:
        """Store where reading an account stopped.

        Raises:
            StoreError: The account was signed in again or removed meanwhile; nothing was stored.
        """
        ...

    async def context_token(self, account_id: AccountId, user_id: UserId) -> Secret | None:
        """Return the newest context token that a user's messages carried, or None."""
        ...

    async def put_context_token(self, stored: StoredAccount, user_id: UserId, token: Secret) -> None:
        """Store a user's newest context token.

        Raises:
            StoreError: The account was signed in again or removed meanwhile; nothing was stored.
        """
        ...


class AccountReader:
    """Reads accounts, and leaves those out whose tokens do not open: one that is damaged stops no other.

    Whoever looks for changes reads all accounts again and again, so each of them is told of once.
    """

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def read(
        self, rows: Iterable[Row], read: Callable[[Row], StoredAccount], *, name: Callable[[Row], str]
    ) -> tuple[StoredAccount, ...]:
        """Return what rows hold, in their order."""
        found: list[StoredAccount] = []
        for row in rows:
            try:
                found.append(read(row))
            except StoreError as error:
                if (told := (name(row), str(error))) not in self._told:
                    self._told.add(told)
                    _log.error("the account %s is left out: %s", *told)
        return tuple(found)


def usable_tokens(stored: Iterable[StoredAccount]) -> tuple[Secret, ...]:
    """Return the tokens that may still work, in the order of the accounts: as many as a login sends along."""
    usable = (entry.account.token for entry in stored if entry.state is not AccountState.DISPLACED)
    return tuple(usable)[:_MAX_TOKENS]


def to_ms(moment: datetime) -> int:
    """Return a moment as stores have it."""
    return int(moment.timestamp() * 1000)


def from_ms(at_ms: int) -> datetime:
    """Return a stored moment."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)
