"""Codes as a camera sees them: what a terminal shows is drawn into a picture and read by a scanner."""

from __future__ import annotations

import re

import pytest
import zxingcpp
from PIL import Image

from ilink.client.qr import QrStyle, choose_style, qr_png, qr_text
from ilink.errors import RemoteProtocolError

LINK = "https://liteapp.weixin.qq.com/q/7GiQu1?qrcode=0123456789abcdef0123456789abcdef&bot_type=3"
ANSI = re.compile(r"\x1b\[([0-9;]*)m")
CUBE = {"16": 0, "231": 255}
CELL = (4, 8)


def photograph(text: str, *, foreground: int, background: int, wide_blocks: bool = False) -> Image.Image:
    """Draw a terminal's cells into a grey picture, as a theme with these default colours would."""
    rows: list[list[tuple[int, int]]] = []
    for line in text.splitlines():
        fore, back, cells = foreground, background, []
        for part in re.split(r"(\x1b\[[0-9;]*m)", line):
            if found := ANSI.fullmatch(part):
                fore, back = colours(found[1], fore, back, (foreground, background))
                continue
            for character in part:
                upper, lower = {
                    " ": (back, back),
                    "#": (fore, fore),
                    "█": (fore, fore),
                    "▀": (fore, back),
                    "▄": (back, fore),
                }[character]
                cells.append((upper, lower))
        rows.append(cells)
    margin, (width, height) = 6, CELL
    columns = max(map(len, rows)) + 2 * margin
    picture = Image.new("L", (columns * width, (len(rows) + 2 * margin) * height), background)
    for y, cells in enumerate(rows, margin):
        for x, (upper, lower) in enumerate(cells, margin):
            picture.paste(upper, (x * width, y * height, (x + 1) * width, y * height + height // 2))
            picture.paste(lower, (x * width, y * height + height // 2, (x + 1) * width, (y + 1) * height))
    return picture


def colours(code: str, fore: int, back: int, defaults: tuple[int, int]) -> tuple[int, int]:
    if code in ("", "0"):
        return defaults
    numbers = code.split(";")
    while numbers:
        place, kind, entry = numbers.pop(0), numbers.pop(0), numbers.pop(0)
        assert kind == "5"
        if place == "38":
            fore = CUBE[entry]
        else:
            assert place == "48"
            back = CUBE[entry]
    return fore, back


def scan(picture: Image.Image, *, try_invert: bool = False) -> list[str]:
    return [code.text for code in zxingcpp.read_barcodes(picture, try_invert=try_invert)]


@pytest.mark.parametrize(("foreground", "background"), [(255, 0), (0, 255), (131, 0x15), (0x65, 0xFD)])
@pytest.mark.parametrize("style", [QrStyle.HALF_BLOCKS, QrStyle.BLANKS])
def test_coloured_code_scans_on_dark_and_light_themes(style: QrStyle, foreground: int, background: int) -> None:
    assert scan(photograph(qr_text(LINK, style=style), foreground=foreground, background=background)) == [LINK]


def test_plain_code_scans_on_a_light_theme_and_inverted_on_a_dark_one() -> None:
    text = qr_text(LINK, style=QrStyle.PLAIN)
    assert scan(photograph(text, foreground=0, background=255)) == [LINK]
    assert scan(photograph(text, foreground=255, background=0), try_invert=True) == [LINK]


def test_half_blocks_without_colours_would_not_scan_on_a_dark_theme() -> None:
    """Why the colours are there: this is what goes wrong without them."""
    text = ANSI.sub("", qr_text(LINK))
    assert scan(photograph(text, foreground=255, background=0)) == []


def test_png_scans() -> None:
    from io import BytesIO

    picture = Image.open(BytesIO(qr_png(LINK)))
    assert scan(picture.convert("L")) == [LINK]


@pytest.mark.parametrize("style", [QrStyle.BLANKS, QrStyle.PLAIN])
def test_fall_backs_are_ascii(style: QrStyle) -> None:
    assert qr_text(LINK, style=style).isascii()


def test_every_line_gives_the_colours_back() -> None:
    for style in (QrStyle.HALF_BLOCKS, QrStyle.BLANKS):
        assert all(line.endswith("\x1b[0m") for line in qr_text(LINK, style=style).splitlines())


@pytest.mark.parametrize(
    ("encoding", "has_colours", "style"),
    [
        ("utf-8", True, QrStyle.HALF_BLOCKS),
        ("gbk", True, QrStyle.BLANKS),
        ("cp936", True, QrStyle.BLANKS),
        ("gb18030", True, QrStyle.HALF_BLOCKS),
        ("ascii", True, QrStyle.BLANKS),
        ("cp437", True, QrStyle.HALF_BLOCKS),
        (None, True, QrStyle.BLANKS),
        ("no-such-encoding", True, QrStyle.BLANKS),
        ("utf-8", False, QrStyle.PLAIN),
        ("gbk", False, QrStyle.PLAIN),
    ],
)
def test_style_follows_the_stream(encoding: str | None, has_colours: bool, style: QrStyle) -> None:
    assert choose_style(encoding, has_colours=has_colours) is style
    qr_text(LINK, style=style).encode(encoding if encoding in ("gbk", "cp936", "ascii", "cp437") else "utf-8")


def test_content_that_is_no_link_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="5000 characters"):
        qr_text("x" * 5000)
