"""The accounts of the slots that a process has, and their journals, taken over only under the lease."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from ilink.bot.store import AccountStore, Store
from ilink.errors import ConfigError, StoreLockedError
from ilink.fleet.lease import Lease
from ilink.storage.accounts import Accounts, StoredAccount
from ilink.storage.accounts_postgres import PostgresAccounts
from ilink.storage.journal import Counts
from ilink.storage.journal_postgres import PostgresJournal
from ilink.storage.locks import AccountLock
from ilink.storage.slots import slot_of
from ilink.storage.spool import Spool
from ilink.wire.ids import AccountId

__all__ = ["LeasedStore", "SlotAccounts", "fleet_accounts"]

_PARTS: Final = 16


def fleet_accounts(store: Store) -> PostgresAccounts:
    """Return the accounts of a store that several processes share.

    Raises:
        ConfigError: It is a folder of this machine.
    """
    if not isinstance(store.accounts, PostgresAccounts):
        message = "several processes need a database for their accounts: give --database-url, or ILINK_DATABASE_URL"
        raise ConfigError(message)
    return store.accounts


class SlotAccounts:
    """What is known of the accounts in some slots; a look when nothing has changed reads sixteen numbers.

    Args:
        accounts: Where accounts are stored.
    """

    def __init__(self, accounts: PostgresAccounts) -> None:
        self._accounts = accounts
        self._changes: tuple[int, ...] = ()
        self._by_slot: dict[int, tuple[StoredAccount, ...]] = {}
        self._displaced: dict[AccountId, tuple[AccountId, ...]] = {}

    async def look(self, slots: Collection[int]) -> list[StoredAccount]:
        """Return the accounts in some slots, as they were when this was called or newer.

        Raises:
            StoreError: They cannot be read; the next look sees what has changed meanwhile.
        """
        changes = await self._accounts.changes()
        same = {part for part in range(_PARTS) if self._changes and self._changes[part] == changes[part]}
        old = {slot for slot in slots if slot in self._by_slot and slot % _PARTS in same}
        new = [slot for slot in slots if slot not in old]
        if new:
            await self._read(new)
        for slot in self._by_slot.keys() - set(slots):
            self._forget(slot)
        self._changes = changes
        return [stored for each in self._by_slot.values() for stored in each]

    def displaced_by(self, account_id: AccountId) -> tuple[AccountId, ...]:
        """Return the accounts before one, of the same person, as of the last look."""
        return self._displaced.get(account_id, ())

    async def _read(self, slots: Collection[int]) -> None:
        found = await self._accounts.list_slots(slots)
        displaced = await self._accounts.list_displaced(slots)
        for slot in slots:
            self._forget(slot)
            self._by_slot[slot] = ()
        for stored in found:
            self._by_slot[slot_of(stored.account.account_id)] += (stored,)
        self._displaced |= displaced

    def _forget(self, slot: int) -> None:
        for stored in self._by_slot.pop(slot, ()):
            self._displaced.pop(stored.account.account_id, None)


class LeasedStore:
    """A store whose journals are taken over under a lease only, with what waits in those of accounts displaced before.

    A person who signs in again gets another account, in another slot: the process that has that slot finishes what the
    account before has not, wherever that was worked for.

    Args:
        store: The store.
        lease: The lease.
        accounts: What tells which accounts were displaced.
    """

    def __init__(self, store: Store, lease: Lease, accounts: SlotAccounts) -> None:
        self._store = store
        self._lease = lease
        self._known = accounts

    @property
    def accounts(self) -> Accounts:
        """Where logins are stored."""
        return self._store.accounts

    @property
    def spool(self) -> Spool:
        """Where copies of files wait that are to be sent."""
        return self._store.spool

    def lock(self, account: AccountId) -> AccountLock:
        """See `Store.lock`."""
        return self._store.lock(account)

    async def reseal(self) -> int:
        """See `Store.reseal`."""
        return await self._store.reseal()

    async def count(self, accounts: Collection[AccountId]) -> Counts:
        """See `Store.count`."""
        return await self._store.count(accounts)

    def open_account(self, account: AccountId) -> AccountStore:
        """Return what lasts of an account, which takes over what those before it left; see `Store`.

        Raises:
            StoreLockedError: Its slot is another process's.
        """
        epoch = self._lease.epoch(slot_of(account))
        if epoch is None:
            message = f"the slot of {account} is another process's; that one works for it"
            raise StoreLockedError(message, holder="another process of the fleet")
        own = self._store.open_account(account)
        assert isinstance(own.journal, PostgresJournal)
        own.journal.adopt_only_with(self._lease.session, epoch)
        return replace(own, displaced=self._known.displaced_by(account))
