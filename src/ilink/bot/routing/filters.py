"""Conditions on a message that combine with `&`, `|` and `~`, and narrow the type that a handler receives.

    from ilink import Bot, filters

    @bot.on_text(filters.contains("price", "价格") & ~filters.from_user(BOSS))
    async def price(message: TextMessage) -> None: ...

    @bot.on_any(filters.image | filters.video)
    async def seen(message: ImageMessage | VideoMessage) -> None: ...

Texts are compared without blanks around them and, where nothing else is said, without regard to case. Where a filter is
expected, a plain function of the message does as well: `@bot.on_file(lambda message: message.file.size is None)`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, time, tzinfo
from typing import Final, Generic, Never, TypeGuard, TypeVar, overload

from ilink.bot.routing.patterns import beginnings, pattern_start
from ilink.bot.routing.places import place_of
from ilink.bot.routing.rules import NO_CAPTURES, AsyncTest, Captures, Probe, Rule, both, either, negated
from ilink.bot.routing.signatures import is_coroutine_function
from ilink.bot.routing.values import value_reader
from ilink.errors import ConfigError
from ilink.messages.incoming import (
    FileMessage,
    ImageMessage,
    Message,
    OtherMessage,
    TextMessage,
    VideoMessage,
    VoiceMessage,
)
from ilink.messages.quotes import Quote
from ilink.wire.ids import normalize_user_id

__all__ = [
    "Filter",
    "KindFilter",
    "between",
    "captioned",
    "contains",
    "equals",
    "file",
    "from_user",
    "image",
    "matches",
    "other",
    "quoting",
    "startswith",
    "text",
    "video",
    "voice",
    "where",
]

M = TypeVar("M", bound=Message)
N = TypeVar("N", bound=Message)
M_co = TypeVar("M_co", bound=Message, covariant=True)


class Filter:
    """A condition on a message. The functions of `ilink.filters` make them, and `&`, `|`, `~` combine them.

    Attributes:
        rule: What it decides by; for what is built on filters.
    """

    __slots__ = ("rule",)

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    @overload
    def __and__(self, other: KindFilter[N]) -> KindFilter[N]: ...
    @overload
    def __and__(self, other: Filter) -> Filter: ...
    def __and__(self, other: Filter) -> Filter:
        """Both hold; the second is asked only if the first does."""
        return _and(self, other)

    def __or__(self, other: Filter) -> Filter:
        """One of the two holds; the second is asked only if the first does not."""
        return Filter(either(self.rule, other.rule))

    def __invert__(self) -> Filter:
        """It does not hold."""
        return Filter(negated(self.rule))

    def __bool__(self) -> Never:
        message = f"the filter {self.rule.words} is neither true nor false: combine filters with &, | and ~"
        raise ConfigError(message)

    def __repr__(self) -> str:
        return self.rule.words


class KindFilter(Filter, Generic[M_co]):
    """A condition that only messages of some kinds meet; a handler behind it gets that type."""

    __slots__ = ()

    @overload
    def __and__(self, other: KindFilter[N]) -> KindFilter[N]: ...
    @overload
    def __and__(self, other: Filter) -> KindFilter[M_co]: ...
    def __and__(self, other: Filter) -> Filter:
        """Both hold; the second is asked only if the first does."""
        return _and(self, other)

    @overload
    def __or__(self, other: KindFilter[N]) -> KindFilter[M_co | N]: ...
    @overload
    def __or__(self, other: Filter) -> Filter: ...
    def __or__(self, other: Filter) -> Filter:
        """One of the two holds; the second is asked only if the first does not."""
        kind = KindFilter[Message] if isinstance(other, KindFilter) else Filter
        return kind(either(self.rule, other.rule))


def _and(left: Filter, right: Filter) -> Filter:
    narrows = isinstance(left, KindFilter) or isinstance(right, KindFilter)
    kind = KindFilter[Message] if narrows else Filter
    return kind(both(left.rule, right.rule))


def _of_kind(kind: type[M], word: str) -> KindFilter[M]:
    return KindFilter(
        Rule(
            words=f"filters.{word}",
            test=lambda probe: NO_CAPTURES if isinstance(probe.message, kind) else None,
            kinds=frozenset((kind,)),
            why=lambda probe: f"it is a {type(probe.message).__name__}, not a {kind.__name__}",
        )
    )


text: Final = _of_kind(TextMessage, "text")
"""Messages that are a text."""
image: Final = _of_kind(ImageMessage, "image")
"""Messages with a picture."""
voice: Final = _of_kind(VoiceMessage, "voice")
"""Voice messages."""
file: Final = _of_kind(FileMessage, "file")
"""Messages with a file."""
video: Final = _of_kind(VideoMessage, "video")
"""Messages with a video."""
other: Final = _of_kind(OtherMessage, "other")
"""Messages without any part of a known kind."""

quoting: Final = Filter(
    Rule(
        words="filters.quoting",
        test=lambda probe: None if probe.message.quote is None else NO_CAPTURES,
        grants=frozenset((Quote,)),
        why=lambda _probe: "it quotes nothing",
    )
)
"""Messages that refer to another one; their handler may ask for the `Quote`."""

captioned: Final = Filter(
    Rule(
        words="filters.captioned",
        test=lambda probe: NO_CAPTURES if probe.text and not isinstance(probe.message, TextMessage) else None,
        why=lambda probe: "it is a text" if isinstance(probe.message, TextMessage) else "there is no text beside it",
    )
)
"""Pictures, files and the like with a text beside them."""


@overload
def where(predicate: Callable[[Message], TypeGuard[M]]) -> KindFilter[M]: ...
@overload
def where(predicate: Callable[[Message], bool | Awaitable[bool]]) -> Filter: ...
def where(predicate: Callable[[Message], object]) -> Filter:
    """Return the filter that a function stands for, to combine it with others.

    Args:
        predicate: Says whether a message passes; an `async def` may look things up. A function that returns `TypeGuard`
            narrows the type. It has to answer the same when it is asked again.
    """
    return KindFilter[Message](predicate_rule(predicate))


def predicate_rule(predicate: Callable[[Message], object]) -> Rule:
    """Return the rule that a function stands for.

    Raises:
        ConfigError: It is no function of one argument; the message names it.
    """
    place = place_of(predicate)
    is_async = is_coroutine_function(predicate)

    def test(probe: Probe) -> Captures | None:
        answer = predicate(probe.message)
        if not isinstance(answer, bool) and inspect.isawaitable(answer):
            message = f"the filter {place} returned something to wait for; make it an `async def`"
            raise ConfigError(message)
        return NO_CAPTURES if answer else None

    async def test_async(probe: Probe) -> Captures | None:
        answer = predicate(probe.message)
        return NO_CAPTURES if inspect.isawaitable(answer) and await answer else None

    waiting: AsyncTest | None = test_async if is_async else None
    return Rule(
        words=str(place),
        test=test,
        test_async=waiting,
        why=lambda _probe: f"the filter {place} says no",
        quick=None if is_async else predicate,
    )


def equals(*texts: str, ignore_case: bool = True) -> Filter:
    """Return the filter of messages whose whole text is one of these."""
    wanted = frozenset(_words("equals", texts, ignore_case=ignore_case))

    def test_folded(probe: Probe) -> Captures | None:
        return NO_CAPTURES if probe.folded in wanted else None

    def test(probe: Probe) -> Captures | None:
        return NO_CAPTURES if probe.text in wanted else None

    return Filter(
        Rule(
            words=_call("equals", texts),
            test=test_folded if ignore_case else test,
            starts=beginnings(wanted),
            why=lambda _probe: f"the text is not {_listed(texts)}",
        )
    )


def startswith(*texts: str, ignore_case: bool = True) -> Filter:
    """Return the filter of messages whose text begins with one of these."""
    wanted = _words("startswith", texts, ignore_case=ignore_case)

    def test_folded(probe: Probe) -> Captures | None:
        return NO_CAPTURES if probe.folded.startswith(wanted) else None

    def test(probe: Probe) -> Captures | None:
        return NO_CAPTURES if probe.text.startswith(wanted) else None

    return Filter(
        Rule(
            words=_call("startswith", texts),
            test=test_folded if ignore_case else test,
            starts=beginnings(wanted),
            why=lambda _probe: f"the text does not begin with {_listed(texts)}",
        )
    )


def contains(*texts: str, ignore_case: bool = True) -> Filter:
    """Return the filter of messages whose text contains one of these."""
    wanted = _words("contains", texts, ignore_case=ignore_case)

    def test(probe: Probe) -> Captures | None:
        within = probe.folded if ignore_case else probe.text
        return NO_CAPTURES if any(word in within for word in wanted) else None

    return Filter(
        Rule(
            words=_call("contains", texts),
            test=test,
            why=lambda _probe: f"the text does not contain {_listed(texts)}",
            needle=wanted[0].casefold() if len(wanted) == 1 else None,
        )
    )


def matches(pattern: str | re.Pattern[str], *, anywhere: bool = False) -> Filter:
    r"""Return the filter of messages whose text matches a regular expression.

    Named groups are handed to the handler by name, as the type it asks for: `(?P<count>\d+)` with `count: int`. A group
    that cannot be read as that type means that the message does not match, and the next handler is tried.

    Args:
        pattern: A regular expression; case matters unless it says otherwise, as with `(?i)`.
        anywhere: Whether a part of the text is enough.

    Raises:
        ConfigError: It is no regular expression.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        message = f"{pattern!r} is no regular expression: {error}"
        raise ConfigError(message) from error
    names = frozenset(compiled.groupindex)
    find = compiled.search if anywhere else compiled.fullmatch

    def test(probe: Probe) -> Captures | None:
        found = find(probe.text)
        if found is None:
            return None
        return {name: value for name, value in found.groupdict().items() if value is not None} if names else NO_CAPTURES

    return Filter(
        Rule(
            words=f"filters.matches({compiled.pattern!r})",
            test=test,
            captures=names,
            starts=None if anywhere else pattern_start(compiled),
            why=lambda _probe: f"the text does not match {compiled.pattern!r}",
        )
    )


