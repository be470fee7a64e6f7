"""Longer forms: a dataclass whose fields are questions, filled step by step, with a way back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, cast, overload

from ilink.bot.conversation import ConversationPolicy
from ilink.bot.conversation_questions import Reader, reader_of
from ilink.errors import ConfigError
from ilink.flows.answers import normalise
from ilink.messages.incoming import Message

__all__ = ["AsksSteps", "fill_form", "question"]

T = TypeVar("T")
S = TypeVar("S", bound=str)

_KEY: Final = "ilink.question"
_NONE: Final = object()


@dataclass(frozen=True, slots=True)
class _Question:
    """What a field asks.

    Attributes:
        text: The question.
        reader: What reads its answers.
        hint: What to say when an answer is not understood.
        default: What the field is when the question is skipped; `_NONE` when it cannot be.
    """

    text: str
    reader: Reader[Any]
    hint: str
    default: object


class _Move:
    """A user wants to go back, or to skip a question."""


_BACK: Final = _Move()
_SKIP: Final = _Move()


@overload
def question(text: str, kind: type[T], *, hint: str = "", default: T = ...) -> T: ...
@overload
def question(text: str, *, hint: str = "", default: str = ...) -> str: ...
@overload
def question(text: str, kind: Mapping[str, T], *, hint: str = "", default: T = ...) -> T: ...
@overload
def question(text: str, kind: Sequence[S], *, hint: str = "", default: S = ...) -> S: ...
@overload
def question(text: str, kind: Callable[[str], T], *, hint: str = "", default: T = ...) -> T: ...
def question(text: str, kind: object = str, *, hint: str = "", default: object = _NONE) -> object:
    """Let a field of a dataclass be asked for by `Context.fill`.

        @dataclass
        class Order:
            drink: str = question("What would you like?", ["tea", "coffee"])
            cups: int = question("How many?", int)
            wish: str = question("Anything else?", default="")

    Args:
        text: The question.
        kind: What is wanted; see `Context.ask`.
        hint: What to say when an answer is not understood.
        default: What the field is when the user says `skip` or `跳过`; without it they have to answer.

    Raises:
        ConfigError: Nothing can be asked for so.
    """
    asked = _Question(text, reader_of(kind), hint, default)
    if default is _NONE:
        return dataclasses.field(metadata={_KEY: asked}, kw_only=True)
    return dataclasses.field(metadata={_KEY: asked}, default=default, kw_only=True)


class AsksSteps(Protocol):
    """How a step is asked."""

    async def __call__(self, text: str, reader: Reader[Any], *, hint: str, name: str) -> object:
        """Ask, and return what the answer means."""
        ...


async def fill_form(kind: type[T], ask: AsksSteps, policy: ConversationPolicy) -> T:
    """Ask for every field of a form that is a question, and return the form.

    Raises:
        ConfigError: It is no dataclass, or none of its fields is a question.
    """
    fields = _questions(kind)
    answers: list[tuple[str, object]] = []
    while len(answers) < len(fields):
        name, asked = fields[len(answers)]
        reader = _Steps(asked, policy, can_go_back=bool(answers)).reader()
        answer = await ask(asked.text, reader, hint=asked.hint, name=f"{kind.__name__}.{name}")
        if answer is _BACK:
            answers.pop()
        else:
            answers.append((name, asked.default if answer is _SKIP else answer))
    return kind(**dict(answers))


def _questions(kind: type[object]) -> list[tuple[str, _Question]]:
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    found = [(field.name, cast("_Question", field.metadata[_KEY])) for field in fields if _KEY in field.metadata]
    if not found:
        message = f"{kind.__qualname__} is no form: use a dataclass with fields such as `cups: int = question(…)`"
        raise ConfigError(message)
    return found


class _Steps:
    """Reads the answers to one step, and the words that move between steps."""

    def __init__(self, asked: _Question, policy: ConversationPolicy, *, can_go_back: bool) -> None:
        self._asked = asked
        self._back = [normalise(word) for word in policy.back_words] if can_go_back else []
        self._skip = [normalise(word) for word in policy.skip_words] if asked.default is not _NONE else []

    def reader(self) -> Reader[Any]:
        return dataclasses.replace(self._asked.reader, read=self._read)

    def _read(self, message: Message) -> object:
        said = normalise(message.text)
        if said in self._back:
            return _BACK
        return _SKIP if said in self._skip else self._asked.reader.read(message)
