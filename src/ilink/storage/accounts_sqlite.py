"""The accounts in the embedded database of a data folder."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal, Self

from ilink.errors import StoreError
from ilink.storage.accounts import AccountReader, AccountState, Position, StoredAccount, from_ms, to_ms, usable_tokens
from ilink.storage.keys import Sealed, StoreKeys, no_keys_for
from ilink.storage.locks import ProcessLock
from ilink.storage.private import make_private_folder
from ilink.storage.sqlite import Database
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, Cursor, Secret, UserId

__all__ = ["SqliteAccounts", "local_database", "write_context_token", "write_position"]

_Row = tuple[str, str | None, str, str, str, int, str, int]


def local_database(folder: Path, *, synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL") -> Database:
    """Return the database of a data folder, not opened yet."""
    return Database(folder / "ilink.db", schema="local", synchronous=synchronous)


class SqliteAccounts:
    """The accounts in a data folder's database. Open it with `async with`, or give it a database that is open.

    Args:
        folder: The data folder; locks are kept in it too.
        database: An open database of this folder, to share; without it one is opened and closed here.
        keys: What tokens are sealed with; without it they lie open in a file that is readable by nobody else.
        now: Source of the time of day.
    """

    def __init__(
        self,
        folder: Path,
        *,
        database: Database | None = None,
        keys: StoreKeys | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._folder = folder
        self._database = database or local_database(folder)
        self._is_shared = database is not None
        self._keys = keys
        self._now = now
        self._reader = AccountReader()
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if not self._is_shared:
            await self._exits.enter_async_context(self._database)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._exits.aclose()

    @property
    def database(self) -> Database:
        """The database, for what is stored beside the accounts in one transaction."""
        return self._database

    async def check_keys(self) -> None:
        """Make sure that all stored tokens open, before anything is done with them.

        Raises:
            StoreError: A key is missing; the error names it.
        """
        rows = await self._database.read(
            lambda connection: connection.execute("SELECT DISTINCT key_id FROM accounts WHERE key_id <> ''").fetchall()
        )
        for (key_id,) in rows:
            if self._keys is None:
                raise no_keys_for(key_id)
            if key_id not in self._keys:
                raise self._keys.missing(key_id)

    async def reseal(self) -> int:
        """Seal all tokens with the newest key that are not, and return how many those were; none without keys."""
        if self._keys is None:
            return 0
        keys = self._keys

        def work(connection: sqlite3.Connection) -> int:
            known = connection.execute(
                "SELECT account_id FROM accounts WHERE token <> '' AND key_id <> ?", (keys.newest,)
            ).fetchall()
            for (account_id,) in known:
                stored = _find(connection, account_id, keys)
                assert stored is not None
                sealed = _sealed(stored.account, stored.generation, keys)
                connection.execute(
                    "UPDATE accounts SET key_id = ?, token = ? WHERE account_id = ?", (*sealed, account_id)
                )
            return len(known)

        return await self._database.write(work)

    async def put(self, account: Account) -> StoredAccount:
        """Store an account whose login has just worked; this is the only way that credentials change.

        The same bot of the same owner keeps its position and context tokens. The same bot with another owner starts
        anew. Other accounts of this owner are displaced, because a person has one live bot (observed: ocw#69), and lose
        their token, position and context tokens; what was journaled for them stays.

        Raises:
            StoreError: Nothing was stored; the older credentials are still there.
        """
        at_ms = to_ms(self._now())
        return await self._database.write(lambda connection: _put(connection, account, at_ms, self._keys))

    async def find(self, account_id: AccountId) -> StoredAccount | None:
        """Return one account, or None."""
        return await self._database.read(lambda connection: _find(connection, account_id, self._keys))

    async def list(self) -> tuple[StoredAccount, ...]:
        """Return all accounts, the newest login first."""
        rows = await self._database.read(_list)
        return self._reader.read(rows, lambda row: _stored(row, self._keys), name=lambda row: row[0])

    async def known_tokens(self) -> tuple[Secret, ...]:
        """Return the tokens a login sends along, newest first, ten at most: those that may still work."""
        return usable_tokens(await self.list())

    async def remove(self, account_id: AccountId) -> bool:
        """Forget an account with its position and context tokens; False if there is none."""
        return await self._database.write(
            lambda connection: (
                connection.execute("DELETE FROM accounts WHERE account_id = ?", (account_id,)).rowcount > 0
            )
        )

    async def mark(self, stored: StoredAccount, state: AccountState) -> None:
        """Note what became of an account's token. A newer login of the account is not touched."""
        await self._database.write(
            lambda connection: (
                connection.execute(
                    "UPDATE accounts SET state = ? WHERE account_id = ? AND generation = ?",
                    (state.value, stored.account.account_id, stored.generation),
                ).rowcount
            )
        )

    async def position(self, account_id: AccountId) -> Position:
        """Return where reading an account stopped; the beginning if it never began."""
        return await self._database.read(lambda connection: _position(connection, account_id))

    async def put_position(self, stored: StoredAccount, position: Position) -> None:
        """Store where reading an account stopped; see `write_position` for doing it with other writes."""
        await self._database.write(
            lambda connection: write_position(connection, stored.account.account_id, stored.generation, position)
        )

    async def context_token(self, account_id: AccountId, user_id: UserId) -> Secret | None:
        """Return the newest context token that a user's messages carried, or None."""
        row = await self._database.read(
            lambda connection: connection.execute(
                "SELECT context_token FROM peers WHERE account_id = ? AND user_id = ?", (account_id, user_id)
            ).fetchone()
        )
        return None if row is None else Secret(row[0])

    async def put_context_token(self, stored: StoredAccount, user_id: UserId, token: Secret) -> None:
        """Store a user's newest context token; see `write_context_token` for doing it with other writes."""
        at_ms = to_ms(self._now())
        account_id, generation = stored.account.account_id, stored.generation
        await self._database.write(
            lambda connection: write_context_token(connection, account_id, generation, user_id, token, at_ms=at_ms)
        )

    def lock(self, account_id: AccountId) -> ProcessLock:
        """Return the lock that lets one process at a time poll an account; acquiring it says who holds it."""
        name = sha256(account_id.encode()).hexdigest()[:32]  # an id is no file name: it is case-sensitive and foreign
        folder = make_private_folder(self._folder / "locks")
        return ProcessLock(folder / f"{name}.lock", subject=f"the account {account_id}")


def write_position(connection: sqlite3.Connection, account_id: AccountId, generation: int, position: Position) -> None:
    """Store where reading an account stopped, as part of a unit of work.

    Raises:
        StoreError: The account was signed in again or removed meanwhile; the whole unit of work is undone.
    """
    _check_generation(connection, account_id, generation)
    connection.execute(
        "INSERT INTO positions (account_id, generation, cursor, hint_ms) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (account_id) DO UPDATE SET"
        " generation = excluded.generation, cursor = excluded.cursor, hint_ms = excluded.hint_ms",
        (account_id, generation, position.cursor, position.hint_ms),
    )


def write_context_token(
    connection: sqlite3.Connection,
    account_id: AccountId,
    generation: int,
    user_id: UserId,
    token: Secret,
    *,
    at_ms: int,
) -> None:
    """Store a user's newest context token, as part of a unit of work.

    Raises:
        StoreError: The account was signed in again or removed meanwhile; the whole unit of work is undone.
    """
    _check_generation(connection, account_id, generation)
    connection.execute(
        "INSERT INTO peers (account_id, user_id, context_token, updated_at_ms) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (account_id, user_id) DO UPDATE SET"
        " context_token = excluded.context_token, updated_at_ms = excluded.updated_at_ms",
        (account_id, user_id, token.reveal(), at_ms),
    )


def _check_generation(connection: sqlite3.Connection, account_id: AccountId, generation: int) -> None:
    row = connection.execute("SELECT generation FROM accounts WHERE account_id = ?", (account_id,)).fetchone()
    if row is None:
        message = f"the account {account_id} was removed from this machine; sign in again"
        raise StoreError(message)
    if row[0] != generation:
        message = f"the account {account_id} was signed in again by another process; start this one anew"
        raise StoreError(message)


def _put(connection: sqlite3.Connection, account: Account, at_ms: int, keys: StoreKeys | None) -> StoredAccount:
    """Store an account: clear what belonged to others, raise the generation, keep what is its own."""
    before = connection.execute(
        "SELECT generation, owner_id FROM accounts WHERE account_id = ?", (account.account_id,)
    ).fetchone()
    _displace_others(connection, account)
    generation = 1 if before is None else before[0] + 1
    key_id, token = _sealed(account, generation, keys)
    connection.execute(
        "INSERT INTO accounts (account_id, owner_id, base_url, key_id, token, generation, state, created_at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, 'active', ?) ON CONFLICT (account_id) DO UPDATE SET"
        " owner_id = excluded.owner_id, base_url = excluded.base_url, key_id = excluded.key_id, token = excluded.token,"
        " generation = excluded.generation, state = excluded.state, created_at_ms = excluded.created_at_ms",
        (account.account_id, account.owner_id, account.base_url, key_id, token, generation, at_ms),
    )
    if before is not None and before[1] == account.owner_id:
        connection.execute("UPDATE positions SET generation = ? WHERE account_id = ?", (generation, account.account_id))
    else:
        _clear(connection, account.account_id)
    return StoredAccount(account=account, generation=generation, state=AccountState.ACTIVE, signed_in_at=from_ms(at_ms))


def _displace_others(connection: sqlite3.Connection, account: Account) -> None:
    """Mark the owner's other accounts, whose tokens this login has killed, and take what is secret out of them."""
    if account.owner_id is None:
        return
    others = connection.execute(
        "SELECT account_id FROM accounts WHERE owner_id = ? AND account_id <> ? AND base_url = ?",
        (account.owner_id, account.account_id, account.base_url),
    ).fetchall()
    for (other,) in others:
        connection.execute(
            "UPDATE accounts SET state = 'displaced', key_id = '', token = '', generation = generation + 1"
            " WHERE account_id = ?",
            (other,),
        )
        _clear(connection, other)


def _clear(connection: sqlite3.Connection, account_id: str) -> None:
    connection.execute("DELETE FROM positions WHERE account_id = ?", (account_id,))
    connection.execute("DELETE FROM peers WHERE account_id = ?", (account_id,))


def _find(connection: sqlite3.Connection, account_id: AccountId, keys: StoreKeys | None) -> StoredAccount | None:
    row = connection.execute(
        "SELECT account_id, owner_id, base_url, key_id, token, generation, state, created_at_ms FROM accounts"
        " WHERE account_id = ?",
        (account_id,),
    ).fetchone()
    return None if row is None else _stored(row, keys)


def _list(connection: sqlite3.Connection) -> list[_Row]:
    return connection.execute(
        "SELECT account_id, owner_id, base_url, key_id, token, generation, state, created_at_ms FROM accounts"
        " ORDER BY created_at_ms DESC, account_id"
    ).fetchall()


def _position(connection: sqlite3.Connection, account_id: AccountId) -> Position:
    row = connection.execute(
        "SELECT cursor, hint_ms FROM positions JOIN accounts USING (account_id, generation) WHERE account_id = ?",
        (account_id,),
    ).fetchone()
    return Position() if row is None else Position(cursor=Cursor(row[0]), hint_ms=row[1])


def _stored(row: _Row, keys: StoreKeys | None) -> StoredAccount:
    account_id, owner_id, base_url, key_id, token, generation, state, at_ms = row
    account = Account(
        account_id=AccountId(account_id),
        token=_opened(AccountId(account_id), generation, key_id, token, keys),
        base_url=base_url,
        owner_id=None if owner_id is None else UserId(owner_id),
    )
    return StoredAccount(account=account, generation=generation, state=AccountState(state), signed_in_at=from_ms(at_ms))


def _sealed(account: Account, generation: int, keys: StoreKeys | None) -> tuple[str, str]:
    """Return how an account's token is stored: under which key, and what."""
    if keys is None:
        return "", account.token.reveal()
    sealed = keys.seal(account.token, account.account_id, generation)
    return sealed.key_id, base64.b64encode(sealed.sealed).decode()


def _opened(account_id: AccountId, generation: int, key_id: str, token: str, keys: StoreKeys | None) -> Secret:
    if not key_id:
        return Secret(token)
    if keys is None:
        raise no_keys_for(key_id)
    return keys.open(Sealed(key_id, base64.b64decode(token)), account_id, generation)
