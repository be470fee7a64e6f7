"""Words that people write, read as the type a handler asks for."""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Final, Literal, Union, get_args, get_origin
from uuid import UUID

from ilink.flows.answers import is_chinese, read_approval, read_integer

__all__ = ["ValueReader", "is_optional", "value_reader"]


@dataclass(frozen=True, slots=True)
class ValueReader:
    """How a text becomes a value.

    Attributes:
        read: Returns the value; raises ValueError for a text that is none.
        expects: The key of the words that say what is expected, below `value.` in the texts of the bot.
        choices: What may be written, when that is a short list.
    """

    read: Callable[[str], object]
    expects: str
    choices: tuple[str, ...] = ()


def value_reader(annotation: object) -> ValueReader | None:
    """Return what reads values of an annotation; None for what is not written as one text.

    Read are str, int, float, Decimal, bool, date, time, datetime, UUID, enums by value or name, Literal of texts and
    numbers, and all of these with `| None`.
    """
    if isinstance(annotation, type):
        kind: type[object] = annotation
        return _enum_reader(kind) if issubclass(kind, Enum) else _READERS.get(kind)
    origin = get_origin(annotation)
    if origin is Literal:
        return _literal_reader(get_args(annotation))
    if origin in (Union, types.UnionType):
        inner = [one for one in get_args(annotation) if one is not type(None)]
        return value_reader(inner[0]) if len(inner) == 1 else None
    return None


def is_optional(annotation: object) -> bool:
    """Whether None is among the values of an annotation."""
    return get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation)


_BOOLS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "on", "1", "开"), True),
    **dict.fromkeys(("false", "off", "0", "关"), False),
}
_DATE: Final = re.compile(r"(\d{4})(?:[-/.]|年)(\d{1,2})(?:[-/.]|月)(\d{1,2})日?")
_TIME: Final = re.compile(r"(\d{1,2})(?:[:：]|点)(\d{1,2})?分?")


def _read_bool(text: str) -> bool:
    known = _BOOLS.get(text.casefold())
    said = read_approval(text) if known is None else known
    if said is None:
        raise ValueError(text)
    return said


def _read_date(text: str) -> date:
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year, month, day = map(int, found.groups())
    return date(year, month, day)


def _read_time(text: str) -> time:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return time(int(found[1]), int(found[2] or 0))


def _read_decimal(text: str) -> Decimal:
    try:
        value = Decimal(text.replace("．", "."))
    except InvalidOperation:
        raise ValueError(text) from None
    if not math.isfinite(float(value)) or "_" in text:
        raise ValueError(text)
    return value


def _read_int(text: str) -> int:
    if is_chinese(text) and (number := read_integer(text)) is not None:
        return number
    if "_" in text:  # Python's own spelling; nobody means it in a chat
        raise ValueError(text)
    return int(text)


_READERS: Final[Mapping[object, ValueReader]] = {
    str: ValueReader(str, "text"),
    int: ValueReader(_read_int, "int"),
    float: ValueReader(lambda text: float(_read_decimal(text)), "float"),
    Decimal: ValueReader(_read_decimal, "float"),
    bool: ValueReader(_read_bool, "bool"),
    date: ValueReader(_read_date, "date"),
    time: ValueReader(_read_time, "time"),
    datetime: ValueReader(datetime.fromisoformat, "datetime"),
    UUID: ValueReader(UUID, "uuid"),
}


def _enum_reader(annotation: type[Enum]) -> ValueReader:
    by_name = {member.name.casefold(): member for member in annotation}
    by_value = {str(member.value).casefold(): member for member in annotation}
    return _choice_reader({**by_name, **by_value}, tuple(str(member.value) for member in annotation))


def _literal_reader(values: tuple[object, ...]) -> ValueReader | None:
    if not all(isinstance(value, str | int) and not isinstance(value, bool) for value in values):
        return None
    return _choice_reader({str(value).casefold(): value for value in values}, tuple(map(str, values)))


def _choice_reader(values: Mapping[str, object], choices: tuple[str, ...]) -> ValueReader:
    def read(text: str) -> object:
        try:
            return values[text.casefold()]
        except KeyError:
            raise ValueError(text) from None

    return ValueReader(read, "choice", choices)
