"""What a fleet looks like now: its processes, what they have, and what waits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ilink.storage.fleet_figures import Figures, read_figures
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.roles import Role
from ilink.storage.slots import WorkerSession
from ilink.storage.slots_postgres import PostgresSlots

__all__ = ["FleetStatus", "WorkerStatus", "read_status"]

_PARTS: Final = (Role.POLLER, Role.HANDLER, Role.SENDER)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """One process.

    Attributes:
        session: The process as the others see it, with what it told of itself when it was heard of last.
        figures: What is stored for its accounts, and is its own to do.
    """

    session: WorkerSession
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetStatus:
    """All of it.

    Attributes:
        workers: The processes that are not dead, by what they do, the longest at work first.
        free_slots: How many slots nobody has; where processes do parts, of each part that somebody does.
        nobody: What is stored for the accounts in these, or in slots of processes that are dead.
        missing: The parts of the work that no process does, while others do theirs.
    """

    workers: tuple[WorkerStatus, ...]
    free_slots: int
    nobody: Figures
    missing: tuple[Role, ...] = ()


async def read_status(database: PostgresDatabase) -> FleetStatus:
    """Look at a fleet through its database; no process is asked, so it works when they hang.

    Raises:
        StoreError: The database cannot be read.
    """
    surveys = {role: await PostgresSlots(database, role=role).survey() for role in Role}
    present = [role for role, survey in surveys.items() if survey.sessions]
    parts = [role for role in present if role is not Role.ALL]
    missing = tuple(role for role in _PARTS if parts and role not in parts)
    workers: list[WorkerStatus] = []
    unowned: list[Figures] = []
    for role in [*present, *missing] or [Role.ALL]:
        figures = await read_figures(database, role)
        workers += [
            WorkerStatus(session=one, figures=figures.pop(one.session_id, Figures())) for one in surveys[role].sessions
        ]
        unowned += figures.values()
    return FleetStatus(
        workers=tuple(workers),
        free_slots=sum(surveys[role].free for role in present),
        nobody=_together(unowned),
        missing=missing,
    )


def _together(parts: Iterable[Figures]) -> Figures:
    total = Figures()
    for one in parts:
        total.accounts = {
            state: max(total.accounts.get(state, 0), one.accounts.get(state, 0))
            for state in total.accounts.keys() | one.accounts.keys()
        }
        total.waiting += one.waiting
        total.lag = max(total.lag, one.lag)
        total.outgoing += one.outgoing
        total.outgoing_lag = max(total.outgoing_lag, one.outgoing_lag)
    return total
