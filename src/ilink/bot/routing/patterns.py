"""With what a matching text begins: what lets a message pass by handlers that are not for it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import takewhile
from typing import Final

__all__ = ["beginnings", "pattern_start"]

_SPECIAL: Final = frozenset(".^$*+?{}[]\\|()")
_QUANTIFIERS: Final = ("*", "?", "{", "+")
_MOST_CHARACTERS: Final = 16
"""A longer beginning tells no handlers apart that a program has."""


def beginnings(texts: Iterable[str]) -> frozenset[str]:
    """Return what texts begin with, without regard to case."""
    return frozenset(text.casefold()[:_MOST_CHARACTERS] for text in texts)


def pattern_start(compiled: re.Pattern[str]) -> frozenset[str] | None:
    """Return what every text begins with that a pattern matches from its beginning; None for anything.

    It is found for plain beginnings only; whatever is harder to read counts as anything.
    """
    pattern = compiled.pattern.removeprefix("^")
    if "|" in pattern or compiled.flags & re.VERBOSE:
        return None
    start = "".join(takewhile(lambda character: character not in _SPECIAL, pattern))
    if pattern[len(start) :].startswith(_QUANTIFIERS):
        start = start[:-1]
    if compiled.flags & re.IGNORECASE:
        # `i` matches the Turkish dotless one as well, which case folding keeps apart.
        start = "".join(takewhile(lambda character: character.upper() == character.lower(), start))
    return beginnings([start]) if start else None
