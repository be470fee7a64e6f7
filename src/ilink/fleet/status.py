"""What a fleet looks like now: its processes, what they have, and what waits."""

from __future__ import annotations

from dataclasses import dataclass

from ilink.storage.fleet_figures import Figures, read_figures
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.slots import Survey, WorkerSession
from ilink.storage.slots_postgres import PostgresSlots

__all__ = ["FleetStatus", "WorkerStatus", "read_status"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """One process.

    Attributes:
        session: The process as the others see it, with what it told of itself when it was heard of last.
        figures: What is stored for its accounts.
    """

    session: WorkerSession
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetStatus:
    """All of it.

    Attributes:
        workers: The processes that are not dead, the longest at work first.
        free_slots: How many slots nobody has.
        nobody: What is stored for the accounts in these, or in slots of processes that are dead.
    """

    workers: tuple[WorkerStatus, ...]
    free_slots: int
    nobody: Figures


async def read_status(database: PostgresDatabase) -> FleetStatus:
    """Look at a fleet through its database; no process is asked, so it works when they hang.

    Raises:
        StoreError: The database cannot be read.
    """
    survey: Survey = await PostgresSlots(database).survey()
    figures = await read_figures(database)
    workers = tuple(
        WorkerStatus(session=one, figures=figures.pop(one.session_id, Figures())) for one in survey.sessions
    )
    nobody = Figures()
    for left in figures.values():
        nobody.accounts = {
            state: nobody.accounts.get(state, 0) + left.accounts.get(state, 0)
            for state in nobody.accounts.keys() | left.accounts.keys()
        }
        nobody.waiting += left.waiting
        nobody.lag = max(nobody.lag, left.lag)
        nobody.outgoing += left.outgoing
        nobody.outgoing_lag = max(nobody.outgoing_lag, left.outgoing_lag)
    return FleetStatus(workers=workers, free_slots=survey.free, nobody=nobody)
