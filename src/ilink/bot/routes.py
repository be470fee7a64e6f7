"""Which function handles which message."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ilink.errors import ConfigError
from ilink.messages.incoming import Message

__all__ = ["Handler", "Routes"]

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Handler:
    """A function of the application and the kind of messages it takes.

    Attributes:
        function: Called with the message.
        kind: The class of the messages it takes.
        name: How it is called in logs and errors.
    """

    function: Callable[[Any], Awaitable[object]]
    kind: type[Message]
    name: str


class Routes:
    """The handlers of a bot; the first that takes a message's kind gets it."""

    def __init__(self) -> None:
        self._handlers: list[Handler] = []

    def add(self, kind: type[M], function: Callable[[M], Awaitable[object]]) -> None:
        """Add a handler behind the others.

        Raises:
            ConfigError: It is no `async def` with one parameter.
        """
        name = getattr(function, "__qualname__", repr(function))
        if not inspect.iscoroutinefunction(function):
            message = f"the handler {name} has to be an `async def` function"
            raise ConfigError(message)
        try:
            inspect.signature(function).bind(object())
        except TypeError as error:
            message = f"the handler {name} has to take exactly one argument, the message"
            raise ConfigError(message) from error
        self._handlers.append(Handler(function, kind, name))

    def find(self, message: Message) -> Handler | None:
        """Return the handler of a message; None when nobody takes its kind."""
        for handler in self._handlers:
            if isinstance(message, handler.kind):
                return handler
        return None

    def __bool__(self) -> bool:
        return bool(self._handlers)
