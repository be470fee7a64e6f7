"""A file on its way out: announced, then encrypted while it is sent."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Final

from ilink.client.sources import Source
from ilink.client.thumbnails import Thumbnail
from ilink.messages.media import MediaKind
from ilink.storage.files import BATCH_BYTES, ReadAhead
from ilink.wire.cipher import CHUNK_BYTES, Encryptor, ciphertext_size
from ilink.wire.ids import UserId
from ilink.wire.keys import KeyForm, MediaKey
from ilink.wire.models import UploadUrlRequest

__all__ = ["EncryptedBody", "Progress", "UploadOrder", "report", "upload_request"]

_PIECES: Final = BATCH_BYTES // CHUNK_BYTES

Progress = Callable[[int, int], None]
"""Called in the event loop with the bytes moved so far and all of them; 0 where that is unknown."""


@dataclass(frozen=True, slots=True)
class UploadOrder:
    """What is to be uploaded, and how."""

    source: Source
    kind: MediaKind
    mime: str
    to: UserId
    thumbnail: Thumbnail | None
    timeout: float
    progress: Progress | None


def upload_request(order: UploadOrder, key: MediaKey, file_key: str) -> UploadUrlRequest:
    """Return what getuploadurl is asked with (official 2.4.9)."""
    request = UploadUrlRequest(
        filekey=file_key,
        media_type=order.kind.media_type,
        to_user_id=order.to,
        rawsize=order.source.size,
        rawfilemd5=order.source.md5,
        filesize=ciphertext_size(order.source.size),
        no_need_thumb=order.thumbnail is None,
        aeskey=key.spell(KeyForm.HEX),
    )
    if order.thumbnail is not None:
        data = order.thumbnail.data
        request.thumb_rawsize = len(data)
        request.thumb_rawfilemd5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        request.thumb_filesize = ciphertext_size(len(data))
    return request


class EncryptedBody:
    """Reads a source as ciphertext, for a thread."""

    def __init__(self, source: Source, key: MediaKey) -> None:
        self._source = source
        self._encryptor: Encryptor | None = Encryptor(key)
        # The newest pieces live a little longer than they are needed, so that their memory is freed piece by piece and
        # taken again. Freed together it goes back to the system, and taking it anew costs more than encrypting.
        self._kept: deque[bytes] = deque(maxlen=2 * _PIECES)

    def read(self) -> list[bytes]:
        """Return the next pieces, as many as one trip to a thread is worth; none at the end."""
        pieces: list[bytes] = []
        while self._encryptor is not None and len(pieces) < _PIECES:
            if chunk := self._source.read():
                pieces.append(bytes(self._encryptor.update(chunk)))
            else:
                pieces.append(bytes(self._encryptor.finish()))
                self._encryptor = None
            self._kept.append(pieces[-1])
        return pieces


async def report(batches: ReadAhead[list[bytes]], total: int, progress: Progress | None) -> AsyncGenerator[bytes, None]:
    """Yield the pieces of all batches, and tell how far that is."""
    sent = 0
    async for batch in batches:
        for piece in batch:
            yield piece
            sent += len(piece)
        if progress is not None:
            progress(min(sent, total), total)
