"""What the plain bytes behind a blob are, and what is wrong with them beside what was announced."""

from __future__ import annotations

import hashlib
from typing import Final

from ilink.errors import DecryptionError
from ilink.storage.files import Bytes
from ilink.storage.gateway import UploadTicketRecord
from ilink.storage.media import MediaFacts
from ilink.wire.cipher import Decryptor
from ilink.wire.mime import SNIFF_BYTES, mime_type

__all__ = ["Measure", "compared", "finding_of"]

_UNDECRYPTABLE: Final = "the bytes do not decrypt with the announced aeskey"


class Measure:
    """Finds out what plain bytes are, from ciphertext or from themselves; for a thread."""

    def __init__(self, decryptor: Decryptor | None) -> None:
        self._decryptor = decryptor
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._head = b""

    def take(self, *chunks: Bytes) -> None:
        """Look at more bytes."""
        for chunk in chunks:
            self._add(chunk if self._decryptor is None else self._decryptor.update(chunk))

    def close(self, name: str) -> MediaFacts:
        """Return what they are, now that they are all there; the name helps to tell of what kind."""
        problem = None
        try:
            self._add(b"" if self._decryptor is None else self._decryptor.finish())
        except DecryptionError:
            problem = _UNDECRYPTABLE
        return MediaFacts(
            plain_bytes=self._size,
            sha256=self._sha256.hexdigest(),
            md5=self._md5.hexdigest(),
            mime=mime_type(self._head, name),
            problem=problem,
        )

    def _add(self, plain: Bytes) -> None:
        self._size += len(plain)
        if len(self._head) < SNIFF_BYTES:
            self._head = (self._head + bytes(plain[:SNIFF_BYTES]))[:SNIFF_BYTES]
        self._sha256.update(plain)
        self._md5.update(plain)


def compared(facts: MediaFacts, ticket: UploadTicketRecord) -> MediaFacts:
    """Return the facts with what is wrong with them beside what was announced."""
    problem = None
    if facts.plain_bytes != ticket.plain_bytes:
        problem = f"{facts.plain_bytes} plain bytes came, rawsize announced {ticket.plain_bytes}"
    elif facts.md5 != ticket.plain_md5:
        problem = "the MD5 of the plain bytes is not the announced rawfilemd5"
    return MediaFacts(
        plain_bytes=facts.plain_bytes, sha256=facts.sha256, md5=facts.md5, mime=facts.mime, problem=problem
    )


def finding_of(facts: MediaFacts, ticket: UploadTicketRecord) -> str | None:
    """Return the code of what `compared` found."""
    if facts.problem is None:
        return None
    if facts.problem == _UNDECRYPTABLE:
        return "upload_undecryptable"
    return "upload_md5_mismatch" if facts.plain_bytes == ticket.plain_bytes else "upload_rawsize_mismatch"
