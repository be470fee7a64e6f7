"""The limit of the disk: how long it takes to write a commit's worth of bytes through to it, with nothing above."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from typing import Final

__all__ = ["DiskFigures", "measure_disk"]

_COMMIT_BYTES: Final = 28 << 10
"""What the journal's commit of one message writes: about seven pages of 4 KiB."""

_WRITES: Final = 400
_FILE_BYTES: Final = 4 << 20
"""The write-ahead log is written from its beginning again at about this size, so that the file does not grow."""


@dataclass(frozen=True, slots=True)
class DiskFigures:
    """Seconds of one write and fdatasync."""

    p50: float
    p99: float


def measure_disk() -> DiskFigures:
    """Write through in the folder that all scratch data of a measurement lies in."""
    piece = os.urandom(_COMMIT_BYTES)
    with tempfile.TemporaryFile(prefix="ilink-bench-", buffering=0) as file:
        file.write(bytes(_FILE_BYTES))
        os.fsync(file.fileno())
        taken = sorted(_write_through(file.fileno(), number, piece) for number in range(_WRITES))
    return DiskFigures(taken[_WRITES // 2], taken[_WRITES * 99 // 100])


def _write_through(descriptor: int, number: int, piece: bytes) -> float:
    began = time.perf_counter()
    os.lseek(descriptor, number * _COMMIT_BYTES % (_FILE_BYTES - _COMMIT_BYTES), os.SEEK_SET)
    os.write(descriptor, piece)
    getattr(os, "fdatasync", os.fsync)(descriptor)  # macOS and Windows have no fdatasync
    return time.perf_counter() - began
