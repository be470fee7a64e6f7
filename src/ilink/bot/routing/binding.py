"""Working out, once, where the arguments of a function come from; and giving them to it, every time.

A handler sees the providers of its own router and of every router around it, the nearest first. What a provider asks
for itself is looked up from the router it stands in. So what is missing or goes round in circles is known before a
message comes.
"""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Literal, cast

from ilink.bot.routing.injection import BUILT_IN, CONDITIONAL, Invocation, Provider, Providers, shown
from ilink.bot.routing.signatures import MISSING, Parameter, Signature, Unresolved
from ilink.bot.routing.values import value_reader
from ilink.errors import ConfigError
from ilink.messages.incoming import Message

__all__ = ["AppValues", "Binder", "Binding", "Known"]

Style = Literal["plain", "generator", "async_generator"]

AppValues = dict[Provider, object]
"""The values that live as long as the bot runs."""


@dataclass(frozen=True, slots=True)
class _Given:
    """Filled with a value that is there already, by name: what a filter captured, or an argument of a command."""

    name: str
    default: object


@dataclass(frozen=True, slots=True)
class _Asked:
    """Filled with what the run is about."""

    kind: Literal["message", "invocation"]


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """Filled with what a provider makes, of which all needs are known."""

    provider: Provider
    slots: _Slots
    style: Style
    traits: _Traits


_Source = _Given | _Asked | _Made


@dataclass(frozen=True, slots=True)
class _Slots:
    """Where the arguments of one function come from."""

    positional: tuple[_Source, ...] = ()
    keyword: tuple[tuple[str, _Source], ...] = ()
    rest: str = ""

    def sources(self) -> Iterator[_Source]:
        yield from self.positional
        for _, source in self.keyword:
            yield source


@dataclass(frozen=True, slots=True)
class _Traits:
    """What is true of everything that a function needs, directly or not.

    Attributes:
        needs_message: Whether it works only while a message is handled.
        closes: Whether something has to be closed afterwards.
        conditions: The annotations among it that only some messages have.
    """

    needs_message: bool = False
    closes: bool = False
    conditions: frozenset[object] = frozenset()


Known = dict[Provider, _Made]
"""What was worked out about providers already."""


class Binding:
    """A function whose every argument is known: where it comes from, and that it will be there.

    Attributes:
        is_plain: Whether it asks for nothing beyond what its caller gives.
    """

    __slots__ = ("_function", "_slots", "_traits", "is_plain")

    def __init__(self, function: Callable[..., Awaitable[object]], slots: _Slots, traits: _Traits) -> None:
        self._function = function
        self._slots = slots
        self._traits = traits
        self.is_plain = slots == _Slots()

    @property
    def needs_message(self) -> bool:
        """Whether it can only be called for a message."""
        return self._traits.needs_message

    @property
    def conditions(self) -> frozenset[object]:
        """The annotations it needs that only some messages can give."""
        return self._traits.conditions

    async def __call__(self, *leading: object, invocation: Invocation | None, app: AppValues) -> object:
        """Call the function with its own arguments behind those given here; put away afterwards what was made for it.

        Raises:
            Exception: What the function raised, and what a provider raised, unchanged.
        """
        if self.is_plain:
            return await self._function(*leading)
        if not self._traits.closes:
            return await self._call(leading, _Run(invocation, app, None))
        failure: BaseException | None = None
        async with AsyncExitStack() as exits:
            try:
                return await self._call(leading, _Run(invocation, app, exits))
            except BaseException as error:
                failure = error
                raise
        # A provider saw the error and did not let it through; that does not make the run a success.
        raise failure

    async def _call(self, leading: tuple[object, ...], run: _Run) -> object:
        positional, keyword = await run.fill(self._slots)
        return await self._function(*leading, *positional, **keyword)


