"""A function of the application, which messages it takes, and what it asks for."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ilink.bot.lane_policy import LanePolicy
from ilink.bot.routing.places import Place
from ilink.bot.routing.rules import Rule
from ilink.bot.routing.signatures import Signature

if TYPE_CHECKING:
    from ilink.bot.routing.commands import Command

__all__ = ["Handler", "async_signature"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Handler:
    """A handler as it was registered.

    Attributes:
        function: What is called with the message, and with what it asks for besides.
        signature: Its parameters.
        words: How it was registered, such as `on_text(filters.contains('hi'))`.
        rules: What has to hold of a message, one after the other; the first says of which kind it is.
        policy: How its messages go through the lane of their conversation; None for one after the other.
        command: What it is called by, if it handles a command.
    """

    function: Callable[..., Awaitable[object]]
    signature: Signature
    words: str
    rules: tuple[Rule, ...]
    policy: LanePolicy | None = None
    command: Command | None = None

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
    if not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))):
        raise signature.refuse("has to be an `async def` function")
    own = [one for one in signature.parameters() if not (one.is_keyword or one.is_rest)]
    if len(own) < leading:
        raise signature.refuse(f"has to take {takes} first")
    return signature
