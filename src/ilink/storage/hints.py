"""Hints: how processes that share a store tell each other that something is new. They may be lost.

A hint saves time and nothing else: whoever waits looks into the store by itself now and then, and finds what no hint
told of.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

__all__ = ["Hints", "NoHints"]


class Hints(Protocol):
    """Carries lines of text to every process that listens, the one that sent them included. Any may get lost."""

    def send(self, line: str) -> None:
        """Send a line soon, together with others that come up until then; never waits, never fails.

        Args:
            line: One line, 4,000 bytes or fewer.
        """
        ...

    def listening(
        self, callback: Callable[[str], None], *, on_gap: Callable[[], None]
    ) -> AbstractAsyncContextManager[None]:
        """Call back with every line that comes in, while inside.

        Args:
            callback: Called in the event loop; it must not block.
            on_gap: Called when lines may have been lost, because the connection was.
        """
        ...


class NoHints:
    """For a store that one process has for itself: nobody is there to be told."""

    def send(self, line: str) -> None:
        """Tell nobody."""

    @asynccontextmanager
    async def listening(
        self,
        callback: Callable[[str], None],  # noqa: ARG002  # nothing comes
        *,
        on_gap: Callable[[], None],  # noqa: ARG002
    ) -> AsyncGenerator[None]:
        """Hear nothing."""
        yield
