"""A process of a fleet: one shift after the other, until it is told to end."""

from __future__ import annotations

import asyncio
import logging
from asyncio import Event
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import Final

from ilink.bot import Bot
from ilink.bot.blueprint import Blueprint
from ilink.bot.runner import BotClient
from ilink.bot.running import loop_factory, until_signalled
from ilink.bot.store import Store
from ilink.bot.waiting import unless_set
from ilink.client.client import Client
from ilink.fleet.accounts import fleet_accounts
from ilink.fleet.lease import SessionLostError
from ilink.fleet.settings import FleetSettings, this_worker
from ilink.fleet.shift import Shift
from ilink.process import collecting_seldom
from ilink.storage.accounts import StoredAccount
from ilink.storage.roles import Role
from ilink.storage.slots import Slots, WorkerInfo
from ilink.storage.slots_counted import CountedSlots, LeaseTally
from ilink.storage.slots_postgres import PostgresSlots
from ilink.transport.http import HttpTransport
from ilink.transport.seam import Transport

__all__ = ["run_worker", "serve_worker"]

_log = logging.getLogger(__name__)

_REST: Final = 1.0
"""Seconds at least, twice that at most, before a process that was taken for dead begins anew."""


def run_worker(bot: Bot, settings: FleetSettings, *, tally: LeaseTally | None = None) -> None:
    """Take part in a fleet until Ctrl-C or SIGTERM; the first gives everything away in order, the second ends at once.

    Args:
        bot: What works for the accounts.
        settings: How this process takes part.
        tally: Where its leases are counted.

    Raises:
        ConfigError: The bot has no handler, or works for one account, or its store is no database of a fleet.
        StoreError: The database cannot be opened.
    """
    stop = Event()

    def open_slots(store: Store) -> Slots:
        return CountedSlots(slots_beside(store, role=settings.role), tally or LeaseTally())

    async def serve() -> None:
        await until_signalled(asyncio.create_task(serve_worker(bot, settings, stop, open_slots=open_slots)), stop)

    with collecting_seldom(), asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve())


def slots_beside(store: Store, *, role: Role = Role.ALL) -> Slots:
    """Return the leases that are kept where accounts are, of processes that do the same.

    Raises:
        ConfigError: That is a folder of this machine.
    """
    return PostgresSlots(fleet_accounts(store).database, role=role)


async def serve_worker(
    bot: Bot,
    settings: FleetSettings,
    stop: Event,
    *,
    open_slots: Callable[[Store], Slots] | None = None,
    info: WorkerInfo | None = None,
) -> None:
    """Take part in a fleet until `stop` is set, in the loop of the caller.

    A process that the others take for dead stops everything at once, and begins anew as another session.

    Args:
        bot: What works for the accounts; all of them, unless it names some.
        settings: How this process takes part.
        stop: Lets it give everything away in order.
        open_slots: Where leases are kept; None for beside the accounts.
        info: What the others are told of this process; by default what it is.

    Raises:
        See `run_worker`.

    Cancellation: ends at once and gives nothing away; the others wait for the end of the lease.
    """
    info = info or this_worker(role=settings.role)
    adapt = partial(_adapted, settings)
    async with HttpTransport() as transport, bot.workplace(partial(adapt, transport), role=settings.role) as place:
        slots = slots_beside(place.store, role=settings.role) if open_slots is None else open_slots(place.store)
        while not stop.is_set():
            try:
                await Shift(place, slots, info, settings).work(stop)
            except SessionLostError as error:
                _log.error("%s; beginning anew", error)
                await _rest(place.blueprint, stop)


async def _rest(blueprint: Blueprint, stop: Event) -> None:
    stopping = asyncio.create_task(stop.wait())
    try:
        await unless_set(stopping, blueprint.clock.sleep(_REST * (1 + blueprint.random.random())))
    finally:
        stopping.cancel()


def _adapted(settings: FleetSettings, transport: Transport, blueprint: Blueprint) -> Blueprint:
    """Return what a bot is made with as it works in a fleet: for many accounts, over one transport."""

    def open_client(stored: StoredAccount) -> AbstractAsyncContextManager[BotClient]:
        return Client(
            stored.account,
            base_url=blueprint.base_url,
            bot_agent=blueprint.name,
            transport=transport,
            random=blueprint.random,
            clock=blueprint.clock,
        )

    return replace(
        blueprint,
        wanted=replace(blueprint.wanted, is_many=True),
        policies=replace(blueprint.policies, last_poll_seconds=settings.poll_seconds),
        way=blueprint.way or open_client,
    )
