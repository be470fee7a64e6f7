"""Bots that are killed while people talk to them: nothing is lost, nothing is said twice, order holds.

They are killed at random, around every step of ingest, handle, complete and send, and where their tasks wait. Meanwhile
the gateway hands messages out twice and in the wrong order, hangs up after it has taken what was written, and refuses
with -2. How often they are killed is in `ILINK_CRASH_KILLS`; with `ILINK_LONG_TESTS` it is hundreds of times, and once
at every await point there is, going to sleep and waking up.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import msgspec
import pytest
from crash_bot import POINTS
from crash_stores import CrashStore, accounts_in, store_at
from test_on_the_gateway import login_of

from ilink.testing.gateway import LocalGateway
from ilink.testing.person import Person

pytestmark = [pytest.mark.crash, pytest.mark.timeout(1800 if os.environ.get("ILINK_LONG_TESTS") else 300)]

IS_LONG = bool(os.environ.get("ILINK_LONG_TESTS"))
KILLS = int(os.environ.get("ILINK_CRASH_KILLS", "300" if IS_LONG else "40"))
SEED = int(os.environ.get("ILINK_CRASH_SEED", "1"))
PEOPLE = 12
PATIENCE = 300 if IS_LONG else 60
KNOBS = {"poll.duplicate_rate": 0.2, "poll.hold_ms": 2000, "poll.error_delay_ms": 10}
TIMED = "never"
TAKEN = "taken over from"

OpenStore = Callable[[Path], CrashStore]
"""Gives a store that nobody has used, with its files in a folder."""

Plan = list[tuple[str, int]]
"""Where each bot is killed, and when it comes there for which time."""


@pytest.fixture(params=["sqlite", "postgres"])
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    if request.param == "sqlite":
        return lambda folder: store_at(folder, "")
    make_url = request.getfixturevalue("make_postgres_url")
    return lambda folder: store_at(folder, make_url())


class Talk:
    """People who talk to one bot, and what the gateway knows of it."""

    def __init__(self, gateway: LocalGateway, people: list[Person], random: Random) -> None:
        self.gateway = gateway
        self.people = people
        self.random = random
        self.said: dict[str, list[str]] = {person.name: [] for person in people}

    async def go_on(self, count: int) -> None:
        """Let people write, now and then several messages at once."""
        for _ in range(count):
            await self.say(self.random.choice(self.people))
            if self.random.random() < 0.5:
                await asyncio.sleep(self.random.random() * 0.01)

    async def say(self, person: Person) -> None:
        text = f"{person.name}-{len(self.said[person.name])}"
        self.said[person.name].append(text)
        await person.says(text, bot_id=self.people[0].bot_id)

    async def answers(self, person: Person) -> list[str]:
        """What a person was answered; they read as often as it takes."""
        assert self.people[0].bot_id is not None
        after, answers = 0, []
        while page := await self.gateway.rules.transcript(self.people[0].bot_id, person.user_id, after=after):
            after = page[-1].n
            answers += [
                str(entry.items[0].text) for entry in page if entry.direction == "out" and entry.state == "shown"
            ]
        return answers

    async def is_done(self) -> bool:
        return all([set(await self.answers(person)) >= set(self.expected(person)) for person in self.people])

    def expected(self, person: Person) -> list[str]:
        return [
            answer
            for text in self.said[person.name]
            for answer in ([f"got {text}", f"re {text}"] if text.endswith("7") else [f"re {text}"])
        ]

    async def wait_until_done(self, *, seconds: float) -> None:
        """Wait for all answers; who reached the end of the allowance writes again, which needs no answer."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        rounds = 0
        while not await self.is_done() and loop.time() < deadline:
            await asyncio.sleep(0.2)
            rounds += 1
            for person in self.people:
                if set(await self.answers(person)) < set(self.expected(person)):
                    for number in range(3):
                        await person.says(f"go on {rounds}.{number}", bot_id=self.people[0].bot_id)

    async def complaints(self) -> list[str]:
        """Everything that was promised and not kept."""
        found: list[str] = []
        for person in self.people:
            expected, answers = self.expected(person), await self.answers(person)
            found += [f"lost: {text}" for text in expected if text not in answers]
            found += [f"said {count} times: {text}" for text, count in Counter(answers).items() if count > 1]
            firsts = list(dict.fromkeys(answers))
            if firsts != [text for text in expected if text in answers]:
                wrong = next(n for n, text in enumerate(expected) if n >= len(firsts) or firsts[n] != text)
                found.append(f"out of order: {firsts[max(0, wrong - 3) : wrong + 5]}")
        return found


