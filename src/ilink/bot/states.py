"""What an account can be doing."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["SessionState"]


class SessionState(StrEnum):
    """What an account is doing."""

    ACTIVE = "active"
    EXPIRED = "expired"
    """The server refused the token. Nothing is lost; a login of the same person goes on where this stopped."""
    DISPLACED = "displaced"
    """The owner signed in again and got another account, which takes over."""
    SUSPENDED = "suspended"
    """The server takes messages and does not confirm them any more, as it does with accounts under restriction."""
    STOPPED = "stopped"
