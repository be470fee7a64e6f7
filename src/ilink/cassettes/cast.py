"""Who stands for whom: the made-up values of a cassette, and what a gateway has in their place."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from ilink.wire.shapes import is_array, is_object

__all__ = ["Parts"]

_LEAST: Final = 8
"""Characters that a made-up value has at least; shorter texts are words of the protocol."""

_EXACT: Final = 2**53
"""Ids are beyond it; smaller numbers are sizes and codes."""


class Parts:
    """What was learned of a gateway by laying its answers beside the recorded ones."""

    def __init__(self) -> None:
        self._ours: dict[str, str] = {}

    def __contains__(self, recorded: str) -> bool:
        return recorded in self._ours

    def put(self, recorded: str, ours: str) -> None:
        """Let a value of the gateway's stand for a recorded one."""
        self._ours[recorded] = ours

    def get(self, recorded: str) -> str:
        """Return the gateway's value for a recorded one, which stands for itself while nothing else does."""
        return self._ours.get(recorded, recorded)

    def learn(self, recorded: object, ours: object) -> None:
        """Lay two answers to the same request side by side; what stands at the same place means the same."""
        if is_object(recorded) and is_object(ours):
            for name, value in recorded.items():
                self.learn(value, ours.get(name))
        elif is_array(recorded) and is_array(ours):
            for one, other in zip(recorded, ours, strict=False):
                self.learn(one, other)
        elif isinstance(recorded, str | int) and isinstance(ours, str | int):
            self._learn_value(recorded, ours)

    def translated(self, value: object) -> object:
        """Return a recorded value with the gateway's in it."""
        if is_object(value):
            return {name: self.translated(entry) for name, entry in value.items()}
        if is_array(value):
            return [self.translated(entry) for entry in value]
        if isinstance(value, str):
            return self.get(value)
        if isinstance(value, int) and not isinstance(value, bool) and value > _EXACT:
            ours = self.get(str(value))
            return int(ours) if ours.isdigit() else value
        return value

    def _learn_value(self, recorded: str | int, ours: str | int) -> None:
        if isinstance(recorded, int):
            if recorded > _EXACT:
                self._ours[str(recorded)] = str(ours)
            return
        if "?" in recorded and isinstance(ours, str):
            theirs, mine = _query(recorded), _query(ours)
            for name in theirs.keys() & mine.keys():
                self._ours[theirs[name]] = mine[name]
        if len(recorded) >= _LEAST:
            self._ours[recorded] = str(ours)


def _query(url: str) -> dict[str, str]:
    return dict(parse_qsl(url.partition("?")[2].replace("+", "%2B")))
