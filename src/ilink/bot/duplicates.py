"""What came twice."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ilink.wire.ids import UserId

__all__ = ["Duplicate", "DuplicateKind", "OnSuspect"]


class OnSuspect(StrEnum):
    """What happens to a message that says the same as one shortly before it, under another id."""

    JUDGE = "judge"
    """It is handled, marked as `suspect_duplicate`; if both were sent in the same millisecond it is not handled."""
    MARK = "mark"
    """It is handled, marked as `suspect_duplicate`."""
    DROP = "drop"
    """It is stored and not handled. People who say "ok" twice are answered once."""
    IGNORE = "ignore"
    """Nobody looks."""


class DuplicateKind(StrEnum):
    """How a duplicate was recognised, and what became of it."""

    KNOWN = "known"
    """It came again as the same message and was not stored again."""
    MARKED = "marked"
    """It says the same as a message shortly before, under another id; it is handled with that mark."""
    DROPPED = "dropped"
    """Likewise, but it is stored only, not handled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """Something came twice.

    Attributes:
        kind: How it was recognised, and what became of it.
        user: Who said it; empty when that cannot be read.
        conversation: Where, as the journal names it.
        identity: By what it is recognised.
        original: By what the one before it is recognised; for KNOWN the same.
    """

    kind: DuplicateKind
    user: UserId
    conversation: str
    identity: str
    original: str
