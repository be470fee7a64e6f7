"""The key of one encrypted blob, in the three spellings it travels in (protocol §5.2)."""

from __future__ import annotations

import base64
import binascii
import string
from enum import StrEnum
from typing import Final

from ilink.errors import DecryptionError

__all__ = ["KEY_BYTES", "KeyForm", "MediaKey", "read_key"]

KEY_BYTES: Final = 16
_HEX_CHARACTERS: Final = 2 * KEY_BYTES
_HEX_DIGITS: Final = frozenset(string.hexdigits)


class KeyForm(StrEnum):
    """How a key is spelled.

    Senders use HEX in getuploadurl and BASE64_HEX in items; a phone shows a grey picture for BASE64_RAW in an item
    (observed: Lingtai-AI/lingtai#82). In the other direction all three occur.
    """

    HEX = "hex"
    BASE64_RAW = "base64_raw"
    BASE64_HEX = "base64_hex"


class MediaKey:
    """Sixteen bytes that must not be seen: prints as `***`, is read with `raw` and `spell`."""

    __slots__ = ("raw",)

    raw: bytes

    def __init__(self, raw: bytes) -> None:
        """Take the key's bytes.

        Raises:
            DecryptionError: They are not 16.
        """
        if len(raw) != KEY_BYTES:
            message = f"a media key has {KEY_BYTES} bytes, this one has {len(raw)}"
            raise DecryptionError(message)
        self.raw = bytes(raw)

    def spell(self, form: KeyForm) -> str:
        """Return the key as it is written in this form."""
        match form:
            case KeyForm.HEX:
                return self.raw.hex()
            case KeyForm.BASE64_RAW:
                return base64.b64encode(self.raw).decode("ascii")
            case KeyForm.BASE64_HEX:
                return base64.b64encode(self.raw.hex().encode("ascii")).decode("ascii")

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MediaKey) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)


def read_key(text: str) -> tuple[MediaKey, KeyForm]:
    """Read a key in whichever spelling it came, padded or not, url-safe or not; blanks around it do not count.

    32 hexadecimal digits are always the bare spelling: read as base64 they would be 24 bytes, which is no key.

    Raises:
        DecryptionError: It is none of the spellings. The message tells its length, never the text.
    """
    stripped = text.strip()
    if _is_hex(stripped):
        return MediaKey(bytes.fromhex(stripped)), KeyForm.HEX
    decoded = _decode_base64(stripped)
    if len(decoded) == KEY_BYTES:
        return MediaKey(decoded), KeyForm.BASE64_RAW
    inner = decoded.decode("ascii", "replace")
    if _is_hex(inner):
        return MediaKey(bytes.fromhex(inner)), KeyForm.BASE64_HEX
    message = (
        f"a media key of {len(stripped)} characters is no key: expected 32 hexadecimal digits, or base64 of 16 bytes or"
        f" of 32 hexadecimal digits (this holds {len(decoded)} bytes)"
    )
    raise DecryptionError(message)


def _is_hex(text: str) -> bool:
    return len(text) == _HEX_CHARACTERS and _HEX_DIGITS.issuperset(text)


def _decode_base64(text: str) -> bytes:
    bare = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        message = f"a media key of {len(text)} characters is neither hexadecimal nor base64"
        raise DecryptionError(message) from error
