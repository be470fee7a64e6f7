"""Where in a program something was written, for errors and logs that name the place."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, MappingProxyType
from typing import Final

__all__ = ["Place", "calling_place", "calling_variables", "place_of"]

_OURS: Final = str(Path(__file__).parents[2]) + os.sep
_NO_VARIABLES: Final[Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a program, and what stands there. As text: `shop.py:12 order`.

    Attributes:
        file: The file, relative to the working folder if it lies in it.
        line: Its line, from 1.
        name: The name of what stands there; may be empty.
    """

    file: str
    line: int
    name: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.name}".rstrip()


def place_of(function: Callable[..., object]) -> Place:
    """Return where a function or class was written, decorators included; of what has no source, only its name."""
    inner = inspect.unwrap(function)
    name = getattr(inner, "__qualname__", "") or repr(inner)
    written = inner if inspect.isroutine(inner) else inner.__init__ if inspect.isclass(inner) else inner.__call__
    code: object = getattr(written, "__code__", None)
    if not isinstance(code, CodeType):
        return Place(getattr(inner, "__module__", "?") or "?", 0, name)
    return Place(_shown(code.co_filename), code.co_firstlineno, name.replace("<locals>.", ""))


def calling_place(name: str = "") -> Place:
    """Return the line outside of this package that led here."""
    frame = _outer_frame()
    return Place("?", 0, name) if frame is None else Place(_shown(frame.f_code.co_filename), frame.f_lineno, name)


def calling_variables() -> Mapping[str, object]:
    """Return the names that are known where this package was called, so that annotations may use local classes."""
    frame = _outer_frame()
    return _NO_VARIABLES if frame is None or frame.f_locals is frame.f_globals else dict(frame.f_locals)


def _outer_frame() -> FrameType | None:
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    return frame


def _shown(file: str) -> str:
    here = os.getcwd() + os.sep  # noqa: PTH109  # a text is wanted
    return file.removeprefix(here)
