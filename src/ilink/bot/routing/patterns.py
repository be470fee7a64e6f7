"""With which characters a matching text can begin: what lets a message pass by handlers that are not for it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["first_characters", "pattern_start"]

_SPECIAL: Final = frozenset(".^$*+?{}[]\\|()")
_MAY_REPEAT_ZERO_TIMES: Final = ("*", "?", "{")


def first_characters(texts: Iterable[str]) -> frozenset[str]:
    """Return the characters that texts begin with, without regard to case."""
    return frozenset(text.casefold()[:1] for text in texts)


def pattern_start(compiled: re.Pattern[str]) -> frozenset[str] | None:
    """Return the character that every text begins with which a pattern matches from its beginning; None for any.

    It is found for plain beginnings only; whatever is harder to read counts as any.
    """
    pattern = compiled.pattern.removeprefix("^")
    start, rest = pattern[:1], pattern[1:]
    if not start or start in _SPECIAL or "|" in pattern or compiled.flags & re.VERBOSE:
        return None
    if rest.startswith(_MAY_REPEAT_ZERO_TIMES):
        return None
    if compiled.flags & re.IGNORECASE and start.upper() != start.lower():
        return None  # `i` matches the Turkish dotless one as well, which case folding keeps apart
    return first_characters([start])