def trouble(gateway: LocalGateway) -> None:
    """Let the gateway do what the real server does on bad days."""
    gateway.fault("getupdates", duplicate="same_id", probability=0.1)
    gateway.fault("getupdates", duplicate="new_id", probability=0.1)
    gateway.fault("getupdates", reorder=True, probability=0.3)
    gateway.fault("getupdates", reset="after_effect", probability=0.1)
    gateway.fault("sendmessage", reset="after_effect", probability=0.05)
    gateway.fault("sendmessage", reset="before", probability=0.05)


def plan_of(random: Random, kills: int, points: Sequence[str]) -> Plan:
    """Kill at random times and at random points, in about equal shares."""
    chosen = [TIMED if random.random() < 0.4 else random.choice(points) for _ in range(kills)]
    return [(point, random.randrange(1, 5)) for point in chosen]


class Victim:
    """The process that forks bots."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self.log = log
        self.running: int | None = None
        self.serving = asyncio.Event()

    async def start(self, variant: str, point: str, count: int, seed: int) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{variant},{point},{count},{seed}\n".encode())
        self.serving.clear()
        self.running = int((await self._line()).split()[1])
        return self.running

    async def terminate(self) -> int:
        """Let the bot stop as it should; it has to run still."""
        assert self.running is not None
        try:
            os.kill(self.running, signal.SIGTERM)
        except ProcessLookupError:
            pytest.fail(f"the bot ended by itself, with {await self.end()}: {self.log.read_text()[-3000:]}")
        return await self.end()

    async def end(self) -> int:
        try:
            while (words := (await self._line()).split())[0] != "ended":
                self.serving.set()
        finally:
            self.serving.set()
        self.running = None
        return int(words[1])

    async def end_within(self, seconds: float, pid: int, *, served: bool = False) -> int:
        """Wait for the bot's end, and bring it about when the time is over, of which starting may count for nothing."""
        end = asyncio.ensure_future(self.end())
        if served:
            await self.serving.wait()
        await asyncio.wait([end], timeout=seconds)
        return await self.end_now(end, pid)

    async def end_now(self, end: asyncio.Future[int], pid: int) -> int:
        """Return how a bot has ended, or kill it."""
        if not end.done():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return await end

    async def _line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            return (await self.process.stdout.readline()).decode()


@asynccontextmanager
async def victim(store: CrashStore, base_url: str, log: Path) -> AsyncIterator[Victim]:
    with log.open("w") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("crash_bot.py")), str(store.folder), base_url, store.url,
            stdin=PIPE, stdout=PIPE, stderr=errors,
        )  # fmt: skip
        started = Victim(process, log)
        try:
            yield started
        finally:
            if started.running is not None:
                with suppress(ProcessLookupError):  # it ended, and nobody asked how: what is raised already says why
                    os.kill(started.running, signal.SIGKILL)
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()


@asynccontextmanager
async def talking(store: CrashStore, *, seed: int, allowance: int = 6, variant: str = "sound") -> AsyncIterator[Talk]:
    """A gateway on a bad day, people who talk, and a store with a bot's account and an audit of its journal.

    The allowance is small, so that -2 comes often; at random it would only teach a bot to wait for minutes.
    """
    async with LocalGateway(knobs={**KNOBS, "quota.per_inbound": allowance}, seed=seed) as gateway:
        people = [await gateway.person(f"p{number}") for number in range(PEOPLE)]
        store.folder.mkdir(exist_ok=True)
        async with accounts_in(store) as accounts:
            await login_of(gateway, people[0], asyncio.Event())(accounts)
        await store.keep_audit(variant)
        trouble(gateway)
        yield Talk(gateway, people, Random(seed))


