"""The router: what a program registers, in the order it registers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import ClassVar, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from ilink.bot.lane_policy import LanePolicy
from ilink.bot.routing import filters
from ilink.bot.routing.commands import check_names
from ilink.bot.routing.dispatch import Dispatch
from ilink.bot.routing.filters import Filter, KindFilter
from ilink.bot.routing.handlers import Handler, async_signature
from ilink.bot.routing.injection import Scope
from ilink.bot.routing.places import calling_place
from ilink.bot.routing.registered import ErrorHandler, Hook, Middleware, Outgoing, Registered
from ilink.bot.routing.rules import KINDS, Rule
from ilink.bot.routing.signatures import Signature
from ilink.errors import ConfigError
from ilink.messages.incoming import (
    FileMessage,
    ImageMessage,
    Message,
    TextMessage,
    VideoMessage,
    VoiceMessage,
)

__all__ = ["Condition", "Registration", "Router"]

M = TypeVar("M", bound=Message)
E = TypeVar("E", bound=Exception)
F = TypeVar("F", bound=Exception)
T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

Condition = Filter | Callable[[M], bool | Awaitable[bool]]
"""A filter, or a function of the message that says whether it is taken."""

ErrorFunction = Callable[Concatenate[E, Message, P], Coroutine[object, None, R]]


class Registration(Generic[M]):
    """The decorator that makes a function the handler of some messages."""

    __slots__ = ("_register",)

    def __init__(self, register: Callable[[Callable[..., Awaitable[object]]], None]) -> None:
        self._register = register

    def __call__(
        self, function: Callable[Concatenate[M, P], Coroutine[object, None, R]]
    ) -> Callable[Concatenate[M, P], Coroutine[object, None, R]]:
        """Register a function. Its first parameter is the message; others are captured values and dependencies.

        Raises:
            ConfigError: It cannot be a handler; the message says why, and where it is.
        """
        self._register(function)
        return function


class Router:
    """Handlers that belong together, with what goes around them. A `Bot` is one, and includes others.

        shop = Router(filters.from_user(BOSS), name="shop")

        @shop.on_command("order", "订购")
        async def order(message: TextMessage, count: int, *, what: str = "tea") -> None: ...

        bot.include(shop)

    A message goes to its command's handler, wherever that stands; else to the first handler that takes it, those of a
    router before those of the routers it includes. Decorators of handlers are called: `@bot.on_text()`.

    Args:
        conditions: What has to hold of every message that its handlers take, those of included routers too.
        name: What it is called in errors.

    Attributes:
        is_root: Whether nothing can include it; a bot is such a router.
        registered: Everything that stands in it; for what is built on routers.
    """

    is_root: ClassVar[bool] = False

    def __init__(self, *conditions: Condition[Message], name: str = "") -> None:
        rules = tuple(_rule(condition) for condition in conditions)
        self.registered = Registered(f"{type(self).__name__} ({calling_place(name)})", self.is_root, rules)

    def __repr__(self) -> str:
        return self.registered.title

    def on(self, kind: type[M], *conditions: Condition[M], policy: LanePolicy | None = None) -> Registration[M]:
        """Decorate the handler of one kind of messages, `Message` for all of them.

        Args:
            kind: Their class.
            conditions: What has to hold of them besides.
            policy: How they go through the lane of their conversation.
        """
        return self._on("on", _kinds_of(kind), conditions, policy, shown=(kind.__name__,))

    def on_text(
        self, *conditions: Condition[TextMessage], policy: LanePolicy | None = None
    ) -> Registration[TextMessage]:
        """Decorate the handler of text messages."""
        return self._on("on_text", _kinds_of(TextMessage), conditions, policy)

    def on_image(
        self, *conditions: Condition[ImageMessage], policy: LanePolicy | None = None
    ) -> Registration[ImageMessage]:
        """Decorate the handler of pictures."""
        return self._on("on_image", _kinds_of(ImageMessage), conditions, policy)

    def on_voice(
        self, *conditions: Condition[VoiceMessage], policy: LanePolicy | None = None
    ) -> Registration[VoiceMessage]:
        """Decorate the handler of voice messages."""
        return self._on("on_voice", _kinds_of(VoiceMessage), conditions, policy)

    def on_file(
        self, *conditions: Condition[FileMessage], policy: LanePolicy | None = None
    ) -> Registration[FileMessage]:
        """Decorate the handler of files."""
        return self._on("on_file", _kinds_of(FileMessage), conditions, policy)

    def on_video(
        self, *conditions: Condition[VideoMessage], policy: LanePolicy | None = None
    ) -> Registration[VideoMessage]:
        """Decorate the handler of videos."""
        return self._on("on_video", _kinds_of(VideoMessage), conditions, policy)

    def on_quote(self, *conditions: Condition[Message], policy: LanePolicy | None = None) -> Registration[Message]:
        """Decorate the handler of messages that refer to another one; it may ask for the `Quote`."""
        return self._on("on_quote", KINDS, conditions, policy, guards=(filters.quoting.rule,))

    @overload
    def on_any(  # pyright: ignore[reportOverlappingOverload]  # of two that fit, the first is meant: it narrows
        self, narrowing: KindFilter[M], /, *conditions: Condition[M], policy: LanePolicy | None = None
    ) -> Registration[M]: ...
    @overload
    def on_any(self, *conditions: Condition[Message], policy: LanePolicy | None = None) -> Registration[Message]: ...
    def on_any(self, *conditions: Condition[M], policy: LanePolicy | None = None) -> Registration[M]:
        """Decorate the handler of messages of any kind, or of those a filter names: `filters.image | filters.video`."""
        return self._on("on_any", KINDS, conditions, policy)

    def on_command(
        self, *names: str | Condition[TextMessage], policy: LanePolicy | None = None
    ) -> Registration[TextMessage]:
        """Decorate the handler of a command: `@bot.on_command("order", "订购")`.

        What its parameters ask for behind the message is read from what stands behind the command: `str`, `int`,
        `float`, `Decimal`, `bool`, `date`, `time`, `datetime`, `UUID`, enums and `Literal`, each with `| None` and a
        default if it may be left out. `*names: str` takes all the words that are left, and a `str` behind `*` all the
        text. Who writes something else is told what is expected, in English or Chinese. The docstring is the help.

        Args:
            names: What it is called by, with or without slash; and conditions.
            policy: How its messages go through the lane of their conversation.
        """
        place = calling_place()
        called = [name for name in names if isinstance(name, str)]
        conditions = [condition for condition in names if not isinstance(condition, str)]
        checked = check_names(called, lambda why: ConfigError(f"{place}: this command {why}"))
        shown = tuple(map(repr, checked))
        return self._on("on_command", _kinds_of(TextMessage), tuple(conditions), policy, shown=shown, names=checked)

    @overload
    def on_error(self, error: type[E], /) -> Callable[[ErrorFunction[E, P, R]], ErrorFunction[E, P, R]]: ...
    @overload
    def on_error(
        self, error: type[E], other: type[F], /
    ) -> Callable[[ErrorFunction[E | F, P, R]], ErrorFunction[E | F, P, R]]: ...
    @overload
    def on_error(
        self, *errors: type[Exception]
    ) -> Callable[[ErrorFunction[Exception, P, R]], ErrorFunction[Exception, P, R]]: ...
    def on_error(self, *errors: type[Exception]) -> Callable[[ErrorFunction[E, P, R]], ErrorFunction[E, P, R]]:
        """Decorate what is called with an error and the message when a handler of this router raised it.

        What the handler had said is dropped. When this returns, the message is handled, and what was said here is
        stored with that. When it raises, the router around this one is asked, and in the end the handler is run again
        as if this did not exist. Of several that fit, the one for the nearest class is called.

        Args:
            errors: Which errors; all when none is named.
        """
        kinds: tuple[type[Exception], ...] = errors or (Exception,)

        def decorate(function: ErrorFunction[E, P, R]) -> ErrorFunction[E, P, R]:
            handler = ErrorHandler(kinds, function)
            for other in self.registered.error_handlers:
                for kind in set(other.kinds) & set(kinds):
                    raise handler.signature.refuse(f"is for {kind.__name__}, as {other.signature.place} is")
            self._open.error_handlers.append(handler)
            return function

        return decorate

    @overload
    def provide(self, *, scope: Scope = "message") -> Callable[[Callable[P, R]], Callable[P, R]]: ...
    @overload
    def provide(self, kind: type[T], make: Callable[..., object], /, *, scope: Scope = "message") -> None: ...
    def provide(
        self, *kind_and_make: object, scope: Scope = "message"
    ) -> Callable[[Callable[P, R]], Callable[P, R]] | None:
        """Let handlers ask for something by its type: decorate what makes it, or name the type and what makes it.

            @bot.provide()
            async def session(pool: Pool) -> AsyncIterator[Session]:
                async with pool.session() as session:
                    yield session

            bot.provide(Settings, Settings.load, scope="app")

        A provider may ask for what others make, and for the `Message`. A generator goes on after its `yield` when the
        handler has ended, also by an error, before what the handler said is stored. What is missing, made twice or goes
        round in circles is refused when the bot starts, and by `check`.

        Args:
            kind_and_make: Nothing, to decorate; or the type, and what makes it: a class, a function, a coroutine
                function, a generator of either kind.
            scope: "message": made when a handler needs it, once for its run. "app": made when the bot starts.
        """
        if kind_and_make:
            kind, make = kind_and_make
            assert callable(make)
            self._open.providers.add(kind, make, scope=scope)
            return None

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            self._open.providers.add(None, function, scope=scope)
            return function

        return decorate

    def middleware(self, function: Middleware) -> Middleware:
        """Decorate what goes around every handler of this router and of those it includes.

            @bot.middleware
            async def timed(invocation: Invocation, call_next: Next) -> None:
                started = time.monotonic()
                await call_next()
                print(invocation.handler.name, time.monotonic() - started)

        The first that is registered is the outermost, and those of a router go around those of the routers it includes.
        Without `call_next` the handler is not run, and the message counts as handled.
        """
        async_signature(function, what="middleware", leading=2, takes="the invocation and what to call next")
        self._open.middleware.append(function)
        return function

    def outgoing(self, function: Outgoing) -> Outgoing:
        """Decorate what changes each text that answers a message, before it is split and stored.

        It gets the text and the message that is answered, and returns the text to send. Those of an included router
        come first, then those of the router around it.
        """
        Signature(function, what="outgoing function")
        self._open.outgoing.append(function)
        return function

    def on_startup(self, function: Callable[P, Coroutine[object, None, R]]) -> Callable[P, Coroutine[object, None, R]]:
        """Decorate what is awaited before the first message; it may ask for what lives as long as the bot."""
        self._open.startup.append(Hook(function, "startup hook"))
        return function

    def on_shutdown(self, function: Callable[P, Coroutine[object, None, R]]) -> Callable[P, Coroutine[object, None, R]]:
        """Decorate what is awaited after the last message, however the bot ended; the last registered comes first."""
        self._open.shutdown.append(Hook(function, "shutdown hook"))
        return function

    def include(self, *routers: Router) -> None:
        """Include other routers, each in one place only.

        Raises:
            ConfigError: One of them stands somewhere already, is this one or around it, or is a bot.
        """
        for router in routers:
            self._open.include(router.registered)

    def check(self) -> None:
        """Refuse what could not work: a bot does this when it starts, tests may do it earlier.

        Raises:
            ConfigError: Something is missing, doubled or contradictory; the message names the places.
        """
        Dispatch(self.registered)

    @property
    def _open(self) -> Registered:
        """What can still be added to."""
        if self.registered.is_running:
            message = f"{calling_place()}: {self!r} runs already; register everything before the bot starts"
            raise ConfigError(message)
        return self.registered

    def _on(
        self,
        words: str,
        kinds: frozenset[type[Message]],
        conditions: tuple[Condition[M], ...],
        policy: LanePolicy | None,
        *,
        shown: tuple[str, ...] = (),
        names: tuple[str, ...] = (),
        guards: tuple[Rule, ...] = (),
    ) -> Registration[M]:
        own = tuple(_rule(condition) for condition in conditions)
        text = f"{words}({', '.join([*shown, *(rule.words for rule in own)])})"
        rules = (*guards, *own)
        for rule in rules:
            kinds &= rule.kinds

        def register(function: Callable[..., Awaitable[object]]) -> None:
            signature = async_signature(function, what="handler", leading=1, takes="the message")
            handler = Handler(
                function=function,
                signature=signature,
                words=text,
                kinds=kinds,
                rules=rules,
                policy=policy,
                names=names,
            )
            if not kinds:
                raise signature.refuse(f"can never be called: no kind of message passes {text}")
            self._open.handlers.append(handler)

        return Registration(register)


def _kinds_of(kind: type[Message]) -> frozenset[type[Message]]:
    return frozenset(one for one in KINDS if issubclass(one, kind))


def _rule(condition: Condition[M]) -> Rule:
    if isinstance(condition, Filter):
        return condition.rule
    # It is asked about messages of the kind that it takes only.
    return filters.predicate_rule(cast("Callable[[Message], object]", condition))
