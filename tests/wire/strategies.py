"""How hypothesis makes wire models: any field absent, null or of its type, at every depth."""

from __future__ import annotations

import types
from typing import Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st
from msgspec import Raw, Struct, UnsetType

from ilink.wire import models

MODELS = [
    models.BaseInfo,
    models.WeixinMessage,
    models.QrCodeRequest,
    models.UpdatesRequest,
    models.SendMessageRequest,
    models.ConfigRequest,
    models.TypingRequest,
    models.UploadUrlRequest,
    models.NotifyRequest,
    models.Answer,
    models.QrCodeAnswer,
    models.LoginStatusAnswer,
    models.UpdatesAnswer,
    models.SendMessageAnswer,
    models.ConfigAnswer,
    models.UploadUrlAnswer,
]

numbers = st.integers(-(2**63), 2**64 - 1)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=8)
json_values = st.recursive(
    scalars | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


def instances(model: type[Struct], depth: int = 3) -> st.SearchStrategy[Struct]:
    fields = {
        field.name: _values(field.type, depth)
        for field in msgspec.structs.fields(model)
        if depth > 0 or not _is_nested(field.type)
    }
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: model(**values))


def bodies(model: type[Struct]) -> st.SearchStrategy[dict[str, object]]:
    """JSON objects with the model's field names and any values in them."""
    names = [field.encode_name for field in msgspec.structs.fields(model)]
    return st.dictionaries(st.sampled_from(names) | st.text(max_size=8), json_values, max_size=6)


def _arms(annotation: object) -> tuple[object, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _is_nested(annotation: object) -> bool:
    return any(
        get_origin(arm) is list or (isinstance(arm, type) and issubclass(arm, Struct)) for arm in _arms(annotation)
    )


def _values(annotation: object, depth: int) -> st.SearchStrategy[object]:
    return st.one_of([_arm(arm, depth) for arm in _arms(annotation) if arm is not UnsetType])


def _arm(arm: object, depth: int) -> st.SearchStrategy[object]:
    if arm is Raw:
        return json_values.map(lambda value: Raw(msgspec.json.encode(value)))
    if get_origin(arm) is list:
        (inner,) = get_args(arm)
        return st.lists(_values(inner, depth - 1), max_size=2)
    if isinstance(arm, type) and issubclass(arm, Struct):
        return instances(arm, depth - 1)
    simple = {int: numbers, str: st.text(max_size=8), bool: st.booleans(), types.NoneType: st.none(), object: scalars}
    return simple[arm]


__all__ = ["MODELS", "bodies", "instances", "json_values", "numbers"]
