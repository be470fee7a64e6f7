"""Sealing of what is stored: AES-256-GCM, so that a stolen copy of a store is worth nothing without the key."""

from __future__ import annotations

import secrets
from typing import Final

from ilink.errors import DecryptionError

__all__ = ["KEY_BYTES", "seal", "unseal"]

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16


def seal(key: bytes, plain: bytes, *, bound_to: bytes) -> bytes:
    """Return the plain bytes sealed: they open with the same key, in the same place.

    Args:
        key: 32 random bytes.
        plain: What nobody else may read.
        bound_to: Where it belongs; moved elsewhere it does not open.
    """
    from Crypto.Cipher import AES  # late: it takes 50 ms to load

    nonce = secrets.token_bytes(_NONCE_BYTES)
    cipher = AES.new(key, AES.MODE_GCM, nonce=nonce, mac_len=_TAG_BYTES)
    cipher.update(bound_to)
    ciphertext, tag = cipher.encrypt_and_digest(plain)
    return nonce + ciphertext + tag


def unseal(key: bytes, sealed: bytes, *, bound_to: bytes) -> bytes:
    """Return what was sealed.

    Raises:
        DecryptionError: It was changed or cut, belongs elsewhere, or was sealed with another key.
    """
    from Crypto.Cipher import AES

    nonce, ciphertext, tag = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:-_TAG_BYTES], sealed[-_TAG_BYTES:]
    try:
        cipher = AES.new(key, AES.MODE_GCM, nonce=nonce, mac_len=_TAG_BYTES)
        cipher.update(bound_to)
        return cipher.decrypt_and_verify(ciphertext, tag)
    except ValueError:
        message = "what was sealed does not open: it was changed, cut or moved, or the key is another"
        raise DecryptionError(message) from None
