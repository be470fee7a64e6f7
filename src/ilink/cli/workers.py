"""`ilink run --workers`: one process that takes part in a fleet, or several and one that watches over them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio import Event
from collections.abc import Sequence

from ilink.bot import Bot
from ilink.bot.store import find_place, open_store
from ilink.errors import ConfigError
from ilink.fleet.roles import place_among_several
from ilink.fleet.settings import FleetSettings
from ilink.fleet.supervisor import Supervisor
from ilink.fleet.worker import run_worker
from ilink.storage.roles import Role
from ilink.storage.slots import LeaseTerms
from ilink.storage.slots_counted import LeaseTally

__all__ = ["run_workers"]

_WRONG_SETTINGS = 2


def run_workers(
    bot: Bot,
    arguments: Sequence[str],
    *,
    count: int,
    lease: float,
    peers: int,
    roles: Sequence[Role],
    tally: LeaseTally,
) -> int:
    """Run the processes of this machine until Ctrl-C or SIGTERM.

    Args:
        bot: What works; in each of several processes it is loaded anew.
        arguments: What starts one of several processes.
        count: How many there are of each role.
        lease: Seconds within which the others have taken over from a process that says nothing.
        peers: How many processes of each role are expected on all machines.
        roles: What the processes do; one of several does what its place says.
        tally: Where the leases of a process are counted.
    """
    try:
        terms = LeaseTerms(
            ttl=lease * 0.6,  # the rest is for the others to begin: hundreds of accounts take seconds to open
            renew=lease / 6,
            margin=lease * 0.2,
            grace=lease / 6,
            cool_down=lease / 2,
            hand_over=lease / 3,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None
    place = place_among_several()
    settings = FleetSettings(role=roles[(place or 0) % len(roles)], terms=terms, peers=peers)
    if count == 1 and (place is not None or len(roles) == 1):
        run_worker(bot, settings, tally=tally)
        return 0
    return asyncio.run(_supervise([*arguments, "--peers", str(peers)], settings, count * len(roles)))


async def _supervise(arguments: Sequence[str], settings: FleetSettings, count: int) -> int:
    async with open_store(find_place()):
        pass  # what is wrong with it or its keys is said once, and several processes find the newest schema
    stop = Event()
    loop = asyncio.get_running_loop()
    supervisor = Supervisor(
        [sys.executable, "-m", "ilink", *arguments],
        count=count,
        environ=os.environ,
        drain_seconds=settings.drain_seconds,
        hopeless=frozenset({_WRONG_SETTINGS}),
    )
    running = asyncio.ensure_future(supervisor.run(stop))

    def end(_number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(lambda: running.cancel() if stop.is_set() else stop.set())

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        return await running
    except asyncio.CancelledError:
        return 130
