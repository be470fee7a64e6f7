"""What an item points to, what an uploaded file becomes, and names that cannot do harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilink.errors import DecryptionError
from ilink.messages.media import (
    MediaKind,
    UploadedMedia,
    UploadedThumbnail,
    kind_of,
    media_references,
    safe_file_name,
)
from ilink.wire.codec import decode, decode_object, encode
from ilink.wire.keys import MediaKey
from ilink.wire.models import WeixinMessage

HEX = "00112233445566778899aabbccddeeff"
B64_RAW = "ABEiM0RVZneImaq7zN3u/w=="
B64_HEX = "MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmY="
KEY = MediaKey(bytes.fromhex(HEX))


def read(*items: dict[str, object]) -> WeixinMessage:
    return decode(encode({"item_list": list(items)}), WeixinMessage).value


def uploaded(kind: MediaKind, **changes: object) -> UploadedMedia:
    values: dict[str, object] = {
        "kind": kind,
        "param": "ref",
        "key": KEY,
        "size": 100,
        "md5": "0" * 32,
        "mime": "x/y",
        "name": "a.b",
    }
    return UploadedMedia(**(values | changes))  # type: ignore[arg-type]


MEDIA = {"encrypt_query_param": "ref", "aes_key": B64_HEX, "encrypt_type": 1}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (MediaKind.IMAGE, {"type": 2, "image_item": {"media": MEDIA, "mid_size": 112}}),
        (MediaKind.VIDEO, {"type": 5, "video_item": {"media": MEDIA, "video_size": 112}}),
        (MediaKind.FILE, {"type": 4, "file_item": {"media": MEDIA, "file_name": "a.b", "len": "100"}}),
    ],
)
def test_items_have_the_shape_that_phones_show(kind: MediaKind, expected: dict[str, object]) -> None:
    assert decode_object(encode(uploaded(kind).to_item())) == expected


def test_thumbnail_is_referred_to_with_the_same_key() -> None:
    thumbnail = UploadedThumbnail(param="small", size=10, width=120, height=90)
    item = decode_object(encode(uploaded(MediaKind.IMAGE, thumbnail=thumbnail).to_item()))
    assert item["image_item"] == {
        "media": MEDIA,
        "thumb_media": MEDIA | {"encrypt_query_param": "small"},
        "mid_size": 112,
        "thumb_size": 16,
        "thumb_width": 120,
        "thumb_height": 90,
    }


@pytest.mark.parametrize("kind", [MediaKind.IMAGE, MediaKind.VIDEO, MediaKind.FILE])
def test_item_reads_back_as_its_reference(kind: MediaKind) -> None:
    (reference,) = media_references(read(decode_object(encode(uploaded(kind).to_item()))))
    assert (reference.kind, reference.param, reference.key) == (kind, "ref", KEY)


@pytest.mark.parametrize(
    ("keys", "media_key"), [({"aeskey": HEX}, B64_RAW), ({"aeskey": HEX}, "broken"), ({}, B64_RAW), ({}, HEX)]
)
def test_picture_takes_the_first_key_that_can_be_read(keys: dict[str, object], media_key: str) -> None:
    item = {"type": 2, "image_item": keys | {"media": {"encrypt_query_param": "r", "aes_key": media_key}}}
    (reference,) = media_references(read(item))
    assert reference.key == KEY


def test_picture_with_unreadable_keys_is_not_taken_for_plain() -> None:
    item = {"type": 2, "image_item": {"aeskey": "x", "media": {"encrypt_query_param": "r", "aes_key": "y"}}}
    (reference,) = media_references(read(item))
    with pytest.raises(DecryptionError):
        _ = reference.key


def test_every_file_of_a_message_is_found_quoted_ones_last() -> None:
    pointer = {"encrypt_query_param": "a", "aes_key": B64_HEX}
    message = read(
        {
            "type": 1,
            "text_item": {"text": "look"},
            "ref_msg": {"message_item": {"type": 3, "voice_item": {"media": pointer}}},
        },
        {"type": 5, "video_item": {"media": {"full_url": " https://x/ "}, "video_md5": "AB" * 16}},
        {"type": 4, "file_item": {"media": pointer, "file_name": "x", "len": "7", "md5": "no md5"}},
        {"type": 2, "image_item": {}},
        {"type": 99},
    )
    found = media_references(message)
    assert [(one.kind, one.is_quoted) for one in found] == [("video", False), ("file", False), ("voice", True)]
    assert (found[0].full_url, found[0].md5) == ("https://x/", "ab" * 16)
    assert (found[1].size, found[1].md5) == (7, None)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)))
def test_odd_items_never_raise(value: object) -> None:
    fields = ("type", "image_item", "voice_item", "file_item", "video_item", "ref_msg")
    media_references(read(dict.fromkeys(fields, value), {"type": 4, "file_item": {"media": value, "len": value}}))


@pytest.mark.parametrize(
    ("mime", "kind"),
    [
        ("image/png", "image"),
        ("image/svg+xml", "file"),
        ("video/mp4", "video"),
        ("audio/mpeg", "file"),
        ("application/pdf", "file"),
    ],
)
def test_kind_is_what_a_phone_can_show(mime: str, kind: str) -> None:
    assert kind_of(mime) == kind


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("plan.pdf", "plan.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\system32\\evil.exe", "evil.exe"),
        ("/", "file"),
        ("", "file"),
        ("..", "file"),
        (".hidden", "hidden"),
        ("a\x00b\n.txt", "ab.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("con", "_con"),
        ("COM1.txt", "_COM1.txt"),
        ("a:b?.txt", "a_b_.txt"),
        ("名字.txt", "名字.txt"),
        ("name. . ", "name"),
    ],
)
def test_names_are_made_safe(name: str, safe: str) -> None:
    assert safe_file_name(name) == safe


@given(st.text(max_size=400))
def test_any_name_is_one_file_in_its_folder(name: str) -> None:
    safe = safe_file_name(name)
    assert safe not in ("", ".", "..")
    assert not {"/", "\\", "\x00"} & set(safe)
    assert len(safe.encode()) <= 201
    assert safe_file_name(safe) == safe


def test_long_name_keeps_its_ending() -> None:
    safe = safe_file_name("名" * 300 + ".pdf")
    assert safe.endswith("名.pdf")
    assert len(safe.encode()) <= 200
