"""What goes wrong around a bot without stopping it: told to whoever wants to know, and counted."""

from __future__ import annotations

from dataclasses import dataclass

from ilink.errors import IlinkError, StoreError
from ilink.wire.ids import AccountId

__all__ = [
    "AccountFailed",
    "ClockSet",
    "Incident",
    "LaneParked",
    "MachineSlept",
    "PollAbandoned",
    "PollsShared",
    "PollsSlowed",
    "ProcessStalled",
    "StoreFailed",
    "StoreRecovered",
]


@dataclass(frozen=True, slots=True)
class PollAbandoned:
    """A poll had no answer long after the server's own limit, so its connection is dead; a new one was begun.

    Attributes:
        seconds: How long it was waited for.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class PollsSlowed:
    """The server answers polls empty and at once, again and again, so there are pauses between them now.

    The server is broken, or another program polls with the same token (observed: Lingtai-AI/lingtai#83).

    Attributes:
        polls: How many in a row came back like that.
    """

    polls: int


@dataclass(frozen=True, slots=True)
class PollsShared:
    """The server ends polls empty long before the time it names, again and again.

    Most likely another program polls with the same token, and each poll of one ends that of the other (observed:
    Lingtai-AI/lingtai#83). Messages reach whoever polls last: end one of them.

    Attributes:
        polls: How many came back like that since one was held as it should be.
    """

    polls: int


@dataclass(frozen=True, slots=True)
class MachineSlept:
    """The machine slept; the poll that was under way was given up and a new one begun.

    Attributes:
        seconds: How long.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class ProcessStalled:
    """The program stood still: it was stopped, the machine was suspended, or a handler blocked the event loop.

    Attributes:
        seconds: How long.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class ClockSet:
    """Somebody set the machine's time of day. Windows, due times and expiry go on as if nobody had.

    Attributes:
        seconds: How far forward; negative for back.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """What a poll brought cannot be stored; it is kept in memory and tried again, and nothing is polled meanwhile.

    Attributes:
        error: Why; a `StoreLockedError` when another process holds the database.
    """

    error: StoreError


@dataclass(frozen=True, slots=True)
class LaneParked:
    """A handler failed too often, and its conversation waits until somebody replays or drops the message.

    `ilink journal replay` and `ilink journal drop` do that; see `Policies.on_failure`.

    Attributes:
        conversation: Which one.
        sequence: The place of the message in the journal.
        error: Why its handler failed last.
    """

    conversation: str
    sequence: int
    error: str


@dataclass(frozen=True, slots=True)
class StoreRecovered:
    """What could not be stored is stored, and polling goes on.

    Attributes:
        seconds: How long that took.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class AccountFailed:
    """One of several accounts cannot work; the others do, and it is tried again.

    Attributes:
        account: Which one.
        error: Why; a `StoreLockedError` when another process works for it.
    """

    account: AccountId
    error: IlinkError


Incident = (
    AccountFailed
    | PollAbandoned
    | PollsShared
    | PollsSlowed
    | MachineSlept
    | ProcessStalled
    | ClockSet
    | StoreFailed
    | StoreRecovered
    | LaneParked
)
"""What goes wrong without stopping the bot."""