class _Run:
    """What was made during one call; each provider is asked once."""

    __slots__ = ("_app", "_exits", "_invocation", "_made")

    def __init__(self, invocation: Invocation | None, app: AppValues, exits: AsyncExitStack | None) -> None:
        self._invocation = invocation
        self._app = app
        self._exits = exits
        self._made: dict[Provider, object] = {}

    async def fill(self, slots: _Slots) -> tuple[list[object], dict[str, object]]:
        """Return the arguments for slots."""
        positional = [await self._value(source) for source in slots.positional]
        if slots.rest:
            positional.extend(cast("tuple[object, ...]", self._values.get(slots.rest, ())))
        return positional, {name: await self._value(source) for name, source in slots.keyword}

    @property
    def _values(self) -> Mapping[str, object]:
        return {} if self._invocation is None else self._invocation.values

    async def _value(self, source: _Source) -> object:
        match source:
            case _Given():
                return self._values.get(source.name, source.default)
            case _Asked():
                assert self._invocation is not None, "it was checked when this was bound"
                return self._invocation if source.kind == "invocation" else self._invocation.message
            case _Made():
                return await self.make(source)

    async def make(self, made: _Made) -> object:
        """Return what a provider makes; the same for everybody who asks during this run."""
        provider = made.provider
        if provider in self._app:
            return self._app[provider]
        if provider not in self._made:
            positional, keyword = await self.fill(made.slots)
            self._made[provider] = await self._open(made, positional, keyword)
        return self._made[provider]

    async def _open(self, made: _Made, positional: list[object], keyword: dict[str, object]) -> object:
        make = made.provider.make
        if made.style == "plain":
            result = make(*positional, **keyword)
            return await result if isinstance(result, Awaitable) else result
        assert self._exits is not None, "whoever binds a generator gives it a way out"
        if made.style == "generator":
            opening = contextmanager(cast("Callable[..., Generator[object]]", make))
            return self._exits.enter_context(opening(*positional, **keyword))
        opening_slowly = asynccontextmanager(cast("Callable[..., AsyncGenerator[object]]", make))
        return await self._exits.enter_async_context(opening_slowly(*positional, **keyword))


class Binder:
    """Works out, for the functions of one router, where their arguments come from.

    Args:
        chain: The providers of the router, then of the one around it, and so on.
        known: What was worked out already; shared by the binders of one router tree.
    """

    def __init__(self, chain: Sequence[Providers], known: Known) -> None:
        self._chain = (*chain, BUILT_IN)
        self._known = known

    def bind(
        self,
        function: Callable[..., Awaitable[object]],
        signature: Signature,
        *,
        leading: int,
        given: Collection[str] = (),
        has_message: bool = True,
    ) -> Binding:
        """Return a function with the sources of its arguments.

        Args:
            function: An `async def` function.
            signature: Its parameters.
            leading: How many of them the caller fills.
            given: The names of those that are filled from `Invocation.values`.
            has_message: Whether it is called for a message.

        Raises:
            ConfigError: Something it asks for is made by nobody, or cannot be made there; the message names the
                function, the parameter and the place.
        """
        slots, traits = self._slots(signature, signature.parameters()[leading:], frozenset(given), ())
        if traits.needs_message and not has_message:
            raise signature.refuse("runs without a message, and asks for something that is made for one")
        return Binding(function, slots, traits)

    async def open_all(self, providers: Iterable[Provider], exits: AsyncExitStack, app: AppValues) -> None:
        """Make everything that lives as long as the bot, what is needed by others first."""
        run = _Run(None, app, exits)
        for provider in providers:
            if provider.scope == "app":
                app[provider] = await run.make(self._made(provider, ()))

    def check(self, providers: Iterable[Provider]) -> None:
        """Work out the needs of providers, also of those that nobody asks for.

        Raises:
            ConfigError: See `bind`.
        """
        for provider in providers:
            self._made(provider, ())

    def knows(self, annotation: object) -> bool:
        """Whether somebody makes values of an annotation here."""
        return any(providers.find(annotation) is not None for providers in self._chain)

    def outside(self, place: int) -> Binder:
        """Return the binder of a router further out: what stands there does not see what is inside."""
        return self if place == 0 else Binder(self._chain[place:-1], self._known)

    def _slots(
        self, signature: Signature, parameters: Sequence[Parameter], given: frozenset[str], path: tuple[Provider, ...]
    ) -> tuple[_Slots, _Traits]:
        positional: list[_Source] = []
        keyword: list[tuple[str, _Source]] = []
        rest = ""
        for parameter in parameters:
            if parameter.is_rest:
                if parameter.name in given:
                    rest = parameter.name
                elif path or not given:
                    raise signature.refuse(f"takes *{parameter.name}, and nothing fills that")
                continue
            source = self._source(signature, parameter, given, path)
            if parameter.is_keyword:
                keyword.append((parameter.name, source))
            else:
                positional.append(source)
        slots = _Slots(tuple(positional), tuple(keyword), rest)
        return slots, _traits(slots)

    def _source(
        self, signature: Signature, parameter: Parameter, given: frozenset[str], path: tuple[Provider, ...]
    ) -> _Source:
        """Return where the value of one parameter comes from."""
        if parameter.name in given:
            return _Given(parameter.name, parameter.default)
        if parameter.annotation is Message:
            return _Asked("message")
        if parameter.annotation is Invocation:
            return _Asked("invocation")
        for place, providers in enumerate(self._chain):
            if (provider := _find(providers, signature, parameter)) is not None:
                return self.outside(place)._made(provider, path)  # noqa: SLF001  # the same class
        if parameter.default is not MISSING:
            return _Given(parameter.name, parameter.default)
        raise signature.refuse(_missing(parameter, given))

    def _made(self, provider: Provider, path: tuple[Provider, ...]) -> _Made:
        if provider in path:
            circle = [*path[path.index(provider) :], provider]
            words = " needs ".join(f"{shown(one.key)} ({one.place})" for one in circle)
            message = f"these providers go round in a circle: {words}"
            raise ConfigError(message)
        if (known := self._known.get(provider)) is None:
            slots, traits = self._slots(
                provider.signature, provider.signature.parameters(), frozenset(), (*path, provider)
            )
            if provider.scope == "app":
                _check_lasting(provider, slots, traits)
                traits = _Traits()
            known = self._known[provider] = _Made(provider, slots, _style(provider.make), _own_traits(provider, traits))
        return known


