"""A file on its way in: decrypted, measured and checked while it comes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from ilink.errors import IntegrityError, TooLargeError
from ilink.flows.upload import CdnAnswer, read_download
from ilink.messages.media import MediaReference
from ilink.storage.files import Bytes
from ilink.transport.seam import StreamedResponse
from ilink.wire.cipher import Decryptor, ciphertext_size
from ilink.wire.mime import SNIFF_BYTES

__all__ = ["MediaStream", "Receiver", "cdn_answer", "check_announced", "check_received", "check_status"]

_WORDS: Final = 1000


class MediaStream:
    """A file of a message that is read in pieces, once."""

    def __init__(self, answer: StreamedResponse, receiver: Receiver, max_bytes: int) -> None:
        self._answer = answer
        self._receiver = receiver
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        async for chunk in self._answer.chunks():
            received += len(chunk)
            check_received(received, self._max_bytes, self._receiver.reference)
            plain = self._receiver.open(chunk)
            if plain:
                yield bytes(plain)
        if last := self._receiver.close():
            yield bytes(last)


class Receiver:
    """Turns ciphertext into plain bytes that are checked and passed on, for a thread."""

    def __init__(self, reference: MediaReference, write: Callable[[Bytes], object]) -> None:
        self.reference = reference
        self.size = 0
        self.head = b""
        self._write = write
        key = reference.key
        self._decryptor = None if key is None else Decryptor(key)
        self._digest = None if reference.md5 is None else hashlib.md5(usedforsecurity=False)

    def take(self, *chunks: Bytes) -> None:
        """Open chunks and pass them on."""
        for chunk in chunks:
            self._write(self.open(chunk))

    def finish(self) -> None:
        """Pass the last bytes on, once everything was found right."""
        self._write(self.close())

    def open(self, chunk: Bytes) -> Bytes:
        """Return a chunk's plain bytes, for use before the next call."""
        return self._note(chunk if self._decryptor is None else self._decryptor.update(chunk))

    def close(self) -> Bytes:
        """Return the last bytes, and compare everything with what was announced."""
        last = self._note(b"" if self._decryptor is None else self._decryptor.finish())
        reference = self.reference
        if self._digest is not None and self._digest.hexdigest() != reference.md5:
            message = f"this {reference.kind} has another MD5 than its message announced; ask for it again"
            raise IntegrityError(message)
        if self._digest is None and reference.size not in (None, self.size):
            message = f"this {reference.kind} has {self.size} bytes, its message announced {reference.size}"
            raise IntegrityError(message)
        return last

    def _note(self, plain: Bytes) -> Bytes:
        self.size += len(plain)
        if len(self.head) < SNIFF_BYTES:
            self.head = (self.head + bytes(plain[:SNIFF_BYTES]))[:SNIFF_BYTES]
        if self._digest is not None:
            self._digest.update(plain)
        return plain


async def cdn_answer(answer: StreamedResponse) -> CdnAnswer:
    """Return an answer without the media in it; of a failure the beginning of its body is read."""
    words = b"" if 200 <= answer.status < 300 else await answer.read(_WORDS)
    return CdnAnswer(status=answer.status, headers=answer.headers, words=words.decode("utf-8", "replace"))


async def check_status(answer: StreamedResponse) -> None:
    """Raise what an answer other than a success stands for; see `read_download`."""
    read_download(await cdn_answer(answer))


def check_announced(answer: StreamedResponse, max_bytes: int, reference: MediaReference) -> int:
    """Refuse a body that announces too much, and return its announced size or 0."""
    announced = answer.headers.get("content-length", "")
    size = int(announced) if announced.isascii() and announced.isdigit() and len(announced) < 20 else 0
    check_received(size, max_bytes, reference)
    return size


def check_received(received: int, max_bytes: int, reference: MediaReference) -> None:
    """Refuse more ciphertext than so many plain bytes have.

    Raises:
        TooLargeError: There is more.
    """
    if received > ciphertext_size(max_bytes):
        message = f"this {reference.kind} is larger than {max_bytes} bytes; raise `max_bytes` if you want it"
        raise TooLargeError(message)
