"""How the gateway's process treats memory that it freed."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""The numbers of the two settings in glibc's malloc.h."""

_KEPT_BYTES: Final = 8 << 20
_LARGE_BYTES: Final = 4 << 20


def keep_freed_memory() -> bool:
    """Let the process keep a few MiB that it freed instead of handing them back at once; tell whether it could.

    A large upload comes in pieces of 256 KiB, each freed within milliseconds. By default glibc returns such memory to
    the system and takes it anew for the next piece, page by page, which costs three times as much as everything else
    about receiving. Other C libraries do without this call. It is for programs, not for a library in somebody else's
    process.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)) and bool(mallopt(_MMAP_THRESHOLD, _LARGE_BYTES))
