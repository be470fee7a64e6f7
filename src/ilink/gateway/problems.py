"""What the gateway says no to, when a person, a test or the control API asks for it.

Answers to bots are not among these: those are the protocol's own numbers.
"""

from __future__ import annotations

from ilink.errors import ConfigError, IlinkError

__all__ = ["ConflictError", "InvalidRequestError", "KnobError", "UnknownThingError"]


class UnknownThingError(IlinkError):
    """There is no such person, code, bot, chat or message. Look the id up again; ids are case-sensitive.

    Attributes:
        kind: What was asked for, such as `bot`.
        name: The id that nobody has.
    """

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"there is no {kind} {name!r}")
        self.kind = kind
        self.name = name


class ConflictError(IlinkError):
    """What is asked for does not fit the present state, which the message names."""


class InvalidRequestError(IlinkError):
    """A value that can never be right, which the message names."""


class KnobError(ConfigError):
    """A knob's name or value is wrong; the message says what is allowed.

    Attributes:
        knob: The name that was used.
    """

    def __init__(self, message: str, *, knob: str) -> None:
        super().__init__(message)
        self.knob = knob
