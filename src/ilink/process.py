"""What suits a program of ours, and not a library in somebody else's."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

__all__ = ["allow_many_files", "collecting_seldom"]

_YOUNG: Final = 50_000
_SELDOM: Final = (20, 100)
"""Looks at one generation before one at the next."""


@contextmanager
def collecting_seldom(*, young: int = _YOUNG) -> Generator[None]:
    """Look for lost cycles seldom until the block ends, and never among what was there before.

    Args:
        young: How many objects are made between two looks at the youngest: what may lie about at most, lost.

    By default Python looks at every 700 new objects. While ten thousand polls wait, which have a hundred objects each,
    that is half of the time it takes to answer all of them; a busy bot spends a twentieth of its time on it.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(young, *_SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def allow_many_files() -> None:
    """Let this process open as many files and connections as the system allows it, not the few that a shell gives.

    The usual thousand is kept low for programs that still use `select`; a gateway holds a connection for every bot.
    """
    try:
        import resource
    except ImportError:  # Windows knows no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS says "unlimited" and refuses it
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
