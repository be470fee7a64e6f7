"""The other processes of a gateway: what they are told, and what they tell.

Everything that counts is in the store that all of them share. What goes through here are hints, which may be lost; see
`ilink.gateway.sharing` for who looks by itself.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from ilink.storage.hints import Hints

__all__ = ["Peers"]

_WATCHED_SECONDS: Final = 30.0
"""How long it counts that somebody watches, which is told again every few seconds."""


class Peers:
    """Tells the other processes what is new, and hears it from them.

    Args:
        hints: What carries the lines.
        is_shared: Whether there may be others; if not, nothing is told.

    Attributes:
        is_shared: Whether other processes may write to the same store.
        name: Tells this process's lines from those of the others.
    """

    def __init__(self, hints: Hints, *, is_shared: bool) -> None:
        self._hints = hints
        self._ears: dict[str, Callable[[str], None]] = {}
        self._watched_until = 0.0
        self.is_shared = is_shared
        self.name = secrets.token_hex(4)

    def tell(self, kind: str, words: object = "") -> None:
        """Tell all others something, soon; it may get lost."""
        if self.is_shared:
            self._hints.send(f"{self.name} {kind} {words}")

    @property
    def are_watched(self) -> bool:
        """Whether somebody follows events at another process, or did a moment ago."""
        return time.monotonic() < self._watched_until

    def note_watched(self, _words: str = "") -> None:
        """Note that somebody follows events at another process."""
        self._watched_until = time.monotonic() + _WATCHED_SECONDS

    def hear(self, kind: str, ear: Callable[[str], None]) -> None:
        """Call something with what others tell of a kind."""
        self._ears[kind] = ear

    def listening(self, on_gap: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """Hear the others, while inside; `on_gap` is called when some of what they told may have been lost."""
        return self._hints.listening(self._on_line, on_gap=on_gap)

    def _on_line(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        kind, _, words = rest.partition(" ")
        ear = self._ears.get(kind)
        if ear is not None and name != self.name:
            ear(words)
