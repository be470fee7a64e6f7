"""Routers of plain functions."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from ilink.bot.lane_policy import LanePolicy
from ilink.bot.routing.injection import Invocation, Scope
from ilink.bot.routing.registered import Outgoing
from ilink.bot.routing.router import Condition
from ilink.bot.routing.router import Router as AsyncRouter
from ilink.messages import incoming
from ilink.sync.threads import Threads
from ilink.sync.twins import (
    FileMessage,
    ImageMessage,
    Message,
    TextMessage,
    VideoMessage,
    VoiceMessage,
    kind_of,
)

__all__ = ["Middleware", "Next", "Router"]

M = TypeVar("M", bound=Message)
E = TypeVar("E", bound=Exception)
R = TypeVar("R")
T = TypeVar("T")
P = ParamSpec("P")

Next = Callable[[], None]
"""Goes on inwards: to the next middleware, and to the handler in the end."""

Middleware = Callable[[Invocation, Next], None]
"""Goes around every handler of a router."""

Register = Callable[[Callable[..., Coroutine[object, None, object]]], object]
"""Takes the coroutine function that a plain one became."""


class Registration(Generic[M]):
    """The decorator that makes a plain function the handler of some messages."""

    __slots__ = ("_register", "_threads")

    def __init__(self, register: Register, threads: Threads) -> None:
        self._register = register
        self._threads = threads

    def __call__(self, function: Callable[Concatenate[M, P], R]) -> Callable[Concatenate[M, P], R]:
        """Register a function; see `ilink.Router`.

        Raises:
            ConfigError: It cannot be a handler; the message says why, and where it is.
        """
        self._register(self._threads.asynchronous(function, what="handler"))
        return function


class Router:
    """Handlers that belong together, as plain functions; see `ilink.Router`.

    Each run of a handler has a thread of its own. Conditions, providers and what changes outgoing texts are called in
    the event loop, with the asynchronous objects, and must not block.

    Args:
        conditions: What has to hold of every message that its handlers take.
        name: What it is called in errors.
    """

    def __init__(self, *conditions: Condition[incoming.Message], name: str = "") -> None:
        self._router = AsyncRouter(*conditions, name=name)
        self._threads = Threads()

    def __repr__(self) -> str:
        return f"sync.{self._router!r}"

    def on(
        self, kind: type[M], *conditions: Condition[incoming.Message], policy: LanePolicy | None = None
    ) -> Registration[M]:
        """Decorate the handler of one kind of messages, `Message` for all of them."""
        return self._plain(self._router.on(kind_of(kind), *conditions, policy=policy))

    def on_text(
        self, *conditions: Condition[incoming.TextMessage], policy: LanePolicy | None = None
    ) -> Registration[TextMessage]:
        """Decorate the handler of text messages."""
        return self._plain(self._router.on_text(*conditions, policy=policy))

    def on_image(
        self, *conditions: Condition[incoming.ImageMessage], policy: LanePolicy | None = None
    ) -> Registration[ImageMessage]:
        """Decorate the handler of pictures."""
        return self._plain(self._router.on_image(*conditions, policy=policy))

    def on_voice(
        self, *conditions: Condition[incoming.VoiceMessage], policy: LanePolicy | None = None
    ) -> Registration[VoiceMessage]:
        """Decorate the handler of voice messages."""
        return self._plain(self._router.on_voice(*conditions, policy=policy))

    def on_file(
        self, *conditions: Condition[incoming.FileMessage], policy: LanePolicy | None = None
    ) -> Registration[FileMessage]:
        """Decorate the handler of files."""
        return self._plain(self._router.on_file(*conditions, policy=policy))

    def on_video(
        self, *conditions: Condition[incoming.VideoMessage], policy: LanePolicy | None = None
    ) -> Registration[VideoMessage]:
        """Decorate the handler of videos."""
        return self._plain(self._router.on_video(*conditions, policy=policy))

    def on_quote(
        self, *conditions: Condition[incoming.Message], policy: LanePolicy | None = None
    ) -> Registration[Message]:
        """Decorate the handler of messages that refer to another one."""
        return self._plain(self._router.on_quote(*conditions, policy=policy))

    def on_any(
        self, *conditions: Condition[incoming.Message], policy: LanePolicy | None = None
    ) -> Registration[Message]:
        """Decorate the handler of messages of any kind; `on` narrows to one."""
        return self._plain(self._router.on_any(*conditions, policy=policy))

    def on_command(
        self, *names: str | Condition[incoming.TextMessage], policy: LanePolicy | None = None
    ) -> Registration[TextMessage]:
        """Decorate the handler of a command; see `ilink.Router.on_command`."""
        return self._plain(self._router.on_command(*names, policy=policy))

    def on_error(
        self, *errors: type[Exception]
    ) -> Callable[[Callable[Concatenate[E, Message, P], R]], Callable[Concatenate[E, Message, P], R]]:
        """Decorate what is called with an error and the message when a handler of this router raised it."""
        register = self._router.on_error(*errors)

        def decorate(function: Callable[Concatenate[E, Message, P], R]) -> Callable[Concatenate[E, Message, P], R]:
            register(self._threads.asynchronous(function, what="error handler"))
            return function

        return decorate

    @overload
    def provide(self, *, scope: Scope = "message") -> Callable[[Callable[P, R]], Callable[P, R]]: ...
    @overload
    def provide(self, kind: type[T], make: Callable[..., object], /, *, scope: Scope = "message") -> None: ...
    def provide(
        self, *kind_and_make: object, scope: Scope = "message"
    ) -> Callable[[Callable[P, R]], Callable[P, R]] | None:
        """Let handlers ask for something by its type; see `ilink.Router.provide`."""
        if not kind_and_make:
            return self._router.provide(scope=scope)
        kind, make = kind_and_make
        self._router.provide(cast("type[object]", kind), cast("Callable[..., object]", make), scope=scope)
        return None

    def middleware(self, function: Middleware) -> Middleware:
        """Decorate what goes around every handler of this router; `call_next()` returns when the handler has ended."""
        self._router.middleware(self._threads.asynchronous(function, what="middleware", is_middleware=True))
        return function

    def outgoing(self, function: Outgoing) -> Outgoing:
        """Decorate what changes each text that answers a message, before it is split and stored."""
        return self._router.outgoing(function)

    def on_startup(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate what is called before the first message."""
        self._router.on_startup(self._threads.asynchronous(function, what="startup hook"))
        return function

    def on_shutdown(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate what is called after the last message, however the bot ended."""
        self._router.on_shutdown(self._threads.asynchronous(function, what="shutdown hook"))
        return function

    def include(self, *routers: Router) -> None:
        """Include other routers, each in one place only.

        Raises:
            ConfigError: One of them stands somewhere already, is this one or around it, or is a bot.
        """
        self._router.include(*(router._router for router in routers))  # noqa: SLF001  # of the same class
        for router in routers:
            router._threads.join(self._threads)  # noqa: SLF001

    def check(self) -> None:
        """Refuse what could not work; see `ilink.Router.check`."""
        self._router.check()

    def _plain(self, register: Register) -> Registration[M]:
        return Registration(register, self._threads)
