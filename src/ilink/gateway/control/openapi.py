"""The OpenAPI document, drawn from the table of calls and the very types that requests are read with."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Final

import msgspec
from msgspec import Struct

from ilink.gateway.control.calls import Call, CallTable
from ilink.gateway.control.forms import FORM_SCHEMA
from ilink.gateway.control.refusals import CODES, ErrorAnswer

__all__ = ["draw_openapi"]

_REFERENCE: Final = "#/components/schemas/{name}"
_JSON: Final = "application/json"
_SHARED: Final = (403, 405, 421)
"""What may be answered to any call before it is looked at."""

Drawing = dict[str, object]


def draw_openapi(table: CallTable, *, has_key: bool) -> bytes:
    """Return the document as JSON.

    Args:
        table: The calls.
        has_key: Whether this listener asks for a key; if so, every call that needs it says so.
    """
    types: set[type[object]] = {ErrorAnswer}
    for call in table.calls:
        types.update(call.answers if call.body is None else (call.body, *call.answers))
    ordered = sorted(types, key=_name)
    _, components = msgspec.json.schema_components(ordered, schema_hook=_draw_other, ref_template=_REFERENCE)
    paths: dict[str, Drawing] = {}
    for call in table.calls:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, has_key=has_key)
    document: Drawing = {
        "openapi": "3.1.0",
        "info": {
            "title": "ilink gateway: the control API",
            "version": version("ilink"),
            "description": "Whatever the phone page can do, this API can do.",
        },
        "paths": paths,
        "components": {"schemas": components} | _security(has_key=has_key),
    }
    return msgspec.json.encode(document)


def _security(*, has_key: bool) -> Drawing:
    return {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}} if has_key else {}


def _operation(call: Call, *, has_key: bool) -> Drawing:
    parameters = [_path_parameter(name) for name in call.parameters]
    if call.query is not None:
        parameters += _query_parameters(call.query)
    asks_key = has_key and not call.is_open
    operation: Drawing = {
        "operationId": call.handle.__name__,
        "summary": call.summary,
        "description": inspect.cleandoc(call.handle.__doc__ or ""),
        "responses": _responses(call, asks_key=asks_key),
    }
    if parameters:
        operation["parameters"] = parameters
    if call.body is not None:
        operation["requestBody"] = _request_body(call, call.body)
    if asks_key:
        operation["security"] = [{"key": []}]
    return operation


def _path_parameter(name: str) -> Drawing:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _query_parameters(query: type[Struct]) -> list[Drawing]:
    (schema,), components = msgspec.json.schema_components([query], ref_template=_REFERENCE)
    drawn = components[str(schema["$ref"]).rpartition("/")[2]]
    required: list[str] = drawn.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": field}
        for name, field in drawn["properties"].items()
    ]


def _request_body(call: Call, body: type[Struct]) -> Drawing:
    content: Drawing = {_JSON: {"schema": _reference(body)}}
    if call.takes_form:
        content["multipart/form-data"] = {"schema": FORM_SCHEMA}
    is_required = any(field.required for field in msgspec.structs.fields(body))
    return {"required": is_required, "content": content}


def _responses(call: Call, *, asks_key: bool) -> Drawing:
    success: Drawing = {"description": CODES.get(call.status, "done")}
    if call.answers:
        schemas = [_reference(answer) for answer in call.answers]
        success["content"] = {_JSON: {"schema": schemas[0] if len(schemas) == 1 else {"oneOf": schemas}}}
    elif call.media_type is not None:
        success["content"] = {call.media_type: {"schema": {"type": "string"}}}
    statuses = {*_SHARED, 422, *call.refusals}
    if call.body is not None:
        statuses |= {400, 413, 415}
    if asks_key:
        statuses.add(401)
    refused: Drawing = {
        str(status): {"description": CODES[status], "content": {_JSON: {"schema": _reference(ErrorAnswer)}}}
        for status in sorted(statuses)
    }
    return {str(call.status): success} | refused


def _draw_other(kind: type[object]) -> Drawing:
    """Draw what is any JSON value, such as the fields of a message as it was on the wire."""
    if kind is object:
        return {"description": "Any JSON value."}
    raise NotImplementedError


def _name(drawn: type[object]) -> str:
    return drawn.__name__


def _reference(drawn: type[object]) -> Drawing:
    return {"$ref": _REFERENCE.format(name=_name(drawn))}
