"""`ilink fleet`: the processes that share the accounts of a database."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from cyclopts import App, Parameter
from rich import box
from rich.console import Console
from rich.table import Table

from ilink.cli.options import Json
from ilink.cli.output import answer_json, errors, out
from ilink.cli.words import say
from ilink.fleet.status import FleetStatus, WorkerStatus, read_status
from ilink.storage.fleet_figures import Figures
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.postgres_url import DATABASE_URL_VARIABLE

__all__ = ["fleet"]

_COLUMNS: Final = (
    "worker",
    "role",
    "state",
    "slots",
    "accounts",
    "polling",
    "poll_age",
    "waiting",
    "lag",
    "outgoing",
    "lease",
)

_WIDE: Final = 120

fleet = App(name="fleet", help=say("fleet.help"))


@fleet.command(name="status", help=say("fleet.status.help"))
def status(
    *,
    database_url: Annotated[str, Parameter(help=say("fleet.database_url"), env_var=DATABASE_URL_VARIABLE)],
    json: Json = False,
) -> int:
    """Show the processes of a fleet and what waits."""
    found = asyncio.run(_read(database_url))
    if json:
        answer_json(_describe(found))
    elif found.workers:
        # As wide as it has to be, also in a pipe: columns that are cut tell nothing.
        Console(highlight=False, width=max(out().width, _WIDE)).print(_table(found))
    else:
        errors().print(say("fleet.nobody"), markup=False)
    if not json and (found.free_slots or found.nobody.accounts) and found.workers:
        accounts = sum(found.nobody.accounts.values())
        errors().print(say("fleet.free", slots=found.free_slots, accounts=accounts, waiting=found.nobody.waiting))
    if found.missing and not json:
        errors().print(say("fleet.missing", roles=", ".join(found.missing)))
    return 0 if found.workers else 1


async def _read(database_url: str) -> FleetStatus:
    async with PostgresDatabase(database_url, migrates=False) as database:
        return await read_status(database)


def _table(found: FleetStatus) -> Table:
    table = Table(box=box.SIMPLE)
    for column in _COLUMNS:
        is_text = column in {"worker", "role", "state"}
        table.add_column(say(f"fleet.{column}"), justify="left" if is_text else "right")
    for worker in found.workers:
        table.add_row(*_cells(worker))
    return table


def _cells(worker: WorkerStatus) -> tuple[str, ...]:
    session, figures = worker.session, worker.figures
    is_late = session.expires_in <= 0
    return (
        f"{session.info.node}:{session.info.pid}",
        session.info.role.value,
        f"[red]{say('fleet.late')}[/]" if is_late else session.state.value,
        str(session.slots),
        _accounts(figures),
        str(session.report.get("polled", 0)),
        _seconds(session.report.get("poll_age", 0)),
        str(figures.waiting),
        _seconds(figures.lag if figures.waiting else 0),
        str(figures.outgoing),
        _seconds(session.expires_in),
    )


def _accounts(figures: Figures) -> str:
    """Return how many accounts there are, and how many of them are not well."""
    others = [f"{count} {state}" for state, count in sorted(figures.accounts.items()) if state != "active"]
    return f"{sum(figures.accounts.values())}" + (f" ({', '.join(others)})" if others else "")


def _seconds(value: object) -> str:
    return f"{value:.0f} s" if isinstance(value, int | float) else "?"


def _describe(found: FleetStatus) -> dict[str, object]:
    return {
        "workers": [
            {
                "session": str(one.session.session_id),
                "node": one.session.info.node,
                "pid": one.session.info.pid,
                "role": one.session.info.role.value,
                "version": one.session.info.version,
                "weight": one.session.info.weight,
                "state": one.session.state.value,
                "age_s": round(one.session.age, 1),
                "expires_in_s": round(one.session.expires_in, 1),
                "slots": one.session.slots,
                "report": one.session.report,
                **_figures(one.figures),
            }
            for one in found.workers
        ],
        "free_slots": found.free_slots,
        "nobody": _figures(found.nobody),
        "missing": [role.value for role in found.missing],
    }


def _figures(figures: Figures) -> dict[str, object]:
    return {
        "accounts": figures.accounts,
        "waiting": figures.waiting,
        "lag_s": figures.lag,
        "outgoing": figures.outgoing,
        "outgoing_lag_s": figures.outgoing_lag,
    }
