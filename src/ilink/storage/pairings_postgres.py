"""Pairings in PostgreSQL; every call is one round trip."""

from __future__ import annotations

from collections.abc import Callable

from ilink.storage.pairings import Asked, GuessesLocked, Paired, read_code, to_paired
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.postgres_text import escaped, unescaped
from ilink.wire.ids import AccountId, UserId

__all__ = ["PostgresPairings"]


class PostgresPairings:
    """The people of one account.

    Args:
        database: The open database of schema `local`.
        account: The account.
    """

    def __init__(self, database: PostgresDatabase, account: AccountId) -> None:
        self._database = database
        self._account = escaped(account)

    async def is_paired(self, user: UserId) -> bool:
        """Whether somebody was let in."""
        row = await self._database.read_row(
            "SELECT FROM pairings WHERE account_id = $1 AND user_id = $2 AND code IS NULL", self._account, escaped(user)
        )
        return row is not None

    async def list(self, *, now_ms: int) -> tuple[Paired, ...]:
        """Return everybody who was let in or holds a code, in the order in which they came."""
        rows = await self._database.read(
            "SELECT user_id, code, since_ms, expires_ms FROM pairings"
            " WHERE account_id = $1 AND (code IS NULL OR expires_ms > $2) ORDER BY since_ms, user_id",
            self._account,
            now_ms,
        )
        return tuple(to_paired(unescaped(user), code, since, expires) for user, code, since, expires in rows)

    async def ask(
        self, user: UserId, *, by: str, new_code: Callable[[], str], now_ms: int, lasts_ms: int, most: int
    ) -> Asked | None:
        """Note that somebody asks to be let in; see `Pairings`."""
        row = await self._database.write_row(
            "SELECT * FROM ask_pairing($1, $2, $3, $4, $5, $6, $7)",
            self._account,
            escaped(user),
            escaped(by),
            new_code(),
            now_ms,
            now_ms + lasts_ms,
            most,
        )
        return None if row is None else Asked(*row)

    async def approve(
        self, code: str, *, now_ms: int, wrong_codes: int | None = None, lock_ms: int = 0
    ) -> UserId | GuessesLocked | None:
        """Let in whoever holds a code; see `Pairings`."""
        row = await self._database.write_row(
            "SELECT let_in, locked_until_ms FROM approve_pairing($1, $2, $3, $4, $5)",
            self._account,
            read_code(code),
            now_ms,
            wrong_codes,
            now_ms + lock_ms,
        )
        assert row is not None
        if row["locked_until_ms"] is not None:
            return GuessesLocked(row["locked_until_ms"])
        return None if row["let_in"] is None else UserId(unescaped(row["let_in"]))

    async def remove(self, user: UserId) -> bool:
        """Let somebody in no more, or forget that they asked; False when nothing was known of them."""
        statement = "DELETE FROM pairings WHERE account_id = $1 AND user_id = $2"
        return await self._database.execute(statement, self._account, escaped(user)) > 0
