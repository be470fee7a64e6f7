"""Real processes in real trouble: stopped, without disk, behind a locked database, told to end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from test_on_the_gateway import login_of

from ilink.storage.accounts_sqlite import SqliteAccounts
from ilink.testing.gateway import LocalGateway
from ilink.testing.person import Person

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="stops processes, mounts disks"),
]

PROGRAM = """
import asyncio, sys
from pathlib import Path
import ilink.storage.sqlite
from ilink import Bot, Message, Policies
from ilink.flows.polling import Backoff

folder, url, stop_seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
haste = Backoff(first=0.05, ceiling=0.1, floor=0.0)
policies = Policies(handler_backoff=haste, send_backoff=haste, stop_seconds=stop_seconds)
bot = Bot(data=folder, base_url=url, policies=policies)
ilink.storage.sqlite._PATIENCE_MS = 100  # instead of five seconds

@bot.on_state
def tell_state(state):
    print("state", state, flush=True)

@bot.on_incident
def tell(incident):
    print("incident", type(incident).__name__, type(getattr(incident, "error", None)).__name__, flush=True)

@bot.on_text()
async def answer(message: Message) -> None:
    if message.text == "slow":
        print("handling", flush=True)
        while not (folder / "go").exists():
            await asyncio.sleep(0.01)
    await message.reply(f"re {message.text}")

bot.run()
"""


class Child:
    """A bot in a process of its own, and what it says."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def until(self, words: str, *, seconds: float = 45.0) -> str:
        """Wait until it says something that begins so; what it said before does not count."""
        assert self.process.stdout is not None
        async with asyncio.timeout(seconds):
            while line := (await self.process.stdout.readline()).decode():
                self.lines.append(line)
                if line.startswith(words):
                    return line
        raise AssertionError(f"the bot ended without saying {words!r}: {self.lines}")

    async def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(45):
            return await self.process.wait()


class House:
    """A gateway, a person, and bots on one data folder."""

    def __init__(self, gateway: LocalGateway, alice: Person, folder: Path) -> None:
        self.gateway = gateway
        self.alice = alice
        self.folder = folder
        self.errors = folder.parent.parent / "stderr"

    @asynccontextmanager
    async def bot(self, *, stop_seconds: float = 5.0) -> AsyncIterator[Child]:
        with self.errors.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", PROGRAM, str(self.folder), self.gateway.api_url, str(stop_seconds),
                stdout=PIPE, stderr=errors,
            )  # fmt: skip
        try:
            yield Child(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    def stderr(self) -> str:
        return self.errors.read_text()

    async def until_stored(self, count: int) -> None:
        """Wait until the journal knows that so many answers were accepted."""
        async with asyncio.timeout(20):
            with closing(sqlite3.connect(self.folder / "ilink.db")) as reader:
                while reader.execute("SELECT count(*) FROM outbox WHERE state = 1").fetchone()[0] < count:  # noqa: ASYNC110  # a row tells nobody
                    await asyncio.sleep(0.05)

    async def until_heard(self, text: str) -> None:
        """Wait until the bot has acknowledged what it was told, and waits for more."""
        assert self.alice.bot_id is not None
        state = None
        while state != "acked":
            entries = await self.gateway.rules.transcript(self.alice.bot_id, self.alice.user_id)
            (state,) = [entry.state for entry in entries if entry.items[0].text == text]
            await asyncio.sleep(0.01)
        await self.until_polls(1)

    async def until_polls(self, count: int) -> None:
        """Wait until so many polls of the bot are held."""
        assert self.alice.bot_id is not None
        while (await self.gateway.rules.bot(self.alice.bot_id)).waiting_polls != count:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.01)

    async def answers(self) -> list[str]:
        assert self.alice.bot_id is not None
        entries = await self.gateway.rules.transcript(self.alice.bot_id, self.alice.user_id)
        return [str(entry.items[0].text) for entry in entries if entry.direction == "out" and entry.state == "shown"]

    def calls(self, endpoint: str) -> int:
        return len(self.gateway.rules.wire_log(endpoint=endpoint))


@asynccontextmanager
async def house_in(folder: Path) -> AsyncIterator[House]:
    async with LocalGateway(knobs={"poll.hold_ms": 2000}) as gateway:
        alice = await gateway.person("alice")
        async with SqliteAccounts(folder) as accounts:
            await login_of(gateway, alice, asyncio.Event())(accounts)
        yield House(gateway, alice, folder)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_in(tmp_path / "bot" / "data") as house:
        yield house


