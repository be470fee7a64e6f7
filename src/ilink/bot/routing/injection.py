"""Dependencies by annotation: who makes what a handler asks for, and what one run of a handler is about."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args, get_origin

from ilink.bot.routing.places import Place
from ilink.bot.routing.signatures import MISSING, Signature, Unresolved
from ilink.messages.incoming import Message
from ilink.messages.quotes import Quote
from ilink.wire.ids import AccountId, UserId

if TYPE_CHECKING:
    from ilink.bot.routing.handlers import Handler
    from ilink.bot.turn import Turn

__all__ = ["BUILT_IN", "CONDITIONAL", "Invocation", "Provider", "Providers", "Scope", "shown"]

Scope = Literal["message", "app"]
"""How long a value lives: for one run of one handler, or as long as the bot runs."""


@dataclass(slots=True, kw_only=True, eq=False)
class Invocation:
    """One run of a handler for one message; middleware, providers and handlers may ask for it.

    Attributes:
        message: What it is about.
        handler: Which handler takes it.
        values: What its filters captured and its command's arguments, by the handler's parameter names.
        turn: Where the answers go.
    """

    message: Message
    handler: Handler
    values: Mapping[str, object]
    turn: Turn


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Provider:
    """Something that makes values of a type.

    Attributes:
        key: The annotation it answers.
        make: Makes one: a function, a coroutine function, or a generator of either kind that yields it once.
        scope: How long what it makes lives.
        signature: What it asks for itself.
    """

    key: object
    make: Callable[..., object]
    scope: Scope
    signature: Signature

    @property
    def place(self) -> Place:
        """Where it was written."""
        return self.signature.place


class Providers:
    """The providers of one router."""

    def __init__(self) -> None:
        self._by_key: dict[object, Provider] = {}
        self._families: dict[object, Callable[[object], Callable[..., object]]] = {}

    def add(self, key: object, make: Callable[..., object], *, scope: Scope = "message") -> Provider:
        """Add a provider.

        Args:
            key: The annotation it answers; None for what it says it returns or yields.
            make: Makes a value; what it asks for by annotation is made for it. What comes after the `yield` of a
                generator is done when the value is not needed any more.
            scope: How long a value lives.

        Raises:
            ConfigError: There is one for this annotation in this router already, or it does not say what it makes.
        """
        signature = Signature(make, what="provider")
        key = _made_by(make, signature) if key is None else key
        if key is Message or key is Invocation:
            raise signature.refuse(f"makes `{shown(key)}`, which every handler gets anyway")
        if (other := self._by_key.get(key)) is not None:
            raise signature.refuse(f"makes `{shown(key)}`, as {other.place} does; remove one of them")
        provider = self._by_key[key] = Provider(key=key, make=make, scope=scope, signature=signature)
        return provider

    def add_family(self, origin: object, maker: Callable[[object], Callable[..., object]]) -> None:
        """Add the providers of a generic class, such as `State[...]`.

        Args:
            origin: The class.
            maker: Returns what makes the values for one annotation, or raises ConfigError if that makes no sense.
        """
        self._families[origin] = maker

    def find(self, key: object) -> Provider | None:
        """Return the provider of an annotation.

        Raises:
            ConfigError: It is of a family that refuses it.
        """
        try:
            known = self._by_key.get(key)
        except TypeError:  # an annotation that cannot be a key, such as Annotated[int, []]
            return None
        if known is None and (maker := self._families.get(get_origin(key))) is not None:
            make = maker(key)
            known = Provider(key=key, make=make, scope="message", signature=Signature(make, what="provider"))
            self._by_key[key] = known
        return known

    def __iter__(self) -> Iterator[Provider]:
        return iter(self._by_key.values())


def _made_by(make: Callable[..., object], signature: Signature) -> object:
    """Return the annotation that a provider says it makes."""
    if inspect.isclass(make):
        return make
    made = signature.returned()
    if inspect.isgeneratorfunction(make) or inspect.isasyncgenfunction(make):
        made = (get_args(made) or (MISSING,))[0]
    if made is MISSING or made is None or isinstance(made, Unresolved):
        raise signature.refuse("does not say what it makes: annotate what it returns or yields")
    return made


def shown(annotation: object) -> str:
    """Return an annotation as it is written."""
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)


def _quote(message: Message) -> Quote:
    quote = message.quote
    assert quote is not None, "a filter saw to that"
    return quote


def _quote_if_any(message: Message) -> Quote | None:
    return message.quote


def _user(message: Message) -> UserId:
    return message.user


def _account(message: Message) -> AccountId:
    return message.account


CONDITIONAL: Final[Mapping[object, str]] = {Quote: "use on_quote() or filters.quoting, or ask for `Quote | None`"}
"""What only some messages have, and what to do about it."""

BUILT_IN: Final = Providers()
"""What every handler may ask for."""

for _key, _make in ((Quote, _quote), (Quote | None, _quote_if_any), (UserId, _user), (AccountId, _account)):
    BUILT_IN.add(_key, _make)
