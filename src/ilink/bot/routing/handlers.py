"""A function of the application, which messages it takes, and what it asks for."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ilink.bot.lane_policy import LanePolicy
from ilink.bot.routing.places import Place
from ilink.bot.routing.rules import Rule
from ilink.bot.routing.signatures import Signature, is_coroutine_function
from ilink.messages.incoming import Message

__all__ = ["Handler", "async_signature"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Handler:
    """A handler as it was registered.

    Attributes:
        function: What is called with the message, and with what it asks for besides.
        signature: Its parameters.
        words: How it was registered, such as `on_text(filters.contains('hi'))`.
        kinds: Which kinds of messages it takes.
        rules: What has to hold of a message besides, one after the other.
        policy: How its messages go through the lane of their conversation; None for one after the other.
        names: The names of the command it handles; none for a handler of anything else.
    """

    function: Callable[..., Awaitable[object]]
    signature: Signature
    words: str
    kinds: frozenset[type[Message]]
    rules: tuple[Rule, ...]
    policy: LanePolicy | None = None
    names: tuple[str, ...] = ()

    @property
    def place(self) -> Place:
        """Where it was written."""
        return self.signature.place

    @property
    def name(self) -> str:
        """How it is called in logs and errors: its module and qualified name, the same in every run of the program."""
        function = inspect.unwrap(self.function)
        return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', self.place.name)}"


def async_signature(function: Callable[..., object], *, what: str, leading: int, takes: str) -> Signature:
    """Return the parameters of a function that is to be awaited and called with some arguments by position.

    Args:
        function: The function.
        what: What it is to be, for errors.
        leading: How many arguments it gets by position.
        takes: These in words, for errors.

    Raises:
        ConfigError: It is no `async def`, or does not take those.
    """
    signature = Signature(function, what=what)
    if not is_coroutine_function(function):
        raise signature.refuse("has to be an `async def` function")
    own = [one for one in signature.parameters() if not (one.is_keyword or one.is_rest)]
    if len(own) < leading:
        raise signature.refuse(f"has to take {takes} first")
    return signature