def from_user(*users: str) -> Filter:
    """Return the filter of messages of some users; blanks and prefixes around their ids do not matter, case does."""
    wanted = frozenset(normalize_user_id(user) for user in users)
    if not wanted:
        message = "filters.from_user() needs the id of a user"
        raise ConfigError(message)
    return Filter(
        Rule(
            words=_call("from_user", users),
            test=lambda probe: NO_CAPTURES if probe.message.user in wanted else None,
            why=lambda _probe: f"its sender is not {_listed(users)}",
        )
    )


def between(begin: time | str, end: time | str, *, zone: tzinfo | None = None) -> Filter:
    """Return the filter of messages that were sent at some hours of the day: `between("9:00", "17:30")`.

    Args:
        begin: From when on.
        end: Before when; a time before `begin` is one of the next day.
        zone: Whose hours; by default those of this machine. A time of sending that the server did not tell is now.

    Raises:
        ConfigError: One of the times is none.
    """
    since, until = _time_of_day(begin), _time_of_day(end)

    def test(probe: Probe) -> Captures | None:
        moment = (probe.message.sent_at or datetime.now(UTC)).astimezone(zone).time()
        is_within = since <= moment < until if since <= until else moment >= since or moment < until
        return NO_CAPTURES if is_within else None

    words = f"between({since:%H:%M}, {until:%H:%M})"
    return Filter(
        Rule(
            words=f"filters.{words}",
            test=test,
            why=lambda _probe: f"it was not sent between {since:%H:%M} and {until:%H:%M}",
        )
    )


def _time_of_day(moment: time | str) -> time:
    if isinstance(moment, time):
        return moment
    reader = value_reader(time)
    try:
        value = None if reader is None else reader.read(moment)
    except ValueError:
        value = None
    if not isinstance(value, time):
        message = f"{moment!r} is no time of day; write it as 9:00 or 17:30"
        raise ConfigError(message)
    return value


def _words(name: str, texts: tuple[str, ...], *, ignore_case: bool) -> tuple[str, ...]:
    stripped = tuple(text.strip() for text in texts)
    if not stripped or not all(stripped):
        message = f"filters.{name}() needs a text that is not empty"
        raise ConfigError(message)
    return tuple(text.casefold() for text in stripped) if ignore_case else stripped


def _call(name: str, texts: tuple[str, ...]) -> str:
    return f"filters.{name}({', '.join(map(repr, texts))})"


def _listed(texts: tuple[str, ...]) -> str:
    return " or ".join(map(repr, texts))
