"""The plain bytes behind a blob: all of them, some of them, as sound, and what they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from ilink.errors import DecryptionError, MediaError
from ilink.gateway.content import Measure, compared
from ilink.gateway.problems import ConflictError
from ilink.storage.blobs import BlobStore
from ilink.storage.files import Batches, Bytes, in_thread
from ilink.storage.gateway import UploadTicketRecord
from ilink.storage.media import MediaFacts, MediaRecord
from ilink.wire.cipher import BLOCK_BYTES, Decryptor
from ilink.wire.keys import MediaKey
from ilink.wire.sound import to_wav

__all__ = ["MAX_VOICE_BYTES", "PlainBytes"]

MAX_VOICE_BYTES: Final = 32 << 20
"""A recording is converted in memory; a minute of it has three MiB as WAV."""


class PlainBytes:
    """Reads blobs with the keys that were announced for them."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    async def stream(self, record: MediaRecord) -> AsyncGenerator[Bytes, None]:
        """Yield the plain bytes of a blob.

        Raises:
            ConflictError: They do not decrypt with the key that was announced.
        """
        decryptor = Decryptor(MediaKey(bytes.fromhex(record.aes_key)))
        async with self._blobs.open(record.media_id) as reader:
            async for chunk in reader.chunks():
                yield await _decrypted(decryptor, chunk)
        try:
            yield bytes(decryptor.finish())
        except DecryptionError as error:
            message = f"the media {record.media_id} does not decrypt with the key that was announced for it"
            raise ConflictError(message) from error

    async def part(self, record: MediaRecord, start: int, end: int) -> AsyncGenerator[Bytes, None]:
        """Yield some of the plain bytes of a blob, from `start` up to but not including `end`, reading no others.

        Only for a blob whose facts say that it decrypts: nothing is checked here.
        """
        aligned = start - start % BLOCK_BYTES
        skip, left = start - aligned, end - start
        decryptor = Decryptor(MediaKey(bytes.fromhex(record.aes_key)))
        # The decryptor keeps one block back, since the last one of a blob carries the padding: one more is read.
        until = min(end - end % BLOCK_BYTES + 2 * BLOCK_BYTES, record.cipher_bytes)
        async with self._blobs.open(record.media_id, aligned, until) as reader:
            async for chunk in reader.chunks():
                plain = await _decrypted(decryptor, chunk)
                if plain:
                    yield plain[skip : skip + left]
                    left -= len(plain[skip : skip + left])
                    skip = 0
        if left > 0:
            yield bytes(decryptor.finish())[skip : skip + left]

    async def sound(self, record: MediaRecord) -> bytes:
        """Return a recording as WAV, which every browser plays: SILK none does.

        Raises:
            ConflictError: It is no sound, or too long to convert.
            ConfigError: The extra `media` is missing.
        """
        data = bytearray()
        async for chunk in self.stream(record):
            data += chunk
            if len(data) > MAX_VOICE_BYTES:
                message = f"the media {record.media_id} is larger than {MAX_VOICE_BYTES} bytes; fetch it as it is"
                raise ConflictError(message)
        try:
            return await in_thread(lambda: to_wav(bytes(data)))
        except MediaError as error:
            message = f"the media {record.media_id} does not play: {error}"
            raise ConflictError(message) from error

    async def facts(self, record: MediaRecord, ticket: UploadTicketRecord | None) -> MediaFacts:
        """Return what the plain bytes are, and what is wrong with them beside a permission.

        Raises:
            StoreError: The blob is gone, or the disk fails.
        """
        measure = Measure(Decryptor(MediaKey(bytes.fromhex(record.aes_key))))
        async with self._blobs.open(record.media_id) as reader, Batches(measure.take) as batches:
            async for chunk in reader.chunks():
                await batches.put(chunk)
            await batches.drain()
        facts = measure.close(record.name)
        if facts.problem is not None or ticket is None:
            return facts
        return compared(facts, ticket)


async def _decrypted(decryptor: Decryptor, chunk: Bytes) -> bytes:
    """Decrypt a chunk in a thread: one of a blob's takes as long as hundreds of sends."""
    return await in_thread(lambda: bytes(decryptor.update(chunk)))
