"""Leases that are counted as they are kept, for those who look after a fleet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ilink.errors import StoreError
from ilink.storage.slots import LeaseTerms, SessionId, Slots, Survey, Vacancy, WorkerInfo

__all__ = ["CountedSlots", "LeaseTally"]


@dataclass(slots=True)
class LeaseTally:
    """What has become of the leases of one process since it began.

    Attributes:
        held: Slots it has now.
        taken: Slots it took.
        given: Slots it gave away, those of a session that it ended included.
        lost: Slots it had when the others took it for dead.
        renewals: How often it said in time that it lives.
        failures: How often it could not say so, because the store was away.
        deaths: How often the others took it for dead, so that it began anew.
        reaped: How many other processes it found dead.
    """

    held: int = 0
    taken: int = 0
    given: int = 0
    lost: int = 0
    renewals: int = 0
    failures: int = 0
    deaths: int = 0
    reaped: int = 0


class CountedSlots:
    """Leases that are kept elsewhere, and counted here.

    Args:
        slots: Where they are kept.
        tally: Where they are counted.
    """

    def __init__(self, slots: Slots, tally: LeaseTally) -> None:
        self._slots = slots
        self._tally = tally

    async def open_session(self, session: SessionId, info: WorkerInfo, *, ttl: float) -> None:
        """See `Slots`."""
        await self._slots.open_session(session, info, ttl=ttl)

    async def renew(self, session: SessionId, *, ttl: float, report: Mapping[str, object]) -> bool:
        """See `Slots`."""
        tally = self._tally
        try:
            is_believed = await self._slots.renew(session, ttl=ttl, report=report)
        except StoreError:
            tally.failures += 1
            raise
        if is_believed:
            tally.renewals += 1
        else:
            tally.deaths += 1
            tally.lost += tally.held
            tally.held = 0
        return is_believed

    async def drain(self, session: SessionId) -> None:
        """See `Slots`."""
        await self._slots.drain(session)

    async def close_session(self, session: SessionId) -> None:
        """See `Slots`."""
        await self._slots.close_session(session)
        self._tally.given += self._tally.held
        self._tally.held = 0

    async def reap(self) -> int:
        """See `Slots`."""
        died = await self._slots.reap()
        self._tally.reaped += died
        return died

    async def claim(self, session: SessionId, *, limit: int, terms: LeaseTerms) -> list[Vacancy]:
        """See `Slots`."""
        taken = await self._slots.claim(session, limit=limit, terms=terms)
        self._tally.taken += len(taken)
        self._tally.held += len(taken)
        return taken

    async def release(self, session: SessionId, slots: Iterable[Vacancy], *, to: SessionId | None = None) -> int:
        """See `Slots`."""
        given = await self._slots.release(session, slots, to=to)
        self._tally.given += given
        self._tally.held -= given
        return given

    async def held(self, session: SessionId) -> list[Vacancy]:
        """See `Slots`; after an answer was lost, this corrects the count."""
        held = await self._slots.held(session)
        more = len(held) - self._tally.held
        self._tally.taken += max(0, more)
        self._tally.given += max(0, -more)
        self._tally.held = len(held)
        return held

    async def survey(self) -> Survey:
        """See `Slots`."""
        return await self._slots.survey()

    async def fence(self, session: SessionId, slots: Sequence[int]) -> int:
        """See `Slots`."""
        return await self._slots.fence(session, slots)
