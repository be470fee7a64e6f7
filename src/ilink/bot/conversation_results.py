"""What a handler or a job does once, however often it is run."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar, cast, get_type_hints

import msgspec
from msgspec import Raw

from ilink.errors import ConfigError

__all__ = ["KeepsResults", "Results"]

T = TypeVar("T")


class KeepsResults(Protocol):
    """Where results are kept."""

    async def recall(self, cause: str) -> Mapping[str, bytes]:
        """Return the results that were kept for an update."""
        ...

    async def remember(self, cause: str, name: str, result: bytes) -> None:
        """Keep a result."""
        ...


class Results:
    """The results of one update's runs.

    Args:
        cause: The identity of the update.
        keeper: Where results are kept.
        known: Those that came along, which the keeper may have forgotten.
    """

    def __init__(self, cause: str, keeper: KeepsResults, known: Mapping[str, Raw] | None = None) -> None:
        self._cause = cause
        self._keeper = keeper
        self._known = dict(known or {})
        self._is_read = False

    @property
    def known(self) -> dict[str, Raw]:
        """The results that are needed by the runs that follow."""
        return self._known

    async def once(self, name: str, function: Callable[[], Awaitable[T]] | Callable[[], T]) -> T:
        """Return the result of a function that is called once; see `Context.once`."""
        await self._read()
        kind = _returned_by(function)
        if (known := self._known.get(name)) is None:
            made = function()
            result = await made if inspect.isawaitable(made) else made
            known = _encode(name, result)
            if _decode(name, known, kind) != result:
                message = f"the result of {name!r} does not come back from JSON as it was; annotate what it returns"
                raise ConfigError(message)
            await self._keeper.remember(self._cause, name, bytes(known))
            self._known[name] = known
        return cast("T", _decode(name, known, kind))

    async def _read(self) -> None:
        if not self._is_read:
            stored = await self._keeper.recall(self._cause)
            self._known |= {name: Raw(result) for name, result in stored.items()}
            self._is_read = True


def _returned_by(function: Callable[[], object]) -> object:
    """Return what a function says it returns; None when it does not say."""
    try:
        return get_type_hints(function).get("return")
    except (TypeError, NameError):
        return None


def _encode(name: str, result: object) -> Raw:
    try:
        return Raw(msgspec.json.encode(result))
    except (TypeError, ValueError, RecursionError) as error:
        message = f"the result of {name!r} cannot be kept as JSON: {error}; return less, or something simpler"
        raise ConfigError(message) from error


def _decode(name: str, result: Raw, kind: object) -> object:
    try:
        return msgspec.json.decode(bytes(result), type=object if kind is None else cast("type[object]", kind))
    except msgspec.ValidationError as error:
        message = f"the result of {name!r} is no {kind!r} any more: {error}; give it another name"
        raise ConfigError(message) from error
