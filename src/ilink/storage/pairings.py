"""Who an account's owner has let in, and who asks to be.

The seam every store of these stands behind; one class of tests holds for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from ilink.wire.ids import UserId

__all__ = ["Asked", "GuessesLocked", "Paired", "Pairings", "read_code", "to_paired"]

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


class Pairings(Protocol):
    """The people of one account. Every call raises StoreError when the store fails; nothing of it is stored then."""

    async def is_paired(self, user: UserId) -> bool:
        """Whether somebody was let in."""
        ...

    async def list(self, *, now_ms: int) -> tuple[Paired, ...]:
        """Return everybody who was let in or holds a code, in the order in which they came."""
        ...

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
        ...

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
        ...

    async def remove(self, user: UserId) -> bool:
        """Let somebody in no more, or forget that they asked; False when nothing was known of them."""
        ...


def read_code(text: str) -> str:
    """Return a code as it is stored, however a person wrote it."""
    return "".join(character for character in text.upper() if character.isalnum())


def to_paired(user: str, code: str | None, since_ms: int, expires_ms: int | None) -> Paired:
    """Return somebody as they are stored."""
    expires = None if expires_ms is None else _EPOCH + timedelta(milliseconds=expires_ms)
    return Paired(user=UserId(user), code=code, since=_EPOCH + timedelta(milliseconds=since_ms), expires=expires)