def _find(providers: Providers, signature: Signature, parameter: Parameter) -> Provider | None:
    try:
        return providers.find(parameter.annotation)
    except ConfigError as error:
        raise signature.refuse(f"asks for `{parameter.name}: {shown(parameter.annotation)}`: {error}") from error


def _traits(slots: _Slots) -> _Traits:
    """Collect what is true of everything that some slots are filled with."""
    needs_message = closes = False
    conditions: frozenset[object] = frozenset()
    for source in slots.sources():
        needs_message |= isinstance(source, _Asked)
        if isinstance(source, _Made):
            needs_message |= source.traits.needs_message
            closes |= source.traits.closes
            conditions |= source.traits.conditions
    return _Traits(needs_message, closes, conditions)


def _own_traits(provider: Provider, inner: _Traits) -> _Traits:
    closes = provider.scope == "message" and _style(provider.make) != "plain"
    own: frozenset[object] = frozenset((provider.key,)) & CONDITIONAL.keys()
    return _Traits(inner.needs_message, inner.closes or closes, inner.conditions | own)


def _check_lasting(provider: Provider, slots: _Slots, traits: _Traits) -> None:
    """Refuse what lives as long as the bot and is made of what lives for one message."""
    for source in slots.sources():
        if isinstance(source, _Made) and source.provider.scope == "message":
            what = f"`{shown(source.provider.key)}` ({source.provider.place}), which is made anew for each message"
            raise provider.signature.refuse(f"lives as long as the bot, and needs {what}")
    if traits.needs_message:
        raise provider.signature.refuse("lives as long as the bot, and asks for the message of the moment")


def _style(make: Callable[..., object]) -> Style:
    if inspect.isasyncgenfunction(make):
        return "async_generator"
    return "generator" if inspect.isgeneratorfunction(make) else "plain"


def _missing(parameter: Parameter, given: frozenset[str]) -> str:
    name, annotation = parameter.name, parameter.annotation
    if annotation is MISSING:
        names = f"; by name there is {', '.join(sorted(given))}" if given else ""
        return f"does not say what `{name}` is: annotate it{names}"
    if isinstance(annotation, Unresolved):
        where = "import it for real, not under `if TYPE_CHECKING`"
        return f"asks for `{name}: {annotation.text}`, a name that is not known there when the bot starts; {where}"
    asked = f"asks for `{name}: {shown(annotation)}`"
    if value_reader(annotation) is not None:
        return f"{asked}, and no filter captures `{name}`{f' but {sorted(given)}' if given else ''}"
    return f"{asked}, and nothing makes that: register a function that returns it with @bot.provide()"
