"""The table of calls: each is a function, and its signature says what it takes and answers.

A path parameter is an argument of type text named as in the path; `body` and `query` are arguments whose type is a
Struct; the return type is the answer. Routing, checking and the OpenAPI document all read the same signature, so none
of them can drift from the others.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import NoneType
from typing import Final, Literal, Self, TypeGuard, TypeVar, get_args, get_type_hints
from urllib.parse import unquote

import msgspec
from msgspec import Struct
from starlette.responses import Response

from ilink.gateway.control.bodies import MAX_JSON
from ilink.gateway.control.refusals import Refusal
from ilink.gateway.control.requests import Nothing

__all__ = ["Call", "CallTable", "Method"]

Method = Literal["GET", "POST", "PUT", "DELETE"]
Handler = Callable[..., Awaitable[object]]
H = TypeVar("H", bound=Handler)

_PARAMETER: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the API.

    Attributes:
        method: The HTTP method.
        path: Its path, parameters in braces.
        summary: The first line of the handler's docstring.
        handle: The function; its first argument is the API itself.
        status: The HTTP status of success.
        refusals: The statuses with which this call may be refused, besides those every call shares.
        parameters: The names in the path, in order.
        body: What the JSON body is read as, or None for a call without one.
        query: What the query is read as, or None for a call without one.
        answers: What it answers as JSON, one of these; none for an empty answer or one that is no JSON.
        media_type: The content type of an answer that is no JSON.
        takes_form: Whether the body may come as multipart/form-data too, as an argument `form` in place of `body`.
        is_open: Whether it answers without the key.
        waits: Whether it may take long, so that it must end when its caller hangs up.
        most_bytes: How large its JSON body may be.
        arguments: The names of the handler's arguments; one named `request` is given the request itself.
    """

    method: Method
    path: str
    summary: str
    handle: Handler
    status: int
    refusals: tuple[int, ...]
    parameters: tuple[str, ...]
    body: type[Struct] | None
    query: type[Struct] | None
    answers: tuple[type[object], ...]
    media_type: str | None
    takes_form: bool
    is_open: bool
    waits: bool
    most_bytes: int
    arguments: frozenset[str]

    def read_body(self, raw: bytes) -> Struct:
        """Read the JSON body; an empty one counts as an empty object.

        Raises:
            Refusal: 400, it is no JSON; 422, it is not of the call's shape.
        """
        assert self.body is not None
        try:
            return msgspec.json.decode(raw.strip() or b"{}", type=self.body)
        except msgspec.ValidationError as error:
            raise _invalid("the body", error) from error
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise Refusal(400, f"the body is no JSON: {error}", hint="send a JSON object in UTF-8") from error

    def read_query(self, items: list[tuple[str, str]]) -> Struct | None:
        """Read the query; a call that takes none refuses any field.

        Raises:
            Refusal: 422, a field is unknown, given twice or of a wrong type.
        """
        fields = dict(items)
        if len(fields) != len(items):
            names = [name for name, _ in items]
            twice = next(name for name in names if names.count(name) > 1)
            raise Refusal(422, f"the query gives `{twice}` twice", hint="give each field once")
        if self.query is None:
            if fields:
                raise Refusal(422, f"unknown field `{next(iter(fields))}` in the query", hint="this call takes none")
            return None
        try:
            return msgspec.convert(fields, self.query, strict=False)
        except msgspec.ValidationError as error:
            raise _invalid("the query", error) from error


@dataclass(slots=True)
class CallTable:
    """Calls by path and method; each handler registers itself with the decorator `call`."""

    calls: list[Call] = field(default_factory=list[Call])
    _plain: dict[str, dict[str, Call]] = field(default_factory=dict[str, dict[str, Call]])
    _patterns: list[tuple[re.Pattern[str], dict[str, Call]]] = field(
        default_factory=list[tuple[re.Pattern[str], dict[str, Call]]]
    )

    @classmethod
    def joined(cls, *tables: CallTable) -> Self:
        """Return a table of all calls of several."""
        table = cls()
        for call in (call for other in tables for call in other.calls):
            table._add(call)
        return table

    def call(
        self,
        method: Method,
        path: str,
        *,
        status: int = 200,
        refusals: tuple[int, ...] = (),
        media_type: str | None = None,
        takes_form: bool = False,
        is_open: bool = False,
        waits: bool = False,
        most_bytes: int = MAX_JSON,
    ) -> Callable[[H], H]:
        """Register the decorated function as the handler of a method and path; see `Call` for the arguments."""

        def register(handle: H) -> H:
            hints = get_type_hints(handle)
            call = Call(
                method=method,
                path=path,
                summary=(handle.__doc__ or "").strip().splitlines()[0],
                handle=handle,
                status=status,
                refusals=refusals,
                parameters=tuple(_PARAMETER.findall(path)),
                body=_struct(hints.get("body")) or (Nothing if method in ("POST", "PUT") else None),
                query=_struct(hints.get("query")),
                answers=_answers(hints["return"]),
                media_type=media_type,
                takes_form=takes_form,
                is_open=is_open,
                waits=waits,
                most_bytes=most_bytes,
                arguments=frozenset(hints) - {"return"},
            )
            self._add(call)
            return handle

        return register

    def find(self, method: str, path: str) -> tuple[Call, dict[str, str]]:
        """Return the call for a request and the values of its path parameters.

        The path is the one on the wire, still percent-encoded, so that an encoded slash stays inside a parameter.

        Raises:
            Refusal: 404, no call has this path; 405, none has this method there.
        """
        methods, values = self._match(path)
        if methods is None:
            raise Refusal(404, f"there is no call {path!r}", hint="the calls are listed at /_sim/openapi.json")
        call = methods.get("GET" if method == "HEAD" else method)
        if call is None:
            allowed = ", ".join(sorted(methods))
            hint = f"it knows {allowed}"
            raise Refusal(405, f"{path!r} does not know {method}", hint=hint, headers={"allow": allowed})
        return call, values

    def _add(self, call: Call) -> None:
        self.calls.append(call)
        self._methods(call.path)[call.method] = call

    def _methods(self, path: str) -> dict[str, Call]:
        if "{" not in path:
            return self._plain.setdefault(path, {})
        pattern = re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", path))
        for known, methods in self._patterns:
            if known.pattern == pattern.pattern:
                return methods
        self._patterns.append((pattern, {}))
        return self._patterns[-1][1]

    def _match(self, path: str) -> tuple[dict[str, Call] | None, dict[str, str]]:
        if (methods := self._plain.get(path)) is not None:
            return methods, {}
        for pattern, methods in self._patterns:
            if match := pattern.fullmatch(path):
                return methods, {name: unquote(value) for name, value in match.groupdict().items()}
        return None, {}


def _struct(hint: object) -> type[Struct] | None:
    arms: tuple[object, ...] = get_args(hint) or (hint,)
    return next((arm for arm in arms if isinstance(arm, type) and issubclass(arm, Struct)), None)


def _answers(hint: object) -> tuple[type[object], ...]:
    arms: tuple[object, ...] = get_args(hint) or (hint,)
    return tuple(arm for arm in arms if _is_answer(arm))


def _is_answer(arm: object) -> TypeGuard[type[object]]:
    return isinstance(arm, type) and not issubclass(arm, NoneType | Response)


def _invalid(where: str, error: msgspec.ValidationError) -> Refusal:
    return Refusal(422, f"{where} is not as this call takes it: {error}", hint="see /_sim/openapi.json")
