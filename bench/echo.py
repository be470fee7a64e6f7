"""Echoes: messages a second, processor time of a message, the delay of a single one, and of many that wait."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from bench.machine import cpu_seconds
from bench.peers import PeerUnavailableError, install
from bench.people import add_person, hear, open_windows, write
from bench.processes import BenchError, Gateway, Program, start, start_gateway, start_stub
from bench.rawhttp import Connection, Pool

__all__ = [
    "Contestant",
    "EchoFigures",
    "WaitFigures",
    "contestants",
    "measure_on_gateway",
    "measure_on_stub",
    "measure_waiting",
]

_DRIVERS: Final = Path(__file__).parent / "drivers"
_OUR_BOT: Final = [sys.executable, "-m", "bench.drivers.ilink_bot"]
_MEMORY: Final = Path("/dev/shm")  # a disk in memory is what is wanted
_WARM_UP: Final = 200
_SINGLE: Final = 100
_WINDOW_SECONDS: Final = 1.5
_CALL_SECONDS: Final = 60.0
_PEOPLE: Final = 20
_CROWD: Final = 1_000
"""As many as the bare server knows."""
_WAIT_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Contestant:
    """A bot that echoes: how it is started, and what stands beside its figures."""

    name: str
    command: list[str]
    remark: str
    is_peer: bool = False
    is_in_memory: bool = False
    environ: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class EchoFigures:
    """One figure a round."""

    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    error: str = ""

    @property
    def rate(self) -> float | None:
        return statistics.median(self.rates) if self.rates else None

    @property
    def cpu_of_one(self) -> float | None:
        return statistics.median(self.cpu) if self.cpu else None

    def delay(self, share: float) -> float | None:
        """Return the delay that this share of the messages stays within."""
        ordered = sorted(self.delays)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def contestants() -> tuple[list[Contestant], dict[str, str]]:
    """Return who takes part, and who cannot and why."""
    taking_part = [
        Contestant("limit: raw loop", [sys.executable, "-m", "bench.drivers.raw"], "stores nothing"),
        Contestant("bare aiohttp loop", [sys.executable, "-m", "bench.drivers.aiohttp_loop"], "stores nothing"),
        Contestant("ilink.Bot", _OUR_BOT, "journal on, synchronous=FULL"),
    ]
    if _MEMORY.is_dir():
        remark = "the same on a disk in memory"
        taking_part.append(Contestant("ilink.Bot, in memory", _OUR_BOT, remark, is_in_memory=True))
    missing: dict[str, str] = {}
    for name, script, remark in (
        ("openilink-sdk-python", "openilink_echo.py", "stores nothing"),
        ("wechatbot-sdk", "wechatbot_echo.py", "stores nothing; ends the typing after each reply"),
    ):
        try:
            peer = install(name)
        except PeerUnavailableError as error:
            missing[name] = str(error)
        else:
            command = [str(peer.program), str(_DRIVERS / script)]
            taking_part.append(Contestant(f"{name} {peer.peer.version}", command, remark, is_peer=True))
    return taking_part, missing


async def measure_on_stub(taking_part: list[Contestant], rounds: int) -> dict[str, EchoFigures]:
    """Measure all in turn, `rounds` times, on a server that answers at once."""
    figures = {contestant.name: EchoFigures() for contestant in taking_part}
    with _scratch() as scratch:
        async with start_stub(scratch.disk / "stub") as stub:
            for number in range(rounds):
                for contestant in taking_part:
                    folder = scratch.folder(contestant, number)
                    await _try(
                        _echo_on_stub(contestant, stub, folder, figures[contestant.name]), figures[contestant.name]
                    )
    return figures


async def measure_on_gateway(
    taking_part: list[Contestant], rounds: int, rates: dict[str, EchoFigures]
) -> dict[str, EchoFigures]:
    """Measure all in turn on our gateway; how many messages each gets follows from its rate on the stub."""
    figures = {contestant.name: EchoFigures() for contestant in taking_part}
    with _scratch() as scratch:
        async with start_gateway(scratch.disk / "gateway") as gateway, Pool(gateway.control_url, 16) as control:
            await open_windows(control)
            for number in range(rounds):
                for contestant in taking_part:
                    count = round(min(2000, max(200, 0.5 * (rates[contestant.name].rate or 0)))) // _PEOPLE * _PEOPLE
                    folder = scratch.folder(contestant, number)
                    work = _echo_on_gateway(contestant, gateway, control, count, folder, figures[contestant.name])
                    await _try(work, figures[contestant.name])
    return figures


@dataclass(frozen=True, slots=True)
class WaitFigures:
    """How long it takes a bot to answer many people at once when its handler waits."""

    people: int
    handler_seconds: float
    seconds: float


async def measure_waiting(rounds: int) -> WaitFigures:
    """Let a thousand people write at once to a bot of ours whose handler waits for a second."""
    waiting = Contestant("waiting", _OUR_BOT, "", environ={"HANDLER_SECONDS": str(_WAIT_SECONDS)})
    taken: list[float] = []
    with _scratch() as scratch:
        async with start_stub(scratch.disk / "stub") as stub:
            for number in range(rounds):
                async with _signed_in(waiting, stub, scratch.folder(waiting, number)) as (program, _):
                    program.say("go")
                    load = await Connection.open(stub.control_url)
                    await _ask(load, "echo", _PEOPLE)
                    taken.append((await _ask(load, "echo", _CROWD, batch=200, people=_CROWD))["seconds"])
                    load.close()
    return WaitFigures(_CROWD, _WAIT_SECONDS, statistics.median(taken))


@dataclass(frozen=True, slots=True)
class _Scratch:
    """Where bots keep what they keep."""

    disk: Path
    memory: Path

    def folder(self, contestant: Contestant, number: int) -> Path:
        """Return a new folder for a round."""
        name = "".join(letter for letter in contestant.name if letter.isalnum())
        return (self.memory if contestant.is_in_memory else self.disk) / f"{number}-{name}"


@contextmanager
def _scratch() -> Iterator[_Scratch]:
    in_memory = _MEMORY if _MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="ilink-bench-") as disk,
        tempfile.TemporaryDirectory(prefix="ilink-bench-", dir=in_memory) as memory,
    ):
        yield _Scratch(Path(disk), Path(memory))


async def _try(work: object, figures: EchoFigures) -> None:
    assert asyncio.iscoroutine(work)
    try:
        await work
    except (BenchError, TimeoutError, OSError) as error:
        figures.error = str(error) or type(error).__name__


@asynccontextmanager
async def _signed_in(
    contestant: Contestant, gateway: Gateway, folder: Path, control: Pool | None = None, owner: str = ""
) -> AsyncIterator[tuple[Program, str]]:
    """Start a bot and sign it in; it polls when it is told to. Gives its bot id where the server is the gateway."""
    environ = {
        "ILINK_BASE_URL": gateway.api_url,
        "STATE_DIR": str(folder),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        **contestant.environ,
    }
    async with start(contestant.command, scratch=folder, environ=environ) as program:
        bot_id = ""
        if control is not None:
            await program.hear("QRCODE")
            code = msgspec.json.decode(await control.call("GET", "/_sim/wait?qr=1&timeout=10"))["qrcode"]
            body = msgspec.json.encode({"user_id": owner})
            bot_id = msgspec.json.decode(await control.call("POST", f"/_sim/qr/{code}/confirm", body))["bot_id"]
        await program.hear("LOGGED_IN")
        yield program, bot_id


async def _echo_on_stub(contestant: Contestant, stub: Gateway, folder: Path, figures: EchoFigures) -> None:
    async with _signed_in(contestant, stub, folder) as (program, _):
        program.say("go")
        load = await Connection.open(stub.control_url)
        warm = await _ask(load, "echo", _WARM_UP)
        count = int(max(_WARM_UP, _WINDOW_SECONDS * _WARM_UP / warm["seconds"]))
        before = cpu_seconds(program.pid)
        window = await _ask(load, "echo", count)
        after = cpu_seconds(program.pid)
        figures.rates.append(count / window["seconds"])
        if before is not None and after is not None:
            figures.cpu.append((after - before) / count)
        figures.delays += (await _ask(load, "latency", _SINGLE))["delays"]
        load.close()


async def _ask(load: Connection, what: str, count: int, *, batch: int = 20, people: int = _PEOPLE) -> dict:
    body = msgspec.json.encode({"count": count, "batch": batch, "people": people})
    return msgspec.json.decode(await asyncio.wait_for(load.call("POST", f"/bench/{what}", body), _CALL_SECONDS))


async def _echo_on_gateway(
    contestant: Contestant, gateway: Gateway, control: Pool, count: int, folder: Path, figures: EchoFigures
) -> None:
    people = [await add_person(control, f"{folder.name}-{number}") for number in range(_PEOPLE)]
    async with _signed_in(contestant, gateway, folder, control, people[0]) as (program, bot_id):
        await asyncio.gather(*(write(control, bot_id, people[n % _PEOPLE], n) for n in range(count)))
        before, began = cpu_seconds(program.pid), time.perf_counter()
        program.say("go")
        each = count // _PEOPLE
        for person in people:  # one at a time: each wait reads its chat again whenever something was said there
            await hear(control, bot_id, person, after=0, count=each)
        figures.rates.append(count / (time.perf_counter() - began))
        after = cpu_seconds(program.pid)
        if before is not None and after is not None:
            figures.cpu.append((after - before) / count)
        last = await hear(control, bot_id, people[0], after=0, count=each)
        for number in range(50):
            began = time.perf_counter()
            heard, _ = await asyncio.gather(
                hear(control, bot_id, people[0], after=last, count=1), write(control, bot_id, people[0], number)
            )
            last = heard
            figures.delays.append(time.perf_counter() - began)
