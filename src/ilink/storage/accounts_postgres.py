"""The accounts in PostgreSQL, their tokens sealed; every call but a rare one is one round trip."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from ilink.errors import StoreError
from ilink.storage.accounts import AccountReader, AccountState, Position, StoredAccount, from_ms, to_ms, usable_tokens
from ilink.storage.keys import Sealed, StoreKeys
from ilink.storage.postgres import PostgresDatabase, Row
from ilink.storage.postgres_text import escaped, unescaped
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, Cursor, Secret, UserId

__all__ = ["PostgresAccounts"]

_STORED: Final = "SELECT account_id, owner_id, base_url, key_id, token, generation, state, created_at_ms FROM accounts"
_HEIRS: Final = """
SELECT h.account_id AS heir, d.account_id AS displaced
FROM accounts d JOIN accounts h ON h.owner_id = d.owner_id AND h.base_url = d.base_url
WHERE d.state = 'displaced' AND h.state <> 'displaced' AND slot_of(h.account_id) = ANY ($1::int[])
ORDER BY d.created_at_ms, d.account_id"""
_ATTEMPTS: Final = 10
"""How often a login is stored anew because another login of the same account was stored meanwhile."""


class PostgresAccounts:
    """The accounts of a database.

    Args:
        database: The open database of schema `local`.
        keys: What tokens are sealed with.
        now: Source of the time of day.
    """

    def __init__(
        self,
        database: PostgresDatabase,
        *,
        keys: StoreKeys,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._keys = keys
        self._now = now
        self._opened: dict[AccountId, tuple[bytes, Secret]] = {}
        self._reader = AccountReader()

    @property
    def database(self) -> PostgresDatabase:
        """The database, for what is stored beside the accounts."""
        return self._database

    async def check_keys(self) -> None:
        """Make sure that all stored tokens open, before anything is done with them.

        Raises:
            StoreError: A key is missing; the error names it.
        """
        rows = await self._database.read("SELECT DISTINCT key_id FROM accounts WHERE token <> ''")
        for row in rows:
            if row["key_id"] not in self._keys:
                raise self._keys.missing(row["key_id"])

    async def reseal(self) -> int:
        """Seal all tokens with the newest key that are sealed with an older one, and return how many those were.

        Afterwards the older keys are needed no more, except for backups. Programs that run meanwhile need both.
        """
        rows = await self._database.read(
            f"{_STORED} WHERE token <> '' AND key_id <> $1 ORDER BY account_id",  # names only
            self._keys.newest,
        )
        changed = 0
        for row in rows:
            stored = self._stored(row)
            sealed = self._keys.seal(stored.account.token, stored.account.account_id, stored.generation)
            changed += await self._database.execute(
                "UPDATE accounts SET key_id = $3, token = $4 WHERE account_id = $1 AND generation = $2 AND token <> ''",
                escaped(stored.account.account_id),
                stored.generation,
                sealed.key_id,
                sealed.sealed,
            )
        return changed

    async def put(self, account: Account) -> StoredAccount:
        """Store an account whose login has just worked; see `Accounts`."""
        for _ in range(_ATTEMPTS):
            if (stored := await self._try_put(account)) is not None:
                return stored
        message = f"other processes kept on signing in {account.account_id}; sign in again"
        raise StoreError(message)

    async def _try_put(self, account: Account) -> StoredAccount | None:
        """Store a login as the one behind the newest; None when that is not the newest any more."""
        at_ms = to_ms(self._now())
        row = await self._database.read_row(
            "SELECT generation FROM accounts WHERE account_id = $1", escaped(account.account_id)
        )
        before = 0 if row is None else int(row["generation"])
        sealed = self._keys.seal(account.token, account.account_id, before + 1)
        done = await self._database.write_row(
            "SELECT put_account($1, $2, $3, $4, $5, $6, $7)",
            escaped(account.account_id),
            _text(account.owner_id),
            _text(account.base_url),
            sealed.key_id,
            sealed.sealed,
            before,
            at_ms,
        )
        if done is None or not done[0]:
            return None
        return StoredAccount(
            account=account, generation=before + 1, state=AccountState.ACTIVE, signed_in_at=from_ms(at_ms)
        )

    async def find(self, account_id: AccountId) -> StoredAccount | None:
        """Return one account, or None."""
        row = await self._database.read_row(f"{_STORED} WHERE account_id = $1", escaped(account_id))
        return None if row is None else self._stored(row)

    async def list(self) -> tuple[StoredAccount, ...]:
        """Return all accounts, the newest login first."""
        rows = await self._database.read(f"{_STORED} ORDER BY created_at_ms DESC, account_id")
        return self._read(rows)

    async def changes(self) -> tuple[int, ...]:
        """Return how often accounts were changed, by the slots they are in: the n-th for each slot that is n modulo 16.

        Whatever an account looked like when these numbers were current is seen by whoever reads it afterwards.
        """
        rows = await self._database.read("SELECT changes FROM account_changes ORDER BY part")
        return tuple(row["changes"] for row in rows)

    async def list_slots(self, slots: Collection[int]) -> tuple[StoredAccount, ...]:
        """Return the accounts in some slots; see `slot_of`."""
        rows = await self._database.read(f"{_STORED} WHERE slot_of(account_id) = ANY ($1::int[])", list(slots))
        return self._read(rows)

    async def list_displaced(self, slots: Collection[int]) -> Mapping[AccountId, tuple[AccountId, ...]]:
        """Return for the accounts in some slots those before them, of the same person, the oldest first."""
        found: dict[AccountId, tuple[AccountId, ...]] = {}
        for row in await self._database.read(_HEIRS, list(slots)):
            heir, displaced = AccountId(unescaped(row["heir"])), AccountId(unescaped(row["displaced"]))
            found[heir] = (*found.get(heir, ()), displaced)
        return found

    async def known_tokens(self) -> tuple[Secret, ...]:
        """Return the tokens a login sends along, newest first, ten at most: those that may still work."""
        rows = await self._database.read(
            f"{_STORED} WHERE state <> 'displaced' ORDER BY created_at_ms DESC, account_id LIMIT 10"
        )
        return usable_tokens(self._read(rows))

    async def remove(self, account_id: AccountId) -> bool:
        """Forget an account with its position and context tokens; False if there is none."""
        return await self._database.execute("DELETE FROM accounts WHERE account_id = $1", escaped(account_id)) > 0

    async def mark(self, stored: StoredAccount, state: AccountState) -> None:
        """Note what became of an account's token. A newer login of the account is not touched."""
        await self._database.execute(
            "UPDATE accounts SET state = $3 WHERE account_id = $1 AND generation = $2",
            escaped(stored.account.account_id),
            stored.generation,
            state.value,
        )

    async def position(self, account_id: AccountId) -> Position:
        """Return where reading an account stopped; the beginning if it never began."""
        row = await self._database.read_row(
            "SELECT cursor, hint_ms FROM positions JOIN accounts USING (account_id, generation) WHERE account_id = $1",
            escaped(account_id),
        )
        return Position() if row is None else Position(cursor=Cursor(row["cursor"]), hint_ms=row["hint_ms"])

    async def put_position(self, stored: StoredAccount, position: Position) -> None:
        """Store where reading an account stopped; see `Accounts`."""
        await self._database.execute(
            "SELECT put_position($1, $2, $3, $4)",
            escaped(stored.account.account_id),
            stored.generation,
            position.cursor,
            position.hint_ms,
        )

    async def context_token(self, account_id: AccountId, user_id: UserId) -> Secret | None:
        """Return the newest context token that a user's messages carried, or None."""
        row = await self._database.read_row(
            "SELECT context_token FROM peers WHERE account_id = $1 AND user_id = $2",
            escaped(account_id),
            escaped(user_id),
        )
        return None if row is None else Secret(unescaped(row["context_token"]))

    async def put_context_token(self, stored: StoredAccount, user_id: UserId, token: Secret) -> None:
        """Store a user's newest context token; see `Accounts`."""
        await self._database.execute(
            "SELECT put_context_token($1, $2, $3, $4, $5)",
            escaped(stored.account.account_id),
            stored.generation,
            escaped(user_id),
            escaped(token.reveal()),
            to_ms(self._now()),
        )

    def _read(self, rows: Iterable[Row]) -> tuple[StoredAccount, ...]:
        return self._reader.read(rows, self._stored, name=lambda row: unescaped(row["account_id"]))

    def _stored(self, row: Row) -> StoredAccount:
        account = Account(
            account_id=AccountId(unescaped(row["account_id"])),
            token=self._token(row),
            base_url=unescaped(row["base_url"]),
            owner_id=None if row["owner_id"] is None else UserId(unescaped(row["owner_id"])),
        )
        return StoredAccount(
            account=account,
            generation=row["generation"],
            state=AccountState(row["state"]),
            signed_in_at=from_ms(row["created_at_ms"]),
        )

    def _token(self, row: Row) -> Secret:
        """Open a token, once: whoever looks for changes reads all accounts again and again."""
        account_id, generation, sealed = AccountId(unescaped(row["account_id"])), row["generation"], row["token"]
        if not sealed:
            return Secret("")
        known, token = self._opened.get(account_id, (b"", Secret("")))
        if known != sealed:
            token = self._keys.open(Sealed(row["key_id"], sealed), account_id, generation)
            self._opened[account_id] = (sealed, token)
        return token


def _text(text: str | None) -> str | None:
    return None if text is None else escaped(text)
