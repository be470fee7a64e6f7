"""Building a router tree: every handler in its place, and everything that can be wrong found on the way."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ilink.bot.routing.binding import Binder, Binding, Known
from ilink.bot.routing.commands import read_call, read_command
from ilink.bot.routing.handlers import Handler, async_signature
from ilink.bot.routing.injection import CONDITIONAL, Provider, shown
from ilink.bot.routing.registered import Hook, Registered
from ilink.bot.routing.routes import BoundErrorHandler, Capture, Route
from ilink.bot.routing.rules import KINDS, Captures, Probe, Rule
from ilink.bot.routing.shelves import Shelf
from ilink.bot.routing.signatures import MISSING, Parameter
from ilink.bot.routing.values import is_optional, value_reader
from ilink.errors import ConfigError
from ilink.messages.incoming import Message, TextMessage

__all__ = ["Built", "build"]

_log = logging.getLogger(__name__)

_HELP_NAMES: Final = ("help", "帮助")


@dataclass(slots=True)
class Built:
    """A router tree as messages need it.

    Attributes:
        routes: Every handler but those of commands, in the order they are tried.
        commands: The handlers of commands, by each of their names, without regard to case.
        providers: What makes dependencies, with what knows where their own come from, the outermost router first.
        startup: Hooks in order.
        shutdown: Hooks in the order in which they are pushed.
        has_policies: Whether any handler has a policy for its lane.
    """

    routes: list[Route] = field(default_factory=list[Route])
    commands: dict[str, Route] = field(default_factory=dict[str, Route])
    providers: list[tuple[Binder, list[Provider]]] = field(default_factory=list[tuple[Binder, list[Provider]]])
    startup: list[Binding] = field(default_factory=list[Binding])
    shutdown: list[Binding] = field(default_factory=list[Binding])
    has_policies: bool = False
    _shelves: dict[type[Message], Shelf] = field(default_factory=dict[type[Message], Shelf])
    _glued: tuple[str, ...] = ()

    def select(self, probe: Probe) -> Iterator[tuple[Route, Captures]]:
        """Go through the handlers that may take a message, in order; commands are not among them."""
        return self._shelves[type(probe.message)].select(probe)

    def command_of(self, message: Message, probe: Probe) -> tuple[Route, str] | None:
        """Return the handler of the command that a message calls, and what is written behind its name.

        Names that are not ASCII are found without a blank behind them too, because Chinese has none: `/天气北京`.
        """
        if not self.commands or not isinstance(message, TextMessage) or (call := read_call(probe.text)) is None:
            return None
        if (route := self.commands.get(call.name)) is not None:
            return route, call.rest
        for name in self._glued:
            if call.name.startswith(name):
                return self.commands[name], probe.text[1 + len(name) :].strip()
        return None

    def distinct_commands(self) -> list[Route]:
        """Return the handlers of commands, each once, in order."""
        return list(dict.fromkeys(self.commands.values()))

    def finish(self) -> None:
        """Lay everything where it is found fast."""
        self._shelves = {kind: Shelf([route for route in self.routes if kind in route.handler.kinds]) for kind in KINDS}
        glued = (name for name in self.commands if not name.isascii())
        self._glued = tuple(sorted(glued, key=len, reverse=True))
        self.has_policies = any(route.handler.policy is not None for route in (*self.routes, *self.commands.values()))
        _check_policies(self)
        _warn_of_unreachable(self)


def build(root: Registered, *, help_function: Callable[..., Awaitable[None]] | None) -> Built:
    """Return a router tree as messages need it.

    Args:
        root: What stands in its outermost router.
        help_function: Handles `/help` when there are commands, unless one is called so.

    Raises:
        ConfigError: Something is missing, doubled or contradictory; the message names the places.
    """
    built = Built()
    known: Known = {}
    _add_router(built, (root,), known)
    if built.commands and help_function is not None and "help" not in built.commands:
        _add_help(built, (root,), known, help_function)
    built.finish()
    return built


def _add_router(built: Built, chain: tuple[Registered, ...], known: Known) -> None:
    """Add a router and what it includes; `chain` is the router itself, the one around it, and so on."""
    own = chain[0]
    binder = Binder([router.providers for router in chain], known)
    providers = list(own.providers)
    binder.check(providers)
    built.providers.append((binder, providers))
    built.startup += [_bind_hook(binder, hook) for hook in own.startup]
    built.shutdown += [_bind_hook(binder, hook) for hook in own.shutdown]
    for handler in own.handlers:
        _add_handler(built, handler, chain, binder)
    for included in own.included:
        _add_router(built, (included, *chain), known)


def _bind_hook(binder: Binder, hook: Hook) -> Binding:
    return binder.bind(hook.function, hook.signature, leading=0, has_message=False)


def _add_handler(built: Built, handler: Handler, chain: tuple[Registered, ...], binder: Binder) -> None:
    outer = [rule for router in reversed(chain) for rule in router.rules]
    rules = tuple(part for rule in (*outer, *handler.rules) for part in rule.parts or (rule,))
    route = _route(handler, rules, chain, binder)
    if route.command is None:
        built.routes.append(route)
        return
    for name in route.command.names:
        key = name.casefold()
        if (other := built.commands.get(key)) is not None:
            message = f"{handler.place} handles the command /{name}, as {other.handler.place} does; rename one of them"
            raise ConfigError(message)
        built.commands[key] = route


def _route(handler: Handler, rules: tuple[Rule, ...], chain: tuple[Registered, ...], binder: Binder) -> Route:
    captures = _captures(handler, rules)
    about = getattr(handler.function, "__doc__", None)
    command = read_command(handler.names, handler.signature, about, binder.knows) if handler.names else None
    given = {capture.name for capture in captures}
    if command is not None:
        given |= {argument.name for argument in command.arguments}
    binding = binder.bind(handler.function, handler.signature, leading=1, given=given)
    _check_conditions(handler, binding, rules)
    inner_first = chain
    middleware = tuple(one for own in reversed(inner_first) for one in own.middleware)
    return Route(
        name=handler.name,
        handler=handler,
        rules=rules,
        binding=binding,
        captures=captures,
        command=command,
        middleware=middleware,
        outgoing=tuple(one for own in inner_first for one in own.outgoing),
        error_handlers=_error_handlers(chain, binder),
        tests=tuple(rule.test for rule in rules),
        is_async=any(rule.test_async is not None for rule in rules),
        is_plain=binding.is_plain and not middleware and command is None,
    )


def _error_handlers(chain: tuple[Registered, ...], binder: Binder) -> tuple[tuple[BoundErrorHandler, ...], ...]:
    groups: list[tuple[BoundErrorHandler, ...]] = []
    for place, router in enumerate(chain):
        outside = binder.outside(place)
        groups.append(
            tuple(
                BoundErrorHandler(one.kinds, outside.bind(one.function, one.signature, leading=2))
                for one in router.error_handlers
            )
        )
    return tuple(group for group in groups if group)


def _captures(handler: Handler, rules: Sequence[Rule]) -> tuple[Capture, ...]:
    """Return which parameters of a handler its filters fill, and as what."""
    sure = frozenset[str]().union(*(rule.captures for rule in rules))
    perhaps = frozenset[str]().union(*(rule.may_capture for rule in rules)) - sure
    parameters = handler.signature.parameters()[1:]
    return tuple(
        _capture(handler, parameter, is_sure=parameter.name in sure)
        for parameter in parameters
        if parameter.name in sure | perhaps
    )


def _capture(handler: Handler, parameter: Parameter, *, is_sure: bool) -> Capture:
    annotation = str if parameter.annotation is MISSING else parameter.annotation
    reader = value_reader(annotation)
    if reader is None:
        raise handler.signature.refuse(
            f"asks for the captured text `{parameter.name}: {shown(annotation)}`, and a text is not read as that"
        )
    default = parameter.default
    if default is MISSING and is_optional(annotation):
        default = None
    if default is MISSING and not is_sure:
        raise handler.signature.refuse(
            f"asks for `{parameter.name}`, which only one side of a | captures; give it a default or `| None`"
        )
    return Capture(parameter.name, reader, default)


def _check_conditions(handler: Handler, binding: Binding, rules: Sequence[Rule]) -> None:
    granted = frozenset[object]().union(*(rule.grants for rule in rules))
    for key in binding.conditions - granted:
        raise handler.signature.refuse(f"asks for a `{shown(key)}`, which not every message has: {CONDITIONAL[key]}")


def _add_help(
    built: Built, chain: tuple[Registered, ...], known: Known, function: Callable[..., Awaitable[None]]
) -> None:
    names = tuple(name for name in _HELP_NAMES if name not in built.commands)
    handler = Handler(
        function=function,
        signature=async_signature(function, what="handler", leading=1, takes="the message"),
        words="the command /help that comes with the others",
        kinds=frozenset((TextMessage,)),
        rules=(),
        names=names,
    )
    binder = Binder([router.providers for router in chain], known)
    route = _route(handler, chain[0].rules, chain, binder)
    assert route.command is not None, "it has names"
    route = replace(route, command=replace(route.command, about_key="command.help"))
    built.commands |= dict.fromkeys(names, route)


def _check_policies(built: Built) -> None:
    """Refuse policies whose handler cannot be known without waiting, because a lane decides before anything runs."""
    for route in built.distinct_commands():
        if route.handler.policy is not None and route.is_async:
            raise _unplanned(route, route)
    for place, route in enumerate(built.routes):
        if route.handler.policy is None:
            continue
        for before in built.routes[: place + 1]:
            if before.is_async and before.handler.kinds & route.handler.kinds:
                raise _unplanned(route, before)


def _unplanned(route: Route, waiting: Route) -> ConfigError:
    words = next(rule.words for rule in waiting.rules if rule.test_async is not None)
    which = "its own filter" if route is waiting else f"{waiting.handler.place} stands before it and its filter"
    why = f"has a policy, which is looked at before anything runs, and {which} {words} has to wait"
    return route.handler.signature.refuse(f"{why}; make that filter synchronous, or register this handler before it")


def _warn_of_unreachable(built: Built) -> None:
    taken: dict[type[Message], Route] = {}
    for route in built.routes:
        blocking = [taken[kind] for kind in route.handler.kinds if kind in taken]
        if len(blocking) == len(route.handler.kinds):
            _log.warning(
                "%s is never called: %s takes everything before it", route.handler.place, blocking[0].handler.place
            )
        if not route.rules and not route.captures:
            taken |= {kind: route for kind in route.handler.kinds if kind not in taken}
