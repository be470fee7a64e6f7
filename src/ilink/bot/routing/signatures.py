"""What a function of the application asks for: its parameters, with annotations that are found where it was written."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Final, get_type_hints

from ilink.bot.routing.places import Place, calling_variables, place_of
from ilink.errors import ConfigError

__all__ = ["MISSING", "Parameter", "Signature", "Unresolved", "is_coroutine_function"]

MISSING: Final = inspect.Parameter.empty
"""Stands for an annotation or a default that is not there."""


@dataclass(frozen=True, slots=True)
class Unresolved:
    """An annotation whose name means nothing where the function was written."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter.

    Attributes:
        name: Its name.
        annotation: The annotation itself; `Unresolved` when it cannot be found, `MISSING` without one.
        default: Its default, or `MISSING`.
        is_rest: Whether it is `*name`.
        is_keyword: Whether it is given by name only.
    """

    name: str
    annotation: object
    default: object
    is_rest: bool = False
    is_keyword: bool = False

    @property
    def is_required(self) -> bool:
        """Whether something has to be given for it."""
        return self.default is MISSING and not self.is_rest


class Signature:
    """The parameters of a function, read where it is registered and once more when the router is built.

    Args:
        function: The function.
        what: What it is to be, for errors, such as "handler".

    Attributes:
        place: Where it was written.
        what: What it is to be.

    Raises:
        ConfigError: Its parameters cannot be known, or have `**`.
    """

    __slots__ = ("_function", "_parameters", "_returned", "place", "what")

    def __init__(self, function: Callable[..., object], *, what: str) -> None:
        self._function = function
        self.place: Place = place_of(function)
        self.what = what
        variables = calling_variables()
        self._parameters = self._read(variables)
        self._returned = self._annotation(getattr(function, "__annotations__", {}).get("return", MISSING), variables)

    def parameters(self) -> tuple[Parameter, ...]:
        """Return the parameters; names that were unknown when the function was registered are looked up again."""
        if any(isinstance(parameter.annotation, Unresolved) for parameter in self._parameters):
            self._parameters = self._read({})
        return self._parameters

    def returned(self) -> object:
        """Return the annotation of what it returns; `MISSING` without one."""
        return self._returned

    def refuse(self, why: str) -> ConfigError:
        """Return the error that says what is wrong with this function, and where it is."""
        return ConfigError(f"{self.place}: this {self.what} {why}")

    def _read(self, variables: Mapping[str, object]) -> tuple[Parameter, ...]:
        try:
            raw = inspect.signature(self._function).parameters.values()
        except (TypeError, ValueError):
            return ()  # written in C, such as `dict`: it is called without arguments
        return tuple(self._parameter(parameter, variables) for parameter in raw)

    def _parameter(self, raw: inspect.Parameter, variables: Mapping[str, object]) -> Parameter:
        if raw.kind is inspect.Parameter.VAR_KEYWORD:
            raise self.refuse(f"takes **{raw.name}, and nothing can know what to give it; name its parameters")
        return Parameter(
            name=raw.name,
            annotation=self._annotation(raw.annotation, variables),
            default=raw.default,
            is_rest=raw.kind is inspect.Parameter.VAR_POSITIONAL,
            is_keyword=raw.kind is inspect.Parameter.KEYWORD_ONLY,
        )

    def _annotation(self, annotation: object, variables: Mapping[str, object]) -> object:
        if annotation is MISSING:
            return MISSING
        holder = SimpleNamespace(__annotations__={"it": annotation})
        try:
            return get_type_hints(holder, self._globals(), dict(variables), include_extras=True)["it"]
        except Exception:  # whatever an annotation does when it is evaluated, it is unknown  # noqa: BLE001
            return Unresolved(str(annotation))

    def _globals(self) -> dict[str, object]:
        function: object = self._function
        while isinstance(function, functools.partial):
            function = function.func
        if inspect.isclass(function):
            function = function.__init__
        elif not inspect.isroutine(function):
            function = type(function).__call__
        return getattr(inspect.unwrap(function), "__globals__", {})


def is_coroutine_function(function: object) -> bool:
    """Whether calling a function, or an object, gives something to wait for."""
    call: object = getattr(function, "__call__", None)  # noqa: B004  # the call itself is looked at
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