async def find_await_points(tmp_path: Path, open_store: OpenStore) -> list[str]:
    """Let a bot run undisturbed, and return where its tasks wait between the arrival of a message and its answer."""
    store = open_store(tmp_path / "record")
    async with talking(store, seed=SEED) as talk, victim(store, talk.gateway.api_url, tmp_path / "log") as process:
        await process.start("sound", "record", 1, SEED)
        for _ in range(5):
            await talk.go_on(10)
            await talk.wait_until_done(seconds=PATIENCE)
        assert await process.terminate() == 0, (tmp_path / "log").read_text()[-3000:]
    return (store.folder / "points").read_text().splitlines()


async def play(
    tmp_path: Path, store: CrashStore, variant: str, plan: Plan, *, seed: int, seconds: float
) -> tuple[list[str], int]:
    """Kill a bot again and again while people talk to it; return the complaints and how the last bot ended."""
    async with talking(store, seed=seed, variant=variant) as talk:
        async with victim(store, talk.gateway.api_url, tmp_path / "log") as process:
            for number, (point, count) in enumerate(plan):
                pid = await process.start(variant, point, count, seed * 1000 + number)
                going_on = asyncio.create_task(talk.go_on(talk.random.randrange(4, 12)))
                lasts = (talk.random.uniform(0.02, 0.3) if point == TIMED else 1.0) * store.pace
                code = await process.end_within(lasts, pid, served=point != TIMED)
                assert code == -signal.SIGKILL, (tmp_path / "log").read_text()[-3000:]
                await going_on
            await process.start(variant, TIMED, 1, seed)
            await talk.wait_until_done(seconds=seconds)
            complaints = await talk.complaints()
            code = await process.terminate()
        return complaints + await journal_complaints(store, variant), code


async def play_takeover(
    tmp_path: Path, store: CrashStore, variant: str, *, seed: int, seconds: float
) -> tuple[list[str], int, int]:
    """Stop a bot, let another one take its journal over, and let the first go on; return how both ended, too."""
    folder = store.folder
    log = tmp_path / "log"
    async with (
        talking(
            store, seed=seed, allowance=1000, variant=variant
        ) as talk,  # what the one sends the other does not count
        victim(store, talk.gateway.api_url, log) as first,
        victim(store, talk.gateway.api_url, tmp_path / "log of the other") as second,
    ):
        (folder / "go").touch()
        old = await first.start(f"unlocked {variant}", "stop at handling", 5, seed)
        await talk.go_on(30)
        await stopped(old)
        (folder / "go").unlink()
        await second.start(f"unlocked {variant}", TIMED, 1, seed + 1)
        await adopted(store, 2)
        os.kill(old, signal.SIGCONT)
        await talk.go_on(30)
        old_code = await end_or_trespass(first, old, store, variant)
        (folder / "go").touch()
        await talk.wait_until_done(seconds=seconds)
        complaints = await talk.complaints()
        new_code = await second.terminate()
    return complaints + await journal_complaints(store, variant), old_code, new_code


async def stopped(pid: int) -> None:
    """Wait until a process stands still."""
    async with asyncio.timeout(45):
        while Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "T":  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def adopted(store: CrashStore, times: int) -> None:
    """Wait until a journal was taken over so many times."""
    async with asyncio.timeout(45):
        while (await store.rows("SELECT count(*) FROM audit WHERE what = 'adopted'"))[0][0] < times:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def end_or_trespass(process: Victim, pid: int, store: CrashStore, variant: str) -> int:
    """Wait until a bot that was taken over from ends, or does what it must not and is killed."""
    end = asyncio.ensure_future(process.end())
    while not end.done() and not any(TAKEN in complaint for complaint in await journal_complaints(store, variant)):
        await asyncio.wait([end], timeout=0.05)
    return await process.end_now(end, pid)


