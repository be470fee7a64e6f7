"""Where a bot opens what lasts: the one place that knows how accounts, journals and all beside them are kept.

On one machine that is a data folder with an embedded database; for programs on several, a PostgreSQL database. Nothing
else of a bot is different.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

from ilink.errors import ConfigError
from ilink.storage.accounts import Accounts, data_folder
from ilink.storage.accounts_sqlite import SqliteAccounts, local_database
from ilink.storage.agenda import Agenda
from ilink.storage.agenda_sqlite import SqliteAgenda
from ilink.storage.blobs import open_object_store
from ilink.storage.history import History
from ilink.storage.history_sqlite import SqliteHistory
from ilink.storage.journal import Counts, Journal
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.storage.journal_sqlite_counts import count_journals
from ilink.storage.keys import no_keys, read_keys
from ilink.storage.locks import AccountLock
from ilink.storage.pairings import Pairings
from ilink.storage.pairings_sqlite import SqlitePairings
from ilink.storage.postgres_url import DATABASE_URL_VARIABLE, PostgresUrl, is_postgres_url
from ilink.storage.spool import MOST_BYTES, BlobSpool, FolderSpool, Spool
from ilink.wire.ids import AccountId

if TYPE_CHECKING:
    from ilink.storage.accounts_postgres import PostgresAccounts
    from ilink.storage.leases import AccountLeases

__all__ = ["SPOOL_URL_VARIABLE", "AccountStore", "Store", "StorePlace", "find_place", "open_store"]


SPOOL_URL_VARIABLE: Final = "ILINK_SPOOL_URL"
"""Names the object store in which files wait to be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStore:
    """What lasts of one account; open while its `async with` block lasts.

    Attributes:
        journal: What came in, what goes out, and the states of conversations.
        agenda: What is to be done by the clock.
        history: What was said, to find what messages refer to.
        pairings: Who was let in, and who asks to be.
        displaced: The accounts before it whose unfinished work it takes over when it is opened.
    """

    journal: Journal
    agenda: Agenda
    history: History
    pairings: Pairings
    displaced: tuple[AccountId, ...] = ()

    # Not a generator: a fleet holds thousands open, and the event loop keeps a record of every generator.
    async def __aenter__(self) -> Self:
        await self.journal.__aenter__()
        try:
            for previous in self.displaced:
                await self.journal.inherit(previous)
        except BaseException:
            await self.journal.__aexit__(*sys.exc_info())
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.journal.__aexit__(*exc_info)


