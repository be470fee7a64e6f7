"""The media cipher, AES-128-ECB with PKCS#7, in chunks of any size (protocol §5.1).

The cipher has no vector and no authentication: a wrong key shows in the padding, which a random key passes once in 256
times. Whoever knows the size or the MD5 of the plain bytes compares them as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ilink.errors import DecryptionError

if TYPE_CHECKING:
    from Crypto.Cipher._mode_ecb import EcbMode

    from ilink.wire.keys import MediaKey

__all__ = ["BLOCK_BYTES", "CHUNK_BYTES", "Bytes", "Decryptor", "Encryptor", "ciphertext_size", "decrypt", "encrypt"]

Bytes = bytes | bytearray | memoryview
"""Anything a chunk may be; a memory view is of single bytes."""

BLOCK_BYTES: Final = 16

CHUNK_BYTES: Final = 1 << 18
"""A good chunk: large enough that a call costs nothing beside the work, small enough to stay in the processor cache."""


def ciphertext_size(plain_bytes: int) -> int:
    """Return how many bytes so many plain ones become; one to sixteen are always added (official 2.4.9)."""
    return BLOCK_BYTES * (plain_bytes // BLOCK_BYTES + 1)


def encrypt(key: MediaKey, plain: Bytes) -> bytes:
    """Encrypt something small in one step; for anything large use `Encryptor`."""
    encryptor = Encryptor(key)
    return bytes(encryptor.update(plain)) + bytes(encryptor.finish())


def decrypt(key: MediaKey, ciphertext: Bytes) -> bytes:
    """Decrypt something small in one step; for anything large use `Decryptor`.

    Raises:
        DecryptionError: It is the wrong key, or the bytes were cut.
    """
    decryptor = Decryptor(key)
    return bytes(decryptor.update(ciphertext)) + bytes(decryptor.finish())


class _BlockStream:
    """Runs a block cipher over chunks of any size and keeps at most one block back."""

    def __init__(self, key: MediaKey) -> None:
        # Late: it takes 50 ms to load, and most programs only ever move text.
        from Crypto.Cipher import AES

        self._cipher: EcbMode = AES.new(key.raw, AES.MODE_ECB)
        self._carry = bytearray()
        self._target = memoryview(bytearray(0))

    def _run(self, source: Bytes, target: memoryview) -> None:
        raise NotImplementedError

    def _blocks(self, chunk: Bytes, *, held: int) -> memoryview:
        """Return what the whole blocks become, but the last `held` bytes, which wait with the rest of the chunk."""
        source = memoryview(chunk)
        ready = max(0, len(self._carry) + len(source) - held) // BLOCK_BYTES * BLOCK_BYTES
        if not ready:
            self._carry += source
            return memoryview(b"")
        # One buffer for all calls: fresh ones of this size cost as much as reading and encrypting together.
        if len(self._target) < ready:
            self._target = memoryview(bytearray(ready))
        target = self._target[:ready]
        joined = BLOCK_BYTES if self._carry else 0
        if joined:
            missing = BLOCK_BYTES - len(self._carry)
            self._carry += source[:missing]
            source = source[missing:]
            self._run(bytes(self._carry), target[:joined])
            self._carry.clear()
        if ready > joined:
            self._run(source[: ready - joined], target[joined:])
        self._carry += source[ready - joined :]
        return target


class Encryptor(_BlockStream):
    """Encrypts a stream: `update` with each chunk, then `finish` once.

    Holds less than one block between calls. Its calls release the interpreter's lock while they work on large chunks,
    so they may run in a thread, one at a time.
    """

    def update(self, chunk: Bytes) -> memoryview:
        """Return the ciphertext that is ready, for use before the next call; empty for less than a block."""
        return self._blocks(chunk, held=0)

    def finish(self) -> memoryview:
        """Return the last block with its padding."""
        padding = BLOCK_BYTES - len(self._carry)
        return self._blocks(bytes([padding]) * padding, held=0)

    def _run(self, source: Bytes, target: memoryview) -> None:
        self._cipher.encrypt(source, target)


class Decryptor(_BlockStream):
    """Decrypts a stream: `update` with each chunk, then `finish` once.

    Holds back one block, because the last one carries the padding. May run in a thread as `Encryptor` does.
    """

    def update(self, chunk: Bytes) -> memoryview:
        """Return the plain bytes that are certain, for use before the next call."""
        return self._blocks(chunk, held=1)

    def finish(self) -> memoryview:
        """Return the plain bytes of the last block.

        Raises:
            DecryptionError: The stream is empty or no whole number of blocks, or its padding is wrong.
        """
        if len(self._carry) != BLOCK_BYTES:
            message = (
                f"the encrypted bytes were cut: the last block has {len(self._carry)} of {BLOCK_BYTES}; fetch again"
            )
            raise DecryptionError(message)
        last = bytes(self._blocks(b"", held=0))
        padding = last[-1]
        if not 1 <= padding <= BLOCK_BYTES or last[-padding:] != bytes([padding]) * padding:
            message = "the encrypted bytes do not decrypt with this key: it is the wrong key, or the bytes were changed"
            raise DecryptionError(message)
        return memoryview(last)[:-padding]

    def _run(self, source: Bytes, target: memoryview) -> None:
        self._cipher.decrypt(source, target)
