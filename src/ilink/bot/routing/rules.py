"""What stands behind a filter: a decision about a message, what it finds in it, and why it refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ilink.messages.incoming import (
    FileMessage,
    ImageMessage,
    Message,
    OtherMessage,
    TextMessage,
    VideoMessage,
    VoiceMessage,
)

__all__ = ["KINDS", "NO_CAPTURES", "AsyncTest", "Captures", "Probe", "Rule", "Test", "both", "either", "negated"]

Captures = Mapping[str, str]
"""What was found in a text, by name."""

NO_CAPTURES: Final[Captures] = MappingProxyType({})
KINDS: Final[frozenset[type[Message]]] = frozenset(
    (TextMessage, ImageMessage, VoiceMessage, FileMessage, VideoMessage, OtherMessage)
)


class Probe:
    """A message while rules look at it: what several of them need is worked out once.

    Attributes:
        message: The message.
        text: Its text without blanks around it.
        folded: The same without regard to case.
    """

    __slots__ = ("folded", "message", "text")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.text = message.text.strip()
        self.folded = self.text.casefold()


Test = Callable[[Probe], Captures | None]
AsyncTest = Callable[[Probe], Awaitable[Captures | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A decision about messages.

    Attributes:
        words: How it was written, for logs and errors.
        test: Returns what was found, or None when the message is refused; never called when there is `test_async`.
        test_async: The same for a decision that has to wait.
        kinds: Which kinds of messages can pass.
        captures: The names of what is found whenever a message passes.
        may_capture: The names of what is found for some messages only.
        starts: What the text of a message that passes begins with, one of these, case folded; None for anything.
        grants: The annotations whose values every message has that passes.
        why: Says why a message was refused.
        parts: What has to hold one by one, if it is several rules in one.
        needle: What the text of a message that passes contains, case folded; None for nothing in particular.
        quick: Says False of a message that is refused, for less than `test` costs; None when there is nothing quicker.
    """

    words: str
    test: Test
    test_async: AsyncTest | None = None
    kinds: frozenset[type[Message]] = KINDS
    captures: frozenset[str] = frozenset()
    may_capture: frozenset[str] = frozenset()
    starts: frozenset[str] | None = None
    grants: frozenset[object] = frozenset()
    why: Callable[[Probe], str] | None = None
    parts: tuple[Rule, ...] = ()
    needle: str | None = None
    quick: Callable[[Message], object] | None = None

    def refusal(self, probe: Probe) -> str | None:
        """Return why a message is refused; None when it is not, and when finding out would mean to wait."""
        if self.test_async is not None or self.test(probe) is not None:
            return None
        return f"{self.words} does not hold" if self.why is None else self.why(probe)

    async def ask(self, probe: Probe) -> Captures | None:
        """Decide, whether that means to wait or not."""
        return self.test(probe) if self.test_async is None else await self.test_async(probe)


def both(left: Rule, right: Rule) -> Rule:
    """Return the rule that holds when two do; the second is asked only if the first holds."""
    left_test, right_test = left.test, right.test

    def test(probe: Probe) -> Captures | None:
        if (found := left_test(probe)) is None or (more := right_test(probe)) is None:
            return None
        return {**found, **more} if found or more else NO_CAPTURES

    async def test_async(probe: Probe) -> Captures | None:
        if (found := await left.ask(probe)) is None or (more := await right.ask(probe)) is None:
            return None
        return {**found, **more}

    captures = left.captures | right.captures
    return Rule(
        words=f"{_bracketed(left)} & {_bracketed(right)}",
        test=test,
        test_async=test_async if _waits(left, right) else None,
        kinds=left.kinds & right.kinds,
        captures=captures,
        may_capture=(left.may_capture | right.may_capture) - captures,
        starts=right.starts if left.starts is None else left.starts,
        grants=left.grants | right.grants,
        why=lambda probe: left.refusal(probe) or right.refusal(probe) or "one of them does not hold",
        parts=(*(left.parts or (left,)), *(right.parts or (right,))),
    )


def either(left: Rule, right: Rule) -> Rule:
    """Return the rule that holds when one of two does; the second is asked only if the first does not hold."""
    left_test, right_test = left.test, right.test

    def test(probe: Probe) -> Captures | None:
        found = left_test(probe)
        return right_test(probe) if found is None else found

    async def test_async(probe: Probe) -> Captures | None:
        found = await left.ask(probe)
        return await right.ask(probe) if found is None else found

    captures = left.captures & right.captures
    return Rule(
        words=f"({left.words} | {right.words})",
        test=test,
        test_async=test_async if _waits(left, right) else None,
        kinds=left.kinds | right.kinds,
        captures=captures,
        may_capture=(left.captures | right.captures | left.may_capture | right.may_capture) - captures,
        starts=None if left.starts is None or right.starts is None else left.starts | right.starts,
        grants=left.grants & right.grants,
        why=lambda probe: f"{left.refusal(probe)}, and {right.refusal(probe)}",
    )


def negated(rule: Rule) -> Rule:
    """Return the rule that holds when another does not."""
    test_waiting = rule.test_async
    inner = rule.test

    def test(probe: Probe) -> Captures | None:
        return NO_CAPTURES if inner(probe) is None else None

    async def test_async(probe: Probe) -> Captures | None:
        return NO_CAPTURES if await rule.ask(probe) is None else None

    words = f"~{_bracketed(rule)}"
    return Rule(
        words=words,
        test=test,
        test_async=None if test_waiting is None else test_async,
        why=lambda _probe: f"{rule.words} holds",
    )


def _waits(left: Rule, right: Rule) -> bool:
    return left.test_async is not None or right.test_async is not None


def _bracketed(rule: Rule) -> str:
    return f"({rule.words})" if " & " in rule.words and not rule.words.startswith("(") else rule.words
