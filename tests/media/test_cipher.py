"""The cipher gives the protocol's bytes, whatever the sizes and the borders of the chunks."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilink.errors import DecryptionError
from ilink.wire.cipher import BLOCK_BYTES, Decryptor, Encryptor, ciphertext_size, decrypt, encrypt
from ilink.wire.keys import MediaKey

KEY = MediaKey(bytes.fromhex("00112233445566778899aabbccddeeff"))

VECTORS = [
    (b"", "d41d8cd98f00b204e9800998ecf8427e", "00657ea140655a44782747705d422fad"),
    (b"iLink probe 01", "0a1790440a3dc81dcc60221ba5fcff9c", "d2690b7c85f1f3f1d9b314763fa55fa1"),
    (
        b"0123456789abcdef",
        "4032af8d61035123906e58e067140cc5",
        "aebdd39b144089d5e31cacd35b7a113a00657ea140655a44782747705d422fad",
    ),
]

keys = st.binary(min_size=16, max_size=16).map(MediaKey)


def cut(data: bytes, borders: list[int]) -> list[bytes]:
    points = sorted({0, len(data), *(border % (len(data) + 1) for border in borders)})
    return [data[start:end] for start, end in pairwise(points)]


def run(stream: Encryptor | Decryptor, chunks: list[bytes]) -> bytes:
    return b"".join([*(bytes(stream.update(chunk)) for chunk in chunks), bytes(stream.finish())])


@pytest.mark.parametrize(("plain", "md5", "ciphertext"), VECTORS)
def test_published_vectors_hold_both_ways(plain: bytes, md5: str, ciphertext: str) -> None:
    assert hashlib.md5(plain).hexdigest() == md5
    assert encrypt(KEY, plain).hex() == ciphertext
    assert decrypt(KEY, bytes.fromhex(ciphertext)) == plain


@pytest.mark.parametrize(
    ("plain", "expected"), [(0, 16), (1, 16), (15, 16), (16, 32), (100, 112), (1_048_576, 1_048_592)]
)
def test_ciphertext_size_is_the_published_one(plain: int, expected: int) -> None:
    assert ciphertext_size(plain) == expected


@given(keys, st.binary(max_size=200), st.lists(st.integers(0, 200)), st.lists(st.integers(0, 224)))
def test_chunk_borders_change_nothing(
    key: MediaKey, plain: bytes, plain_borders: list[int], cipher_borders: list[int]
) -> None:
    ciphertext = run(Encryptor(key), cut(plain, plain_borders))
    assert ciphertext == encrypt(key, plain)
    assert len(ciphertext) == ciphertext_size(len(plain))
    assert run(Decryptor(key), cut(ciphertext, cipher_borders)) == plain


@given(st.binary(max_size=100), st.integers(1, 40))
def test_stream_holds_back_at_most_one_block(plain: bytes, step: int) -> None:
    encryptor, fed, given_out = Encryptor(KEY), 0, 0
    for start in range(0, len(plain), step):
        chunk = plain[start : start + step]
        fed += len(chunk)
        given_out += len(encryptor.update(chunk))
        assert 0 <= fed - given_out < BLOCK_BYTES


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_is_taken(kind: type) -> None:
    assert run(Encryptor(KEY), [kind(b"iLink probe "), kind(b"01")]).hex() == VECTORS[1][2]


def test_one_buffer_serves_all_chunks() -> None:
    encryptor = Encryptor(KEY)
    first = encryptor.update(bytes(64))
    assert encryptor.update(b"x" * 64).obj is first.obj


@pytest.mark.parametrize("size", [0, 1, 15, 17, 31])
def test_cut_ciphertext_is_refused(size: int) -> None:
    with pytest.raises(DecryptionError, match="were cut"):
        decrypt(KEY, encrypt(KEY, bytes(100))[:size])


def test_whole_blocks_missing_at_the_end_are_refused() -> None:
    with pytest.raises(DecryptionError, match="do not decrypt"):
        decrypt(KEY, encrypt(KEY, bytes(100))[:-16])


@given(keys.filter(lambda key: key != KEY), st.binary(min_size=1, max_size=64))
def test_wrong_key_gives_an_error_or_other_bytes_but_never_the_plain_ones(other: MediaKey, plain: bytes) -> None:
    found = None
    with suppress(DecryptionError):
        found = decrypt(other, encrypt(KEY, plain))
    assert found != plain


@pytest.mark.parametrize("padding", [b"\x00", b"\x11", b"\x01\x02", b"\x03\x02\x03"])
def test_every_byte_of_the_padding_is_checked(padding: bytes) -> None:
    from Crypto.Cipher import AES

    block = padding.rjust(16, b"p")
    with pytest.raises(DecryptionError):
        decrypt(KEY, AES.new(KEY.raw, AES.MODE_ECB).encrypt(block))
