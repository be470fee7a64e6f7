"""Who an account's owner has let in, and who asks to be, kept in the local database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from ilink.storage.sqlite import Database
from ilink.wire.ids import AccountId, UserId

__all__ = ["Asked", "GuessesLocked", "Paired", "Pairings"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Somebody who was let in, or who waits for it.

    Attributes:
        user: Who.
        code: What the owner has to repeat; None for somebody who was let in.
        since: Since when.
        expires: When the code is worth nothing any more.
    """

    user: UserId
    code: str | None
    since: datetime
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class Asked:
    """The code of somebody who asks to be let in.

    Attributes:
        code: The code.
        must_tell: Whether the message that asked is to be answered with it.
        expires_ms: When it is worth nothing any more.
    """

    code: str
    must_tell: bool
    expires_ms: int


@dataclass(frozen=True, slots=True)
class GuessesLocked:
    """Too many codes were wrong.

    Attributes:
        until_ms: When the next one is looked at.
    """

    until_ms: int


class Pairings:
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
        return tuple(_paired(*row) for row in rows)

    async def ask(
        self, user: UserId, *, by: str, new_code: Callable[[], str], now_ms: int, lasts_ms: int, most: int
    ) -> Asked | None:
        """Note that somebody asks to be let in; None when too many wait already.

        Args:
            user: Who.
            by: Names the message; the same one is told the code again when it is handled again.
            new_code: Makes a code.
            now_ms: The time of day.
            lasts_ms: How long a code is worth something.
            most: How many may wait at the same time.
        """

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
        """Let in whoever holds a code; None when nobody does.

        Args:
            code: The code, in any case, with or without blanks and dashes.
            now_ms: The time of day.
            wrong_codes: How many may be wrong in a row before none is looked at for a while; None for any number.
            lock_ms: For how long.
        """
        wanted = "".join(character for character in code.upper() if character.isalnum())

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


def _paired(user: str, code: str | None, since_ms: int, expires_ms: int | None) -> Paired:
    expires = None if expires_ms is None else _EPOCH + timedelta(milliseconds=expires_ms)
    return Paired(user=UserId(user), code=code, since=_EPOCH + timedelta(milliseconds=since_ms), expires=expires)
