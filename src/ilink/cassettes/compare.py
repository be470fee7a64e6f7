"""What two answers to the same request have in common, and where they differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from msgspec import UNSET, UnsetType

from ilink.cassettes.tape import Part, Take
from ilink.wire.shapes import is_array, is_object

__all__ = ["Comparison", "Difference", "Kind", "differences", "shape_of"]

Kind = Literal["status", "field", "type", "value", "header", "size", "timing"]

_EXACT: Final = frozenset(
    {"ret", "errcode", "errmsg", "status", "type", "message_type", "message_state", "longpolling_timeout_ms"}
)
"""Fields whose values count, not only their types."""

_NEUTRAL: Final = frozenset(
    [
        "access-control-allow-origin",
        "alt-svc",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "date",
        "etag",
        "expires",
        "keep-alive",
        "last-modified",
        "nw-trace-id",
        "server",
        "strict-transport-security",
        "transfer-encoding",
        "vary",
        "via",
    ]
)
"""Headers that tell of the server in front, and nothing of the protocol."""

_EXACT_LIMIT: Final = 2**53
"""Beyond it programs in JavaScript lose the last digits."""

_HELD_MS: Final = 1500
"""An answer that took longer was held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that the gateway does otherwise.

    Attributes:
        n: The number of the take.
        endpoint: Its endpoint.
        kind: What differs.
        where: A header, or a path in the JSON; `a[].b` is the field `b` of every object in the list `a`.
        recorded: What the recorded server did; an empty text where it has nothing there.
        ours: What the gateway does.
    """

    n: int
    endpoint: str
    kind: Kind
    where: str
    recorded: str
    ours: str


@dataclass(slots=True)
class Comparison:
    """What came of playing a cassette.

    Attributes:
        played: How many takes were played.
        skipped: The numbers of those that could not be, and why.
        differences: Where the answers differ, in the order of the takes.
    """

    played: int = 0
    skipped: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    differences: list[Difference] = field(default_factory=list[Difference])

    @property
    def is_same(self) -> bool:
        """Whether everything could be played and nothing differs."""
        return not (self.skipped or self.differences)


@dataclass(frozen=True, slots=True)
class Sight:
    """What stands at one path of a body: which types, and which values where values count."""

    types: frozenset[str]
    values: frozenset[str] = frozenset()


def differences(recorded: Take, status: int, ours: Part, held_ms: int) -> Iterator[Difference]:
    """Yield where our answer differs from a recorded one."""
    for kind, where, theirs, mine in _compare(recorded, status, ours, held_ms):
        yield Difference(n=recorded.n, endpoint=recorded.endpoint, kind=kind, where=where, recorded=theirs, ours=mine)


def shape_of(body: dict[str, object] | UnsetType) -> dict[str, Sight]:
    """Return what stands at every path of a body; the entries of a list share their paths."""
    found: dict[str, Sight] = {}
    if body is not UNSET:
        _gather(found, "", "", body)
    return found


def _compare(recorded: Take, status: int, ours: Part, held_ms: int) -> Iterator[tuple[Kind, str, str, str]]:
    if recorded.status != status:
        yield "status", "", str(recorded.status), str(status)
    theirs, mine = _headers(recorded.response), _headers(ours)
    for name in sorted(theirs.keys() | mine.keys()):
        if theirs.get(name) != mine.get(name):
            yield "header", name, theirs.get(name, ""), mine.get(name, "")
    their_shape, my_shape = shape_of(recorded.response.json), shape_of(ours.json)
    for path in sorted(their_shape.keys() | my_shape.keys()):
        found = _compare_sights(their_shape.get(path), my_shape.get(path))
        if found is not None:
            yield found[0], path, found[1], found[2]
    if _size(recorded.response) != _size(ours):
        yield "size", "", _size(recorded.response), _size(ours)
    if _pace(recorded.held_ms) != _pace(held_ms):
        yield "timing", "", _pace(recorded.held_ms), _pace(held_ms)


def _compare_sights(theirs: Sight | None, mine: Sight | None) -> tuple[Kind, str, str] | None:
    if theirs is None or mine is None:
        return "field", _words(theirs), _words(mine)
    if theirs.types != mine.types:
        return "type", _words(theirs), _words(mine)
    if theirs.values != mine.values:
        return "value", ", ".join(sorted(theirs.values)), ", ".join(sorted(mine.values))
    return None


def _gather(found: dict[str, Sight], path: str, name: str, value: object) -> None:
    seen = Sight(frozenset({_type(value)}), frozenset({str(value)} if name in _EXACT and _is_scalar(value) else ()))
    if path:
        before = found.get(path, Sight(frozenset()))
        found[path] = Sight(before.types | seen.types, before.values | seen.values)
    if is_object(value):
        for key, entry in value.items():
            _gather(found, f"{path}.{key}" if path else key, key, entry)
    elif is_array(value):
        for entry in value:
            _gather(found, f"{path}[]", name, entry)


def _type(value: object) -> str:
    """Return what a value is, as far as clients tell it apart."""
    match value:
        case None:
            return "null"
        case bool():
            return "flag"
        case int():
            return "whole number beyond 2^53" if abs(value) > _EXACT_LIMIT else "whole number"
        case float():
            return "fraction"
        case str():
            return "empty text" if not value else "text of digits" if value.isdigit() else "text"
        case _:
            return "list" if is_array(value) else "object"


def _is_scalar(value: object) -> bool:
    return not (is_array(value) or is_object(value))


def _words(sight: Sight | None) -> str:
    return "" if sight is None else " or ".join(sorted(sight.types))


def _headers(part: Part) -> dict[str, str]:
    """Return the headers that tell something, with the media type for a value where that counts."""
    return {
        name: value.partition(";")[0].strip().lower() if name == "content-type" else "there"
        for name, value in part.headers.items()
        if name not in _NEUTRAL
    }


def _size(part: Part) -> str:
    return "" if part.bytes is UNSET else f"{part.bytes} bytes"


def _pace(held_ms: int) -> str:
    return "held" if held_ms > _HELD_MS else "at once"
