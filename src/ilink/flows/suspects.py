"""The second guard against duplicates: the same words again, a moment later, under another id.

The server hands some messages out twice under two ids (observed: hermes-agent#16182, ocw#66). People say "ok" twice as
well. What tells them apart is when they were sent: nobody says the same twice in one millisecond. Values in, values
out; times are milliseconds since 1970, passed in.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

__all__ = ["Likeness", "Said", "Suspects"]

_MOST: Final = 20_000
"""How many messages are remembered at most; the window is short, so this bounds memory and nothing else."""


class Said(Struct, frozen=True, kw_only=True):
    """One message as the guard sees it.

    Attributes:
        identity: By what it is recognised.
        content: What it says, as a short text to compare.
        received_ms: When it came.
        sent_ms: When it was sent; None when the server did not say.
        place: Its number in the stream; None when the server gave none.
    """

    identity: str
    content: str
    received_ms: int
    sent_ms: int | None = None
    place: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """A message says the same as one that came shortly before it.

    Attributes:
        identity: Of the one before.
        after_ms: How long after it this one came.
        is_same_moment: Whether both were sent in the same millisecond, and nothing else shows that they are two.
    """

    identity: str
    after_ms: int
    is_same_moment: bool


class Suspects:
    """What was said in the last seconds.

    Args:
        window_ms: For how long a message is remembered.
    """

    def __init__(self, *, window_ms: int) -> None:
        self._window_ms = window_ms
        self._said: OrderedDict[str, Said] = OrderedDict()

    def find(self, said: Said) -> Likeness | None:
        """Return what a new message is like; None when nobody said that within the window."""
        before = self._said.get(said.content)
        if before is None or before.identity == said.identity:
            return None
        after_ms = said.received_ms - before.received_ms
        if not 0 <= after_ms < self._window_ms:
            return None
        return Likeness(identity=before.identity, after_ms=after_ms, is_same_moment=_is_same_moment(before, said))

    def remember(self, said: Said) -> None:
        """Remember a message, and forget those that are too old to compare with."""
        self._said[said.content] = said
        self._said.move_to_end(said.content)
        while self._said:
            oldest = next(iter(self._said.values()))
            if len(self._said) <= _MOST and said.received_ms - oldest.received_ms < self._window_ms:
                return
            self._said.popitem(last=False)


def _is_same_moment(one: Said, other: Said) -> bool:
    """Two numbers in the stream are two messages, however fast they followed each other."""
    if one.sent_ms is None or one.sent_ms != other.sent_ms:
        return False
    return one.place is None or other.place is None or one.place == other.place
