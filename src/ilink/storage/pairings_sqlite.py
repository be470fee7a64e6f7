"""Pairings in the embedded database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from ilink.storage.pairings import Asked, GuessesLocked, Paired, read_code, to_paired
from ilink.storage.sqlite import Database
from ilink.wire.ids import AccountId, UserId

__all__ = ["SqlitePairings"]


class SqlitePairings:
    """The people of one account.

    Args:
        database: The local database, open.
        account: The account.
    """

    def __init__(self, database: Database, account: AccountId) -> None:
        self._database = database
        self._account = account

    async def is_paired(self, user: UserId) -> bool:
        """Whether somebody was let in."""
        return await self._database.read(
            lambda connection: (
                connection.execute(
                    "SELECT 1 FROM pairings WHERE account_id = ? AND user_id = ? AND code IS NULL",
                    (self._account, user),
                ).fetchone()
                is not None
            )
        )

    async def list(self, *, now_ms: int) -> tuple[Paired, ...]:
        """Return everybody who was let in or holds a code, in the order in which they came."""
        rows = await self._database.read(
            lambda connection: connection.execute(
                "SELECT user_id, code, since_ms, expires_ms FROM pairings"
                " WHERE account_id = ? AND (code IS NULL OR expires_ms > ?) ORDER BY since_ms, user_id",
                (self._account, now_ms),
            ).fetchall()
        )
        return tuple(to_paired(*row) for row in rows)

    async def ask(
        self, user: UserId, *, by: str, new_code: Callable[[], str], now_ms: int, lasts_ms: int, most: int
    ) -> Asked | None:
        """Note that somebody asks to be let in; see `Pairings`."""

        def work(connection: sqlite3.Connection) -> Asked | None:
            _forget_expired(connection, self._account, now_ms)
            row = connection.execute(
                "SELECT code, asked_by, expires_ms FROM pairings WHERE account_id = ? AND user_id = ?",
                (self._account, user),
            ).fetchone()
            if row is not None:
                return Asked(row[0] or "", row[1] == by, row[2] or now_ms)
            (waiting,) = connection.execute(
                "SELECT count(*) FROM pairings WHERE account_id = ? AND code IS NOT NULL", (self._account,)
            ).fetchone()
            if waiting >= most:
                return None
            code = new_code()
            connection.execute(
                "INSERT INTO pairings (account_id, user_id, code, asked_by, since_ms, expires_ms)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (self._account, user, code, by, now_ms, now_ms + lasts_ms),
            )
            return Asked(code, True, now_ms + lasts_ms)

        return await self._database.write(work)

    async def approve(
        self, code: str, *, now_ms: int, wrong_codes: int | None = None, lock_ms: int = 0
    ) -> UserId | GuessesLocked | None:
        """Let in whoever holds a code; see `Pairings`."""
        wanted = read_code(code)

        def work(connection: sqlite3.Connection) -> UserId | GuessesLocked | None:
            _forget_expired(connection, self._account, now_ms)
            wrong, until_ms = _guesses(connection, self._account, now_ms)
            if wrong_codes is not None and wrong >= wrong_codes:
                return GuessesLocked(until_ms)
            row = connection.execute(
                "UPDATE pairings SET code = NULL, asked_by = NULL, expires_ms = NULL, since_ms = ?"
                " WHERE account_id = ? AND code = ? RETURNING user_id",
                (now_ms, self._account, wanted),
            ).fetchone()
            if row is None:
                connection.execute(
                    "INSERT OR REPLACE INTO pairing_guesses (account_id, wrong, until_ms) VALUES (?, ?, ?)",
                    (self._account, wrong + 1, now_ms + lock_ms),
                )
                return None
            connection.execute("DELETE FROM pairing_guesses WHERE account_id = ?", (self._account,))
            return UserId(row[0])

        return await self._database.write(work)

    async def remove(self, user: UserId) -> bool:
        """Let somebody in no more, or forget that they asked; False when nothing was known of them."""
        return await self._database.write(
            lambda connection: (
                connection.execute(
                    "DELETE FROM pairings WHERE account_id = ? AND user_id = ?", (self._account, user)
                ).rowcount
                > 0
            )
        )


def _forget_expired(connection: sqlite3.Connection, account: AccountId, now_ms: int) -> None:
    connection.execute(
        "DELETE FROM pairings WHERE account_id = ? AND code IS NOT NULL AND expires_ms <= ?", (account, now_ms)
    )


def _guesses(connection: sqlite3.Connection, account: AccountId, now_ms: int) -> tuple[int, int]:
    """Return how many codes were wrong in a row, and until when that counts."""
    row = connection.execute(
        "SELECT wrong, until_ms FROM pairing_guesses WHERE account_id = ? AND until_ms > ?", (account, now_ms)
    ).fetchone()
    return (0, 0) if row is None else (row[0], row[1])
