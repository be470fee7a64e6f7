"""Media that stand for recorded ones: of their size, and encrypted with the made-up keys of the cassette."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from msgspec import UNSET

from ilink.cassettes.tape import Cassette, Take
from ilink.errors import DecryptionError
from ilink.wire.cipher import Encryptor, ciphertext_size
from ilink.wire.keys import MediaKey, read_key
from ilink.wire.shapes import is_array, is_object

__all__ = ["Blobs", "objects_in"]

_BLOCK: Final = 16
_DIGESTS: Final = ("md5", "video_md5")


class Blobs:
    """Makes the bytes of a cassette's media.

    Args:
        cassette: Whose messages say which key belongs to which reference.
    """

    def __init__(self, cassette: Cassette) -> None:
        self._keys: dict[str, MediaKey] = {}
        self._plain_sizes: dict[str, int] = {}
        for take in cassette.takes:
            for part in (take.request, take.response):
                for found in objects_in({} if part.json is UNSET else part.json):
                    self._note(found.get("encrypt_query_param"), found.get("aes_key"))
                    self._note(found.get("filekey"), found.get("aeskey"))
                    self._note_size(found)
                    filekey, rawsize = found.get("filekey"), found.get("rawsize")
                    if isinstance(filekey, str) and isinstance(rawsize, int):
                        self._plain_sizes[filekey] = rawsize

    def make(self, take: Take, size: int) -> bytes:
        """Return the bytes of a download or upload: zeros, encrypted where the key is known and the size fits."""
        name = take.query.get("filekey") or take.query.get("encrypted_query_param", "")
        key, plain = self._keys.get(name), self._plain_sizes.get(name, size - _BLOCK)
        if key is None or plain < 0 or ciphertext_size(plain) != size:
            return bytes(size)
        encryptor = Encryptor(key)
        return bytes(encryptor.update(bytes(plain))) + bytes(encryptor.finish())

    def with_digests(self, value: object) -> object:
        """Return a JSON value whose items announce the MD5 of the bytes that `make` returns for them.

        A client compares what it downloads with it, and the recorded one is a made-up text.
        """
        if is_array(value):
            return [self.with_digests(entry) for entry in value]
        if not is_object(value):
            return value
        shown = {name: self.with_digests(entry) for name, entry in value.items()}
        size = self._plain_sizes.get(_param_of(value))
        if size is not None:
            digest = hashlib.md5(bytes(size), usedforsecurity=False).hexdigest()
            shown |= {name: digest for name in _DIGESTS if shown.get(name)}
        return shown

    def _note_size(self, item: dict[str, object]) -> None:
        """Remember the plain size of a file, which says it, or of a video, which says the encrypted one."""
        param, length, encrypted = _param_of(item), item.get("len"), item.get("video_size")
        if not param:
            return
        if isinstance(length, str) and length.isascii() and length.isdigit():
            self._plain_sizes[param] = int(length)
        elif isinstance(encrypted, int) and encrypted >= _BLOCK:
            self._plain_sizes[param] = encrypted - _BLOCK

    def _note(self, name: object, key: object) -> None:
        if isinstance(name, str) and isinstance(key, str) and name:
            try:
                self._keys[name] = read_key(key)[0]
            except DecryptionError:
                return


def _param_of(item: dict[str, object]) -> str:
    media = item.get("media")
    param = media.get("encrypt_query_param") if is_object(media) else None
    return param if isinstance(param, str) else ""


def objects_in(value: object) -> Iterator[dict[str, object]]:
    """Yield every object in a JSON value, itself first."""
    if is_object(value):
        yield value
        for entry in value.values():
            yield from objects_in(entry)
    elif is_array(value):
        for entry in value:
            yield from objects_in(entry)
