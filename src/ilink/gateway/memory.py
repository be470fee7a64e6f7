"""How the gateway's process treats memory: what it keeps of the freed, and how often it looks for lost cycles."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Final

__all__ = ["collect_seldom", "keep_freed_memory"]

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""The numbers of the two settings in glibc's malloc.h."""

_KEPT_BYTES: Final = 8 << 20
_LARGE_BYTES: Final = 4 << 20

_SELDOM: Final = (50_000, 20, 100)
"""Objects made since the last look at the youngest, and looks at one generation before one at the next."""


def collect_seldom() -> None:
    """Look for lost cycles seldom, and never among what was there before.

    By default Python looks at every 700 new objects. While ten thousand polls wait, which have a hundred objects each,
    that is half of the time it takes to answer all of them. It is for programs, as `keep_freed_memory` is.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_SELDOM)


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
