"""A text that comes in pieces, folded into few messages while it comes.

WeChat has no message that grows: each part is a message of its own, and few are allowed. So parts go out where a reader
would pause, the first soon and later ones at longer intervals, and the last message is always kept for the end. Nothing
of the text is lost or moved; code blocks and tables stay whole as long as they fit into one message.

Values in, values out: what is folded so far is a value, and the time is passed in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from ilink.errors import ConfigError
from ilink.flows.split import DEFAULT_LIMIT, find_fences, split_text

__all__ = ["Fold", "FoldRules", "begin_fold", "end_fold", "fold", "next_due"]

_SLOWER: Final = 1.7
"""By how much longer each part waits than the one before it."""

_BORDERS: Final = (
    re.compile(r"\n[ \t]*\n+"),
    re.compile(r"\n"),
    re.compile(r"[。！？…]+[”’」』）]*|[.!?]+[\"')\]]*\s"),
)
"""Where a text may be cut, the best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldRules:
    """How a text is folded.

    Attributes:
        parts: How many messages it may become.
        seconds: How long the first part gathers text, at the least; each one waits longer than the one before it.
        least: Bytes of UTF-8 below which nothing goes out before the end.
        limit: The most bytes of UTF-8 in one message.
    """

    parts: int = 4
    seconds: float = 6.0
    least: int = 240
    limit: int = DEFAULT_LIMIT

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if self.parts < 1 or self.seconds < 0 or self.least < 1:
            message = "parts and least have to be 1 at least, and seconds must not be negative"
            raise ConfigError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """A text that is being folded.

    Attributes:
        pending: What has not gone out yet.
        done: How many parts went out.
        since: When the part that is gathered now began.
    """

    pending: str = ""
    done: int = 0
    since: float = 0.0


def begin_fold(at: float) -> Fold:
    """Return an empty text that begins now, in seconds of any clock."""
    return Fold(since=at)


def fold(state: Fold, piece: str, at: float, rules: FoldRules) -> tuple[Fold, list[str]]:
    """Take a piece of the text, or an empty one when only time has passed.

    Returns:
        The text so far, and the parts that go out now, none most of the time.
    """
    state = replace(state, pending=state.pending + piece)
    ready: list[str] = []
    while (cut := _next_cut(state, at, rules)) is not None:
        parts, rest = cut
        state = replace(state, pending=rest, done=state.done + len(parts), since=at)
        ready += parts
    return state, ready


def end_fold(state: Fold, rules: FoldRules) -> list[str]:
    """Return what is left as parts: one, unless it is too long for one message; none if nothing is left."""
    return split_text(state.pending, limit=rules.limit)


def next_due(state: Fold, rules: FoldRules) -> float:
    """Return when to look again though no piece has come."""
    return state.since + rules.seconds * _SLOWER**state.done


def _next_cut(state: Fold, at: float, rules: FoldRules) -> tuple[list[str], str] | None:
    """Return the parts that go out now and the rest; None to wait."""
    room = rules.parts - 1 - state.done  # the last message is for the end
    if room < 1:
        return None
    if _size(state.pending) > rules.limit:
        return _cut(state.pending, rules) or _cut_anywhere(state.pending, rules, room)
    return _cut(state.pending, rules) if at >= next_due(state, rules) else None


def _cut(text: str, rules: FoldRules) -> tuple[list[str], str] | None:
    """Cut at the last good border; None when there is none, or too little before it."""
    inside = find_fences(text)
    for border in _BORDERS:
        places = [match.end() for match in border.finditer(text)]
        for place in reversed(places):
            part = text[:place].strip()
            if _size(part) < rules.least:
                break
            if _size(part) <= rules.limit and not _is_whole(text, place, inside):
                return [part], text[place:].lstrip("\n")
    return None


def _is_whole(text: str, place: int, inside: list[tuple[int, int, str]]) -> bool:
    """Tell whether something stands around a place that is not torn apart: a code block or a table."""
    if any(first <= place <= last for first, last, _ in inside):
        return True
    before = text[:place].rstrip("\n").rpartition("\n")[2].lstrip()
    is_paragraph = text[:place].endswith("\n\n")
    after = text[place:].lstrip(" ")
    return before.startswith("|") and not is_paragraph and (after.startswith("|") or not after)


def _cut_anywhere(text: str, rules: FoldRules, room: int) -> tuple[list[str], str] | None:
    """Cut a text that is too long for one message and has no good border; None when the messages left are too few."""
    *parts, rest = split_text(text, limit=rules.limit)
    return (parts, rest) if 1 <= len(parts) <= room else None


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
