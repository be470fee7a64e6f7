"""A login's link as a QR code: for terminals of any colour and encoding, as a PNG."""

from __future__ import annotations

from enum import StrEnum
from io import BytesIO
from typing import Final

import segno

from ilink.errors import RemoteProtocolError

__all__ = ["QrStyle", "choose_style", "qr_png", "qr_text"]

_QUIET_ZONE: Final = 4
"""Light modules around the code; scanners need them (ISO/IEC 18004)."""

_BLACK_ON_WHITE: Final = "\x1b[38;5;16;48;5;231m"
_BLACK: Final = "\x1b[48;5;16m"
_WHITE: Final = "\x1b[48;5;231m"
_RESET: Final = "\x1b[0m"
"""Entries of the 256-colour cube: unlike the first 16 colours a theme does not change them."""


class QrStyle(StrEnum):
    """How a code is drawn in a terminal."""

    HALF_BLOCKS = "half-blocks"
    """Two modules in a character, black on white whatever the theme: the smallest that always scans."""

    BLANKS = "blanks"
    """Two coloured blanks a module, in ASCII: for encodings such as GBK, which have no upper half block."""

    PLAIN = "plain"
    """Two `#` a dark module, without colours: for logs. It scans on a light background, and only with good will on a
    dark one; show the link beside it."""


def choose_style(encoding: str | None, *, has_colours: bool) -> QrStyle:
    """Return the style for a stream: its encoding, and whether it understands ANSI colours."""
    if not has_colours:
        return QrStyle.PLAIN
    try:
        "▀▄█".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return QrStyle.BLANKS
    return QrStyle.HALF_BLOCKS


def qr_text(link: str, *, style: QrStyle = QrStyle.HALF_BLOCKS) -> str:
    """Draw a link for a terminal; lines end in a newline each.

    Raises:
        RemoteProtocolError: The link is too long for a QR code, so it is none.
    """
    rows = _modules(link)
    match style:
        case QrStyle.HALF_BLOCKS:
            lines = _half_blocks(rows)
        case QrStyle.BLANKS:
            lines = ["".join((_BLACK if dark else _WHITE) + "  " for dark in row) + _RESET for row in rows]
        case QrStyle.PLAIN:
            lines = ["".join("##" if dark else "  " for dark in row) for row in rows]
    return "\n".join(lines) + "\n"


def qr_png(link: str, *, scale: int = 8) -> bytes:
    """Draw a link as a PNG, `scale` pixels a module, black on white.

    Raises:
        RemoteProtocolError: The link is too long for a QR code, so it is none.
    """
    file = BytesIO()
    _code(link).save(file, kind="png", scale=scale, border=_QUIET_ZONE, dark="#000", light="#fff")
    return file.getvalue()


def _half_blocks(rows: list[list[bool]]) -> list[str]:
    """Put two rows into one line: the upper half of a block is drawn in black, what is not drawn is white."""
    if len(rows) % 2:
        rows = [*rows, [False] * len(rows[0])]
    glyphs = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
    return [
        _BLACK_ON_WHITE + "".join(glyphs[pair] for pair in zip(upper, lower, strict=True)) + _RESET
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]


def _modules(link: str) -> list[list[bool]]:
    return [[bool(module) for module in row] for row in _code(link).matrix_iter(border=_QUIET_ZONE)]


def _code(link: str) -> segno.QRCode:
    try:
        return segno.make_qr(link, error="l", boost_error=False)
    except (segno.DataOverflowError, ValueError) as error:
        message = f"the code's content has {len(link)} characters, too many for a QR code: it is no link"
        raise RemoteProtocolError(message) from error
