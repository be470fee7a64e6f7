"""`ilink load`: a crowd that writes to a bot, and how the bot bore it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from cyclopts import Parameter

from ilink.cli.options import Json
from ilink.cli.output import answer_json, out
from ilink.cli.words import say
from ilink.testing.load import LoadPlan, LoadReport, run_load
from ilink.transport.http import HttpTransport

__all__ = ["load"]

_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


def load(
    *,
    pattern: Annotated[Literal["normal", "burst", "spam", "media"], Parameter(help=say("load.pattern"))] = "normal",
    people: Annotated[int, Parameter(help=say("load.people"))] = 10,
    rate: Annotated[float, Parameter(help=say("load.rate"))] = 5.0,
    seconds: Annotated[float, Parameter(help=say("load.seconds"))] = 10.0,
    patience: Annotated[float, Parameter(help=say("load.patience"))] = 10.0,
    seed: Annotated[int, Parameter(help=say("load.seed"))] = 0,
    bot: Annotated[str | None, Parameter(help=say("load.bot"))] = None,
    control_url: Annotated[str, Parameter(help=say("load.control_url"))] = "http://127.0.0.1:7711",
    control_key: Annotated[str | None, Parameter(help=say("load.control_key"), env_var="ILINK_CONTROL_KEY")] = None,
    json: Json = False,
) -> int:
    """Run it; the exit code is 0 if every message was sent and answered, else 1."""
    plan = LoadPlan(pattern=pattern, people=people, rate=rate, seconds=seconds, patience=patience, seed=seed)
    report = asyncio.run(_run(plan, control_url, bot, control_key))
    if json:
        answer_json(_facts(report))
    else:
        _print(report)
    return 0 if report.failed == 0 and report.answered == report.sent else 1


async def _run(plan: LoadPlan, control_url: str, bot: str | None, key: str | None) -> LoadReport:
    async with HttpTransport() as transport:
        return await run_load(control_url, plan, transport=transport, bot_id=bot, control_key=key)


def _facts(report: LoadReport) -> dict[str, object]:
    counts = {"sent": report.sent, "failed": report.failed, "answered": report.answered, "refused": report.refused}
    return {
        **counts,
        "seconds": round(report.seconds, 3),
        "latency_s": {name: report.percentile(share) for name, share in _PERCENTILES.items()},
    }


def _print(report: LoadReport) -> None:
    console = out()
    console.print(
        say(
            "load.counts",
            sent=report.sent,
            answered=report.answered,
            failed=report.failed,
            refused=report.refused,
            seconds=f"{report.seconds:.1f}",
        ),
        markup=False,
    )
    times = {name: report.percentile(share) for name, share in _PERCENTILES.items()}
    shown = "  ".join(f"{name} {1000 * time:.1f} ms" for name, time in times.items() if time is not None)
    if shown:
        console.print(say("load.latency", times=shown), markup=False)
