"""What a process does for as long as the others believe in it: the accounts of its slots at work."""

from __future__ import annotations

import asyncio
import logging
from asyncio import Event, TaskGroup
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

from ilink.bot.crew import Crew
from ilink.bot.workplace import Workplace
from ilink.fleet.accounts import LeasedStore, SlotAccounts, fleet_accounts
from ilink.fleet.beginning import Beginning, Polls
from ilink.fleet.lease import Lease, SessionLostError
from ilink.fleet.permits import Permits
from ilink.fleet.ramp import Ramp
from ilink.fleet.settings import FleetSettings
from ilink.storage.accounts import StoredAccount
from ilink.storage.slots import Slots, WorkerInfo, slot_of
from ilink.wire.ids import AccountId

__all__ = ["Shift"]

_log = logging.getLogger(__name__)

_LOOK: Final = 0.2
"""Seconds between two looks for accounts that have ended, while slots are being left."""


class Shift:
    """One life of a process in the fleet.

    Args:
        place: Where the bot works.
        slots: Where leases are kept.
        info: What the others are told of this process.
        settings: How it takes part.
    """

    def __init__(self, place: Workplace, slots: Slots, info: WorkerInfo, settings: FleetSettings) -> None:
        blueprint = place.blueprint
        self._settings = settings
        self._clock = blueprint.clock
        self._lease = Lease(
            slots,
            info,
            terms=settings.terms,
            work=self,
            clock=blueprint.clock,
            peers=settings.peers,
            moves=settings.moves,
        )
        self._known = SlotAccounts(fleet_accounts(place.store))
        self._place = place = replace(place, store=LeasedStore(place.store, self._lease, self._known))
        self._slots: dict[AccountId, int] = {}
        self._ramp = Ramp(rate=settings.rate, at_once=settings.at_once, clock=blueprint.clock, random=blueprint.random)
        self._crew: Crew = place.crew(self._find, self._open_runner)
        self._polls = Polls(blueprint.clock)

    async def work(self, stop: Event) -> None:
        """Work until `stop` is set, then give everything away in order.

        Raises:
            SessionLostError: The others think that this process is dead. What polls under way brought is stored, if
                that was possible in time; everything else was cancelled on the spot.
        """
        ending = Event()
        try:
            async with TaskGroup() as tasks:
                keeping = tasks.create_task(self._keep())
                settling = tasks.create_task(self._settle())
                working = tasks.create_task(self._place.employ(self._crew, None, ending))
                await stop.wait()
                await self._lease.drain()
                ending.set()
                await asyncio.wait({working}, timeout=self._settings.drain_seconds)
                for task in (keeping, settling, working):
                    task.cancel()
        except BaseExceptionGroup as group:
            self._lease.end()
            # One thing went wrong nearly always, and whoever runs the worker wants to catch that, not a group of one.
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise
        await self._lease.close()

    def look_again(self) -> None:
        """See `SlotWork.look_again`."""
        self._crew.look_again()

    def load(self, slots: Collection[int]) -> Mapping[int, int]:
        """See `SlotWork.load`."""
        asked = frozenset(slots)
        return Counter(slot for account in self._crew.at_work if (slot := self._slot(account)) in asked)

    def report(self) -> Mapping[str, object]:
        """See `SlotWork.report`."""
        states = Counter(str(state) for state in self._place.states.values())
        ages = self._polls.ages()
        return {
            "accounts": len(self._crew.at_work),
            "states": dict(states),
            "polled": len(ages),
            "poll_age": round(max(ages, default=0.0), 1),
        }

    async def _keep(self) -> None:
        """Keep the lease; once it is lost no poll begins, and those under way bring what may never be handed out again.

        Whoever has the slots now is not disturbed: what is stored here moves no cursor and completes nothing.
        """
        try:
            await self._lease.keep()
        except SessionLostError:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.poll_seconds):
                    await self._polls.wait_ended()
            raise

    async def _settle(self) -> None:
        """Give slots away as soon as their accounts have ended."""
        while True:
            leaving = self._lease.owned - self._lease.wanted
            if leaving:
                await self._lease.settle(set(self.load(leaving)))
                await self._clock.sleep(_LOOK)
            else:
                await self._lease.wait_changed()

    async def _find(self) -> Collection[StoredAccount]:
        """Return the accounts to work for now."""
        found = await self._known.look(self._lease.wanted)
        # Slots may have been given away while that was read.
        return [stored for stored in found if self._lease.wants(self._slot(stored.account.account_id))]

    def _slot(self, account: AccountId) -> int:
        """Return the slot of an account; those at work are asked for again and again."""
        slot = self._slots.get(account)
        if slot is None:
            slot = self._slots[account] = slot_of(account)
        return slot

    def _open_runner(self, stored: StoredAccount, previous: AccountId | None) -> Beginning:
        """Return what works for an account, when it is its turn to begin."""
        account_id = stored.account.account_id
        permits = Permits(self._lease, self._slot(account_id))
        return Beginning(
            account_id,
            permits=permits,
            admission=self._ramp.admission(stored.account.base_url, permits.is_wanted),
            polls=self._polls,
            open_runner=partial(self._place.open_runner, stored, previous),
            is_polled=self._place.role.polls,
        )
