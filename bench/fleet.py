"""A fleet on this machine: what its accounts cost while nobody writes, and what happens when a process dies.

    python -m bench.fleet --accounts 2000 --workers 4 --gateways 2 --lease 10 --kill
    python -m bench.fleet --accounts 10000

PostgreSQL, gateways, a balancer before them and workers are processes of their own, started as an operator would.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl
import sys
import tempfile
import time
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from bench.machine import cpu_seconds, describe, fast_run, memory_bytes, raise_file_limit
from bench.people import Bot, hear, held_bots, open_windows, read_answers, sign_in, write_all
from bench.processes import Gateway, Program, start
from bench.rawhttp import Pool
from ilink.bot.store import find_place, open_store
from ilink.storage.keys import KEY_VARIABLE, new_key
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.roles import Role
from ilink.storage.slots_postgres import PostgresSlots
from ilink.testing.engines import PostgresEngine
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, Secret, UserId

__all__ = ["main"]

_LOT: Final = 1000
_PATIENCE: Final = 600.0
_HOLD_MS: Final = 30_000
"""How long a poll without news is held, as by default: a client that is not answered takes its connection for dead."""


class Balancer:
    """Passes each connection to the next server that takes it."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()

    @property
    def url(self) -> str:
        """Its address."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        for _ in self._ports:
            self._turn = (self._turn + 1) % len(self._ports)
            try:
                there, back = await asyncio.open_connection("127.0.0.1", self._ports[self._turn])
            except OSError:
                continue
            await asyncio.gather(_pass(reader, back), _pass(there, writer))
            return
        writer.transport.abort()


async def _pass(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


class Fleet:
    """Everything that runs."""

    def __init__(self, scratch: Path, engine: PostgresEngine, given: argparse.Namespace, exits: AsyncExitStack) -> None:
        self.scratch = scratch
        self.given = given
        self.exits = exits
        self.urls = (engine.url("gate", pool=8), engine.url("fleet", pool=given.pool))
        self.environ = {KEY_VARIABLE: new_key(), "ILINK_DATA": str(scratch / "data")}
        self.gateways: list[tuple[Program, Gateway]] = []
        self.workers: list[Program] = []
        self.bots: list[Bot] = []

    async def open_gateways(self) -> None:
        for number in range(self.given.gateways):
            command = [
                *(sys.executable, "-m", "ilink", "gateway", "--ready-json"),
                *("--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"),
                *(("--tls",) if self.given.tls else ()),
                *(
                    ("--database-url", self.urls[0])
                    if self.given.gateways > 1
                    else ("--data", str(self.scratch / "gate"))
                ),
            ]
            program = await self.exits.enter_async_context(start(command, scratch=self.scratch / f"gate{number}"))
            self.gateways.append((program, msgspec.json.decode(await program.hear("{"), type=Gateway)))

    async def sign_in(self) -> None:
        """Make people with bots, and store the logins where the fleet finds them."""
        ports = [int(ready.api_url.rpartition(":")[2]) for _, ready in self.gateways]
        url = self.gateways[0][1].api_url
        if len(ports) > 1:
            url = (await self.exits.enter_async_context(Balancer(ports))).url
        first = self.gateways[0][1]
        tls = None
        if first.authority is not None:
            tls = ssl.create_default_context(cafile=first.authority)
            self.environ["SSL_CERT_FILE"] = first.authority
        environ = {**os.environ, **self.environ}
        async with Pool(first.api_url, 16, tls=tls) as api, Pool(first.control_url, 16) as control:
            await open_windows(control, hold_ms=_HOLD_MS)
            names = [f"p{number}" for number in range(self.given.accounts)]
            places = asyncio.Semaphore(16)

            async def join(name: str) -> Bot:
                async with places:  # a code is worth nothing after a while, so none waits for its turn
                    return await sign_in(api, control, name)

            self.bots = list(await asyncio.gather(*(join(name) for name in names)))
        async with open_store(find_place(self.urls[1], environ=environ)) as store:
            writes = asyncio.Semaphore(8)

            async def put(bot: Bot) -> None:
                async with writes:
                    await store.accounts.put(
                        Account(
                            account_id=AccountId(bot.bot_id),
                            token=Secret(bot.token),
                            base_url=url,
                            owner_id=UserId(bot.owner),
                        )
                    )

            await asyncio.gather(*(put(bot) for bot in self.bots))

    async def start_worker(self) -> Program:
        number = len(self.workers)
        command = [
            *(sys.executable, "-m", "ilink", "run", "bench/fleet_bot.py", "--workers", "1"),
            *("--peers", str(self.given.workers), "--lease", str(self.given.lease), "--database-url", self.urls[1]),
            *("--role", self.given.role),
        ]
        program = await self.exits.enter_async_context(
            start(command, scratch=self.scratch / f"worker{number}", environ=self.environ)
        )
        self.workers.append(program)
        return program

    async def wait_polling(self, database: PostgresDatabase) -> float:
        """Wait until a poll is held for every account, and return how long that took."""
        began = time.monotonic()
        while time.monotonic() - began < _PATIENCE:
            # Not the whole status: its figures cost the database more than all else that happens here.
            survey = await PostgresSlots(database, role=Role(self.given.role)).survey()
            reports = [one.report for one in survey.sessions]
            if sum(int(str(report.get("polled", 0))) for report in reports) == len(self.bots) and not survey.free:
                return time.monotonic() - began
            await asyncio.sleep(0.5)
        for worker in self.workers:
            sys.stderr.write(f"{worker.last_words()}\n")
        raise TimeoutError(f"not all accounts are polled for: {reports}")

    async def watch_polls(self, controls: list[str], writing: asyncio.Task[float]) -> float:
        """Return the longest time that an account had no poll at a gateway, from now on until all is written and more.

        A death shows late: the connections of who died are ended by their other side.
        """
        began = time.monotonic()
        seen, longest = dict.fromkeys((bot.bot_id for bot in self.bots), began), 0.0
        async with AsyncExitStack() as exits:
            pools = [await exits.enter_async_context(Pool(url, 1)) for url in controls]
            while True:
                asked = time.monotonic()
                held = set[str]().union(*await asyncio.gather(*(held_bots(pool) for pool in pools)))
                now = time.monotonic()
                # Between two looks it may have polled at any moment: what is seen of a gap is at most that much longer.
                longest = max([longest, *(now - seen[bot_id] for bot_id in seen.keys() - held)])
                seen |= dict.fromkeys(seen.keys() & held, asked)
                if writing.done() and now - began > self.given.lease * 1.5 and held >= seen.keys():
                    return longest
                if now - began > _PATIENCE:
                    message = f"{len(seen.keys() - held)} accounts are not polled for"
                    raise TimeoutError(message)
                await asyncio.sleep(0.1)

    async def kill(self, victim: Program, controls: list[str], rounds: int) -> dict[str, float]:
        """Kill a process while people write, and measure how long an account was without a poll, and an answer took."""
        writing = asyncio.create_task(self.ask_slowly(controls[-1], rounds))
        await asyncio.sleep(2)
        os.kill(victim.pid, 9)
        gap = await self.watch_polls(controls, writing)
        return {"longest_without_poll_s": round(gap, 1), "slowest_answer_s": round(await writing, 1)}

    async def ask_slowly(self, control_url: str, rounds: int) -> float:
        """Let one after the other write, and return how long the slowest answer took.

        Raises:
            BenchError: An answer did not come.
        """
        slowest = 0.0

        async def ask(bot: Bot) -> None:
            nonlocal slowest
            began = time.monotonic()
            await write_all(control, [bot], _words(rounds))
            await hear(control, bot.bot_id, bot.owner, after=0, count=rounds, seconds=_PATIENCE)
            slowest = max(slowest, time.monotonic() - began)

        async with Pool(control_url, 256) as control, asyncio.TaskGroup() as tasks:
            for bot in self.bots:
                tasks.create_task(ask(bot))
                await asyncio.sleep(1 / self.given.rate)
        return slowest

    async def misheard(self, control_url: str, rounds: int) -> list[list[str]]:
        """Return of those who did not get one answer to each message, in their order, what they got."""
        wanted = [f"You said: {_words(number)}" for number in range(1, rounds + 1)]
        async with Pool(control_url, 16) as control:
            heard = await asyncio.gather(*(read_answers(control, bot.bot_id, bot.owner) for bot in self.bots))
        return [answers for answers in heard if answers != wanted]

    def memory(self) -> list[float]:
        """Return the MiB that each worker has resident."""
        return [round((memory_bytes(worker.pid) or 0) / 2**20, 1) for worker in self.workers]

    def memory_per_account(self) -> float:
        """Return the KiB that an account costs, without what a worker has that works for none."""
        return round((sum(self.memory()) - self.given.base * len(self.workers)) / len(self.bots) * 1024, 1)

    async def write_to_all(self, control_url: str, number: int) -> None:
        """Let everybody write their next message."""
        async with Pool(control_url, 1) as control:
            for first in range(0, len(self.bots), _LOT):
                await write_all(control, self.bots[first : first + _LOT], _words(number))

    async def ask_all(self, control_url: str, rounds: int) -> float:
        """Let everybody write, wait for all answers, and return how long that took.

        Raises:
            BenchError: An answer did not come.
        """
        began = time.monotonic()
        await self.write_to_all(control_url, rounds)
        async with Pool(control_url, 64) as control:
            chats = ((bot.bot_id, bot.owner) for bot in self.bots)
            await asyncio.gather(*(hear(control, *chat, after=0, count=rounds, seconds=_PATIENCE) for chat in chats))
        return time.monotonic() - began


def _words(number: int) -> str:
    return f"message {number}"


async def _writes(database: PostgresDatabase) -> Counter[str]:
    """Return how many rows were written in each table since the beginning."""
    rows = await database.read(
        "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del AS count FROM pg_stat_user_tables WHERE schemaname = 'fleet'"
    )
    return Counter({row["relname"]: int(row["count"]) for row in rows})


async def _idle(fleet: Fleet, database: PostgresDatabase, seconds: float) -> dict[str, object]:
    """Measure what the fleet does while nobody writes."""
    pids = [worker.pid for worker in fleet.workers]
    before, writes = [cpu_seconds(pid) or 0.0 for pid in pids], await _writes(database)
    await asyncio.sleep(seconds)
    after, later = [cpu_seconds(pid) or 0.0 for pid in pids], await _writes(database)
    await asyncio.sleep(1)
    return {
        "cpu_percent": [round((b - a) / seconds * 100, 1) for a, b in zip(before, after, strict=True)],
        "rows_written": dict(later - writes),
        "seconds": seconds,
    }


@asynccontextmanager
async def opened(given: argparse.Namespace) -> AsyncIterator[tuple[Fleet, PostgresDatabase, PostgresEngine]]:
    """Start everything but the workers."""
    with PostgresEngine() as engine, tempfile.TemporaryDirectory(prefix="ilink-bench-") as name:
        async with AsyncExitStack() as exits:
            fleet = Fleet(Path(name), engine, given, exits)
            await fleet.open_gateways()
            await fleet.sign_in()
            database = await exits.enter_async_context(PostgresDatabase(engine.url("fleet", pool=2)))
            yield fleet, database, engine


async def _kill(
    fleet: Fleet, database: PostgresDatabase, engine: PostgresEngine, tell: Callable[[str, object], None]
) -> None:
    """Kill one process of each kind while people write."""
    controls = [ready.control_url for _, ready in fleet.gateways]
    tell("all answered after s", round(await fleet.ask_all(controls[-1], 1), 1))
    tell("worker killed", await fleet.kill(fleet.workers.pop(), controls, 2))
    await fleet.start_worker()
    tell("another came; all polled after s", round(await fleet.wait_polling(database), 1))
    if len(fleet.gateways) > 1:
        tell("gateway killed", await fleet.kill(fleet.gateways[0][0], controls[1:], 3))
    await asyncio.to_thread(engine.restart, at_once=True)
    await asyncio.sleep(1)
    tell("PostgreSQL killed and started; all answered after s", round(await fleet.ask_all(controls[-1], 4), 1))
    tell("people without one answer to each of 4 messages, in order", await fleet.misheard(controls[-1], 4))


async def main(given: argparse.Namespace) -> None:
    """Measure, and print what came out."""
    raise_file_limit()

    def tell(what: str, value: Any) -> None:
        sys.stdout.write(f"{time.strftime('%H:%M:%S')} {what}: {value}\n")
        sys.stdout.flush()

    tell("machine", describe())
    async with opened(given) as (fleet, database, engine):
        tell("signed in", len(fleet.bots))
        for _ in range(given.workers):
            await fleet.start_worker()
        tell("all polled after s", round(await fleet.wait_polling(database), 1))
        await asyncio.sleep(given.settle)
        tell("memory of workers MiB", fleet.memory())
        if given.base:
            tell("memory per account KiB", fleet.memory_per_account())
            await fleet.write_to_all(fleet.gateways[-1][1].control_url, 1)
            await asyncio.sleep(given.settle)
            tell("the same, when each has had a message", fleet.memory_per_account())
        if given.idle:
            tell("idle", await _idle(fleet, database, given.idle))
        if given.kill:
            await _kill(fleet, database, engine, tell)
        tell("memory of workers MiB", fleet.memory())


def arguments() -> argparse.Namespace:
    """Read the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--accounts", type=int, default=2000)
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--gateways", type=int, default=1)
    options.add_argument("--lease", type=float, default=10)
    options.add_argument("--pool", type=int, default=10)
    options.add_argument("--base", type=float, help="MiB of a worker without accounts")
    options.add_argument("--settle", type=float, default=15, help="seconds before anything is measured")
    options.add_argument("--idle", type=float, default=60, help="seconds for which it is watched while nobody writes")
    options.add_argument("--kill", action="store_true")
    options.add_argument("--rate", type=float, default=50, help="messages a second while a process is killed")
    options.add_argument("--tls", action="store_true", help="poll over TLS; with one gateway")
    options.add_argument("--role", default="all", help="what the workers do; poller measures polling alone")
    return options.parse_args()


if __name__ == "__main__":
    fast_run(main(arguments()))
