"""Which handler would have taken a message that none took: what a person who looks into the log wants to know."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from ilink.bot.routing.commands import read_call
from ilink.bot.routing.routes import Route
from ilink.bot.routing.rules import Probe

if TYPE_CHECKING:
    from ilink.bot.routing.building import Built

__all__ = ["close_command", "describe_nearest"]


def describe_nearest(built: Built, probe: Probe) -> str:
    """Return the handler that comes nearest and why it refused, in one line: `shop.py:12 on_text(…): …`."""
    ranked = [_rank(built, route, probe) for route in (*built.distinct_commands(), *built.routes)]
    if not ranked:
        return "there is no handler"
    _, route, why = max(ranked, key=lambda one: one[0])
    return f"{route.handler.place} {route.handler.words}: {why}"


def close_command(built: Built, name: str) -> str | None:
    """Return the name of the command that somebody may have meant."""
    close = get_close_matches(name, built.commands, n=1)
    return close[0] if close else None


def _rank(built: Built, route: Route, probe: Probe) -> tuple[float, Route, str]:
    """Return how near a handler comes, the handler, and what refused the message."""
    handler = route.handler
    if type(probe.message) not in handler.kinds:
        kinds = " or ".join(sorted(kind.__name__ for kind in handler.kinds))
        return 0.0, route, f"it is a {type(probe.message).__name__}, not a {kinds}"
    if handler.names and (refused := _wrong_command(built, route, probe)) is not None:
        return refused[0], route, refused[1]
    held, why = route.refusal(probe)
    share = 1.0 + (held + 0.5) / (len(route.rules) + 1)
    return share, route, why or _unread(route)


def _wrong_command(built: Built, route: Route, probe: Probe) -> tuple[float, str] | None:
    """Return how near a text comes to calling a command that it does not call."""
    called = read_call(probe.text)
    if called is None:
        first = probe.folded.partition(" ")[0]
        return _nearness(built, route, first, other=0.5), "the text does not begin with a command"
    found = built.command_of(probe.message, probe)
    if found is not None and found[0] is route:
        return None
    return _nearness(built, route, called.name, other=0.6), f"the command is /{called.name}"


def _nearness(built: Built, route: Route, name: str, *, other: float) -> float:
    """Return how near a word comes to a command that may have been meant; nearer than any filter if it was mistyped."""
    close = close_command(built, name)
    return 3.0 if close is not None and built.commands[close] is route else other


def _unread(route: Route) -> str:
    """Say why a message was refused that all rules took, as far as they can be asked again."""
    if route.is_async:
        return "a filter that has to wait does not hold"
    names = ", ".join(capture.name for capture in route.captures)
    return f"what was captured for {names} cannot be read as what the handler asks for"
