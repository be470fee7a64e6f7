"""What is known of a message that was sent, as a closed set: nothing is called sent that was not accepted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from ilink.errors import OutcomeUnknownError, RequestRejectedError, WindowClosedError
from ilink.wire.endpoints import SENDMESSAGE
from ilink.wire.ids import ClientId, MessageId

__all__ = [
    "Accepted",
    "AcceptedUnconfirmed",
    "Deferred",
    "DeferredWhy",
    "Expired",
    "Receipt",
    "Rejected",
    "Unknown",
    "weakest",
]


class DeferredWhy(StrEnum):
    """What a message waits for."""

    HANDLER = "handler"
    """The handler that wrote it has to succeed first: both become true together."""
    QUEUE = "queue"
    """Its turn in its conversation."""
    WINDOW = "window"
    """The user has to write again: the 24 hours or the allowance are used up."""
    RATE = "rate"
    """Too many calls; the pause the server wants is kept."""
    CONNECTION = "connection"
    """The server cannot be reached or fails; it is tried again."""
    ACCOUNT = "account"
    """The account has to be signed in again."""
    DECISION = "decision"
    """Nobody knows whether it arrived, and the bot asks before it repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Receipt:
    """What all receipts share.

    Attributes:
        client_id: Our own id of the message, by which the journal knows it.
    """

    client_id: ClientId

    @property
    def is_final(self) -> bool:
        """Whether this is the last word."""
        return True

    def raise_for_status(self) -> Self:
        """Return the receipt, or raise what it stands for; one that is accepted or still waiting raises nothing."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(_Receipt):
    """The server took it and gave it an id. That is not yet delivery: WeChat tells nobody about that."""

    message_id: MessageId


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedUnconfirmed(_Receipt):
    """The server took it without giving it an id, as it does with messages that never arrive (observed: ocw#263)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred(_Receipt):
    """It is stored and will be sent.

    Attributes:
        why: What it waits for.
        until: When it is tried again; None when that depends on somebody, not on the time.
    """

    why: DeferredWhy
    until: datetime | None = None

    @property
    def is_final(self) -> bool:
        """Whether this is the last word: it is not."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(_Receipt):
    """The server refused it, and repeating it unchanged is useless.

    Attributes:
        code: The server's number; None when it was refused before it was sent.
        reason: In words.
    """

    code: int | None
    reason: str

    def raise_for_status(self) -> Self:
        """Raise RequestRejectedError."""
        raise RequestRejectedError(self.reason, endpoint=SENDMESSAGE.name, ret=self.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown(_Receipt):
    """It was written and no answer came; it was not repeated.

    Attributes:
        reason: In words.
    """

    reason: str

    def raise_for_status(self) -> Self:
        """Raise OutcomeUnknownError."""
        raise OutcomeUnknownError(self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired(_Receipt):
    """It waited longer than it was worth, or was left out for a more important one; it was never accepted.

    Attributes:
        reason: In words.
    """

    reason: str

    def raise_for_status(self) -> Self:
        """Raise WindowClosedError."""
        raise WindowClosedError(self.reason, endpoint=SENDMESSAGE.name)


Receipt = Accepted | AcceptedUnconfirmed | Deferred | Rejected | Unknown | Expired
"""All that can be known of a message that was sent. Matches over it end in `assert_never`."""

_STRENGTH = {Rejected: 0, Unknown: 1, Expired: 2, Deferred: 3, AcceptedUnconfirmed: 4, Accepted: 5}


def weakest(receipts: list[Receipt]) -> Receipt:
    """Return the receipt of a text that went out in parts: that of the part that fared worst, else of the last."""
    return min(reversed(receipts), key=lambda receipt: _STRENGTH[type(receipt)])
