"""Which accounts of a machine a bot works for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

from ilink.errors import ConfigError
from ilink.storage.accounts import AccountState, StoredAccount
from ilink.wire.ids import AccountId

__all__ = ["ALL", "Wanted", "read_wanted"]

ALL: Final = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which accounts a bot works for.

    Attributes:
        ids: These; None for whichever there are.
        is_many: Whether it works for all of them side by side, and for those that are signed in later.
        base_url: Only those signed in there; None for anywhere.
    """

    ids: frozenset[AccountId] | None = None
    is_many: bool = False
    base_url: str | None = None

    def at(self, base_url: str | None) -> Wanted:
        """Return the same for accounts of one server."""
        return replace(self, base_url=base_url)

    def is_wanted(self, stored: StoredAccount) -> bool:
        """Whether an account is one of them and may still work."""
        account = stored.account
        if self.ids is not None and account.account_id not in self.ids:
            return False
        if self.base_url is not None and account.base_url.rstrip("/") != self.base_url.rstrip("/"):
            return False
        return stored.state is not AccountState.DISPLACED

    def __str__(self) -> str:
        if self.ids is None:
            named = "an account"
        else:
            named = f"the account{'s' * (len(self.ids) > 1)} {', '.join(sorted(self.ids))}"
        return f"{named} at {self.base_url}" if self.base_url else named


def read_wanted(
    account: str | None, accounts: Literal["all"] | Iterable[str] | None, *, variable: str | None
) -> Wanted:
    """Read which accounts are meant, from two arguments or else from a variable, which may hold `all` or several.

    Raises:
        ConfigError: Both arguments are given, or none of several accounts is named.
    """
    if account is not None and accounts is not None:
        message = "account= names one account and accounts= several; give one of the two"
        raise ConfigError(message)
    if account:
        return Wanted(ids=frozenset([AccountId(account)]))
    if accounts is None:
        names = (variable or "").split(",")
        named = [name.strip() for name in names if name.strip()]
        if len(named) <= 1 and named != [ALL]:
            return Wanted(ids=frozenset(map(AccountId, named)) or None)
        accounts = ALL if named == [ALL] else named
    if accounts == ALL:
        return Wanted(is_many=True)
    ids = frozenset(AccountId(name) for name in ([accounts] if isinstance(accounts, str) else accounts))
    if not ids or not all(ids):
        message = 'accounts= names no account; give their ids, or "all"'
        raise ConfigError(message)
    return Wanted(ids=ids, is_many=True)
