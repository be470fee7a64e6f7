"""What a handler's success brings, stored in one step with it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from ilink.storage.journal import Draft

__all__ = ["Handled"]


class Handled(Struct, frozen=True, kw_only=True):
    """What follows from a message that was handled.

    Attributes:
        drafts: What is said.
        state: What is kept of the conversation from now on; None to leave it as it is.
        due_ms: When the conversation is looked at though nobody writes; None for never.
        expires_ms: When what is kept is worth nothing any more; None for never.
    """

    drafts: Sequence[Draft] = ()
    state: bytes | None = None
    due_ms: int | None = None
    expires_ms: int | None = None
