"""What the tests of journals share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from ilink.storage.accounts_sqlite import SqliteAccounts, local_database
from ilink.storage.journal import Arrival, Draft, InboxState, Journal
from ilink.storage.journal_postgres import PostgresJournal
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.storage.postgres import PostgresDatabase
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, ClientId, Secret, UserId

OpenJournal = Callable[[str], AbstractAsyncContextManager[Journal]]
"""Opens the journal of an account in the store under test; the account is signed in, generation 1."""

BOT = "bot@im.bot"


def account(name: str) -> Account:
    return Account(
        account_id=AccountId(name), token=Secret("t"), base_url="http://x", owner_id=UserId(f"owner of {name}")
    )


@asynccontextmanager
async def sqlite_journals(folder: Path) -> AsyncIterator[OpenJournal]:
    async with local_database(folder, synchronous="OFF") as database:
        accounts = SqliteAccounts(folder, database=database)

        @asynccontextmanager
        async def open_journal(name: str) -> AsyncIterator[Journal]:
            if await accounts.find(AccountId(name)) is None:
                await accounts.put(account(name))
            async with SqliteJournal(database, AccountId(name)) as journal:
                yield journal

        yield open_journal


@asynccontextmanager
async def postgres_journals(url: str) -> AsyncIterator[OpenJournal]:
    """Journals in a schema that other tests have used before; it is emptied first."""
    async with PostgresDatabase(url) as database:
        tables = "accounts, positions, peers, journals, inbox, outbox, windows, conversations, jobs, results"
        await database.execute(f"TRUNCATE {tables}")

        @asynccontextmanager
        async def open_journal(name: str) -> AsyncIterator[Journal]:
            await sign_in(database, name)
            async with PostgresJournal(database, AccountId(name)) as journal:
                yield journal

        yield open_journal


async def sign_in(database: PostgresDatabase, name: str) -> None:
    """Store an account of generation 1, unless it is there."""
    await database.execute(
        "INSERT INTO accounts (account_id, owner_id, base_url, key_id, token, generation, state, created_at_ms)"
        " VALUES ($1, $1, 'http://x', '', 't', 1, 'active', 0) ON CONFLICT DO NOTHING",
        name,
    )


def arrival(
    identity: str,
    user: str = "alice",
    *,
    raw: bytes = b"{}",
    token: str | None = None,
    state: InboxState = InboxState.WAITING,
) -> Arrival:
    return Arrival(
        raw=raw,
        identity=identity,
        conversation=f"u:{user}",
        user=UserId(user),
        context_token=None if token is None else Secret(token),
        state=state,
    )


def draft(name: str, user: str = "alice", *, cause: int | None = None) -> Draft:
    return Draft(client_id=ClientId(name), conversation=f"u:{user}", user=UserId(user), item=b"{}", cause=cause)
