"""Which process works for an account, told by the database: leases that run out when their process dies.

A lease is no proof: a process may stand still for longer than its lease lasts. What it stores afterwards is refused by
the journal, which belongs to whoever took it over last.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from datetime import timedelta
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

from ilink.errors import StoreError, StoreLockedError
from ilink.storage.locks import AccountLock, this_process
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.postgres_text import escaped, unescaped
from ilink.wire.ids import AccountId

__all__ = ["AccountLeases"]

_log = logging.getLogger(__name__)

_TTL: Final = 30.0
_RENEW: Final = 5.0


class AccountLeases:
    """The leases of one process; open it with `async with`.

    Args:
        database: Where the accounts are, open.
        ttl: Seconds after which a process that says nothing has lost its leases, by the database's clock.
        renew: Seconds between two times that it says something.
    """

    def __init__(self, database: PostgresDatabase, *, ttl: float = _TTL, renew: float = _RENEW) -> None:
        self._database = database
        self._ttl = timedelta(seconds=ttl)
        self._renew = renew
        self._holder = uuid4()
        self._held: set[AccountId] = set()
        self._ends: dict[AccountId, asyncio.Timeout] = {}
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._renewing = asyncio.create_task(self._renew_forever(), name="account leases")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
            self._renewing = None

    def lock(self, account: AccountId) -> AccountLock:
        """Return what lets this process work for an account, not taken yet."""
        return _Lease(self, account)

    async def take(self, account: AccountId) -> None:
        """Take an account; see `AccountLock`."""
        if account in self._held:
            message = f"the account {account} is in use by this process already"
            raise StoreLockedError(message, holder="this process")
        row = await self._database.write_row(
            "SELECT is_taken, is_lease, held_by FROM lease_account($1, $2, $3, $4, $5, $6)",
            escaped(account),
            self._holder,
            f"{this_process()} on {socket.gethostname()}",
            socket.gethostname(),
            os.getpid(),
            self._ttl,
        )
        assert row is not None
        if not row["is_taken"]:
            message = f"the account {account} is in use by {row['held_by']}; stop that process first"
            raise StoreLockedError(message, holder=row["held_by"])
        if row["is_lease"]:
            self._held.add(account)

    def end_when_lost(self, account: AccountId, end: asyncio.Timeout) -> None:
        """Let something be cancelled as soon as another process has taken an account that this one holds."""
        self._ends[account] = end

    async def give_back(self, account: AccountId) -> None:
        """Give an account back; if the database is away, the lease runs out by itself."""
        self._ends.pop(account, None)
        if account not in self._held:
            return
        self._held.discard(account)
        try:
            await self._database.execute(
                "DELETE FROM account_leases WHERE account_id = $1 AND holder = $2", escaped(account), self._holder
            )
        except StoreError as error:
            _log.warning("the account %s is given back when its lease runs out: %s", account, error)

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(self._renew)
            if self._held:
                try:
                    await self._renew_held()
                except StoreError as error:
                    _log.warning("cannot renew the leases of accounts, trying again: %s", error)

    async def _renew_held(self) -> None:
        """Renew all leases in one round trip."""
        held = set(self._held)
        rows = await self._database.write(
            "UPDATE account_leases SET expires_at = clock_timestamp() + $2 WHERE holder = $1 RETURNING account_id",
            self._holder,
            self._ttl,
        )
        for account in held - {AccountId(unescaped(row["account_id"])) for row in rows}:
            if account in self._held:
                self._held.discard(account)
                if account in self._ends:
                    self._ends[account].reschedule(asyncio.get_running_loop().time())
                _log.error("another process has taken the account %s, because this one stood still", account)


class _Lease:
    def __init__(self, leases: AccountLeases, account: AccountId) -> None:
        self._leases = leases
        self._account = account
        self._end: asyncio.Timeout | None = None

    async def __aenter__(self) -> Self:
        await self._leases.take(self._account)
        self._end = asyncio.timeout(None)
        await self._end.__aenter__()
        self._leases.end_when_lost(self._account, self._end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end, self._end = self._end, None
        assert end is not None
        try:
            await end.__aexit__(kind, error, trace)
        except TimeoutError:
            message = (
                f"another process has taken the account {self._account}, because this one stood still for too long;"
                " its work has ended, and nothing is lost"
            )
            raise StoreLockedError(message) from None
        finally:
            await self._leases.give_back(self._account)
