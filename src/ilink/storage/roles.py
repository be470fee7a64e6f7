"""What a process does for the accounts of a bot: everything, or one part of it while others do the rest."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Role"]


class Role(StrEnum):
    """A part of the work for an account. Each has an owner of its own, who is fenced there alone."""

    ALL = "all"
    """Everything, in one process."""
    POLLER = "poller"
    """Asks the server for updates and stores them; the cursor is its own."""
    HANDLER = "handler"
    """Runs handlers, questions and jobs; completing updates is its own."""
    SENDER = "sender"
    """Sends what waits in the outbox; what becomes of messages there is its own to say."""

    @property
    def polls(self) -> bool:
        """Whether it asks the server for updates."""
        return self in {Role.ALL, Role.POLLER}

    @property
    def handles(self) -> bool:
        """Whether it runs handlers."""
        return self in {Role.ALL, Role.HANDLER}

    @property
    def sends(self) -> bool:
        """Whether it sends what waits."""
        return self in {Role.ALL, Role.SENDER}
