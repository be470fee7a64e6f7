"""A bot that is killed in the middle of a form goes on with it; what is due while it is dead is done once."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from test_on_the_gateway import login_of

from ilink.storage.accounts_sqlite import SqliteAccounts
from ilink.testing.gateway import LocalGateway
from ilink.testing.person import Person

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]

PROGRAM = Path(__file__).with_name("killed_bot.py")


class Victim:
    """A bot's process that dies as often as it is told to."""

    def __init__(self, folder: Path, gateway: LocalGateway) -> None:
        self.folder = folder
        self.gateway = gateway
        self.process: Process | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), str(self.folder), self.gateway.api_url, stderr=DEVNULL
        )

    async def kill(self) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def die(self) -> None:
        """Be killed, and start again."""
        await self.kill()
        await self.start()

    @property
    def effects(self) -> list[str]:
        file = self.folder / "effects"
        return file.read_text().split() if file.exists() else []


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[tuple[LocalGateway, Person, Victim]]:
    async with LocalGateway(knobs={"poll.hold_ms": 500}) as gateway:
        alice = await gateway.person("alice")
        async with SqliteAccounts(folder) as accounts:
            await login_of(gateway, alice, asyncio.Event())(accounts)
        victim = Victim(folder, gateway)
        await victim.start()
        try:
            yield gateway, alice, victim
        finally:
            await victim.kill()


async def said(gateway: LocalGateway, person: Person) -> list[str]:
    assert person.bot_id is not None
    entries = await gateway.rules.transcript(person.bot_id, person.user_id)
    return [str(entry.items[0].text) for entry in entries if entry.direction == "out" and entry.state == "shown"]


WHOLE = ["order 6", "drink?\n1. tea\n2. coffee", "coffee noted", "cups?", "3 noted", "sure?", "3 coffee"]


async def test_a_form_goes_on_whenever_the_bot_is_killed(tmp_path: Path) -> None:
    async with stage(tmp_path) as (gateway, alice, victim):
        for text, answers in (("/order", WHOLE[:2]), ("coffee", WHOLE[2:4]), ("3", WHOLE[4:6]), ("好", WHOLE[6:])):
            await alice.says(text)
            for answer in answers:
                assert await alice.hears(timeout=30) == answer
            await victim.die()
        await alice.says("again")
        assert await alice.hears(timeout=30) == "planned"
        assert (await said(gateway, alice))[:7] == WHOLE
        assert victim.effects.count("brewed") == 1


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_kills_at_any_moment_lose_and_repeat_nothing(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    async with stage(tmp_path) as (gateway, alice, victim):
        for text, count in (("/order", 2), ("coffee", 2), ("3", 2), ("ok", 1)):
            await alice.says(text)
            await asyncio.sleep(random.random() * 0.4)
            await victim.die()
            for _ in range(count):
                await alice.hears(timeout=30)
        assert await said(gateway, alice) == WHOLE


async def test_what_is_due_while_the_bot_is_dead_is_done_once(tmp_path: Path) -> None:
    async with stage(tmp_path) as (gateway, alice, victim):
        await alice.says("the tea")
        assert await alice.hears(timeout=30) == "planned"
        await victim.kill()
        await asyncio.sleep(0.6)
        await victim.start()
        assert await alice.hears(timeout=30) == "remember the tea"
        await victim.die()
        await alice.says("the cake")
        assert await alice.hears(timeout=30) == "planned"
        assert await alice.hears(timeout=30) == "remember the cake"
        assert await said(gateway, alice) == ["planned", "remember the tea", "planned", "remember the cake"]
