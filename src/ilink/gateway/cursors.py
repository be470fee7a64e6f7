"""The cursor of a bot's stream: opaque to the bot, and worthless in the hands of another.

    base64url( version 1 byte | bot 8 bytes | generation 4 bytes | seq 8 bytes | MAC 9 bytes )

30 bytes are 40 characters without padding. The MAC is over everything before it, so that a cursor that was made up or
changed is noticed; 72 bits are plenty for something that only ever acknowledges its own bearer's messages.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from dataclasses import dataclass
from typing import Final, Literal

from ilink.wire.ids import Cursor

__all__ = ["CursorVerdict", "Position", "describe_cursor", "read_cursor", "write_cursor"]

_VERSION: Final = 1
_LAYOUT: Final = struct.Struct(">BQIQ")
_MAC_BYTES: Final = 9
_CHARACTERS: Final = 40

CursorVerdict = Literal["valid", "empty", "old_generation", "foreign", "unreadable"]


@dataclass(frozen=True, slots=True)
class Position:
    """What a cursor turned out to be; only a valid one has a `seq` that counts."""

    verdict: CursorVerdict
    seq: int = 0


def write_cursor(key: bytes, *, bot: int, generation: int, seq: int) -> Cursor:
    """Return the cursor that acknowledges everything up to `seq`."""
    body = _LAYOUT.pack(_VERSION, bot, generation, seq)
    return Cursor(base64.urlsafe_b64encode(body + _mac(key, body)).decode())


def read_cursor(key: bytes, cursor: str, *, bot: int, generation: int) -> Position:
    """Say what a cursor is worth to this bot; never raises, whatever the text is."""
    if not cursor:
        return Position("empty")
    blob = _decode(cursor)
    if blob is None:
        return Position("unreadable")
    body, mac = blob[: _LAYOUT.size], blob[_LAYOUT.size :]
    if not hmac.compare_digest(mac, _mac(key, body)):
        return Position("unreadable")
    version, owner, its_generation, seq = _LAYOUT.unpack(body)
    if version != _VERSION:
        return Position("unreadable")
    if owner != bot:
        return Position("foreign")
    return Position("valid", seq) if its_generation == generation else Position("old_generation")


def describe_cursor(cursor: str) -> tuple[int, int, int] | None:
    """Return the bot's number, generation and seq that a cursor claims, for people; None for what has no such shape.

    Nothing is proven by that: whether it is genuine is known to the gateway that made it.
    """
    blob = _decode(cursor)
    if blob is None:
        return None
    version, bot, generation, seq = _LAYOUT.unpack(blob[: _LAYOUT.size])
    return (bot, generation, seq) if version == _VERSION else None


def _decode(cursor: str) -> bytes | None:
    """Return the bytes of a text that has a cursor's shape; other spellings of the same bytes are none."""
    if len(cursor) != _CHARACTERS or not cursor.isascii():
        return None
    try:
        blob = base64.urlsafe_b64decode(cursor)
    except (binascii.Error, ValueError):
        return None
    if len(blob) != _LAYOUT.size + _MAC_BYTES or base64.urlsafe_b64encode(blob).decode() != cursor:
        return None
    return blob


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:_MAC_BYTES]
