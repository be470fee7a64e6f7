"""A key is read in every spelling that was ever seen, and never shown."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilink.errors import DecryptionError
from ilink.wire.keys import KeyForm, MediaKey, read_key

HEX = "00112233445566778899aabbccddeeff"
KEY = MediaKey(bytes.fromhex(HEX))
SPELLINGS = {
    KeyForm.HEX: HEX,
    KeyForm.BASE64_RAW: "ABEiM0RVZneImaq7zN3u/w==",
    KeyForm.BASE64_HEX: "MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmY=",
}

keys = st.binary(min_size=16, max_size=16).map(MediaKey)


@pytest.mark.parametrize(("form", "text"), SPELLINGS.items())
def test_published_spellings_hold_both_ways(form: KeyForm, text: str) -> None:
    assert KEY.spell(form) == text
    assert read_key(text) == (KEY, form)


@given(keys, st.sampled_from(KeyForm))
def test_every_spelling_reads_back(key: MediaKey, form: KeyForm) -> None:
    assert read_key(key.spell(form)) == (key, form)


@given(keys, st.sampled_from([KeyForm.BASE64_RAW, KeyForm.BASE64_HEX]))
def test_url_safe_and_unpadded_base64_read_back(key: MediaKey, form: KeyForm) -> None:
    text = key.spell(form).replace("+", "-").replace("/", "_").rstrip("=")
    assert read_key(text) == (key, form)


def test_upper_case_hex_and_blanks_are_read() -> None:
    assert read_key(f" {HEX.upper()}\n")[0] == KEY
    assert read_key(base64.b64encode(HEX.upper().encode()).decode())[0] == KEY


@pytest.mark.parametrize(
    "text", ["", "=", "x", "00112233", HEX + "00", "no key at all!", "é" * 16, "A" * 10_000, "AAAA", HEX[:-1] + "g"]
)
def test_what_is_no_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(DecryptionError) as refused:
        read_key(text)
    assert len(text) < 4 or text not in str(refused.value)
    assert str(len(text)) in str(refused.value)


@given(st.text(max_size=60))
def test_any_text_is_a_key_or_a_refusal(text: str) -> None:
    try:
        key, form = read_key(text)
    except DecryptionError:
        return
    assert read_key(key.spell(form)) == (key, form)


def test_a_key_of_another_size_is_refused() -> None:
    with pytest.raises(DecryptionError, match="16 bytes"):
        MediaKey(b"short")


def test_a_key_does_not_print_itself() -> None:
    assert f"{KEY} {KEY!r} {[KEY]}" == "*** *** [***]"
