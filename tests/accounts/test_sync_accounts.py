"""Several accounts in a program of plain functions: each is as if it were alone, whatever thread speaks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from accounts_house import Street, account_of, works
from bot_house import FAST, Server

from ilink import ConfigError, State
from ilink.sync import Bot, Context, Job, Message

NAMES = ("a", "b")


@dataclass
class Diary:
    entries: str = ""


@pytest.fixture
async def home(tmp_path: Path) -> Street:
    street = Street(tmp_path)
    for name in NAMES:
        await street.sign_in(name)
    return street


def bot_of(home: Street, **options: Any) -> Bot:
    options = {"accounts": "all", "policies": FAST, "allow": "anyone", "environ": home.environ, **options}
    return Bot(data=home.data, open_client=home.open, clock=home.clock, **options)


@asynccontextmanager
async def serving(home: Street, bot: Bot, *names: str) -> AsyncIterator[None]:
    """Serve in this loop, whose handlers run in threads: `serve` of the twin would need a loop of its own."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(bot._bot.serve())
        try:
            await home.until(lambda: task.done() or all(works(bot._bot, name) for name in names))
            yield
        finally:
            bot._bot.stop()
            await asyncio.wait([task])


async def heard(server: Server, count: int) -> list[str]:
    await server.until(lambda: len(server.heard("mia")) >= count)
    return server.heard("mia")


async def test_states_questions_and_what_is_done_once_are_of_one(home: Street) -> None:
    bot = bot_of(home)
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name

    @bot.on_command("order")
    def order(message: Message, ctx: Context) -> None:
        drawn = ctx.once("draw", lambda: make(message.account))
        message.reply(f"{ctx.ask('What?')} of {drawn}")

    @bot.on_text()
    def write(message: Message, diary: State[Diary]) -> None:
        diary.value.entries += message.text
        message.reply(diary.value.entries)

    async with serving(home, bot, *NAMES):
        a, b = map(home.server, NAMES)
        for server, words in ((a, "one"), (b, "two")):
            server.says("mia", words)
            assert await heard(server, 1) == [words]
            server.says("mia", "/order")
            assert (await heard(server, 2))[1] == "What?"
        for server, words in ((a, "tea"), (b, "coffee")):
            server.says("mia", words)
            await heard(server, 3)
            server.says("mia", ".")
            await heard(server, 4)
    assert a.heard("mia")[2:] == ["tea of a@im.bot", "one."]
    assert b.heard("mia")[2:] == ["coffee of b@im.bot", "two."]
    assert sorted(made) == ["a@im.bot", "b@im.bot"]


async def test_a_handler_plans_and_speaks_for_the_account_it_works_for(home: Street) -> None:
    bot = bot_of(home)

    @bot.on_text()
    def plan(message: Message) -> None:
        bot.schedule("remind", in_=0.0, data=message.account, key="same")
        bot.send("mia", f"by the way, of {message.account}")
        assert bot.can_send("mia").can_send

    @bot.job()
    def remind(job: Job) -> None:
        assert job.account == job.data
        bot.send("mia", f"remember, of {job.account}")

    async with serving(home, bot, *NAMES):
        for name in NAMES:
            home.server(name).says("mia", "plan")
        for name in NAMES:
            assert sorted(await heard(home.server(name), 2)) == [
                f"by the way, of {name}@im.bot",
                f"remember, of {name}@im.bot",
            ]


async def test_another_thread_has_to_say_which_account_is_meant(home: Street) -> None:
    bot = bot_of(home)
    met = threading.Event()

    @bot.on_text()
    def meet(message: Message) -> None:
        met.set()

    async with serving(home, bot, *NAMES):
        a, b = map(home.server, NAMES)
        for server in (a, b):
            met.clear()
            server.says("mia", "hello")
            assert await asyncio.to_thread(met.wait, 10)
        with pytest.raises(ConfigError, match="2 accounts know mia: say which is meant with account="):
            await asyncio.to_thread(bot.send, "mia", "who?")
        with pytest.raises(ConfigError, match="say with account= which of these is"):
            await asyncio.to_thread(bot.unschedule, "remind", key="same")
        await asyncio.to_thread(lambda: bot.send("mia", "from b", account="b@im.bot"))
        assert await heard(b, 1) == ["from b"]
    assert a.sent == []


async def test_accounts_come_and_go_while_it_runs(home: Street) -> None:
    bot = bot_of(home)
    told: list[tuple[str, str]] = []

    @bot.on_state
    def note(state: object, account: str) -> None:
        told.append((account, str(state)))

    @bot.on_command("leave")
    def leave(message: Message) -> None:
        message.reply("bye")
        assert bot.remove_account(message.account)

    @bot.on_text()
    def echo(message: Message) -> None:
        message.reply(f"{message.account}: {message.text}")

    async with serving(home, bot, *NAMES):
        await asyncio.to_thread(bot.add_account, account_of("c"))
        await home.until(lambda: works(bot._bot, "c"))
        home.server("b").says("mia", "/leave")
        await home.until(lambda: not works(bot._bot, "b"))
        assert home.server("b").heard("mia") == ["bye"]
        home.server("c").says("mia", "hi")
        assert await heard(home.server("c"), 1) == ["c@im.bot: hi"]
        assert set(bot.states) == {"a@im.bot", "c@im.bot"}
    assert ("c@im.bot", "active") in told


async def test_it_is_served_in_a_thread_of_its_own_as_a_plain_program_does(home: Street) -> None:
    bot = bot_of(home)

    @bot.on_text()
    def echo(message: Message) -> None:
        message.reply(f"{message.account}: {message.text}")

    for name in NAMES:
        home.server(name).says("mia", "hi")
    program = asyncio.create_task(asyncio.to_thread(bot.serve))
    try:
        await home.until(lambda: all(home.server(name).heard("mia") for name in NAMES) or program.done())
    finally:
        await asyncio.to_thread(bot.stop)
        await program
    assert [home.server(name).heard("mia") for name in NAMES] == [["a@im.bot: hi"], ["b@im.bot: hi"]]
