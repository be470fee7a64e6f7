"""What a question asks for, and how an answer to it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, TypeVar, cast

from ilink.bot.conversation import Words
from ilink.errors import ConfigError
from ilink.flows.answers import read_approval, read_choice, read_integer, read_number
from ilink.messages.incoming import FileMessage, ImageMessage, Message, TextMessage, VideoMessage, VoiceMessage

__all__ = ["NotUnderstoodError", "Reader", "reader_of"]

T = TypeVar("T")

_KINDS: Final[tuple[type[Message], ...]] = (TextMessage, ImageMessage, VoiceMessage, FileMessage, VideoMessage)


class NotUnderstoodError(Exception):
    """An answer cannot be read as what was asked for.

    Attributes:
        hint: What would be understood, in the words of whoever asks; empty for a general one.
    """

    def __init__(self, hint: str = "") -> None:
        super().__init__(hint)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader(Generic[T]):
    """Reads answers of one kind.

    Attributes:
        name: Names the kind, to see whether the same is asked again.
        read: Returns what a message means, or raises NotUnderstoodError.
        hint: What to say when it was not understood.
        choices: What stands below the question, numbered.
        is_picky: Whether it takes few texts only, so that a word to cancel is read as an answer first.
    """

    name: str
    read: Callable[[Message], T]
    hint: Callable[[Words], str]
    choices: tuple[str, ...] = ()
    is_picky: bool = False

    def ask(self, question: str) -> str:
        """Return a question as it is said."""
        return "\n".join([question, *_numbered(self.choices)])

    def ask_again(self, words: Words, hint: str) -> str:
        """Return what is said when an answer could not be read."""
        return "\n".join([words.not_understood, hint or self.hint(words), *_numbered(self.choices)])


def reader_of(kind: object) -> Reader[Any]:
    """Return what reads the answers to a question.

    Args:
        kind: `str`, `int`, `float` or `bool`; an `Enum`; a kind of message, such as `ImageMessage`; labels to choose
            from, or a mapping from labels to values; or a function from the text to a value, which raises ValueError
            with a hint for what it does not take.

    Raises:
        ConfigError: It is none of these, or there is nothing to choose from.
    """
    if isinstance(kind, type):
        return _reader_of_type(cast("type[object]", kind))
    if isinstance(kind, Mapping):
        return _choice(list(cast("Mapping[object, object]", kind).items()))
    if isinstance(kind, Sequence) and not isinstance(kind, str | bytes):
        return _choice([(label, label) for label in kind])
    if callable(kind):
        return _checked(cast("Callable[[str], object]", kind))
    message = f"a question cannot ask for {kind!r}; use int, bool, labels to choose from, or a function of the text"
    raise ConfigError(message)


def _reader_of_type(kind: type[object]) -> Reader[Any]:
    if issubclass(kind, Message):
        return _message(kind)
    if issubclass(kind, Enum):
        return _choice([(_label(member), member) for member in kind])
    if (known := _SIMPLE.get(kind)) is not None:
        return known
    return _checked(cast("Callable[[str], object]", kind))


def _label(member: Enum) -> str:
    value: object = member.value
    return value if isinstance(value, str) else member.name.replace("_", " ").capitalize()


def _text_of(message: Message) -> str:
    """Return what was written, or said as far as WeChat understood it."""
    if not message.text.strip():
        raise NotUnderstoodError
    return message.text


def _known(value: T | None) -> T:
    if value is None:
        raise NotUnderstoodError
    return value


def _choice(values: Sequence[tuple[object, object]]) -> Reader[Any]:
    labels = tuple(str(label) for label, _ in values)
    if not labels or not all(label.strip() for label in labels) or len(set(labels)) < len(labels):
        message = f"a choice needs labels that differ and are not blank, not {labels!r}"
        raise ConfigError(message)
    return Reader(
        name=f"choice {'|'.join(labels)}",
        read=lambda message: values[_known(read_choice(_text_of(message), labels))][1],
        hint=lambda words: words.choice_wanted,
        choices=labels,
        is_picky=True,
    )


def _checked(check: Callable[[str], object]) -> Reader[Any]:
    def read(message: Message) -> object:
        text = _text_of(message).strip()
        try:
            return check(text)
        except ValueError as error:
            # A class such as Decimal or date does not word its errors for the people who answer.
            raise NotUnderstoodError("" if isinstance(check, type) else str(error)) from error

    name = getattr(check, "__qualname__", type(check).__qualname__)
    return Reader(name=f"checked by {name}", read=read, hint=lambda words: words.answer_wanted)


def _message(kind: type[Message]) -> Reader[Any]:
    def read(message: Message) -> Message:
        if not isinstance(message, kind):
            raise NotUnderstoodError
        return message

    def hint(words: Words) -> str:
        if kind not in _KINDS:
            return words.answer_wanted
        return words.kind_wanted.format(kind=words.kinds[_KINDS.index(kind)])

    return Reader(name=kind.__name__, read=read, hint=hint)


def _numbered(labels: Sequence[str]) -> list[str]:
    return [f"{number}. {label}" for number, label in enumerate(labels, start=1)]


_SIMPLE: Final[dict[type[object], Reader[Any]]] = {
    str: Reader(
        name="text",
        read=lambda message: _text_of(message).strip(),
        hint=lambda words: words.kind_wanted.format(kind=words.kinds[0]),
    ),
    int: Reader(
        name="whole number",
        read=lambda message: _known(read_integer(_text_of(message))),
        hint=lambda words: words.whole_number_wanted,
        is_picky=True,
    ),
    float: Reader(
        name="number",
        read=lambda message: _known(read_number(_text_of(message))),
        hint=lambda words: words.number_wanted,
        is_picky=True,
    ),
    bool: Reader(
        name="approval",
        read=lambda message: _known(read_approval(_text_of(message))),
        hint=lambda words: words.approval_wanted,
        is_picky=True,
    ),
}
