"""Content decides what a file is; its name only fills the gaps."""

from __future__ import annotations

import pytest

from ilink.wire.mime import SNIFF_BYTES, UNKNOWN, mime_type

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(16)


@pytest.mark.parametrize(
    ("head", "name", "expected"),
    [
        (PNG, "", "image/png"),
        (PNG, "report.pdf", "image/png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "", "image/jpeg"),
        (b"%PDF-1.7\n", "picture.png", "application/pdf"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", "", "video/mp4"),
        (b"\x02#!SILK_V3\x01\x02", "voice.mp3", "audio/silk"),
        (b"#!SILK_V3\x01\x02", "", "audio/silk"),
        (b"hello\n", "", "text/plain"),
        (b"a,b\n1,2\n", "table.csv", "text/csv"),
        (b"<svg/>", "cute.png", "text/plain"),
        ("你好".encode(), "note.txt", "text/plain"),
        (b"{}", "data.json", "application/json"),
        (b"", "", UNKNOWN),
        (b"", "picture.png", UNKNOWN),
        (bytes(64), "picture.png", UNKNOWN),
        (b"\x00\xff" * 9, "old.doc", "application/msword"),
    ],
)
def test_type_follows_from_content_then_name(head: bytes, name: str, expected: str) -> None:
    assert mime_type(head, name) == expected


def test_text_cut_within_a_character_is_still_text() -> None:
    head = ("a" + "好" * SNIFF_BYTES).encode()[:SNIFF_BYTES]
    assert mime_type(head) == "text/plain"