class Store(Protocol):
    """What lasts of all accounts of a bot, open; made by `open_store`."""

    @property
    def accounts(self) -> Accounts:
        """Where logins are stored."""
        ...

    @property
    def spool(self) -> Spool:
        """Where copies of files wait that are to be sent."""
        ...

    def lock(self, account: AccountId) -> AccountLock:
        """Return what lets one process at a time work for an account."""
        ...

    async def reseal(self) -> int:
        """Seal all tokens with the newest key that are not, and return how many those were.

        Raises:
            StoreError: They cannot be read or written; those that were done stay so.
        """
        ...

    async def count(self, accounts: Collection[AccountId]) -> Counts:
        """Return how much there is in the journals of these accounts together, however many, in one statement.

        Raises:
            StoreError: They cannot be read.
        """
        ...

    def open_account(self, account: AccountId) -> AccountStore:
        """Return what lasts of one account, to be opened with `async with`; that raises StoreError when it fails."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePlace:
    """Where a store is.

    Attributes:
        folder: The data folder: everything is in it, but for what the others say.
        database_url: The PostgreSQL database with accounts and journals; None for the folder.
        spool_url: The object store with the files that wait to be sent; None for the folder.
        environ: Where the keys are named that tokens are sealed with.
    """

    folder: Path
    database_url: str | None = field(default=None, repr=False)
    spool_url: str | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def __str__(self) -> str:
        """Return it for people, without the password."""
        return str(self.folder) if self.database_url is None else PostgresUrl.parse(self.database_url).place


def find_place(data: Path | str | None = None, *, environ: Mapping[str, str] = os.environ) -> StorePlace:
    """Return where a store is: what was said, else what the environment says, else the user's data folder.

    Args:
        data: A folder, or the address of a PostgreSQL database.
        environ: Where `ILINK_DATABASE_URL` is looked for, and then `ILINK_DATA`; and `ILINK_SPOOL_URL`.

    Raises:
        ConfigError: It is the address of something else.
    """
    url = data if isinstance(data, str) and "://" in data else None
    source = "data"
    if data is None:
        url, source = environ.get(DATABASE_URL_VARIABLE) or None, DATABASE_URL_VARIABLE
    if url is not None and not is_postgres_url(url):
        raise _no_database(source)
    folder = None if data is None or url is not None else Path(data)
    return StorePlace(
        folder=data_folder(folder, environ=environ),
        database_url=url,
        spool_url=environ.get(SPOOL_URL_VARIABLE) or None,
        environ=environ,
    )


def _no_database(source: str) -> ConfigError:
    """Return the error that an address is none of ours; it is not repeated, because it may hold a password."""
    return ConfigError(f"{source} names no PostgreSQL database; write postgresql://user:password@host:5432/database")


@asynccontextmanager
async def open_store(place: StorePlace, *, spool_bytes: int = MOST_BYTES) -> AsyncGenerator[Store, None]:
    """Open what lasts until the block ends.

    Args:
        place: Where it is.
        spool_bytes: How many bytes of files may wait to be sent in its folder.

    Raises:
        ConfigError: An address cannot be read, or it needs a key or a package that is not there.
        StoreError: It cannot be opened; the error says what to do.
    """
    spool: Spool = FolderSpool(place.folder / "spool", most_bytes=spool_bytes)
    if place.spool_url is not None:
        spool = BlobSpool(await open_object_store(place.spool_url))
    if place.database_url is not None:
        async with _open_postgres(place.database_url, place.environ, spool) as store:
            yield store
        return
    async with (
        local_database(place.folder) as database,
        SqliteAccounts(place.folder, database=database, keys=read_keys(place.environ)) as accounts,
    ):
        await accounts.check_keys()
        yield SqliteStore(accounts, spool)


class SqliteStore:
    """A store in a data folder.

    Args:
        accounts: Where logins are stored.
        spool: Where copies of files wait that are to be sent.
    """

    def __init__(self, accounts: SqliteAccounts, spool: Spool) -> None:
        self._accounts = accounts
        self.spool = spool

    @property
    def accounts(self) -> Accounts:
        """Where logins are stored."""
        return self._accounts

    def lock(self, account: AccountId) -> AccountLock:
        """Return what lets one process at a time work for an account: a lock of the operating system."""
        return self._accounts.lock(account)

    async def reseal(self) -> int:
        """Seal all tokens with the newest key that are not; see `Store`."""
        return await self._accounts.reseal()

    async def count(self, accounts: Collection[AccountId]) -> Counts:
        """Return how much there is in the journals of these accounts together; see `Store`."""
        return await count_journals(self._accounts.database, accounts)

    def open_account(self, account: AccountId) -> AccountStore:
        """Return what lasts of one account; see `Store`."""
        database = self._accounts.database
        return AccountStore(
            journal=SqliteJournal(database, account),
            agenda=SqliteAgenda(database, account),
            history=SqliteHistory(database, account),
            pairings=SqlitePairings(database, account),
        )


@asynccontextmanager
async def _open_postgres(url: str, environ: Mapping[str, str], spool: Spool) -> AsyncGenerator[Store, None]:
    # Loaded late: a bot on one machine needs no database driver.
    from ilink.storage.accounts_postgres import PostgresAccounts
    from ilink.storage.leases import AccountLeases
    from ilink.storage.postgres import PostgresDatabase

    if (keys := read_keys(environ)) is None:
        raise no_keys()
    async with PostgresDatabase(url) as database, AccountLeases(database) as leases:
        accounts = PostgresAccounts(database, keys=keys)
        await accounts.check_keys()
        yield PostgresStore(accounts, leases, spool)


class PostgresStore:
    """A store in a PostgreSQL database.

    Args:
        accounts: Where logins are stored.
        leases: Which process works for which account.
        spool: Where copies of files wait that are to be sent.
    """

    def __init__(self, accounts: PostgresAccounts, leases: AccountLeases, spool: Spool) -> None:
        self._accounts = accounts
        self._leases = leases
        self.spool = spool

    @property
    def accounts(self) -> Accounts:
        """Where logins are stored."""
        return self._accounts

    def lock(self, account: AccountId) -> AccountLock:
        """Return what lets one process at a time work for an account: a lease in the database."""
        return self._leases.lock(account)

    async def reseal(self) -> int:
        """Seal all tokens with the newest key that are not; see `Store`."""
        return await self._accounts.reseal()

    async def count(self, accounts: Collection[AccountId]) -> Counts:
        """Return how much there is in the journals of these accounts together; see `Store`."""
        from ilink.storage.journal_postgres_counts import count_journals

        return await count_journals(self._accounts.database, accounts)

    def open_account(self, account: AccountId) -> AccountStore:
        """Return what lasts of one account; see `Store`."""
        from ilink.storage.agenda_postgres import PostgresAgenda
        from ilink.storage.history_postgres import PostgresHistory
        from ilink.storage.journal_postgres import PostgresJournal
        from ilink.storage.pairings_postgres import PostgresPairings

        database = self._accounts.database
        return AccountStore(
            journal=PostgresJournal(database, account),
            agenda=PostgresAgenda(database, account),
            history=PostgresHistory(database, account),
            pairings=PostgresPairings(database, account),
        )
