"""Worker processes that are killed, stopped, cut off and drained while people talk, and an oracle that watches.

    python tests/fleet/torture.py --seconds 300 --seed 1 [--variant cursor_first]

The gateway keeps the log of everything that went over the wire, the database writes down who had which slot when. From
these the oracle tells what was promised and not kept, and which of the faults left no trace. A variant breaks one
promise on purpose, to see that it shows.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import re
import signal
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Final

from fault_proxy import FaultProxy
from fleet_people import ENVIRON, Crowd
from torture_oracle import AUDIT, NOTE, Poll, Verdict, find_overlaps, find_strange_polls, judge_overlaps
from torture_variants import VARIANTS

from ilink.errors import StoreError
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.roles import Role
from ilink.testing.engines import PostgresEngine
from ilink.testing.gateway import LocalGateway
from ilink.wire.ids import AccountId

TTL: Final = 2.0
HOLD: Final = 1.0
PARTS: Final = (Role.POLLER, Role.HANDLER, Role.SENDER)
SKEWS: Final = (3600, -3600, 0)
"""By how many seconds the clocks of workers are wrong, in turn."""

TRACES: Final = {
    "kill": "killed",
    "stall": "leases lost",
    "drain": "hand-overs",
    "rebalance": "came",
    "restart": "restarts",
    "cut": "connections cut",
    "deafen": "listeners ended",
}
"""What is to be seen of a kind of fault that really happened."""


class Torture:
    """A fleet on one machine, and everything that may happen to it."""

    def __init__(
        self,
        *,
        engine: PostgresEngine,
        proxy: FaultProxy,
        gateway: LocalGateway,
        crowd: Crowd,
        database: PostgresDatabase,
        folder: Path,
        seed: int,
        variant: str = "",
        workers: int = 3,
        roles: Sequence[Role] = (Role.ALL,),
    ) -> None:
        self.engine = engine
        self.proxy = proxy
        self.gateway = gateway
        self.crowd = crowd
        self.database = database
        self.folder = folder
        self.random = Random(seed)
        self.variant = variant
        self.count = workers
        self.roles = roles
        self.role_of: dict[int, Role] = {}
        self.processes: list[Process] = []
        self.stopped: set[int] = set()
        self.polls: list[Poll] = []
        self.happened: Counter[str] = Counter()
        self._skews = itertools.cycle(SKEWS)
        self._traces: set[str] = set()

    async def start(self, role: Role | None = None) -> Process:
        """Start one more worker of a role, whose clock is wrong."""
        role = role or self.random.choice(self.roles)
        with (self.folder / "workers.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(Path(__file__).with_name("worker_process.py")),
                f"--skew={next(self._skews)}",
                f"--variant={self.variant}",
                "--hints-lost=0.3",
                f"--ttl={TTL}",
                f"--hold={HOLD}",
                f"--role={role.value}",
                self.proxy.url,
                env=ENVIRON,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
            )
        self.processes.append(process)
        self.role_of[process.pid] = role
        return process

    async def prepare(self) -> None:
        """Let the database keep an audit, and break what the variant breaks."""
        for statement in AUDIT:
            await self.database.execute(statement)
        await self._rewrite("store_group", "is_owner := v_epoch = p_epoch AND p_epoch > 0;", "is_owner", "effects")
        await self._rewrite("ingest", "has_moved := FOUND;", "has_moved", "cursor")
        for variant in filter(None, self.variant.split("+")):
            for name, changes in VARIANTS[variant].functions.items():
                await self._replace(name, changes)
        self._listen()

    async def run(self, seconds: float, *, kinds: tuple[str, ...], rate: float) -> None:
        """Let people talk and things happen for a while, then let everything calm down."""
        for role in self.roles * self.count:
            await self.start(role)
        await self.crowd.say_everywhere()
        await self.crowd.wait_answered(60)
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.crowd.talk(end, rate))
            tasks.create_task(self._trouble(end, kinds))
        await self._calm()
        if not self.variant:
            await self.crowd.wait_answered(60)
        else:
            await self._wait_quiet()

    async def _trouble(self, end: float, kinds: tuple[str, ...]) -> None:
        """Let every kind happen in an order that chance gives, and again until the time is over.

        Standing still goes on beside everything else: others have to wait for the end of the lease.
        """
        self._traces = {TRACES[kind] for kind in kinds} | {"wrong clocks"}
        if len(self.roles) > 1:
            self._traces.add("hints lost")
        rounds = 0
        async with asyncio.TaskGroup() as tasks:
            while rounds == 0 or time.monotonic() < end:
                for kind in self.random.sample(kinds, len(kinds)):
                    if rounds and time.monotonic() >= end:
                        break
                    await asyncio.sleep(self.random.uniform(0.2, 1.0))
                    if kind == "stall":
                        tasks.create_task(self._stall())
                    else:
                        await getattr(self, f"_{kind}")()
                rounds += 1
                await asyncio.sleep(0.2)

    async def _wait_quiet(self) -> None:
        """Wait until everybody was answered, or nothing has happened in the journals for a while."""
        before: object = None
        for _ in range(10):
            if await self.crowd.wait_answered(3) or (now := await self._journals()) == before:
                return
            before = now

    async def _journals(self) -> object:
        return [await self._states(table) for table in ("inbox", "outbox")]

    async def _kill(self) -> None:
        victim = await self._victim()
        victim.kill()
        self.happened["killed"] += await victim.wait() == -signal.SIGKILL
        self.processes.remove(victim)
        await self.start(self.role_of[victim.pid])

    async def _stall(self) -> None:
        """Let a process stand still until the others have taken its slots, and sometimes for less than its lease.

        Somebody has to be left who does the same.
        """
        roles = Counter(self.role_of[one.pid] for one in self.processes if one.pid not in self.stopped)
        if not (there := [role for role, count in roles.items() if count > 1]):
            return
        victim = await self._victim(self.random.choice(there))
        victim.send_signal(signal.SIGSTOP)
        self.stopped.add(victim.pid)
        self.happened["stalls"] += 1
        if self.happened["stalls"] % 3 == 0:
            await asyncio.sleep(self.random.uniform(0.3, 0.9) * TTL)
        else:
            await self._wait_dead(victim.pid)
            await asyncio.sleep(self.random.uniform(0.2, 0.7) * TTL)
        self._wake(victim)

    async def _wait_dead(self, pid: int) -> None:
        """Wait until the others have declared a process dead."""
        with suppress(TimeoutError):
            async with asyncio.timeout(20):
                while True:
                    with suppress(StoreError):
                        query = "SELECT FROM worker_sessions WHERE pid = $1 AND state <> 'dead'"
                        if not await self.database.read(query, pid):
                            return
                    await asyncio.sleep(0.1)

    async def _drain(self) -> None:
        victim = await self._victim()
        self.processes.remove(victim)
        await self.start(self.role_of[victim.pid])
        victim.terminate()
        if (code := await asyncio.wait_for(victim.wait(), 60)) != 0:
            self.happened[f"drain ended with {code}"] += 1

    async def _rebalance(self) -> None:
        """Let one come, and one go later."""
        role = self.role_of[(await self.start()).pid]
        self.happened["came"] += 1
        if len(self.processes) > self.count * len(self.roles) + 1:
            await self._drain_one(role)

    async def _drain_one(self, role: Role) -> None:
        victim = await self._victim(role)
        self.processes.remove(victim)
        victim.terminate()
        await asyncio.wait_for(victim.wait(), 60)

    async def _restart(self) -> None:
        await asyncio.to_thread(self.engine.restart, at_once=self.random.random() < 0.5)
        self.happened["restarts"] += 1

    async def _cut(self) -> None:
        self.happened["connections cut"] += self.proxy.cut()

    async def _deafen(self) -> None:
        """Lose all hints for a while: end the connections that listen for them, as soon as there are some."""
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                while not (ended := self.proxy.deafen()):  # noqa: ASYNC110  # proxies tell nobody
                    await asyncio.sleep(0.1)
                self.happened["listeners ended"] += ended

    async def _victim(self, role: Role | None = None) -> Process:
        """Choose one that has slots, if there is one: those that are only about to begin have nothing to lose."""
        with_slots: set[int] = set()
        with suppress(StoreError):
            rows = await self.database.read(
                "SELECT pid FROM worker_sessions WHERE session_id IN (SELECT owner FROM slots)"
            )
            with_slots = {row["pid"] for row in rows}
        there = [one for one in self.processes if one.pid not in self.stopped]
        there = [one for one in there if role in (None, self.role_of[one.pid])]
        return self.random.choice([one for one in there if one.pid in with_slots] or there)

    def _wake(self, process: Process) -> None:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        self.stopped.discard(process.pid)

    async def _calm(self) -> None:
        for process in self.processes:
            if process.pid in self.stopped:
                self._wake(process)

    async def end(self) -> None:
        """End all workers, in order if they can."""
        for process in self.processes:
            if process.returncode is None:
                process.terminate()
        for process in self.processes:
            try:
                await asyncio.wait_for(process.wait(), 30)
            except TimeoutError:
                process.kill()
                await process.wait()

    async def judge(self) -> Verdict:
        """Compare what was promised with what the gateway and the database saw."""
        verdict = Verdict(await self.crowd.complaints())
        stale = await self.database.read("SELECT what, count(*) AS count FROM stale_effects GROUP BY what")
        verdict.complaints += [f"{row['count']} times {row['what']} of a stale owner" for row in stale]
        query = "SELECT identity, count(*) AS count FROM inbox GROUP BY account_id, identity HAVING count(*) > 1"
        twice = await self.database.read(query)
        verdict.complaints += [f"stored {row['count']} times: {row['identity']}" for row in twice]
        strange = await find_strange_polls(self.polls, self.database)
        # Between the look at the lease and the request a process may be stopped: once for each account, each time.
        traces = await self._read_traces()
        verdict.missing = sorted(trace for trace in self._traces if not traces[trace])
        bound = max(self.happened["stalls"], traces["leases lost"]) * len(self.crowd.people) // self.count
        if len(strange) > bound:
            verdict.complaints.append(f"{len(strange)} polls of processes that had lost the slot, above {bound}")
        overlaps = find_overlaps(self.polls)
        verdict.complaints += judge_overlaps(overlaps, traces, accounts=len(self.crowd.people), hold=HOLD)
        longest = max((after for after in strange), default=0.0)
        verdict.figures = {
            "said": self.crowd.said_count,
            "happened": dict(self.happened | traces),
            "polls": len(self.polls),
            "strange_polls": len(strange),
            "longest_after": round(longest, 2),
            "overlaps": len(overlaps),
            "longest_overlap": round(max(overlaps, default=0.0), 2),
            "inbox": await self._states("inbox"),
            "outbox": await self._states("outbox"),
        }
        return verdict

    async def _states(self, table: str) -> dict[int, int]:
        rows = await self.database.read(f"SELECT state, count(*) AS count FROM {table} GROUP BY state")
        return {row["state"]: row["count"] for row in rows}

    async def _read_traces(self) -> Counter[str]:
        """Count what workers and the database tell of what happened to them."""
        log = (self.folder / "workers.log").read_text("utf-8")
        hours = "SELECT count(*) FROM inbox WHERE abs(received_ms / 1000.0 - extract(epoch FROM now())) > 1800"
        row = await self.database.read_row(hours)
        assert row is not None
        return self.happened + Counter(
            {
                "leases lost": log.count("was taken for dead"),
                "hand-overs": len(re.findall(r"gave \d+ slots to", log)),
                "hints lost": log.count("a hint is lost"),
                "wrong clocks": row[0],
            }
        )

    def _listen(self) -> None:
        """Note every poll as the gateway saw it, by the process that its name tells."""
        rules: Any = self.gateway.rules
        note = rules.note

        def noted(exchange: Any) -> None:
            if exchange.endpoint == "getupdates" and exchange.bot_id:
                ended = time.time()
                agent = exchange.request.partition(b"worker-")[2]
                pid = int(agent[: agent.index(b"/")]) if agent else 0
                began = ended - exchange.held_ms / 1000
                self.polls.append(Poll(AccountId(exchange.bot_id), pid, began, ended))
            note(exchange)

        rules.note = noted

    async def _rewrite(self, name: str, anchor: str, condition: str, what: str) -> None:
        await self._replace(name, {anchor: f"{anchor} {NOTE.format(condition=condition, what=what)}"})

    async def _replace(self, name: str, changes: dict[str, str]) -> None:
        row = await self.database.read_row(
            "SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
            " WHERE p.proname = $1 AND n.nspname = $2",
            name,
            self.database.namespace,
        )
        assert row is not None
        text = row[0]
        for old, new in changes.items():
            text = text.replace(old, new)
        assert text != row[0], f"nothing to change in {name}"
        await self.database.execute(text)


@asynccontextmanager
async def open_torture(
    *,
    seed: int,
    variant: str = "",
    accounts: int = 24,
    one_way: bool = False,
    conflict: str = "newest",
    workers: int = 3,
    roles: Sequence[Role] = (Role.ALL,),
) -> AsyncIterator[Torture]:
    """Open a gateway with people who talk to bots, a database behind a proxy, and no worker yet.

    Args:
        seed: What happens follows from it, as far as processes can.
        variant: What is broken on purpose; several are joined by `+`.
        accounts: How many bots there are, each with one person.
        one_way: Whether the gateway hands every message out once only.
        conflict: What becomes of two polls of one token; the older one is ended, or both are held.
        workers: How many processes there are of each role.
        roles: What they do.
    """
    knobs: dict[str, object] = {
        "poll.hold_ms": int(HOLD * 1000),
        "poll.error_delay_ms": 10,
        "poll.consume_on_send": one_way,
    }
    knobs["quota.per_inbound"] = 1_000_000  # what is said late may be more than an allowance
    knobs["poll.conflict"] = conflict
    knobs["poll.duplicate_rate"] = 0 if one_way else 0.1
    with PostgresEngine() as engine, tempfile.TemporaryDirectory(prefix="ilink-torture-") as name:
        async with (
            FaultProxy(engine) as proxy,
            LocalGateway(knobs=knobs, seed=seed) as gateway,
            PostgresDatabase(engine.url(pool=4)) as database,
        ):
            crowd = await Crowd.make(gateway, engine.url(pool=2), accounts, Random(seed))
            torture = Torture(
                engine=engine,
                proxy=proxy,
                gateway=gateway,
                crowd=crowd,
                database=database,
                folder=Path(name),
                seed=seed,
                variant=variant,
                workers=workers,
                roles=roles,
            )
            await torture.prepare()
            try:
                yield torture
            except BaseException:
                sys.stderr.write((torture.folder / "workers.log").read_text("utf-8")[-8000:])
                raise
            finally:
                await torture.end()


ALL_KINDS: Final = ("kill", "stall", "drain", "rebalance", "restart", "cut", "deafen")


async def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=120)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--variant", default="", help=f"what is broken, joined by +: {', '.join(VARIANTS)}")
    options.add_argument("--accounts", type=int, default=48)
    options.add_argument("--rate", type=float, default=20)
    options.add_argument("--kinds", default=",".join(ALL_KINDS))
    options.add_argument("--one-way", action="store_true")
    options.add_argument("--roles", action="store_true", help="let each process only poll, only handle or only send")
    options.add_argument("--log", action="store_true")
    given = options.parse_args()
    async with open_torture(
        seed=given.seed,
        variant=given.variant,
        accounts=given.accounts,
        one_way=given.one_way,
        workers=2 if given.roles else 3,
        roles=PARTS if given.roles else (Role.ALL,),
    ) as torture:
        await torture.run(given.seconds, kinds=tuple(given.kinds.split(",")), rate=given.rate)
        verdict = await torture.judge()
        if given.log:
            sys.stderr.write((torture.folder / "workers.log").read_text("utf-8"))
    missing = [f"left no trace: {trace}" for trace in verdict.missing]
    sys.stdout.write(f"{verdict.figures}\n" + "\n".join(verdict.complaints[:40] + missing) + "\n")
    return 1 if verdict.complaints or missing else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
