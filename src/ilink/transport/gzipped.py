"""Answers that were compressed on the way, opened in bounded pieces: a small one may grow very large."""

from __future__ import annotations

import zlib
from typing import Final

__all__ = ["Gunzip", "is_gzipped"]

_GZIP: Final = 31
"""zlib's word for a gzip header and the largest window."""


def is_gzipped(encoding: str) -> bool:
    """Tell whether a Content-Encoding is the only one that was asked for."""
    return encoding.strip().lower() in ("gzip", "x-gzip")


class Gunzip:
    """Opens a gzip stream of one or more members."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(_GZIP)
        self._left = b""
        self._is_begun = False

    @property
    def is_whole(self) -> bool:
        """Whether what came so far is a whole stream; nothing at all is one too."""
        return not self._is_begun or (self._inflater.eof and not self._left)

    def feed(self, data: bytes) -> None:
        """Take the next compressed bytes."""
        self._left += data
        self._is_begun = True

    def take(self, max_bytes: int) -> bytes:
        """Return the next plain bytes; none when more compressed ones are needed.

        Raises:
            zlib.error: This is no gzip.
        """
        while True:
            if self._inflater.eof:
                if not self._left:
                    return b""
                self._inflater = zlib.decompressobj(_GZIP)
            plain = self._inflater.decompress(self._left, max_bytes)
            is_stuck = not plain and not self._inflater.eof
            self._left = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
            if plain or is_stuck:
                return plain
