"""One conversation's messages on their way out."""

from __future__ import annotations

from asyncio import Future
from dataclasses import dataclass, field

from ilink.bot.scheduler import Lane
from ilink.storage.journal import Outcome, Outgoing
from ilink.wire.ids import ClientId

__all__ = ["OutLane"]


@dataclass(slots=True, eq=False)
class OutLane(Lane[Outgoing]):
    """A lane, and what its sender remembers.

    Attributes:
        failures: How many attempts at its first message failed in a row.
        slot: From when its next message may go out, by the monotonic clock; None before one was reserved.
        unsettled: What became of messages and is not stored yet, by their places.
        settling: The newest of these on its way to the journal.
        has_lost: Whether one of these could not be stored.
        files: Whose copies go when their last word is stored, by the places of their messages.
    """

    failures: int = 0
    slot: float | None = None
    unsettled: dict[int, Outcome] = field(default_factory=dict[int, Outcome])
    settling: Future[None] | None = None
    has_lost: bool = False
    files: dict[int, ClientId] = field(default_factory=dict[int, ClientId])
