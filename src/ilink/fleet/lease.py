"""One life of a process in a fleet: it says that it lives, takes its share of the slots, and gives away what is over.

A process trusts its lease by its own clock, for less time than the others do. What it does beyond that, because it
stood still just after it looked, is refused by the store.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Event
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from typing import Final, Protocol
from uuid import uuid4

from ilink.errors import IlinkError, StoreError
from ilink.storage.slots import (
    LeaseTerms,
    SessionId,
    Slots,
    Survey,
    Vacancy,
    WorkerInfo,
    fair_shares,
)

__all__ = ["Lease", "SessionLostError", "SlotWork", "Uptime"]

_log = logging.getLogger(__name__)

_MOVES: Final = 64
"""How many slots with accounts a process gives away at the same time: while they end their work nobody starts it."""


class SessionLostError(IlinkError):
    """The others think that this process is dead, and do its work; it must stop everything at once, and begin anew."""


class Uptime(Protocol):
    """Where a lease takes its time from: nobody can set it, and it runs while the machine sleeps."""

    def uptime(self) -> float:
        """Return seconds since some fixed moment."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SlotWork(Protocol):
    """What is done for the accounts of slots."""

    def look_again(self) -> None:
        """Notice that slots were taken, or are to be left."""
        ...

    def load(self, slots: Collection[int]) -> Mapping[int, int]:
        """Return how many accounts are worked for in some slots; those without any may be left out."""
        ...

    def report(self) -> Mapping[str, object]:
        """Return what the others shall know of the work."""
        ...


class _Standing(Enum):
    """What a lease may be used for."""

    NEW = "new"
    LIVE = "live"
    DRAINING = "draining"
    ENDED = "ended"


