"""A file on its way in: decrypted, measured and checked while it comes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from ilink.errors import IntegrityError, RemoteProtocolError, TooLargeError
from ilink.flows.upload import CdnAnswer, read_download
from ilink.messages.media import MediaReference
from ilink.storage.files import Bytes
from ilink.transport.seam import StreamedResponse
from ilink.wire.cipher import Decryptor, ciphertext_size
from ilink.wire.mime import SNIFF_BYTES

__all__ = ["Arrival", "MediaStream", "Receiver", "cdn_answer", "check_announced", "check_received", "check_status"]

_WORDS: Final = 1000
_PART: Final = 206


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


class Arrival:
    """What has come of a file, kept from one try to the next, so that a try goes on where the last one was cut.

    Args:
        reference: What is fetched.
        write: Takes the plain bytes, in order.
        start_over: Empties what `write` fills.
    """

    def __init__(
        self, reference: MediaReference, write: Callable[[Bytes], object], start_over: Callable[[], object]
    ) -> None:
        self._write = write
        self._start_over = start_over
        self._version: str | None = None
        self.receiver = Receiver(reference, write)

    def headers(self) -> dict[str, str]:
        """Return what asks for the rest; empty at the beginning. Whether the real CDN gives parts is unknown."""
        if not self.receiver.taken:
            return {}
        # A file that changed meanwhile is sent from its beginning then.
        version = {} if self._version is None else {"If-Range": self._version}
        return {"Range": f"bytes={self.receiver.taken}-", **version}

    def accept(self, answer: StreamedResponse) -> None:
        """Go on, or from the beginning, as an answer's body does; for a thread.

        Raises:
            RemoteProtocolError: The body is another part than was asked for.
        """
        taken, version = self.receiver.taken, answer.headers.get("etag", "")
        if answer.status == _PART:
            if not answer.headers.get("content-range", "").startswith(f"bytes {taken}-"):
                self.forget()
                message = "the CDN sent another part of the file than was asked for"
                raise RemoteProtocolError(message)
        elif taken:
            self.forget()
        # A weak one does not promise the same bytes.
        self._version = version if version.startswith('"') else None

    def forget(self) -> None:
        """Begin anew; for a thread."""
        self._start_over()
        self.receiver = Receiver(self.receiver.reference, self._write)


class Receiver:
    """Turns ciphertext into plain bytes that are checked and passed on, for a thread."""

    def __init__(self, reference: MediaReference, write: Callable[[Bytes], object]) -> None:
        self.reference = reference
        self.size = 0
        self.taken = 0
        self.head = b""
        self._write = write
        key = reference.key
        self._decryptor = None if key is None else Decryptor(key)
        self._digest = None if reference.md5 is None else hashlib.md5(usedforsecurity=False)

    def take(self, *chunks: Bytes) -> None:
        """Open chunks and pass them on."""
        for chunk in chunks:
            self._write(self.open(chunk))
            self.taken += len(chunk)

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


def check_announced(answer: StreamedResponse, max_bytes: int, reference: MediaReference, *, taken: int = 0) -> int:
    """Refuse a body that announces too much after what was taken before, and return the size of all or 0."""
    announced = answer.headers.get("content-length", "")
    size = int(announced) if announced.isascii() and announced.isdigit() and len(announced) < 20 else 0
    check_received(taken + size, max_bytes, reference)
    return taken + size if size else 0


def check_received(received: int, max_bytes: int, reference: MediaReference) -> None:
    """Refuse more ciphertext than so many plain bytes have.

    Raises:
        TooLargeError: There is more.
    """
    if received > ciphertext_size(max_bytes):
        message = f"this {reference.kind} is larger than {max_bytes} bytes; raise `max_bytes` if you want it"
        raise TooLargeError(message)
