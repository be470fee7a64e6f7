"""Worker processes that are killed, stopped, cut off and drained while people talk, and an oracle that watches.

    python tests/fleet/torture.py --seconds 300 --seed 1 [--variant no_fence]

The gateway keeps the log of everything that went over the wire, the database writes down who had which slot when. From
these the oracle tells what was promised and not kept. A variant breaks one promise on purpose, to see that it shows.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import signal
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from fault_proxy import FaultProxy
from fleet_people import ENVIRON, Crowd

from ilink.errors import StoreError
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.roles import Role
from ilink.storage.slots import slot_of
from ilink.testing.engines import PostgresEngine
from ilink.testing.gateway import LocalGateway
from ilink.wire.ids import AccountId

TTL: Final = 2.0
HOLD: Final = 1.0
PARTS: Final = (Role.POLLER, Role.HANDLER, Role.SENDER)
VARIANTS: Final = ("", "stale_rejected", "no_fence", "no_permits")

_AUDIT: Final = (
    (
        "CREATE TABLE owners (n bigserial PRIMARY KEY, slot_id integer, owner uuid,"
        " at timestamptz NOT NULL DEFAULT clock_timestamp())"
    ),
    "CREATE TABLE stale_effects (account_id text, what text, epoch bigint, newest bigint)",
    (
        "CREATE FUNCTION keep_owners() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO owners (slot_id, owner) VALUES (NEW.slot_id, NEW.owner); RETURN NEW; END $$"
    ),
    (
        "CREATE TRIGGER keep_owners AFTER UPDATE OF owner ON slots FOR EACH ROW"
        " WHEN (OLD.owner IS DISTINCT FROM NEW.owner AND NEW.role IN ('all', 'poller'))"
        " EXECUTE FUNCTION keep_owners()"
    ),
)

_NOTE: Final = (
    "IF {condition} AND v_epoch <> p_epoch THEN"
    " INSERT INTO stale_effects VALUES (p_account, '{what}', p_epoch, v_epoch); END IF;"
)


@dataclass
class Verdict:
    """What the oracle found.

    Attributes:
        complaints: What was promised and not kept.
        figures: What happened.
    """

    complaints: list[str] = field(default_factory=list[str])
    figures: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True)
class Poll:
    """A poll as the gateway saw it: whose, by which process, and from when to when."""

    account: AccountId
    pid: int
    began: float
    ended: float


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

    async def start(self, role: Role | None = None) -> Process:
        """Start one more worker of a role, whose clock is wrong."""
        role = role or self.random.choice(self.roles)
        skew = self.random.choice([0, 0, -3600, 3600])
        with (self.folder / "workers.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(Path(__file__).with_name("worker_process.py")),
                f"--skew={skew}",
                f"--variant={self.variant}",
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
        for statement in _AUDIT:
            await self.database.execute(statement)
        await self._rewrite("store_group", "is_owner := v_epoch = p_epoch AND p_epoch > 0;", "is_owner", "effects")
        await self._rewrite("ingest", "has_moved := FOUND;", "has_moved", "cursor")
        if self.variant == "no_fence":
            for name in ("store_group", "ingest", "fail_update"):
                await self._replace(
                    name,
                    {
                        "v_epoch = p_epoch AND": "",
                        "lock_role(p_account, 'handler') <> p_epoch": "lock_role(p_account, 'handler') IS NULL",
                    },
                )
        if self.variant == "stale_rejected":
            refusal = "IF v_epoch <> p_epoch THEN RAISE EXCEPTION 'stale' USING ERRCODE = 'IL001'; END IF; sequences :="
            await self._replace("ingest", {"sequences := array_fill": f"{refusal} array_fill"})
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
        await self.crowd.wait_answered(60 if not self.variant else 15)

    async def _trouble(self, end: float, kinds: tuple[str, ...]) -> None:
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, self.random.uniform(0.5, 2.0)))
            kind = self.random.choice(kinds)
            self.happened[kind] += 1
            await getattr(self, f"_{kind}")()

    async def _kill(self) -> None:
        victim = await self._victim()
        victim.kill()
        await victim.wait()
        self.processes.remove(victim)
        await self.start(self.role_of[victim.pid])

    async def _stall(self) -> None:
        """Let a process stand still for less or more than its lease."""
        victim = await self._victim()
        victim.send_signal(signal.SIGSTOP)
        self.stopped.add(victim.pid)
        await asyncio.sleep(self.random.uniform(0.3, 2.5) * TTL)
        self._wake(victim)

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
        if len(self.processes) > self.count * len(self.roles) + 1:
            await self._drain_one(role)

    async def _drain_one(self, role: Role) -> None:
        victim = await self._victim(role)
        self.processes.remove(victim)
        victim.terminate()
        await asyncio.wait_for(victim.wait(), 60)

    async def _restart(self) -> None:
        await asyncio.to_thread(self.engine.restart, at_once=self.random.random() < 0.5)

    async def _cut(self) -> None:
        self.proxy.cut()

    async def _deafen(self) -> None:
        """Lose all hints for a while: end the connections that listen for them."""
        with suppress(Exception):
            await self.database.read(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'LISTEN%'"
            )

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
        strange = await self._strange_polls()
        # Between the look at the lease and the request a process may be stopped: once for each account, each time.
        bound = self.happened["stall"] * len(self.crowd.people) // self.count
        if len(strange) > bound:
            verdict.complaints.append(f"{len(strange)} polls of processes that had lost the slot, above {bound}")
        overlaps = self._overlaps()
        verdict.complaints += self._overlap_complaints(overlaps)
        longest = max((after for after in strange), default=0.0)
        verdict.figures = {
            "said": self.crowd.said_count,
            "happened": dict(self.happened),
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

    async def _strange_polls(self) -> list[float]:
        """Return for every poll of a process that did not have the slot when it began, how long that was ago."""
        pids = {row["session_id"]: row["pid"] for row in await self.database.read("SELECT * FROM worker_sessions")}
        history: dict[int, list[tuple[float, int | None]]] = {}
        for row in await self.database.read(
            "SELECT slot_id, owner, extract(epoch FROM at)::float8 AS at FROM owners ORDER BY n"
        ):
            history.setdefault(row["slot_id"], []).append((row["at"], pids.get(row["owner"])))
        strange: list[float] = []
        for poll in self.polls:
            owners = history.get(slot_of(poll.account), [])
            before = [(at, pid) for at, pid in owners if at <= poll.began]
            if before and before[-1][1] == poll.pid:
                continue
            lost = [after for (_, pid), (after, _) in itertools.pairwise(before) if pid == poll.pid]
            if lost and poll.began - lost[-1] > 0.05:  # clocks of one machine are read at different moments
                strange.append(poll.began - lost[-1])
        return strange

    def _overlaps(self) -> list[float]:
        """Return for how long, each time, two processes had a poll of one account under way, as the gateway saw it."""
        found: list[float] = []
        last: dict[AccountId, Poll] = {}
        for poll in sorted(self.polls, key=lambda poll: poll.began):
            other = last.get(poll.account)
            if other is not None and other.pid != poll.pid and other.ended > poll.began + 0.001:
                found.append(min(other.ended, poll.ended) - poll.began)
            last[poll.account] = poll
        return found

    def _overlap_complaints(self, overlaps: list[float]) -> list[str]:
        """Polls may overlap once for each account of a process that died or stood still, while one is held."""
        found: list[str] = []
        most = (self.happened["stall"] + self.happened["kill"] + self.happened["restart"]) * len(self.crowd.people)
        if len(overlaps) > most:
            found.append(f"{len(overlaps)} times two polls of one token, above {most}")
        if (longest := max(overlaps, default=0.0)) > HOLD + 1:
            found.append(f"two polls of one token for {longest:.1f} s, above {HOLD + 1:.1f} s")
        return found

    async def _rewrite(self, name: str, anchor: str, condition: str, what: str) -> None:
        await self._replace(name, {anchor: f"{anchor} {_NOTE.format(condition=condition, what=what)}"})

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
    workers: int = 3,
    roles: Sequence[Role] = (Role.ALL,),
) -> AsyncIterator[Torture]:
    """Open a gateway with people who talk to bots, a database behind a proxy, and no worker yet.

    Args:
        seed: What happens follows from it, as far as processes can.
        variant: What is broken on purpose.
        accounts: How many bots there are, each with one person.
        one_way: Whether the gateway hands every message out once only.
        workers: How many processes there are of each role.
        roles: What they do.
    """
    knobs = {"poll.hold_ms": int(HOLD * 1000), "poll.error_delay_ms": 10, "poll.consume_on_send": one_way}
    knobs["quota.per_inbound"] = 1_000_000  # what is said late may be more than an allowance
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


ALL_KINDS: Final = ("kill", "stall", "stall", "drain", "rebalance", "restart", "cut", "deafen")


async def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=120)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--variant", choices=VARIANTS, default="")
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
    sys.stdout.write(f"{verdict.figures}\n" + "\n".join(verdict.complaints[:40]) + "\n")
    return 1 if verdict.complaints else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