class Lease:
    """Keeps one session and its slots.

    Args:
        slots: Where leases are kept.
        info: What the others are told of this process.
        terms: How leases are kept.
        work: What is done for the accounts of slots.
        clock: Source of time.
        peers: How many processes are expected; while fewer are there, the first ones wait a moment for more.
        moves: How many slots with accounts are given away at the same time.
        session: Names this life; a new name by default.
    """

    def __init__(
        self,
        slots: Slots,
        info: WorkerInfo,
        *,
        terms: LeaseTerms,
        work: SlotWork,
        clock: Uptime,
        peers: int = 1,
        moves: int = _MOVES,
        session: SessionId | None = None,
    ) -> None:
        self.session = session or SessionId(uuid4())
        self._slots = slots
        self._info = info
        self._terms = terms
        self._work = work
        self._clock = clock
        self._peers = peers
        self._moves = moves
        self._owned: dict[int, int] = {}
        self._leaving: dict[int, SessionId | None] = {}
        self._deadline = 0.0
        self._is_writable = False
        self._is_unsure = False
        self._standing = _Standing.NEW
        self._changed = Event()

    @property
    def is_valid(self) -> bool:
        """Whether the others surely still leave to this process what it has."""
        return self._standing is not _Standing.ENDED and self._clock.uptime() < self._deadline

    @property
    def owned(self) -> frozenset[int]:
        """The slots it has, those it is leaving included."""
        return frozenset(self._owned)

    @property
    def wanted(self) -> frozenset[int]:
        """The slots whose accounts it should work for."""
        if self._standing is _Standing.DRAINING:
            return frozenset()
        return frozenset(self._owned.keys() - self._leaving.keys())

    def wants(self, slot: int) -> bool:
        """Whether the accounts of one slot should be worked for here; as `wanted`, which is dear to ask for each."""
        return slot in self._owned and slot not in self._leaving and self._standing is not _Standing.DRAINING

    def may_poll(self, slot: int) -> bool:
        """Whether a poll for an account in a slot may begin now: the lease holds, and the store took a write lately."""
        is_ours = slot in self._owned and slot not in self._leaving and self._standing is _Standing.LIVE
        return is_ours and self._is_writable and self.is_valid

    def may_act(self, slot: int) -> bool:
        """Whether something may be sent for an account in a slot now; also while it is being left."""
        return slot in self._owned and self.is_valid

    def epoch(self, slot: int) -> int | None:
        """Return which time of owning a slot this is; None when it is not ours."""
        return self._owned.get(slot)

    async def wait_changed(self) -> None:
        """Wait until permits may have changed."""
        await self._changed.wait()

    async def keep(self) -> None:
        """Keep the lease until this is cancelled.

        Raises:
            SessionLostError: The others think that this process is dead.
        """
        await self._open()
        while True:
            await self._beat()
            await self._clock.sleep(self._pause())

    def _pause(self) -> float:
        """Return seconds until the next beat: it comes early for another whose lease is about to end."""
        renew = self._terms.renew
        if not self._is_writable:
            return renew / 5
        ends = [one.expires_in for one in self._survey.sessions if one.session_id != self.session]
        return max(renew / 5, min([renew, *ends]))

    async def drain(self) -> None:
        """Give everything away from now on, each slot as soon as `settle` is called for it."""
        self._standing = _Standing.DRAINING
        self._notify()
        await self._quietly(self._slots.drain(self.session))

    async def settle(self, busy: Collection[int]) -> None:
        """Give away what is to be left and is not busy any more.

        Args:
            busy: Slots with accounts that have not ended yet.
        """
        if self._standing is _Standing.DRAINING and self._owned.keys() - self._leaving.keys():
            self._choose_heirs()
        by_heir: dict[SessionId | None, list[Vacancy]] = {}
        # Taken out before anything is waited for: the beat and whoever sees accounts end may both come here.
        for slot in [slot for slot in self._leaving if slot not in busy and slot in self._owned]:
            vacancy = Vacancy(slot=slot, epoch=self._owned.pop(slot))
            by_heir.setdefault(self._leaving.pop(slot), []).append(vacancy)
        for heir, given in by_heir.items():
            await self._give(given, heir)

    async def close(self) -> None:
        """End the session with everything it still has, if the store can be reached; otherwise it runs out."""
        self.end()
        await self._quietly(self._slots.close_session(self.session))

    def end(self) -> None:
        """Permit nothing any more."""
        self._standing = _Standing.ENDED
        self._deadline = 0.0
        self._notify()

    async def _open(self) -> None:
        """Begin; as long as the store cannot be reached this is tried again."""
        while self._standing is _Standing.NEW:
            began = self._clock.uptime()
            try:
                await self._slots.open_session(self.session, self._info, ttl=self._terms.ttl)
            except StoreError as error:
                _log.warning("cannot join the fleet, trying again: %s", error)
                await self._clock.sleep(self._terms.renew)
            else:
                self._standing = _Standing.LIVE
                self._believe(began)

    async def _beat(self) -> None:
        began = self._clock.uptime()
        try:
            is_believed = await self._slots.renew(self.session, ttl=self._terms.ttl, report=self._work.report())
            if not is_believed:
                self.end()
                message = f"this process (session {self.session}) was taken for dead, and others have taken its slots"
                raise SessionLostError(message)
            self._believe(began)
            await self._slots.reap()
            if self._is_unsure:
                await self._recall()
            self._survey = await self._slots.survey()
            if self._standing is _Standing.LIVE:
                await self._take_part(self._survey)
        except StoreError as error:
            # Nothing is polled that could not be stored; sending may go on until the lease runs out.
            self._is_writable = False
            self._is_unsure = True
            _log.warning("cannot renew the lease, trying again: %s", error)
            self._notify()

    _survey: Survey = Survey(sessions=(), free=0)

    def _believe(self, began: float) -> None:
        """Trust the lease from the moment its renewal was asked for."""
        self._deadline = began + self._terms.ttl - self._terms.margin
        self._is_writable = True
        self._notify()

    async def _take_part(self, survey: Survey) -> None:
        """Take or give slots until this process has its fair share."""
        shares = fair_shares({one.session_id: one.info.weight for one in survey.live})
        share = shares.get(self.session, 0)
        missing = share - len(self._owned)
        if missing > 0 and self._is_time_to_claim(survey):
            await self._claim(missing)
        elif (excess := len(self._owned) - len(self._leaving) - share) > 0:
            await self._give_away(excess, survey, shares)

    def _is_time_to_claim(self, survey: Survey) -> bool:
        """Whether those who come first have waited long enough for the others, so as not to give back at once."""
        oldest = max((one.age for one in survey.live), default=0.0)
        return len(survey.live) >= self._peers or oldest >= self._terms.grace

    async def _claim(self, count: int) -> None:
        taken = await self._slots.claim(self.session, limit=count, terms=self._terms)
        if taken:
            await self._begin_with(taken)

    async def _begin_with(self, taken: Iterable[Vacancy]) -> None:
        new = {one.slot: one.epoch for one in taken}
        # Before anything is begun: from here on no owner before can move a cursor or complete a message there.
        fenced = await self._slots.fence(self.session, list(new))
        self._owned |= new
        _log.info("took %d slots with the journals of %d accounts; %d slots now", len(new), fenced, len(self._owned))
        self._work.look_again()
        self._notify()

    async def _give_away(self, excess: int, survey: Survey, shares: Mapping[SessionId, int]) -> None:
        """Choose slots for those who have less than their share, as many of the busy ones as is fair."""
        heirs = [
            one.session_id
            for one in survey.live
            for _ in range(shares[one.session_id] - one.slots)
            if one.session_id != self.session
        ]
        candidates = sorted(self._owned.keys() - self._leaving.keys())
        load = self._work.load(candidates)
        busy = sorted((slot for slot in candidates if load.get(slot, 0)), key=lambda slot: load[slot])
        idle = [slot for slot in candidates if not load.get(slot, 0)]
        count = min(excess, len(heirs))
        few = count * len(busy) // len(candidates)
        if few > (places := max(0, self._moves - len(self._busy_leaving()))):
            count, few = count * places // few, places
        # Accounts are spread over all slots, so those with many and those with none go in their proportion.
        given = [*busy[:few], *idle[: count - few]]
        self._leaving.update(zip(given, _interleaved(heirs), strict=False))
        self._notify()
        self._work.look_again()
        await self.settle(self._busy_leaving())

    def _busy_leaving(self) -> set[int]:
        return set(self._work.load(self._leaving.keys()))

    def _choose_heirs(self) -> None:
        heirs = [one.session_id for one in self._survey.live if one.session_id != self.session]
        slots = sorted(self._owned.keys() - self._leaving.keys())
        for place, slot in enumerate(slots):
            self._leaving[slot] = heirs[place % len(heirs)] if heirs else None

    async def _give(self, given: Collection[Vacancy], heir: SessionId | None) -> None:
        try:
            await self._slots.release(self.session, given, to=heir)
        except StoreError as error:
            self._is_unsure = True  # what is still ours is found at the next beat
            _log.warning("cannot give %d slots away, trying again: %s", len(given), error)
        else:
            _log.info("gave %d slots to %s; %d slots now", len(given), heir or "whoever wants them", len(self._owned))

    async def _recall(self) -> None:
        """Find out what is ours, after an answer was lost on the way."""
        held = {one.slot: one.epoch for one in await self._slots.held(self.session)}
        for slot in [slot for slot, epoch in self._owned.items() if held.get(slot) != epoch]:
            del self._owned[slot]
            self._leaving.pop(slot, None)
        unknown = [Vacancy(slot=slot, epoch=epoch) for slot, epoch in held.items() if slot not in self._owned]
        if unknown:
            await self._begin_with(unknown)
        self._is_unsure = False
        self._work.look_again()

    async def _quietly(self, call: object) -> None:
        assert asyncio.iscoroutine(call)
        try:
            await call
        except StoreError as error:
            _log.warning("cannot tell the fleet that this process ends; it finds out by itself: %s", error)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = Event()


def _interleaved(heirs: list[SessionId]) -> list[SessionId]:
    """Return the same heirs in turn, so that each gets some of the slots with accounts."""
    left: dict[SessionId, int] = {}
    for heir in heirs:
        left[heir] = left.get(heir, 0) + 1
    turns: list[SessionId] = []
    while left:
        for heir in list(left):
            turns.append(heir)
            left[heir] -= 1
            if not left[heir]:
                del left[heir]
    return turns
