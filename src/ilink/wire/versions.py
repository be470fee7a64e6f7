"""How the caller says which program it is: version numbers, the user agent and the random-looking UIN header."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Final

__all__ = [
    "DEFAULT_BOT_AGENT",
    "MAX_BOT_AGENT_BYTES",
    "decode_version",
    "encode_uin",
    "encode_version",
    "format_bot_agent",
]

DEFAULT_BOT_AGENT: Final = "ilink/0.1.0"
"""What is left when nothing in a user agent keeps to the grammar; the official client says "OpenClaw" here."""

MAX_BOT_AGENT_BYTES: Final = 256

_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_PRODUCT: Final = re.compile(r"[A-Za-z0-9_.-]{1,32}/[A-Za-z0-9_.+-]{1,32}")
_COMMENT: Final = re.compile(r"\([\x20-\x27\x2a-\x7e]{1,64}\)")


def encode_version(version: str) -> int:
    """Encode `major.minor.patch` as the number of the iLink-App-ClientVersion header.

    `major << 16 | minor << 8 | patch`, the top byte 0: 2.4.9 is 132105 (official 2.4.9). Missing parts count as 0, a
    part that is no number ends the version, and what does not fit a byte is cut to it.
    """
    parts = [0, 0, 0]
    for place, text in enumerate(version.split(".")[:3]):
        digits = _DIGITS.match(text)
        if digits is None:
            break
        parts[place] = int(digits.group()) & 0xFF
        if digits.group() != text:
            break
    return parts[0] << 16 | parts[1] << 8 | parts[2]


def decode_version(number: int) -> str:
    """Read the number of the iLink-App-ClientVersion header back as `major.minor.patch`."""
    return f"{number >> 16 & 0xFF}.{number >> 8 & 0xFF}.{number & 0xFF}"


def encode_uin(number: int) -> str:
    """Encode a random 32-bit number for the X-WECHAT-UIN header: base64 of its decimal text (seed).

    It is no identity; every request carries a fresh one.
    """
    return base64.b64encode(str(number & 0xFFFFFFFF).encode()).decode()


def format_bot_agent(text: str) -> str:
    """Bring a user agent into the protocol's grammar (official 2.4.9).

    Products `name/version`, each with an optional `(comment)`, single blanks between. A product that does not fit is
    dropped with its comment, a comment that does not fit is dropped alone, and whole products are dropped from the end
    until at most 256 bytes are left.

    Returns:
        A conforming text; `DEFAULT_BOT_AGENT` if nothing of the given one conforms.
    """
    products: list[str] = []
    takes_comment = False
    for token in _tokens(text):
        if _COMMENT.fullmatch(token) and takes_comment:
            products[-1] += " " + token
        takes_comment = _PRODUCT.fullmatch(token) is not None
        if takes_comment:
            products.append(token)
    while len(" ".join(products)) > MAX_BOT_AGENT_BYTES:
        products.pop()
    return " ".join(products) or DEFAULT_BOT_AGENT


def _tokens(text: str) -> Iterator[str]:
    """Split at blanks; a comment, which may hold blanks, stays one token."""
    token = ""
    for word in text.split():
        token = f"{token} {word}" if token else word
        if not token.startswith("(") or token.endswith(")"):
            yield token
            token = ""
