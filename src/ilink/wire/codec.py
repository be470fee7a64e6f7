"""Objects to JSON and back, surviving what other programs put on the wire.

The fast path is one typed pass. What it refuses, a text where a number belongs say, is read again field by field: a
value that can be read as its field's type is, any other counts as absent and is named in `problems`. Only what is no
JSON object at all is an error.
"""

from __future__ import annotations

import json
import re
import types
from functools import cache
from typing import Final, Generic, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from ilink.errors import RemoteProtocolError
from ilink.wire.redact import excerpt
from ilink.wire.shapes import is_array, is_object

__all__ = ["Decoded", "decode", "decode_object", "encode", "is_array", "is_object"]

M = TypeVar("M", bound=Struct)

_encoder = msgspec.json.Encoder()
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)
_WHOLE_NUMBER: Final = re.compile(r"\s*[+-]?[0-9]{1,39}\s*")


class Decoded(Struct, Generic[M], frozen=True):
    """A value as read, the bytes it was read from, and the paths of fields that could not be read."""

    value: M
    raw: bytes
    problems: tuple[str, ...] = ()


def encode(value: Struct | dict[str, object] | list[object]) -> bytes:
    """Encode a model or plain data as compact JSON in UTF-8; a text with lone surrogates has them replaced."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value), ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        )


def decode(raw: bytes, model: type[M]) -> Decoded[M]:
    """Read a JSON object as the model.

    Raises:
        RemoteProtocolError: The bytes are no JSON object, or one that is nested too deeply to be read.
    """
    try:
        return Decoded(_decoder(model).decode(raw), raw)
    except _UNREADABLE:
        return _decode_field_by_field(raw, model)


def decode_object(raw: bytes) -> dict[str, object]:
    """Read a JSON object as plain data, more tolerantly than a typed pass: lone surrogates and bad UTF-8 are replaced.

    Raises:
        RemoteProtocolError: The bytes are no JSON object.
    """
    try:
        value: object = msgspec.json.decode(raw)
    except _UNREADABLE:
        try:
            text = raw.decode("utf-8-sig", "replace")
            value = json.loads(text)
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
        except (ValueError, RecursionError) as error:
            message = f"expected a JSON object, got {len(raw)} bytes that are no JSON"
            raise RemoteProtocolError(message, excerpt=excerpt(raw)) from error
    if not is_object(value):
        message = f"expected a JSON object, got a JSON {type(value).__name__}"
        raise RemoteProtocolError(message, excerpt=excerpt(raw))
    return value


@cache
def _decoder(model: type[M]) -> msgspec.json.Decoder[M]:
    return msgspec.json.Decoder(model)


def _decode_field_by_field(raw: bytes, model: type[M]) -> Decoded[M]:
    problems: list[str] = []
    try:
        value = _read_struct(decode_object(raw), model, "", problems)
    except RecursionError as error:
        message = f"expected a JSON object, got {len(raw)} bytes that are nested too deeply"
        raise RemoteProtocolError(message, excerpt=excerpt(raw)) from error
    return Decoded(value, raw, tuple(problems))


def _read_struct(data: dict[str, object], model: type[M], path: str, problems: list[str]) -> M:
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(model):
        if field.encode_name in data:
            where = f"{path}.{field.encode_name}"
            value = _read(data[field.encode_name], _arms(field.type), where, problems)
            if value is not UNSET:
                values[field.name] = value
    return model(**values)


def _read(value: object, arms: tuple[object, ...], path: str, problems: list[str]) -> object:
    for as_it_is in (True, False):
        for arm in arms:
            read = _read_arm(value, arm, path, problems, as_it_is=as_it_is)
            if read is not UNSET:
                return read
    problems.append(path.lstrip("."))
    return UNSET


def _read_arm(value: object, arm: object, path: str, problems: list[str], *, as_it_is: bool) -> object:
    """Read a value as one type; UNSET where it cannot be."""
    if arm is object:
        return value
    if arm is types.NoneType:
        return None if value is None else UNSET
    model = _as_model(arm)
    if model is not None:
        return _read_struct(value, model, path, problems) if is_object(value) else UNSET
    if get_origin(arm) is list:
        if not is_array(value):
            return UNSET
        (inner,) = get_args(arm)
        if inner is Raw:
            return [
                Raw(encode(entry)) if is_object(entry) or is_array(entry) else Raw(json.dumps(entry)) for entry in value
            ]
        read = (_read(entry, _arms(inner), f"{path}[{n}]", problems) for n, entry in enumerate(value))
        return [entry for entry in read if entry is not UNSET]
    if as_it_is:
        return value if isinstance(arm, type) and type(value) is arm else UNSET
    return _read_scalar(value, arm)


def _as_model(arm: object) -> type[Struct] | None:
    return arm if isinstance(arm, type) and issubclass(arm, Struct) else None


def _read_scalar(value: object, arm: object) -> object:
    """Read numbers in texts, texts in numbers and whole floats; 0 and 1 as booleans."""
    if arm is bool:
        return bool(value) if value in (0, 1) else UNSET
    if isinstance(value, bool):
        return UNSET
    if arm is int:
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return int(value) if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value) else UNSET
    return str(value) if arm is str and isinstance(value, int) else UNSET


@cache
def _arms(annotation: object) -> tuple[object, ...]:
    """Return the types a field may have, absence left out."""
    arms = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return tuple(arm for arm in arms if arm is not UnsetType)
