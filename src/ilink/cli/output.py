"""Where texts go: answers to standard output, everything else to standard error."""

from __future__ import annotations

import sys
from functools import cache

import msgspec
from rich.console import Console

__all__ = ["answer_json", "errors", "out"]


@cache
def out() -> Console:
    """The console for answers; plain in a pipe."""
    return Console(highlight=False, soft_wrap=True)


@cache
def errors() -> Console:
    """The console for progress and errors, so that standard output can be piped."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def answer_json(value: object) -> None:
    """Print one line of JSON on standard output."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()
