"""Media that stand for recorded ones: of their size, and encrypted with the made-up keys of the cassette."""

from __future__ import annotations

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

    def _note(self, name: object, key: object) -> None:
        if isinstance(name, str) and isinstance(key, str) and name:
            try:
                self._keys[name] = read_key(key)[0]
            except DecryptionError:
                return


def objects_in(value: object) -> Iterator[dict[str, object]]:
    """Yield every object in a JSON value, itself first."""
    if is_object(value):
        yield value
        for entry in value.values():
            yield from objects_in(entry)
    elif is_array(value):
        for entry in value:
            yield from objects_in(entry)
