"""Examples run as people run them, by `ilink run` in a process of their own, and killed in the middle."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from ilink import Account, AccountId, Client, Secret, UserId
from ilink.storage.accounts_sqlite import SqliteAccounts
from ilink.testing import LocalGateway, Person

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 40.0


class Program:
    """An example in a process of its own."""

    def __init__(self, name: str, folder: Path, gateway: LocalGateway) -> None:
        self.folder = folder
        self._command = [sys.executable, "-m", "ilink", "run", str(EXAMPLES / f"{name}.py")]
        self._environment = {**os.environ, "ILINK_DATA": str(folder / "data"), "ILINK_BASE_URL": gateway.api_url}
        self._process: Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, env=self._environment, cwd=self.folder, stderr=DEVNULL
        )

    async def kill(self) -> None:
        """Kill it, as `kill -9` and power cuts do."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    def time_passes(self, seconds: float) -> None:
        """Let what is planned be due so much earlier, as if it had been dead for so long."""
        with closing(sqlite3.connect(self.folder / "data" / "ilink.db")) as connection, connection:
            connection.execute("UPDATE jobs SET next_ms = next_ms - ?", (int(seconds * 1000),))


@asynccontextmanager
async def stage(name: str, folder: Path) -> AsyncIterator[tuple[Person, Program]]:
    """An example at work for alice."""
    async with LocalGateway(knobs={"poll.hold_ms": 500}) as gateway:
        alice = await gateway.person("alice")
        async with Client(base_url=gateway.api_url) as client:
            code = await client.get_qr_code()
            await alice.befriend(code.qrcode)
            report = await client.get_login_status(code.qrcode)
        async with SqliteAccounts(folder / "data") as accounts:
            await accounts.put(
                Account(
                    account_id=AccountId(report.account_id or ""),
                    token=Secret(report.token or ""),
                    base_url=gateway.api_url,
                    owner_id=UserId(report.owner_id or ""),
                )
            )
        program = Program(name, folder, gateway)
        await program.start()
        try:
            yield alice, program
        finally:
            await program.kill()


async def test_a_form_that_is_killed_after_every_question_goes_on(tmp_path: Path) -> None:
    async with stage("form", tmp_path) as (alice, program):
        for said, answer in (
            ("/order", "Hello! What is your name?"),
            ("Alice", "What would you like, Alice?\n1. Tea, 2 €\n2. Coffee, 3 €\n3. Cake, 4 €"),
            ("咖啡", None),
            ("coffee", "How many?"),
            ("两杯", "That is 6 €. All right?"),
            ("好的", "Order 502 is on its way. This is your visit number 1."),
        ):
            await alice.says(said)
            heard = await alice.hears(timeout=PATIENCE)
            assert answer in (None, heard)
            await program.kill()
            await program.start()
        await alice.says("/order")
        assert (await alice.hears(timeout=PATIENCE)).startswith("What would you like, Alice?")


async def test_what_is_due_while_it_is_dead_is_done_once(tmp_path: Path) -> None:
    async with stage("digest", tmp_path) as (alice, program):
        await alice.says("/remind 600 feed the cat")
        assert await alice.hears(timeout=PATIENCE) == "I will, in 600 minutes."
        await program.kill()
        program.time_passes(2 * 86_400)
        await program.start()
        heard = sorted([await alice.hears(timeout=PATIENCE) for _ in range(2)])
        assert heard == [
            "Good morning! Nothing happened, and it happened slowly.",
            "You wanted to be reminded: feed the cat",
        ]
        await program.kill()
        await program.start()
        await alice.says("/remind 5 sleep")
        assert await alice.hears(timeout=PATIENCE) == "I will, in 5 minutes."


async def test_an_approval_is_waited_for_across_kills(tmp_path: Path) -> None:
    async with stage("approvals", tmp_path) as (alice, program):
        for said, answer in (
            ("/deploy 1.2", "Where shall 1.2 go?\n1. test\n2. staging\n3. production"),
            ("prod", "Deploy 1.2 to production?"),
            ("同意", "1.2 is on production: build 5."),
        ):
            await alice.says(said)
            assert await alice.hears(timeout=PATIENCE) == answer
            await program.kill()
            await program.start()
