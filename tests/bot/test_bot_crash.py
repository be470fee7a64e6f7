"""Bots that are killed while people talk to them: nothing is lost, nothing is said twice, order holds.

How often is in `ILINK_CRASH_KILLS`; a hundred and more take a minute.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest
from crash_bot import POINTS
from test_on_the_gateway import login_of

from ilink.storage.accounts import Accounts
from ilink.testing.gateway import LocalGateway
from ilink.testing.person import Person

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

KILLS = int(os.environ.get("ILINK_CRASH_KILLS", "40"))
SEED = int(os.environ.get("ILINK_CRASH_SEED", "1"))
PEOPLE = 5
KNOBS = {"poll.duplicate_rate": 0.2, "poll.hold_ms": 2000}


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
        """Wait for all answers; who reached the end of the allowance writes again."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not await self.is_done() and loop.time() < deadline:
            await asyncio.sleep(0.2)
            for person in self.people:
                if set(await self.answers(person)) < set(self.expected(person)) and self.random.random() < 0.2:
                    await self.say(person)

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


class Victim:
    """The process that forks bots."""

    def __init__(self, process: Process) -> None:
        self.process = process

    async def start(self, variant: str, point: str, count: int, seed: int) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{variant},{point},{count},{seed}\n".encode())
        return int((await self._line()).split()[1])

    async def end(self) -> int:
        return int((await self._line()).split()[1])

    async def end_within(self, seconds: float, pid: int) -> int:
        """Wait for the bot's end, and bring it about when the time is over."""
        end = asyncio.ensure_future(self.end())
        await asyncio.wait([end], timeout=seconds)
        if not end.done():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return await end

    async def _line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            return (await self.process.stdout.readline()).decode()


@asynccontextmanager
async def victim(folder: Path, base_url: str, log: Path) -> AsyncIterator[Victim]:
    with log.open("w") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("crash_bot.py")), str(folder), base_url,
            stdin=PIPE, stdout=PIPE, stderr=errors,
        )  # fmt: skip
        try:
            yield Victim(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()


async def play(
    tmp_path: Path, variant: str, *, kills: int, seed: int, seconds: float, points: tuple[str, ...] = POINTS
) -> tuple[list[str], int]:
    """Kill a bot again and again while people talk to it; return the complaints and how the last bot ended."""
    random = Random(seed)
    async with LocalGateway(knobs=KNOBS, seed=seed) as gateway:
        people = [await gateway.person(f"p{number}") for number in range(PEOPLE)]
        folder = tmp_path / "data"
        async with Accounts(folder) as accounts:
            await login_of(gateway, people[0], asyncio.Event())(accounts)
        talk = Talk(gateway, people, random)
        async with victim(folder, gateway.api_url, tmp_path / "log") as process:
            for number in range(kills):
                is_timed = random.random() < 0.4
                point = "never" if is_timed else random.choice(points)
                pid = await process.start(variant, point, random.randrange(1, 5), seed * 1000 + number)
                talking = asyncio.create_task(talk.go_on(random.randrange(4, 12)))
                code = await process.end_within(random.uniform(0.02, 0.3) if is_timed else 1.0, pid)
                assert code == -signal.SIGKILL, (tmp_path / "log").read_text()[-3000:]
                await talking
            pid = await process.start(variant, "never", 1, seed)
            await talk.wait_until_done(seconds=seconds)
            complaints = await talk.complaints()
            os.kill(pid, signal.SIGTERM)
            code = await process.end()
        return complaints + journal_complaints(folder, variant), code


def journal_complaints(folder: Path, variant: str) -> list[str]:
    """What the journal itself shows: an update completed twice would have its replies twice."""
    connection = sqlite3.connect(folder / "ilink.db")
    try:
        doubles = connection.execute(
            "SELECT json_extract(item, '$.text_item.text'), count(*) FROM outbox GROUP BY 1 HAVING count(*) > 1"
        ).fetchall()
        waiting = connection.execute("SELECT count(*) FROM inbox WHERE state = 0").fetchone()[0]
    finally:
        connection.close()
    return [f"journaled {count} times: {text}" for text, count in doubles] + (
        [f"{waiting} updates still wait"] if waiting and variant == "sound" else []
    )


async def test_a_bot_that_is_killed_again_and_again_answers_everything_once_in_order(tmp_path: Path) -> None:
    complaints, code = await play(tmp_path, "sound", kills=KILLS, seed=SEED, seconds=60)
    assert complaints == [], (tmp_path / "log").read_text()[-3000:]
    assert code == 0


@pytest.mark.parametrize(
    ("variant", "weak_point"),
    [("cursor_first", "after ingest"), ("no_dedupe", "after ingest"), ("fresh_ids", "after send")],
)
async def test_the_check_finds_what_is_broken_on_purpose(tmp_path: Path, variant: str, weak_point: str) -> None:
    for attempt in range(4):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        complaints, _ = await play(folder, variant, kills=12, seed=SEED + attempt, seconds=3, points=(weak_point,))
        if complaints:
            return
    pytest.fail(f"nobody noticed that the bot is broken: {variant}")
