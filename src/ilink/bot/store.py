"""Where a bot opens what lasts: the one place that knows how accounts, journals and all beside them are kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ilink.storage.accounts_sqlite import SqliteAccounts, local_database
from ilink.storage.agenda import Agenda
from ilink.storage.agenda_sqlite import SqliteAgenda
from ilink.storage.history import History, SqliteHistory
from ilink.storage.journal import Journal
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.storage.locks import ProcessLock
from ilink.storage.pairings import Pairings
from ilink.storage.spool import Spool
from ilink.wire.ids import AccountId

__all__ = ["AccountStore", "Store", "open_store"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStore:
    """What lasts of one account, open.

    Attributes:
        journal: What came in, what goes out, and the states of conversations.
        agenda: What is to be done by the clock.
        history: What was said, to find what messages refer to.
        pairings: Who was let in, and who asks to be.
    """

    journal: Journal
    agenda: Agenda
    history: History
    pairings: Pairings


class Store:
    """What lasts of all accounts of a bot, open; made by `open_store`.

    Attributes:
        accounts: Where logins are stored.
        spool: Where copies of files wait that are to be sent.
    """

    def __init__(self, accounts: SqliteAccounts, spool: Spool) -> None:
        self.accounts = accounts
        self.spool = spool

    def lock(self, account: AccountId) -> ProcessLock:
        """Return what lets one process at a time work for an account."""
        return self.accounts.lock(account)

    @asynccontextmanager
    async def open_account(self, account: AccountId) -> AsyncGenerator[AccountStore, None]:
        """Open what lasts of one account until the block ends.

        Raises:
            StoreError: It cannot be opened.
        """
        database = self.accounts.database
        async with SqliteJournal(database, account) as journal:
            yield AccountStore(
                journal=journal,
                agenda=SqliteAgenda(database, account),
                history=SqliteHistory(database, account),
                pairings=Pairings(database, account),
            )


@asynccontextmanager
async def open_store(folder: Path, *, spool_bytes: int) -> AsyncGenerator[Store, None]:
    """Open what a data folder holds until the block ends.

    Args:
        folder: The data folder.
        spool_bytes: How many bytes of files may wait to be sent.

    Raises:
        StoreError: It cannot be opened.
    """
    async with local_database(folder) as database, SqliteAccounts(folder, database=database) as accounts:
        yield Store(accounts, Spool(folder / "spool", most_bytes=spool_bytes))
