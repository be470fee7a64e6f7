"""The handlers of one kind of messages, found by what the text begins with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ilink.bot.routing.routes import Route
from ilink.bot.routing.rules import Captures, Probe, Rule, Test
from ilink.messages.incoming import Message

__all__ = ["Shelf"]

_Candidate = tuple[int, str | None, Callable[[Message], object] | None, Test, Route]
"""The place of a handler among the others, `Rule.needle` and `Rule.quick` of what it asks first, that, and it."""


class Shelf:
    """The handlers of one kind of messages.

    Most handlers say what a text has to begin with, so most messages are looked at by few of them.

    Args:
        routes: The handlers, in the order in which they are tried.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._others: list[_Candidate] = []
        self._by_start: dict[str, list[_Candidate]] = {}
        for place, route in enumerate(routes):
            first = route.rules[0] if route.rules and not route.is_async else None
            needle, quick = (None, None) if first is None else (first.needle, first.quick)
            candidate = (place, needle, quick, route.first_test, route)
            starts = _starts(route.rules)
            if starts is None:
                self._others.append(candidate)
                continue
            for start in starts:
                self._by_start.setdefault(start, []).append(candidate)
        self._characters = sorted({len(start) for start in self._by_start})

    def select(self, probe: Probe) -> Iterator[tuple[Route, Captures]]:
        """Go through the handlers whose first rule lets a message pass, in order, with what that rule captured."""
        message, folded = probe.message, probe.folded
        # Nothing else in this package is worth being unrolled: this runs for every handler that is not for a message.
        for _, needle, quick, test, route in self._candidates(probe):
            if needle is not None and needle not in folded:
                continue
            if quick is not None and quick(message) is False:
                continue
            if (found := test(probe)) is not None:
                yield route, found

    def _candidates(self, probe: Probe) -> Sequence[_Candidate]:
        found: list[_Candidate] = []
        for characters in self._characters:
            found += self._by_start.get(probe.folded[:characters], ())
        if not found:
            return self._others
        if self._others:
            found += self._others
        # One that says two beginnings of which one begins with the other is found twice, which does no harm.
        found.sort(key=_place)
        return found


def _place(candidate: _Candidate) -> int:
    return candidate[0]


def _starts(rules: Iterable[Rule]) -> frozenset[str] | None:
    """Return what a text begins with that all rules take, as far as one of them says; None for anything."""
    return next((rule.starts for rule in rules if rule.starts is not None), None)
