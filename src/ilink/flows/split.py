"""Long texts in as few messages as the limit allows, cut where a reader would cut (protocol §7.15)."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from itertools import accumulate, pairwise
from typing import Final

from ilink.errors import ConfigError

__all__ = ["DEFAULT_LIMIT", "find_fences", "split_text"]

DEFAULT_LIMIT: Final = 12_000
"""Bytes of UTF-8 in one message: the official client's 4,000 characters in Chinese (official 2.4.9)."""

_SMALLEST: Final = 64
_FENCE: Final = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n`]*)$", re.MULTILINE)
_BORDERS: Final = (
    (re.compile(r"\n[ \t]*\n+"), 0.0),
    (re.compile(r"\n"), 0.15),
    (re.compile(r"[。！？…；]+[”’」』）]*|[.!?;]+[\"')\]]*\s"), 0.3),
    (re.compile(r"[，、：]|[,:]\s"), 0.6),
    (re.compile(r"\s+"), 0.8),
)
"""Where a text may be cut, and what a cut there costs beside one that is off the balanced place by that share."""

_ANYWHERE: Final = 3.0
_JOINERS: Final = frozenset("\u200d\ufe0e\ufe0f\u20e3") | {chr(code) for code in range(0x1F3FB, 0x1F400)}
"""Characters that belong to the one before them: emoji are not torn apart."""


def split_text(text: str, *, limit: int = DEFAULT_LIMIT) -> list[str]:
    """Return a text in parts below a limit, as few as possible and of about the same size.

    One part more is made where words would be torn otherwise. The text is cut between paragraphs, else lines,
    sentences, words, characters, in this order of preference. A code block that is cut is closed in one part and
    opened again, with its language, in the next. Blanks at the cuts go.

    Args:
        text: What to say.
        limit: The most bytes of UTF-8 a part may have, at least 64.

    Returns:
        The parts; one when the text fits, none when it is blank.

    Raises:
        ConfigError: The limit is too small.
    """
    if limit < _SMALLEST:
        message = f"a limit of {limit} bytes is too small to split a text; use at least {_SMALLEST}"
        raise ConfigError(message)
    if _size(text) <= limit:
        return [text] if text.strip() else []
    fences = find_fences(text)
    room = limit - max((_overhead(opener) for _, _, opener in fences), default=0)
    if room < limit // 2:
        fences, room = [], limit
    starts = [0, *_find_cuts(text, room), len(text)]
    parts = [_balanced(text, start, end, fences) for start, end in pairwise(starts)]
    return [part for part in parts if part.strip()]


def _find_cuts(text: str, room: int) -> list[int]:
    """Return the places to cut at, for as few parts as fit; one more where words would be torn otherwise."""
    offsets = [0, *accumulate(_size(character) for character in text)]
    borders = _find_borders(text)
    fewest = -(-offsets[-1] // room)
    few, more = (_cut(text, offsets, borders, room, parts) for parts in (fewest, fewest + 1))
    return [place for place, _ in min(few, more, key=_torn)]


def _torn(cuts: list[tuple[int, float]]) -> int:
    return sum(cost >= _ANYWHERE for _, cost in cuts)


def _cut(
    text: str, offsets: list[int], borders: list[tuple[int, float]], room: int, parts: int
) -> list[tuple[int, float]]:
    """Return cuts and what they cost: each leaves a part that fits, and a rest that fits into the remaining parts."""
    total = offsets[-1]
    cuts: list[tuple[int, float]] = []
    start = 0
    while (remaining := max(parts - len(cuts), -(-(total - offsets[start]) // room))) > 1:
        ideal = (total - offsets[start]) / remaining
        wanted = offsets[start] + ideal
        last = bisect_right(offsets, offsets[start] + room) - 1
        first = min(bisect_left(offsets, max(offsets[start] + 1, total - (remaining - 1) * room)), last)
        near = borders[bisect_left(borders, (first, 0.0)) : bisect_right(borders, (last, _ANYWHERE))]
        middle = min(max(first, bisect_left(offsets, wanted)), last)
        places = [*near, (_before_joiners(text, middle, first), _ANYWHERE)]
        best = min(places, key=lambda place: place[1] + abs(offsets[place[0]] - wanted) / ideal)
        start = best[0]
        if start >= len(text):
            break
        cuts.append(best)
    return cuts


def _find_borders(text: str) -> list[tuple[int, float]]:
    """Return the places behind borders with what a cut there costs, in order; none inside of a line with a fence."""
    fences = {place for line in _FENCE.finditer(text) for place in range(line.start() + 1, line.end() + 1)}
    return sorted(
        (match.end(), cost) for border, cost in _BORDERS for match in border.finditer(text) if match.end() not in fences
    )


def _before_joiners(text: str, place: int, first: int) -> int:
    """Move a cut in the middle of an emoji to before it, if there is room."""
    moved = place
    while moved > first and (text[moved] in _JOINERS or text[moved - 1] == "\u200d"):
        moved -= 1
    return moved


def find_fences(text: str) -> list[tuple[int, int, str]]:
    """Return the inside of each code block with the line that opens it; the last may be open to the end."""
    fences: list[tuple[int, int, str]] = []
    opened: re.Match[str] | None = None
    for line in _FENCE.finditer(text):
        if opened is None:
            opened = line
        elif line[1].startswith(opened[1]) and not line[2].strip():
            fences.append((opened.end() + 1, line.start(), opened[0]))
            opened = None
    if opened is not None:
        fences.append((opened.end() + 1, len(text), opened[0]))
    return fences


def _balanced(text: str, start: int, end: int, fences: list[tuple[int, int, str]]) -> str:
    """Return one part, the code block it begins in opened again, the one it ends in closed."""
    inner = text[start:end]
    before = next((opener for first, last, opener in fences if first <= start <= last), None)
    after = next((opener for first, last, opener in fences if first <= end <= last and end < len(text)), None)
    inner = inner.strip("\n") if before is not None else inner.strip()
    head = "" if before is None else f"{before}\n"
    return f"{head}{inner}" if after is None else f"{head}{inner}\n{_closer(after)}"


def _overhead(opener: str) -> int:
    return _size(opener) + 1 + _size(_closer(opener)) + 1


def _closer(opener: str) -> str:
    fence = _FENCE.match(opener)
    return "```" if fence is None else fence[1]


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