async def journal_complaints(store: CrashStore, variant: str) -> list[str]:
    """What the journal itself shows: an update completed twice, or by a process that was taken over from."""
    twice = await store.rows("SELECT seq, count(*) FROM audit WHERE what = 'done' GROUP BY seq HAVING count(*) > 1")
    late = await store.rows(
        "SELECT seq, epoch FROM audit WHERE what = 'finished' AND epoch <"
        " (SELECT max(epoch) FROM audit AS adoption WHERE adoption.what = 'adopted' AND adoption.n < audit.n)"
    )
    unseen = await store.rows(
        "SELECT seq FROM audit WHERE what = 'done' AND seq NOT IN (SELECT seq FROM audit WHERE what = 'finished')"
    )
    items = await store.rows("SELECT item FROM outbox")
    texts = Counter(msgspec.json.decode(item)["text_item"]["text"] for (item,) in items)
    ((waiting,),) = await store.rows("SELECT count(*) FROM inbox WHERE state = 0")
    dead = await store.rows("SELECT seq, error FROM inbox WHERE state = 2 AND conversation <> '?'")
    unsent = await store.rows("SELECT state, reason FROM outbox WHERE state IN (3, 4, 5)")
    return [
        *(f"journaled {count} times: {text}" for text, count in texts.items() if count > 1),
        *(f"completed {count} times: update {sequence}" for sequence, count in twice),
        *(f"completed by a process that was {TAKEN}: update {sequence}" for sequence, _ in late),
        *(f"completed, and the audit does not know by whom: update {sequence}" for (sequence,) in unseen),
        *(f"given up: update {sequence}, {error}" for sequence, error in dead),
        *(f"a reply that was not accepted: state {state}, {reason}" for state, reason in unsent),
        *([f"{waiting} updates still wait"] if waiting and variant == "sound" else []),
    ]


async def test_a_bot_that_is_killed_again_and_again_answers_everything_once_in_order(
    tmp_path: Path, open_store: OpenStore
) -> None:
    store = open_store(tmp_path / "data")
    plan = plan_of(Random(SEED), KILLS, (*POINTS, *store.points))
    complaints, code = await play(tmp_path, store, "sound", plan, seed=SEED, seconds=PATIENCE)
    assert complaints == [], f"{complaints}\n{(tmp_path / 'log').read_text()[-3000:]}"
    assert code == 0


async def test_a_bot_that_is_killed_where_its_tasks_wait_answers_everything_once_in_order(
    tmp_path: Path, open_store: OpenStore
) -> None:
    """Every await point with `ILINK_LONG_TESTS`, a handful of them otherwise."""
    points = await find_await_points(tmp_path, open_store)
    store = open_store(tmp_path / "data")
    for part in ("intake:_until_stored", *store.await_points, "senders:", "handling:", "lanes:", "poller:"):
        assert any(part in point for point in points), (part, points)
    random = Random(SEED)
    chosen = points if IS_LONG else random.sample(points, min(20, len(points)))
    plan = [(point, random.randrange(1, 4)) for point in chosen]
    complaints, code = await play(tmp_path, store, "sound", plan, seed=SEED, seconds=PATIENCE)
    assert complaints == [], f"{complaints}\n{(tmp_path / 'log').read_text()[-3000:]}"
    assert code == 0


async def test_a_bot_that_was_stopped_and_taken_over_from_completes_nothing_and_ends(
    tmp_path: Path, open_store: OpenStore
) -> None:
    store = open_store(tmp_path / "data")
    complaints, old_code, new_code = await play_takeover(tmp_path, store, "sound", seed=SEED, seconds=PATIENCE)
    assert complaints == []
    assert (old_code, new_code) == (1, 0)
    assert "took the journal of this account over" in (tmp_path / "log").read_text()


async def test_the_check_finds_a_bot_without_a_fence(tmp_path: Path, open_store: OpenStore) -> None:
    store = open_store(tmp_path / "data")
    complaints, _, _ = await play_takeover(tmp_path, store, "no_fence", seed=SEED, seconds=3)
    assert any(TAKEN in complaint for complaint in complaints)


@pytest.mark.parametrize(
    ("variant", "weak_point"),
    [("cursor_first", "after ingest"), ("no_dedupe", "after ingest"), ("fresh_ids", "after send")],
)
async def test_the_check_finds_what_is_broken_on_purpose(
    tmp_path: Path, open_store: OpenStore, variant: str, weak_point: str
) -> None:
    for attempt in range(4):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        store = open_store(folder / "data")
        plan = plan_of(Random(SEED + attempt), 12, [weak_point])
        complaints, _ = await play(folder, store, variant, plan, seed=SEED + attempt, seconds=3)
        if complaints:
            return
    pytest.fail(f"nobody noticed that the bot is broken: {variant}")
