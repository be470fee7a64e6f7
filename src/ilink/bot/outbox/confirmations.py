"""Whether the server still confirms what it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["Confirmations"]

_STREAK: Final = 5
"""Messages in a row that were not confirmed, after which only what matters is sent."""


class Confirmations:
    """Notices when a server that used to confirm stops to: its messages will hardly arrive (observed: ocw#263).

    Args:
        on_quiet: Called with True when only what matters is to be sent, and with False when all is again.
    """

    def __init__(self, on_quiet: Callable[[bool], None]) -> None:
        self._on_quiet = on_quiet
        self._unconfirmed: int | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether only what matters is sent: the server takes messages and does not confirm them any more."""
        return self._unconfirmed is not None and self._unconfirmed >= _STREAK

    def take(self, *, is_confirmed: bool) -> None:
        """Take note of a message that was accepted; a server that never confirmed anything is just of that kind."""
        was_quiet = self.is_quiet
        if is_confirmed:
            self._unconfirmed = 0
        elif self._unconfirmed is not None:
            self._unconfirmed += 1
        if self.is_quiet != was_quiet:
            self._on_quiet(self.is_quiet)
