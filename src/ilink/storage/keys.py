"""The keys that tokens are sealed with at rest: the first one seals, all of them open, so that keys can be changed."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from ilink.errors import ConfigError, DecryptionError, StoreCorruptError, StoreError
from ilink.wire.ids import AccountId, Secret
from ilink.wire.sealing import KEY_BYTES, seal, unseal

__all__ = ["KEY_FILE_VARIABLE", "KEY_VARIABLE", "Sealed", "StoreKeys", "new_key", "no_keys", "no_keys_for", "read_keys"]

KEY_VARIABLE: Final = "ILINK_STORE_KEY"
KEY_FILE_VARIABLE: Final = "ILINK_STORE_KEY_FILE"

_HOW: Final = f"set {KEY_VARIABLE} to a key, or {KEY_FILE_VARIABLE} to a file with one"


def new_key() -> str:
    """Return a new random key, as it is written in a file or a variable."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def read_keys(environ: Mapping[str, str] = os.environ) -> StoreKeys | None:
    """Read the keys from `ILINK_STORE_KEY` or from the file that `ILINK_STORE_KEY_FILE` names; None if neither is set.

    Several keys stand one behind the other, the newest first, with blanks, commas or new lines between them. Lines
    that begin with `#` are skipped.

    Raises:
        ConfigError: The file cannot be read, or holds something that is no key; the error does not repeat it.
    """
    if text := environ.get(KEY_VARIABLE):
        return _parse(text, KEY_VARIABLE)
    if not (name := environ.get(KEY_FILE_VARIABLE)):
        return None
    try:
        return _parse(Path(name).expanduser().read_text("utf-8"), name)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        message = f"the keys in {name} ({KEY_FILE_VARIABLE}) cannot be read: {why}"
        raise ConfigError(message) from None


def _parse(text: str, source: str) -> StoreKeys:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    words = " ".join(lines).replace(",", " ").split()
    keys: list[bytes] = []
    for place, word in enumerate(words, start=1):
        try:
            raw = base64.b64decode(word.replace("-", "+").replace("_", "/") + "=" * (-len(word) % 4), validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) != KEY_BYTES:
            message = f"{source} holds something that is no key, in place {place}; make one with `ilink keys new`"
            raise ConfigError(message)
        keys.append(raw)
    if not keys:
        message = f"{source} holds no key; make one with `ilink keys new`"
        raise ConfigError(message)
    return StoreKeys([Secret(key.hex()) for key in keys])


@dataclass(frozen=True, slots=True)
class Sealed:
    """A token as it is stored.

    Attributes:
        key_id: Names the key.
        sealed: The token, sealed.
    """

    key_id: str
    sealed: bytes


class StoreKeys:
    """Keys, the newest first. A key is named by the beginning of its hash, which gives nothing of it away.

    Args:
        keys: 32 bytes each, in hexadecimal.
    """

    def __init__(self, keys: Sequence[Secret]) -> None:
        self._keys = {sha256(bytes.fromhex(key.reveal())).hexdigest()[:12]: key for key in keys}
        self._newest = next(iter(self._keys))

    @property
    def newest(self) -> str:
        """The name of the key that seals."""
        return self._newest

    def __contains__(self, key_id: object) -> bool:
        """Whether a key is there, by its name."""
        return key_id in self._keys

    def __repr__(self) -> str:
        """Tell the names only."""
        return f"StoreKeys({', '.join(self._keys)})"

    def seal(self, token: Secret, account_id: AccountId, generation: int) -> Sealed:
        """Seal the token of a login; it opens for this account and generation only."""
        key = bytes.fromhex(self._keys[self._newest].reveal())
        bound_to = _place(account_id, generation)
        return Sealed(self._newest, seal(key, token.reveal().encode(), bound_to=bound_to))

    def open(self, sealed: Sealed, account_id: AccountId, generation: int) -> Secret:
        """Return a token.

        Raises:
            StoreError: The key it was sealed with is not there.
            StoreCorruptError: It was changed, cut or moved.
        """
        if sealed.key_id not in self._keys:
            raise self.missing(sealed.key_id)
        key = bytes.fromhex(self._keys[sealed.key_id].reveal())
        try:
            return Secret(unseal(key, sealed.sealed, bound_to=_place(account_id, generation)).decode())
        except DecryptionError:
            message = f"the stored token of {account_id} was damaged or moved; restore it, or sign in again"
            raise StoreCorruptError(message) from None

    def missing(self, key_id: str) -> StoreError:
        """Return the error that something was sealed with a key that is not there."""
        return StoreError(
            f"tokens are sealed with the key {key_id}, and only {', '.join(self._keys)} was given; add that key to"
            f" {KEY_VARIABLE} or to the file in {KEY_FILE_VARIABLE}, behind the newest, or sign the accounts in again"
        )


def no_keys() -> ConfigError:
    """Return the error that tokens in a database want a key."""
    return ConfigError(f"tokens in a database are sealed, and no key was given; {_HOW} (`ilink keys new` makes one)")


def no_keys_for(key_id: str) -> StoreError:
    """Return the error that tokens are sealed and no key was given."""
    return StoreError(f"tokens are sealed with the key {key_id}, and no key was given; {_HOW}")


def _place(account_id: AccountId, generation: int) -> bytes:
    return f"{account_id}\0{generation}".encode()
