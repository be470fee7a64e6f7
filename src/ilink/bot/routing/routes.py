"""A handler in its place: with what every router around it adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from ilink.bot.routing.binding import Binding
from ilink.bot.routing.commands import Command
from ilink.bot.routing.handlers import Handler
from ilink.bot.routing.registered import Middleware, Outgoing
from ilink.bot.routing.rules import NO_CAPTURES, Captures, Probe, Rule, Test
from ilink.bot.routing.signatures import MISSING
from ilink.bot.routing.values import ValueReader

__all__ = ["BoundErrorHandler", "Capture", "Match", "Route"]

_NO_VALUES: Final[Mapping[str, object]] = {}


def _always(_probe: Probe) -> Captures | None:
    return NO_CAPTURES


@dataclass(frozen=True, slots=True)
class Capture:
    """A parameter of a handler that a filter fills.

    Attributes:
        name: The parameter.
        reader: Reads its value from what was found.
        default: What it is when nothing was found; `MISSING` when the message is not for the handler then.
    """

    name: str
    reader: ValueReader
    default: object


@dataclass(frozen=True, slots=True, eq=False)
class BoundErrorHandler:
    """An error handler with its dependencies, and the errors it is for."""

    kinds: tuple[type[Exception], ...]
    binding: Binding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """A handler in its place.

    Attributes:
        name: What it is known by, in every run of the program: its module and qualified name.
        handler: The handler.
        rules: What has to hold: of its routers, the outermost first, then its own.
        binding: How it is called.
        captures: Which of its parameters its filters fill.
        command: The command it handles, if it handles one.
        middleware: What goes around it, the outermost first.
        outgoing: What changes its answers, in order.
        error_handlers: Who is asked about its errors: a group for each router, the innermost first.
        tests: The decisions of the rules; empty when one of them has to wait.
        is_async: Whether one of the rules has to wait.
        is_plain: Whether it is called with the message and nothing else, and nothing goes around it.
    """

    name: str
    handler: Handler
    rules: tuple[Rule, ...]
    binding: Binding
    captures: tuple[Capture, ...]
    command: Command | None
    middleware: tuple[Middleware, ...]
    outgoing: tuple[Outgoing, ...]
    error_handlers: tuple[tuple[BoundErrorHandler, ...], ...]
    tests: tuple[Test, ...]
    is_async: bool
    is_plain: bool

    @property
    def first_test(self) -> Test:
        """What is asked first; of a handler with rules that have to wait, and of one without rules, nothing is."""
        return self.tests[0] if self.tests and not self.is_async else _always

    def match(self, probe: Probe) -> Match | None:
        """Return how it takes a message whose kind it takes; None when it does not."""
        found = self.first_test(probe)
        return None if found is None else self.match_rest(probe, found)

    def match_rest(self, probe: Probe, found: Captures) -> Match | None:
        """Return how it takes a message that its first test let pass; None when it does not."""
        for test in self.tests[1:]:
            one = test(probe)
            if one is None:
                return None
            if one:
                found = {**found, **one}
        return self._read(found) if self.captures else Match(self, _NO_VALUES)

    async def match_async(self, probe: Probe) -> Match | None:
        """Return the same when some of its rules have to wait."""
        found: dict[str, str] = {}
        for rule in self.rules:
            one = await rule.ask(probe)
            if one is None:
                return None
            found.update(one)
        return self._read(found)

    def refusal(self, probe: Probe) -> tuple[int, str | None]:
        """Return how many rules hold before the first that does not, and why that does not."""
        for number, rule in enumerate(self.rules):
            if (why := rule.refusal(probe)) is not None:
                return number, why
        return len(self.rules), None

    def _read(self, found: Captures) -> Match | None:
        values: dict[str, object] = {}
        for capture in self.captures:
            text = found.get(capture.name)
            if text is None:
                if capture.default is MISSING:
                    return None
                values[capture.name] = capture.default
                continue
            try:
                values[capture.name] = capture.reader.read(text)
            except ValueError:
                return None
        return Match(self, values)


class Match(Struct, frozen=True):
    """A message has found its handler.

    Attributes:
        route: The handler in its place.
        values: What its filters captured, by its parameters' names.
        rest: What was written behind the command.
    """

    route: Route
    values: Mapping[str, object]
    rest: str = ""
