"""Who works for which accounts: 4,096 slots of accounts, leased by processes that say now and then that they live.

An account belongs to a slot for good, by the hash of its id; a process leases slots, never single accounts, and renews
one row however many accounts it works for. Times of leases are the database's own: no two machines have to agree on the
time. A process that was declared dead stays so, even if it wakes up; it begins again under another session.

A lease is no proof. A process may stand still between looking at its lease and doing what the lease allows, so whatever
it stores is fenced by epochs besides: the slot's, and that of the account's journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Final, NewType, Protocol
from uuid import UUID

from ilink.storage.roles import Role
from ilink.wire.ids import AccountId

__all__ = [
    "SLOTS",
    "LeaseTerms",
    "SessionId",
    "SessionState",
    "Slots",
    "Survey",
    "Vacancy",
    "WorkerInfo",
    "WorkerSession",
    "fair_shares",
    "slot_of",
]

SLOTS: Final = 4_096
"""How many there are, for ever: slots are what moves between processes, and accounts cannot change theirs."""

SessionId = NewType("SessionId", UUID)


def slot_of(account_id: AccountId) -> int:
    """Return the slot of an account: the first twelve bits of the SHA-256 of its id, which SQL can tell as well."""
    return int.from_bytes(sha256(account_id.encode()).digest()[:2], "big") >> 4


class SessionState(StrEnum):
    """What a process is to the others."""

    LIVE = "live"
    DRAINING = "draining"
    """It gives its slots away and takes none."""
    DEAD = "dead"
    """It was not heard of for too long, or ended. This is never undone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTerms:
    """How leases are kept, in seconds; all processes of a fleet should agree.

    Attributes:
        ttl: How long a process is believed to live that says nothing.
        renew: How often it says that it lives.
        margin: How long before the end of its lease a process stops on its own account, by its own clock.
        grace: How long the first processes of a fleet wait for others before they take what nobody has.
        cool_down: How long a process does not take back what it gave away.
        hand_over: How long a slot that was given to somebody waits for them.
    """

    ttl: float = 30.0
    renew: float = 5.0
    margin: float = 10.0
    grace: float = 5.0
    cool_down: float = 15.0
    hand_over: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what would let two processes believe in one lease, or none in its own."""
        if not 0 < self.renew < self.ttl - self.margin or self.margin < 0:
            message = f"leases of {self.ttl:g} s cannot be kept by renewing every {self.renew:g} s with a margin of "
            message += f"{self.margin:g} s; renew more often, or let them last longer"
            raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """What a process tells of itself.

    Attributes:
        node: Its machine.
        pid: Its number there.
        version: Of the program.
        weight: How much of the work it takes, compared with the others.
        role: What it does for its accounts; a process that does two things is there twice.
    """

    node: str
    pid: int
    version: str
    weight: int = 100
    role: Role = Role.ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSession:
    """A process as the others see it.

    Attributes:
        session_id: One life of it.
        info: What it tells of itself.
        state: What it is to the others.
        age: Seconds since it began.
        expires_in: Seconds until it may be declared dead; negative when that is due.
        slots: How many it has.
        report: What it told of its work when it was heard of last.
    """

    session_id: SessionId
    info: WorkerInfo
    state: SessionState
    age: float
    expires_in: float
    slots: int = 0
    report: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """All processes that are not dead, the longest at work first, and how many slots nobody has."""

    sessions: Sequence[WorkerSession]
    free: int

    @property
    def live(self) -> tuple[WorkerSession, ...]:
        """Those among which the slots are shared."""
        return tuple(one for one in self.sessions if one.state is SessionState.LIVE and one.expires_in > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacancy:
    """A slot that was taken, and what was stored for its new owner.

    Attributes:
        slot: Which.
        epoch: How many owners it had, and this one; names this time of owning it.
    """

    slot: int
    epoch: int


def fair_shares(weights: Mapping[SessionId, int], *, slots: int = SLOTS) -> dict[SessionId, int]:
    """Share slots out by weight, so that together they are all of them; what is left over goes by the order of ids.

    Everybody who computes this from the same survey comes to the same result, so nobody has to be asked.
    """
    total = sum(weights.values())
    if not total:
        return {}
    shares = {one: slots * weight // total for one, weight in weights.items()}
    left = slots - sum(shares.values())
    by_rest = sorted(weights, key=lambda one: (-(slots * weights[one] % total), one.int))
    for one in by_rest[:left]:
        shares[one] += 1
    return shares


class Slots(Protocol):
    """The leases of one role in a fleet.

    Every call raises StoreError when the store cannot be reached; nothing is changed then, unless the answer was lost
    on the way, and all calls may be repeated.
    """

    async def open_session(self, session: SessionId, info: WorkerInfo, *, ttl: float) -> None:
        """Begin a life: from now on the process is counted, until it is not heard of for `ttl` seconds.

        Raises:
            StoreLockedError: There are processes that do everything and this one would do a part, or the other way
                round; asked for again when those have ended, it begins.
        """
        ...

    async def renew(self, session: SessionId, *, ttl: float, report: Mapping[str, object]) -> bool:
        """Say that the process lives, and how it fares; one row is written.

        Returns:
            Whether it is believed. If not, its slots are somebody else's: it must stop everything, and begin anew.
        """
        ...

    async def drain(self, session: SessionId) -> None:
        """Say that the process is about to end: it keeps what it has for now, and is not counted for shares."""
        ...

    async def close_session(self, session: SessionId) -> None:
        """End a life, with everything it still has; harmless when it is over."""
        ...

    async def reap(self) -> int:
        """Declare those dead that were not heard of in time, free what dead ones had, and return how many died."""
        ...

    async def claim(self, session: SessionId, *, limit: int, terms: LeaseTerms) -> list[Vacancy]:
        """Take free slots, those first that were given to this process; none unless it is alive and not draining."""
        ...

    async def release(self, session: SessionId, slots: Iterable[Vacancy], *, to: SessionId | None = None) -> int:
        """Give slots away that this process still has, and return how many those were.

        Args:
            session: This process.
            slots: Which, each with the epoch it was taken with.
            to: Who shall have them first; None for anybody.
        """
        ...

    async def held(self, session: SessionId) -> list[Vacancy]:
        """Return what a process has: after an answer was lost, what it took without knowing."""
        ...

    async def survey(self) -> Survey:
        """Return who is there and how many slots each has."""
        ...

    async def fence(self, session: SessionId, slots: Sequence[int]) -> int:
        """Take the journals of all accounts in some of one's slots away from whoever has them, in one step.

        From then on an owner before can move no cursor and complete nothing there, though this process has not begun
        with every one of these accounts yet. Returns how many journals those were.
        """
        ...
