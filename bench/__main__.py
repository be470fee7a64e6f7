"""Measures where we stand, in one run and in turn, and prints each figure beside the limit.

python -m bench                         everything, about six minutes
python -m bench --quick                 one round, a thousand polls and 128 MiB, about a minute
python -m bench --only echo --only polls
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from bench import report
from bench.disk import measure_disk
from bench.dispatch import measure_dispatch
from bench.echo import contestants, measure_on_gateway, measure_on_stub, measure_waiting
from bench.machine import describe, fast_run, raise_file_limit
from bench.media import measure_media
from bench.polls import PollFigures, measure_polls
from bench.processes import BenchError, Gateway, start_gateway, start_stub
from bench.sends import SendFigures, measure_sends
from bench.shared import measure_shared
from bench.stores import measure_stores

_PARTS: Final = ("echo", "polls", "sends", "media", "dispatch", "stores", "shared")
_DESCRIPTORS_BESIDE_POLLS: Final = 500
_MIB: Final = 1024
_QUICK_MIB: Final = 128

Start = Callable[[Path], AbstractAsyncContextManager[Gateway]]
_SERVERS: Final[dict[str, Start]] = {"limit: bare server": start_stub, "ilink gateway": start_gateway}


async def _measure(parts: list[str], rounds: int, counts: list[int], result: dict[str, object]) -> None:
    print(f"On {describe()}. Read the figures as ratios: they were taken in turn on one machine.", flush=True)
    result["machine"] = describe()
    if "echo" in parts:
        await _echo(rounds, result)
    if "polls" in parts:
        polls: dict[str, list[PollFigures]] = {}
        for name, start in _SERVERS.items():
            async with _own_folder(start) as server:
                polls[name] = await measure_polls(server, counts)
        print(report.poll_table(polls), flush=True)
        result["polls"] = report.as_data(polls)
    if "sends" in parts:
        sends: dict[str, SendFigures] = {}
        for name, start in _SERVERS.items():
            async with _own_folder(start) as server:
                sends[name] = await measure_sends(server)
        print(report.send_table(sends), flush=True)
        result["sends"] = report.as_data(sends)
    if "dispatch" in parts:
        figures = await asyncio.to_thread(measure_dispatch)
        print(report.dispatch_table(figures), flush=True)
        result["dispatch"] = [asdict(one) for one in figures]
    if "stores" in parts:
        stores = await measure_stores(rounds)
        print(report.store_table(stores), flush=True)
        result["stores"] = [asdict(one) for one in stores]
    if "shared" in parts:
        wakes, shared_sends, idle = await measure_shared(200 if rounds == 1 else 1_000)
        print(report.wake_table(wakes), flush=True)
        print(report.send_table(shared_sends), flush=True)
        print(report.idle_line(idle), flush=True)
        figures_of_all = {"wakes": [asdict(one) for one in wakes], "sends": report.as_data(shared_sends)}
        result["shared"] = {**figures_of_all, "idle": asdict(idle)}
    if "media" in parts:
        result["media"] = await measure_media(_QUICK_MIB if rounds == 1 else _MIB, rounds)


async def _echo(rounds: int, result: dict[str, object]) -> None:
    taking_part, missing = await asyncio.to_thread(contestants)
    for name, why in missing.items():
        print(f"{name} takes no part: {why}", flush=True)
    disk = await asyncio.to_thread(measure_disk)
    on_stub = await measure_on_stub(taking_part, rounds)
    rows = report.echo_rows(taking_part, on_stub)
    print(report.echo_table("Echo on a bare server that answers at once: batches of 20", rows), flush=True)
    print(report.disk_line(disk), flush=True)
    waiting = await measure_waiting(rounds)
    print(report.wait_line(waiting), flush=True)
    on_gateway = await measure_on_gateway(taking_part, rounds, on_stub)
    gateway_rows = report.echo_rows(taking_part, on_gateway)
    title = "Echo on our gateway, durable: a backlog of 20 people; the delay is from a person's message to the answer"
    print(report.echo_table(title, gateway_rows), flush=True)
    result["disk"] = asdict(disk)
    result["waiting"] = asdict(waiting)
    result["echo"] = {"bare server": rows, "ilink gateway": gateway_rows, "missing": missing}


@asynccontextmanager
async def _own_folder(start: Start) -> AsyncIterator[Gateway]:
    """Run a server on a scratch folder that goes away with it."""
    with tempfile.TemporaryDirectory(prefix="ilink-bench-") as folder:
        async with start(Path(folder)) as server:
            yield server


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=_PARTS, help="measure this part; may be repeated")
    parser.add_argument("--quick", action="store_true", help="one round, a thousand polls and 128 MiB")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), help="where the figures go")
    options = parser.parse_args()
    counts = [1_000] if options.quick else [1_000, 10_000]
    limit = raise_file_limit() - _DESCRIPTORS_BESIDE_POLLS
    fitting = [count for count in counts if count <= limit]
    for count in counts:
        if count not in fitting:
            print(f"{count:,} polls are left out: this process may open {limit + _DESCRIPTORS_BESIDE_POLLS:,} files")
    result: dict[str, object] = {}
    try:
        fast_run(_measure(options.only or list(_PARTS), 1 if options.quick else 3, fitting, result))
    except BenchError as error:
        parser.exit(1, f"the measurement ended early: {error}\n")
    finally:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")
    print(f"\nThe figures are in {options.json}.")


if __name__ == "__main__":
    main()
