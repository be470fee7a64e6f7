"""Typed state of a conversation: what may be one, how it is kept, and what happens when its type changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final, Generic, TypeVar, cast

import msgspec
import msgspec.inspect as shapes

from ilink.bot.conversation import KeptState
from ilink.errors import ConfigError, StateError

__all__ = ["State", "check_state_type", "keep_state", "read_state", "state_name"]

T = TypeVar("T")

_checked: Final[set[type[object]]] = set()
"""Types that are known to be good; a program has few."""


class State(Generic[T]):
    """A state of a conversation; what `value` is when the handler succeeds is stored together with its success.

    A handler that fails, or stops at a question, changes nothing.

    Attributes:
        value: The state; a fresh one of its type as long as none is stored. Change it, or put another one in its place.
    """

    __slots__ = ("_before", "_type", "expire", "value")

    def __init__(self, kind: type[T], value: T, *, expire: float | None) -> None:
        self._type = kind
        self._before = _encode(value, kind)
        self.value = value
        self.expire = expire

    def clear(self) -> None:
        """Go back to a fresh state."""
        self.value = self._type()

    @property
    def kind(self) -> type[T]:
        """Its type."""
        return self._type

    @property
    def has_changed(self) -> bool:
        """Whether it differs from what is stored.

        Raises:
            StateError: It holds something that cannot be kept.
        """
        return _encode(self.value, self._type) != self._before


def state_name(kind: type[object]) -> str:
    """Return the name that the states of a type are kept under: its `state_name`, else the name of the class."""
    name: object = getattr(kind, "state_name", None)
    return name if isinstance(name, str) else kind.__qualname__.rpartition(".<locals>.")[2]


def check_state_type(kind: type[object]) -> None:
    """Refuse a type whose values could not be kept, before any message comes.

    Raises:
        ConfigError: It is no dataclass or Struct, has a field without default, or one that JSON has no place for; the
            message names the field.
    """
    if kind in _checked:
        return
    if not (dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct)):
        message = f"{_shown(kind)} cannot be the state of a conversation: use a dataclass or a msgspec Struct"
        raise ConfigError(message)
    try:
        shape = shapes.type_info(kind)
    except (TypeError, NameError) as error:
        message = f"{_shown(kind)} cannot be the state of a conversation: {error}"
        raise ConfigError(message) from error
    for place, inner in _custom_parts(shape, "$", set()):
        message = (
            f"{_shown(kind)} cannot be the state of a conversation: {place} is a {inner}, which JSON has no place for"
        )
        raise ConfigError(message)
    assert isinstance(shape, shapes.DataclassType | shapes.StructType)
    for field in shape.fields:
        if field.required:
            message = (
                f"{_shown(kind)} cannot be the state of a conversation: {field.name} has no default, and a new"
                " conversation has nothing to begin with; give it one"
            )
            raise ConfigError(message)
    _checked.add(kind)


def keep_state(state: State[Any], *, now_ms: int) -> KeptState:
    """Return a state as it is kept.

    Raises:
        StateError: It holds something that its type or JSON has no place for; the message names the field.
    """
    expires_ms = None if state.expire is None else now_ms + int(state.expire * 1000)
    encoded = _encode(state.value, state.kind)
    _decode(encoded, state.kind, "keep")
    return KeptState(value=msgspec.Raw(encoded), version=_version(state.kind), expires_ms=expires_ms)


def read_state(kind: type[T], kept: KeptState | None, *, now_ms: int, expire: float | None) -> State[T]:
    """Return a state from what is kept of it; a fresh one when nothing is, or when it is over.

    Fields that the type has not got any more are left out and new ones get their defaults. A type whose
    `state_version` differs from the stored one may have a class method `upgrade_state(fields, version)` that returns
    the fields of today.

    Raises:
        StateError: What is kept does not fit the type.
    """
    if expire is None:
        expire = _expiry(kind)
    if kept is None or (kept.expires_ms is not None and kept.expires_ms <= now_ms):
        return State(kind, kind(), expire=expire)
    encoded = bytes(kept.value)
    if kept.version != _version(kind):
        encoded = _upgrade(kind, encoded, kept.version)
    return State(kind, _decode(encoded, kind, "read"), expire=expire)


def _upgrade(kind: type[object], encoded: bytes, version: int) -> bytes:
    upgrade: object = getattr(kind, "upgrade_state", None)
    if not callable(upgrade):
        return encoded
    try:
        return msgspec.json.encode(upgrade(msgspec.json.decode(encoded), version))
    except Exception as error:
        message = f"the state {state_name(kind)} of version {version} could not be upgraded: {error}"
        raise StateError(message, state=state_name(kind)) from error


def _encode(value: object, kind: type[object]) -> bytes:
    if type(value) is not kind:
        message = f"the state {state_name(kind)} was replaced by a {type(value).__name__}; it has to stay what it is"
        raise StateError(message, state=state_name(kind))
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        place = next(_unkept(value, "$"), "$")
        message = f"the state {state_name(kind)} cannot be kept: {place} holds something JSON has no place for: {error}"
        raise StateError(message, state=state_name(kind), field=place) from error


def _decode(encoded: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(encoded, type=kind)
    except msgspec.ValidationError as error:
        words, _, place = str(error).partition(" - at `")
        field = place.removesuffix("`") or "$"
        hint = (
            "its type says otherwise; mend the value, or the type"
            if what == "keep"
            else "its type changed since; give it a state_version and upgrade_state, or another name"
        )
        message = f"cannot {what} the state {state_name(kind)}, {field}: {words}; {hint}"
        raise StateError(message, state=state_name(kind), field=field) from error


def _unkept(value: object, place: str) -> Iterator[str]:
    """Yield where in a value something cannot be encoded, the innermost places only."""
    for inner_place, inner in _parts_of(value, place):
        try:
            msgspec.json.encode(inner)
        except (TypeError, ValueError, OverflowError):
            yield next(_unkept(inner, inner_place), inner_place)
        except RecursionError:
            yield inner_place


def _parts_of(value: object, place: str) -> Iterator[tuple[str, object]]:
    match value:
        case dict():
            yield from ((f"{place}[{key!r}]", inner) for key, inner in cast("dict[object, object]", value).items())
        case list() | tuple() | set() | frozenset():
            items = cast("list[object]", value)
            yield from ((f"{place}[{number}]", inner) for number, inner in enumerate(items))
        case msgspec.Struct():
            yield from ((f"{place}.{name}", getattr(value, name)) for name in value.__struct_fields__)
        case _ if dataclasses.is_dataclass(value):
            yield from ((f"{place}.{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value))
        case _:
            return


def _custom_parts(shape: shapes.Type, place: str, seen: set[type[object]]) -> Iterator[tuple[str, str]]:
    """Yield the parts of a type that are of a class that cannot be encoded."""
    match shape:
        case shapes.CustomType():
            yield place, _shown(shape.cls)
        case shapes.DataclassType() | shapes.StructType() | shapes.TypedDictType() | shapes.NamedTupleType():
            if shape.cls not in seen:
                for field in shape.fields:
                    yield from _custom_parts(field.type, f"{place}.{field.name}", seen | {shape.cls})
        case shapes.UnionType():
            for inner in shape.types:
                yield from _custom_parts(inner, place, seen)
        case shapes.DictType():
            yield from _custom_parts(shape.value_type, f"{place}[...]", seen)
        case shapes.TupleType():
            for number, inner in enumerate(shape.item_types):
                yield from _custom_parts(inner, f"{place}[{number}]", seen)
        case shapes.ListType() | shapes.SetType() | shapes.FrozenSetType() | shapes.VarTupleType():
            yield from _custom_parts(shape.item_type, f"{place}[...]", seen)
        case _:
            return


def _expiry(kind: type[object]) -> float | None:
    expire: object = getattr(kind, "state_expire", None)
    return float(expire) if isinstance(expire, int | float) else None


def _version(kind: type[object]) -> int:
    version: object = getattr(kind, "state_version", 1)
    return version if isinstance(version, int) else 1


def _shown(kind: object) -> str:
    return getattr(kind, "__qualname__", None) or repr(kind)
