"""What stands in a router: what a program registered there, and what goes around it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field

from ilink.bot.routing.handlers import Handler, async_signature
from ilink.bot.routing.injection import Invocation, Providers
from ilink.bot.routing.rules import Rule
from ilink.errors import ConfigError
from ilink.messages.incoming import Message

__all__ = ["ErrorHandler", "Hook", "Middleware", "Next", "Outgoing", "Registered"]

Next = Callable[[], Awaitable[None]]
"""Goes on inwards: to the next middleware, and to the handler in the end."""

Middleware = Callable[[Invocation, Next], Coroutine[object, None, None]]
"""Goes around every handler of a router."""

Outgoing = Callable[[str, Message], str]
"""Gets each text that is about to answer a message, and returns what is said instead."""


class Hook:
    """A function that is run when the bot starts or stops."""

    __slots__ = ("function", "signature")

    def __init__(self, function: Callable[..., Coroutine[object, None, object]], what: str) -> None:
        self.signature = async_signature(function, what=what, leading=0, takes="")
        self.function = function


class ErrorHandler:
    """A function that is called when a handler of its router raised one of some errors."""

    __slots__ = ("function", "kinds", "signature")

    def __init__(
        self, kinds: tuple[type[Exception], ...], function: Callable[..., Coroutine[object, None, object]]
    ) -> None:
        takes = "the error and the message"
        self.signature = async_signature(function, what="error handler", leading=2, takes=takes)
        self.function = function
        self.kinds = kinds


@dataclass(slots=True)
class Registered:
    """Everything that stands in one router; for what is built on routers.

    Attributes:
        title: What the router is called in errors.
        is_root: Whether nothing can include it.
        rules: What has to hold of every message its handlers take.
        included: The routers inside, in order.
        around: The router that includes it.
        is_running: Whether a bot works with it, so that nothing can be added.
    """

    title: str
    is_root: bool
    rules: tuple[Rule, ...]
    handlers: list[Handler] = field(default_factory=list[Handler])
    providers: Providers = field(default_factory=Providers)
    middleware: list[Middleware] = field(default_factory=list[Middleware])
    outgoing: list[Outgoing] = field(default_factory=list[Outgoing])
    error_handlers: list[ErrorHandler] = field(default_factory=list[ErrorHandler])
    startup: list[Hook] = field(default_factory=list[Hook])
    shutdown: list[Hook] = field(default_factory=list[Hook])
    included: list[Registered] = field(default_factory=list["Registered"])
    around: Registered | None = None
    is_running: bool = False

    def tree(self) -> Iterator[Registered]:
        """Go through it and all it includes, in the order in which handlers are tried."""
        yield self
        for included in self.included:
            yield from included.tree()

    def include(self, other: Registered) -> None:
        """Take another router in.

        Raises:
            ConfigError: It cannot be: it is a bot, it stands in another already, or it includes this one.
        """
        around: Registered | None = self
        while around is not None:
            if around is other:
                what = "itself" if other is self else f"{other.title}, which includes it"
                message = f"{self.title} cannot include {what}"
                raise ConfigError(message)
            around = around.around
        if other.is_root:
            message = f"{self.title} cannot include {other.title}: a bot includes routers and is included by none"
            raise ConfigError(message)
        if other.around is not None:
            message = f"{self.title} cannot include {other.title}: it is included by {other.around.title} already"
            raise ConfigError(message)
        other.around = self
        self.included.append(other)
