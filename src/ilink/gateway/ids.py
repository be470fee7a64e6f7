"""Where ids, tokens and keys come from: the system's randomness, or a seed that makes them repeat."""

from __future__ import annotations

import base64
import random
import secrets
from typing import Final

from ilink.wire.ids import AccountId, UserId

__all__ = ["MESSAGE_ID_BASE", "IdSource"]

MESSAGE_ID_BASE: Final = 7_500_000_000_000_000_000
"""Message ids count from here: above 2^53, below 2^63, as on the real server (observed: ocw#263)."""

_POOL_BYTES: Final = 1024
"""Few enough that cutting some off costs nothing."""
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_CONTEXT_BEGINNING: Final = base64.b64decode("AARzJWAF")
_TICKET_BEGINNING: Final = base64.b64decode("AARTBK8F")


class IdSource:
    """Makes everything that must be unique or unguessable.

    Each kind draws from a stream of its own, so that one more message does not change the next person's id.

    Args:
        seed: None takes the system's randomness. With a seed everything can be guessed: for tests only.
        incarnation: How often a gateway was opened on the same data, so that a seed gives new ids after a restart.
    """

    def __init__(self, seed: int | None = None, *, incarnation: int = 0) -> None:
        self.seed = seed
        self._incarnation = incarnation
        self._streams: dict[str, random.Random] = {}
        self._pool = b""

    def person(self) -> UserId:
        """Return a user id: 28 characters that begin with `o9cq80`, case-sensitive (observed: octo-agent#1575)."""
        return UserId("o9cq80" + "".join(self.stream("person").choices(_ALPHABET, k=22)) + "@im.wechat")

    def bot(self) -> AccountId:
        """Return a bot id: 12 hexadecimal digits (observed: ocw issues)."""
        return AccountId(self.draw("bot", 6).hex() + "@im.bot")

    def qrcode(self) -> str:
        """Return a code's token: 32 hexadecimal digits (observed: ocw#95)."""
        return self.draw("qrcode", 16).hex()

    def short(self) -> str:
        """Return the short word in a code's URL."""
        return "".join(self.stream("short").choices(_ALPHABET, k=10))

    def digits(self, count: int) -> str:
        """Return digits to type."""
        return "".join(self.stream("digits").choices("0123456789", k=count))

    def context_token(self) -> str:
        """Return a context token: 136 characters of base64 that begin with `AARzJWAF` (observed: ocw#310)."""
        return base64.b64encode(_CONTEXT_BEGINNING + self.draw("context", 96)).decode()

    def typing_ticket(self) -> str:
        """Return a typing ticket: base64 that begins with `AARTBK8F` (observed: ocw logs)."""
        return base64.b64encode(_TICKET_BEGINNING + self.draw("ticket", 66)).decode()

    def draw(self, kind: str, count: int) -> bytes:
        """Return random bytes of a kind."""
        return self._take(count) if self.seed is None else self.stream(kind).randbytes(count)

    def _take(self, count: int) -> bytes:
        """Return bytes of the system's randomness, drawn many at a time: each asking takes as long as an id's rest."""
        if len(self._pool) < count:
            self._pool = secrets.token_bytes(_POOL_BYTES + count)
        taken, self._pool = self._pool[:count], self._pool[count:]
        return taken

    def chance(self, kind: str, probability: float) -> bool:
        """Tell whether something of this probability happens now."""
        return probability > 0 and self.stream(kind).random() < probability

    def stream(self, kind: str) -> random.Random:
        """Return the kind's own source of randomness."""
        stream = self._streams.get(kind)
        if stream is None:
            stream = random.SystemRandom() if self.seed is None else random.Random(self._name(kind))  # noqa: S311  # a seed asks for it
            self._streams[kind] = stream
        return stream

    def _name(self, kind: str) -> str:
        return f"{self.seed}/{self._incarnation}/{kind}"
