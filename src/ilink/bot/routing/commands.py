"""Commands: `/order 2 tea`, read into the typed arguments of their handler, and the help that is written from them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ilink.bot.routing.signatures import MISSING, Parameter, Signature
from ilink.bot.routing.values import ValueReader, is_optional, value_reader
from ilink.bot.words import Language, say
from ilink.errors import ConfigError

__all__ = ["Argument", "ArgumentsError", "Call", "Command", "check_names", "read_call", "read_command"]

_SLASHES: Final = ("/", "\uff0f")
_WORD: Final = re.compile(r"""(?:"([^"]*)"|“([^”]*)”|「([^」]*)」|'([^']*)')(?!\S)|(\S+)""")
_CHINESE: Final = re.compile(r"[^\x00-\x7f]")


@dataclass(frozen=True, slots=True)
class Call:
    """What somebody wrote to call a command.

    Attributes:
        name: The command's name without slash, without regard to case.
        rest: What stands behind it, as it was written.
    """

    name: str
    rest: str


def read_call(text: str) -> Call | None:
    """Return the command a text calls; None when it does not begin with a slash, plain or full-width, and a name.

    `/help@somebot` is `/help`: people who come from elsewhere write it so.
    """
    if not text.startswith(_SLASHES):
        return None
    words = text[1:].split(maxsplit=1)
    if not words or text[1].isspace():
        return None
    name = words[0].partition("@")[0]
    return Call(name.casefold(), words[1].strip() if len(words) > 1 else "") if name else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of a command.

    Attributes:
        name: The handler's parameter.
        reader: Reads its value.
        default: What it is when it is left out; `MISSING` when it may not be.
        is_text: Whether it is all the rest of the text, as it was written.
        is_words: Whether it is all the rest of the words.
    """

    name: str
    reader: ValueReader
    default: object = MISSING
    is_text: bool = False
    is_words: bool = False

    @property
    def shape(self) -> str:
        """Return how it looks in a line that shows how a command is written."""
        inner = "|".join(self.reader.choices) if self.reader.choices else self.name
        if self.is_text or self.is_words:
            inner += "…"
        return f"<{inner}>" if self.default is MISSING and not self.is_words else f"[{inner}]"


class ArgumentsError(Exception):
    """What was written behind a command is not what it takes. It never leaves this package.

    Attributes:
        key: The key of the words that say so.
        values: What goes into them.
        expects: The reader of what is expected, if that helps.
    """

    def __init__(self, key: str, *, expects: ValueReader | None = None, **values: str) -> None:
        super().__init__(key)
        self.key = key
        self.values = values
        self.expects = expects


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Command:
    """A command.

    Attributes:
        names: What it is called by, without slash; the first is its main one.
        arguments: What it takes, in order.
        about: What it does: the handler's docstring.
        about_key: The key of the words that say so in every language; for what this package adds.
    """

    names: tuple[str, ...]
    arguments: tuple[Argument, ...]
    about: str
    about_key: str = ""

    def read(self, rest: str) -> Mapping[str, object]:
        """Return the arguments by name.

        Raises:
            ArgumentsError: It is not what the command takes.
        """
        values: dict[str, object] = {}
        words = _words(rest)
        for argument in self.arguments:
            if argument.is_text:
                left = rest[words[0].begin :] if words else ""
                values[argument.name] = _read(argument, left)
                return values
            if argument.is_words:
                values[argument.name] = tuple(_read(argument, word.text) for word in words)
                return values
            values[argument.name] = _read(argument, words.pop(0).text if words else "")
        if words:
            raise ArgumentsError("command.left_over", given=rest[words[0].begin :])
        return values

    def called(self, language: Language) -> str:
        """Return the name that fits a language, with its slash."""
        wants_chinese = language == "zh-CN"
        fitting = (name for name in self.names if bool(_CHINESE.search(name)) is wants_chinese)
        return f"/{next(fitting, self.names[0])}"

    def usage(self, language: Language) -> str:
        """Return how it is written."""
        return " ".join([self.called(language), *(argument.shape for argument in self.arguments)])

    def line(self, language: Language) -> str:
        """Return one line about it."""
        summary = self._about_in(language).partition("\n")[0]
        return f"{self.usage(language)} – {summary}" if summary else self.usage(language)

    def manual(self, language: Language) -> str:
        """Return everything about it."""
        others = [f"/{name}" for name in self.names if f"/{name}" != self.called(language)]
        return "\n".join(part for part in (self.usage(language), ", ".join(others), self._about_in(language)) if part)

    def _about_in(self, language: Language) -> str:
        return say(language, self.about_key) if self.about_key else self.about

    def complaint(self, error: ArgumentsError, language: Language) -> str:
        """Return what to tell somebody who called it wrongly."""
        expected = "" if error.expects is None else _expected(error.expects, language)
        values = {**error.values, "command": self.called(language), "expected": expected}
        wrong = say(language, error.key, **values)
        return f"{wrong}\n{say(language, 'command.usage', usage=self.usage(language))}"


def read_command(
    names: Sequence[str], signature: Signature, about: str | None, knows: Callable[[object], bool]
) -> Command:
    """Return the command that a handler handles.

    Args:
        names: What it is called by.
        signature: The handler's; what can be written in a chat becomes an argument, the rest is a dependency.
        about: The handler's docstring.
        knows: Tells of an annotation whether somebody makes its values, so that it is no argument.

    Raises:
        ConfigError: The arguments cannot be told apart.
    """
    arguments: list[Argument] = []
    for parameter in signature.parameters()[1:]:
        argument = None if knows(parameter.annotation) else _argument(signature, parameter)
        if argument is None:
            continue
        if arguments and (arguments[-1].is_text or arguments[-1].is_words):
            rest = arguments[-1].name
            raise signature.refuse(f"takes all the rest as `{rest}`, so `{argument.name}` gets nothing")
        if arguments and argument.default is MISSING and not argument.is_words and _may_be_left_out(arguments[-1]):
            before = arguments[-1].name
            raise signature.refuse(f"needs `{argument.name}` behind `{before}`, which may be left out; swap them")
        arguments.append(argument)
    return Command(names=tuple(names), arguments=tuple(arguments), about=inspect.cleandoc(about or ""))


def check_names(names: Iterable[str], refuse: Callable[[str], ConfigError]) -> tuple[str, ...]:
    """Return command names without slashes.

    Raises:
        ConfigError: One of them could never be called.
    """
    stripped = tuple(name.lstrip("".join(_SLASHES)) for name in names)
    if not stripped:
        raise refuse('needs a name: on_command("help")')
    for name in stripped:
        if not name or "@" in name or any(character.isspace() for character in name):
            raise refuse(f"has the name {name!r}, which nobody can call; a name has no blanks and no @")
    return stripped


def _argument(signature: Signature, parameter: Parameter) -> Argument | None:
    reader = value_reader(parameter.annotation)
    if reader is None:
        return None
    if parameter.is_keyword and parameter.annotation is not str and not _is_optional_text(parameter.annotation):
        raise signature.refuse(f"takes the rest of the text as `{parameter.name}`, which has to be a `str`")
    default = parameter.default
    if default is MISSING and is_optional(parameter.annotation):
        default = None
    return Argument(
        name=parameter.name,
        reader=reader,
        default=default,
        is_text=parameter.is_keyword,
        is_words=parameter.is_rest,
    )


def _is_optional_text(annotation: object) -> bool:
    return annotation == str | None


def _may_be_left_out(argument: Argument) -> bool:
    return argument.default is not MISSING


def _read(argument: Argument, text: str) -> object:
    if not text:
        if argument.default is MISSING:
            raise ArgumentsError("command.missing", argument=argument.name, expects=argument.reader)
        return argument.default
    try:
        return argument.reader.read(text)
    except ValueError:
        raise ArgumentsError("command.wrong", argument=argument.name, given=text, expects=argument.reader) from None


def _expected(reader: ValueReader, language: Language) -> str:
    return say(language, f"value.{reader.expects}", choices=", ".join(reader.choices))


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    begin: int


def _words(text: str) -> list[_Word]:
    """Return the words of a text; what stands in quotation marks of any kind is one."""
    return list(_each_word(text))


def _each_word(text: str) -> Iterator[_Word]:
    for found in _WORD.finditer(text):
        yield _Word(next((group for group in found.groups() if group is not None), ""), found.start())