async def test_sigterm_finishes_what_runs_says_goodbye_and_exits_with_0(house: House) -> None:
    async with house.bot() as bot:
        await bot.until("state active")
        await house.alice.says("slow")
        await bot.until("handling")
        await house.gateway.rules.configure(knobs={"poll.hold_ms": 60_000})
        await house.alice.says("next time")
        await house.until_heard("next time")
        bot.process.send_signal(signal.SIGTERM)
        await house.until_polls(0)
        (house.folder / "go").touch()
        assert await asyncio.wait_for(bot.process.wait(), 45) == 0
        polls = house.calls("getupdates")
    assert await house.answers() == ["re slow"]
    assert house.calls("notifystop") == 1
    assert house.calls("getupdates") == polls
    async with house.bot() as bot:
        await bot.until("state active")
        assert await house.alice.hears() == "re slow"
        assert await house.alice.hears() == "re next time"
        assert await bot.end(signal.SIGINT) == 0


async def test_a_handler_beyond_the_deadline_is_cut_off_and_its_message_kept(house: House) -> None:
    async with house.bot(stop_seconds=0.2) as bot:
        await bot.until("state active")
        await house.alice.says("slow")
        await bot.until("handling")
        assert await bot.end(signal.SIGTERM) == 0
    assert await house.answers() == []
    (house.folder / "go").touch()
    async with house.bot() as bot:
        assert await house.alice.hears() == "re slow"
        assert await bot.end(signal.SIGTERM) == 0


async def test_a_stopped_process_keeps_its_account_and_goes_on_where_it_was(house: House) -> None:
    (house.folder / "go").touch()
    async with house.bot() as bot:
        await bot.until("state active")
        await house.alice.says("one")
        assert await house.alice.hears() == "re one"
        await house.until_stored(1)  # one that is stopped while it writes keeps everybody out of the database
        bot.process.send_signal(signal.SIGSTOP)
        await house.alice.says("two")
        async with house.bot() as other:
            assert await asyncio.wait_for(other.process.wait(), 45) == 1
        assert f"in use by pid {bot.process.pid}" in house.stderr()
        bot.process.send_signal(signal.SIGCONT)
        assert await house.alice.hears() == "re two"
        assert await bot.end(signal.SIGTERM) == 0


@pytest.mark.skipif(not os.environ.get("ILINK_LONG_TESTS"), reason="stands still for longer than a poll is held")
async def test_a_process_that_stood_still_for_long_tells_so_and_polls_anew(house: House) -> None:
    async with house.bot() as bot:
        await house.alice.says("one")
        assert await house.alice.hears() == "re one"
        bot.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(17)
        await house.alice.says("two")
        bot.process.send_signal(signal.SIGCONT)
        await bot.until("incident ProcessStalled")
        assert await house.alice.hears() == "re two"


async def test_a_database_that_another_process_locks_delays_answers_and_loses_none(house: House) -> None:
    async with house.bot() as bot:
        await bot.until("state active")
        await house.alice.says("one")
        assert await house.alice.hears() == "re one"
        with closing(sqlite3.connect(house.folder / "ilink.db", isolation_level=None)) as rude:
            rude.execute("BEGIN IMMEDIATE")
            for text in ("two", "three"):
                await house.alice.says(text)
            assert "StoreLockedError" in await bot.until("incident StoreFailed")
            polls = house.calls("getupdates")
            await asyncio.sleep(0.3)
            assert house.calls("getupdates") == polls  # nothing is polled that could not be stored
            assert await house.answers() == ["re one"]
            rude.execute("ROLLBACK")
        await bot.until("incident StoreRecovered")
        assert [await house.alice.hears(), await house.alice.hears()] == ["re two", "re three"]
        assert await bot.end(signal.SIGTERM) == 0


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes, if this machine lets us have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root mounts disks")
    mounted = subprocess.run([mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_delays_answers_and_loses_none(tiny_disk: Path) -> None:
    async with house_in(tiny_disk / "data") as house, house.bot() as bot:
        await bot.until("state active")
        await house.alice.says("one")
        assert await house.alice.hears() == "re one"
        filler = tiny_disk / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 512):
                    pass
            except OSError:
                pass
        said = [f"{number} {'long ' * 200}".strip() for number in range(8)]
        for text in said:
            await house.alice.says(text)
        await bot.until("incident StoreFailed StoreError")
        heard = await house.answers()
        filler.unlink()
        await bot.until("incident StoreRecovered")
        while len(heard) < 9:
            await house.alice.hears()
            heard = await house.answers()
        assert heard == ["re one", *(f"re {text}" for text in said)]
        assert await bot.end(signal.SIGTERM) == 0
