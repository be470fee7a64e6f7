"""What was said in a conversation, found by the server's ids; for as long as the journal remembers it."""

from __future__ import annotations

from typing import Protocol

from ilink.storage.journal import Record
from ilink.wire.ids import MessageId

__all__ = ["History", "Said"]


class Said(Record, frozen=True, kw_only=True):
    """A message that was said.

    Attributes:
        raw: The whole update as it came; of our own messages the one item, as it went.
        is_ours: Whether the bot said it.
        at_ms: When it was received or accepted.
    """

    raw: bytes
    is_ours: bool
    at_ms: int


class History(Protocol):
    """What was said to and by one account."""

    async def find(self, conversation: str, message_id: MessageId) -> Said | None:
        """Return a message of a conversation by the server's id; None when it is not known, or no longer.

        Raises:
            StoreError: It could not be read.
        """
        ...
