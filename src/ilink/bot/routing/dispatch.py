"""A router tree, built: what can be wrong with it has been found, and each message finds its handler fast."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from ilink.bot.lane_policy import LanePolicy
from ilink.bot.routing.binding import AppValues, Binding
from ilink.bot.routing.building import Built, build
from ilink.bot.routing.commands import ArgumentsError
from ilink.bot.routing.help import command_list, command_manual
from ilink.bot.routing.injection import Invocation
from ilink.bot.routing.nearest import describe_nearest
from ilink.bot.routing.registered import Registered
from ilink.bot.routing.routes import BoundErrorHandler, Match, Route
from ilink.bot.routing.rules import Probe
from ilink.bot.words import Language, language_of
from ilink.messages.incoming import Message, TextMessage

if TYPE_CHECKING:
    from ilink.bot.turn import Turn

__all__ = ["Dispatch"]


class Dispatch:
    """The handlers of a router and of all it includes, ready for messages.

    Args:
        root: What stands in the outermost router.
        language: What the bot speaks by itself; None for that of the person.
        has_help: Whether there is a `/help` when there are commands and none of them is called so.

    Raises:
        ConfigError: Something is missing, doubled or contradictory; the message names the places.
    """

    def __init__(self, root: Registered, *, language: Language | None = None, has_help: bool = True) -> None:
        self._root = root
        self._built: Built = build(root, help_function=self._help if has_help else None)
        self._language: Language | None = language
        self._app: AppValues = {}

    def __bool__(self) -> bool:
        return bool(self._built.routes or self._built.commands)

    @property
    def has_policies(self) -> bool:
        """Whether any handler has a policy for its lane; without one nothing has to be planned."""
        return self._built.has_policies

    def plan(self, message: Message) -> LanePolicy | None:
        """Return how a message goes through its lane; None for in order, as all do without a policy. Never waits."""
        if not self.has_policies:
            return None
        probe = Probe(message)
        if (match := self._command_match(message, probe)) is not None:
            return match.route.handler.policy
        for route, found in self._built.select(probe):
            if route.is_async:
                return None  # it was checked that no policy stands behind it
            if route.match_rest(probe, found) is not None:
                return route.handler.policy
        return None

    async def find(self, message: Message) -> Match | None:
        """Return the handler of a message and what its filters captured; None when nobody takes it."""
        probe = Probe(message)
        if self._built.commands and (match := await self._find_command(message, probe)) is not None:
            return match
        for route, found in self._built.select(probe):
            match = await route.match_async(probe) if route.is_async else route.match_rest(probe, found)
            if match is not None:
                return match
        return None

    async def run(self, match: Match, message: Message, turn: Turn) -> None:
        """Run the handler of a message, with everything around it.

        Raises:
            Exception: What the handler, a provider or a middleware raised, unchanged.
        """
        route = match.route
        if route.outgoing:
            turn.rewrite = partial(_rewrite, route, message)
        if route.is_plain:
            await route.handler.function(message)
            return
        values = match.values
        if route.command is not None:
            try:
                values = {**values, **route.command.read(match.rest)}
            except ArgumentsError as error:
                await message.reply(route.command.complaint(error, self._language_for(message)))
                return
        await self._call(route, Invocation(message=message, handler=route.handler, values=values, turn=turn))

    async def recover(self, match: Match, message: Message, turn: Turn, error: Exception) -> bool:
        """Ask error handlers about what a handler raised, the innermost router's first.

        Returns:
            Whether one of them took it; what the handler said before is forgotten then, and what it said is to be sent.
            What an error handler raises is taken to the router around it; what is left in the end has been raised.
        """
        raised: Exception = error
        for group in match.route.error_handlers:
            handler = _nearest_class(group, raised)
            if handler is None:
                continue
            turn.forget()
            invocation = Invocation(message=message, handler=match.route.handler, values=match.values, turn=turn)
            try:
                await handler(raised, message, invocation=invocation, app=self._app)
            except Exception as again:  # an error handler may raise anything; the next one out gets it  # noqa: BLE001
                raised = again
            else:
                return True
        if raised is not error:
            raise raised
        return False

    def explain(self, message: Message) -> str:
        """Return which handler comes nearest to taking a message that none takes, and what refused it."""
        return describe_nearest(self._built, Probe(message))

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        """Make what lives as long as the bot and run the startup hooks; in the end run the shutdown hooks, and close.

        Raises:
            Exception: What a hook or a provider raised; what had been opened by then is closed.
        """
        async with AsyncExitStack() as exits:
            exits.enter_context(self._nothing_is_added())
            exits.callback(self._app.clear)
            for binder, providers in self._built.providers:
                await binder.open_all(providers, exits, self._app)
            for hook in self._built.shutdown:
                exits.push_async_callback(hook, invocation=None, app=self._app)
            for hook in self._built.startup:
                await hook(invocation=None, app=self._app)
            yield

    @contextmanager
    def _nothing_is_added(self) -> Generator[None]:
        """Refuse what is registered from here on: it would have no effect."""
        routers = list(self._root.tree())
        for router in routers:
            router.is_running = True
        try:
            yield
        finally:
            for router in routers:
                router.is_running = False

    def _command_match(self, message: Message, probe: Probe) -> Match | None:
        found = self._built.command_of(message, probe)
        if found is None:
            return None
        route, rest = found
        match = None if route.is_async else route.match(probe)
        return None if match is None else Match(route, match.values, rest)

    async def _find_command(self, message: Message, probe: Probe) -> Match | None:
        found = self._built.command_of(message, probe)
        if found is None:
            return None
        route, rest = found
        match = await route.match_async(probe) if route.is_async else route.match(probe)
        return None if match is None else Match(route, match.values, rest)

    async def _call(self, route: Route, invocation: Invocation) -> None:
        async def innermost() -> None:
            await route.binding(invocation.message, invocation=invocation, app=self._app)

        call: Callable[[], Awaitable[None]] = innermost
        for middleware in reversed(route.middleware):
            call = partial(middleware, invocation, call)
        await call()

    async def _help(self, message: TextMessage, command: str | None = None) -> None:
        """Show the commands, or what one of them does."""
        language = self._language_for(message)
        if command is None:
            await message.reply(await command_list(self._built, Probe(message), language))
        else:
            await message.reply(command_manual(self._built, command, language))

    def _language_for(self, message: Message) -> Language:
        return language_of(message.text, setting=self._language)


def _nearest_class(group: tuple[BoundErrorHandler, ...], error: Exception) -> Binding | None:
    """Return who of a router is asked about an error: the handler of the nearest of its classes."""
    for kind in type(error).__mro__:
        for handler in group:
            if kind in handler.kinds:
                return handler.binding
    return None


def _rewrite(route: Route, message: Message, text: str) -> str:
    """Return a text as the outgoing functions of a handler's routers want it."""
    for change in route.outgoing:
        text = change(text, message)
    return text
