"""Plain functions as handlers, with a real gateway."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ilink import ConfigError, Policies
from ilink.sync import Bot, Context, FileMessage, ImageMessage, Message, Next, Router, TextMessage

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc000000301010018dd8d"
    "b00000000049454e44ae426082"
)
Make = Callable[..., Bot]


async def test_a_plain_handler_answers_from_its_own_thread(around, make_bot: Make) -> None:
    bot = make_bot()
    threads: list[str] = []

    @bot.on_text()
    def echo(message: TextMessage) -> None:
        threads.append(threading.current_thread().name)
        with message.typing():
            message.reply(f"You said: {message.text}")

    async with around.running(bot):
        await around.alice.says("hi")
        assert await around.alice.hears() == "You said: hi"
    assert threads == ["ilink handler"]


async def test_a_blocking_handler_keeps_nobody_else_waiting(around, make_bot: Make) -> None:
    bot = make_bot(allow="anyone")
    may_go_on = threading.Event()
    bob = await around.gateway.person("bob")

    @bot.on_text()
    def slow(message: TextMessage) -> None:
        if message.text == "slow":
            may_go_on.wait()
        message.reply(message.text)

    async with around.running(bot):
        await around.alice.says("slow")
        await bob.says("quick", bot_id=around.alice.bot_id)
        assert await bob.hears(bot_id=around.alice.bot_id) == "quick"
        may_go_on.set()
        assert await around.alice.hears() == "slow"


async def test_files_come_and_go(around, make_bot: Make, tmp_path: Path) -> None:
    bot = make_bot()
    streamed: list[bytes] = []

    @bot.on_image()
    def picture(message: ImageMessage) -> None:
        with message.image.stream() as pieces:
            streamed.extend(pieces)
        saved = message.image.save(tmp_path / "picture.png")
        message.reply_media(message.image.read(), name="back.png", caption=f"{saved.size} bytes")

    async with around.running(bot):
        await around.sends_picture(PNG)
        assert await around.alice.hears() == f"{len(PNG)} bytes"
        assert (await around.pictures_shown(1)) == [PNG]
    assert b"".join(streamed) == (tmp_path / "picture.png").read_bytes() == PNG


async def test_questions_commands_middleware_and_dependencies_are_plain_too(around, make_bot: Make) -> None:
    bot = make_bot()
    shop = Router(name="shop")
    seen: list[str] = []

    @dataclass
    class Price:
        cents: int

    @bot.provide()
    def price() -> Price:
        return Price(250)

    @bot.middleware
    def noted(invocation, call_next: Next) -> None:
        seen.append(f"before {invocation.message.text}")
        call_next()
        seen.append(f"after {invocation.message.text}")

    @shop.on_command("order")
    def order(message: TextMessage, what: str, ctx: Context, price: Price, bot: Bot) -> None:
        assert isinstance(bot, Bot)
        count = ctx.ask("How many?", int)
        message.reply(f"{count} {what} for {count * price.cents} cents")

    @shop.on_error(ZeroDivisionError)
    def failed(error: ZeroDivisionError, message: Message) -> None:
        message.reply(f"no: {error}")

    @shop.on_text()
    def divide(message: TextMessage) -> None:
        1 / 0  # noqa: B018

    bot.include(shop)
    async with around.running(bot):
        await around.alice.says("/order tea")
        assert await around.alice.hears() == "How many?"
        await around.alice.says("3")
        assert await around.alice.hears() == "3 tea for 750 cents"
        await around.alice.says("what else?")
        assert await around.alice.hears() == "no: division by zero"
    assert "before /order tea" in seen
    assert seen[-1] == "before what else?"


async def test_a_stream_may_be_a_plain_generator(around, make_bot: Make) -> None:
    bot = make_bot()

    @bot.on_text()
    def think(message: TextMessage) -> None:
        message.reply_stream(word for word in ("one ", "two ", "three"))

    async with around.running(bot):
        await around.alice.says("count")
        assert await around.alice.hears() == "one two three"


async def test_anybody_may_send_while_it_runs_and_when_it_does_not(around, make_bot: Make) -> None:
    bot = make_bot()
    bot.on_text()(lambda message: None)
    user = around.alice.user_id
    async with around.running(bot):
        await around.alice.says("hi")
        receipt = await asyncio.to_thread(bot.send, user, "from a thread", wait=10)
        assert await around.alice.hears() == "from a thread"
        assert (await asyncio.to_thread(bot.outbox.receipt, receipt.client_id)) == receipt
        assert (await asyncio.to_thread(bot.can_send, user)).left
        while (await asyncio.to_thread(bot.counts)).waiting:  # noqa: ASYNC110  # only the journal knows
            await asyncio.sleep(0.01)
    await asyncio.to_thread(bot.send, user, "from nowhere", wait=10)
    assert await around.alice.hears() == "from nowhere"
    with pytest.raises(ConfigError, match="not running"):
        bot.counts()


async def test_a_handler_whose_time_is_over_can_say_nothing_more(around, make_bot: Make) -> None:
    bot = make_bot(policies=Policies(handler_seconds=0.2, attempts=1))
    may_go_on, ended = threading.Event(), threading.Event()
    raised: list[BaseException] = []

    @bot.on_dead_letter
    def note(letter, error) -> None:
        may_go_on.set()

    @bot.on_text()
    def slow(message: TextMessage) -> None:
        may_go_on.wait(0.5)
        try:
            message.reply("too late")
        except asyncio.CancelledError as error:
            raised.append(error)
            ended.set()
            raise

    async with around.running(bot):
        await around.alice.says("hi")
        assert await asyncio.to_thread(ended.wait, 10)
    assert len(raised) == 1


async def test_jobs_are_plain_functions(around, make_bot: Make) -> None:
    bot = make_bot()

    @bot.on_text()
    def plan(message: TextMessage) -> None:
        assert bot.schedule("remind", in_=0, data=message.text, key=message.key)

    @bot.job()
    def remind(job) -> None:
        job.send(f"do not forget: {job.data}")

    async with around.running(bot):
        await around.alice.says("the tea")
        assert await around.alice.hears() == "do not forget: the tea"


async def test_what_came_while_it_was_down_is_handled_together(around, make_bot: Make) -> None:
    bot = make_bot(policies=Policies(backlog="summarise", backlog_seconds=0.0))
    bot.on_text()(lambda message: None)

    @bot.on_backlog
    def summary(messages: list[Message]) -> None:
        messages[-1].reply(" ".join(message.text for message in messages))

    await around.alice.says("one")
    await around.alice.says("two")
    async with around.running(bot):
        assert await around.alice.hears() == "one two"


def test_coroutine_functions_are_refused_with_their_place(tmp_path: Path) -> None:
    bot = Bot(data=tmp_path)

    async def wrong(message: TextMessage) -> None: ...

    with pytest.raises(ConfigError, match=r"test_sync_bot\.py:\d+ .*wrong: this handler is an `async def` function"):
        bot.on_text()(wrong)


def test_wrong_handlers_are_refused_as_asynchronous_ones_are(tmp_path: Path) -> None:
    bot = Bot(data=tmp_path)

    @bot.on_file()
    def lost(message: FileMessage, what: Path) -> None: ...

    with pytest.raises(ConfigError, match="what"):
        bot.check()
    with pytest.raises(ConfigError, match="at least 1"):
        Bot(data=tmp_path, threads=0)
