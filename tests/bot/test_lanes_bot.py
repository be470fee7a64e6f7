"""Lane policies as a bot's author meets them: on decorators, in messages, in settings and hooks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from bot_house import FAST, Server, running

from ilink import Bot, ConfigError, ImageMessage, Message, TextMessage
from ilink.bot import Context, Incident, LaneParked, LanePolicy
from ilink.messages.incoming import read_message, read_update

Make = Callable[..., Bot]

PICTURE = {"type": 2, "image_item": {"aeskey": "00"}}
ALBUM = LanePolicy(mode="merge", merge_seconds=0.05, merge_most_messages=3)


async def test_an_album_reaches_its_handler_as_one(server: Server, make_bot: Make) -> None:
    bot = make_bot()
    albums: list[tuple[Message, ...]] = []

    @bot.on_image(policy=ALBUM)
    async def album(message: ImageMessage) -> None:
        albums.append(message.merged)
        await message.reply(f"{len(message.merged)} pictures")

    async with running(bot):
        for _ in range(3):
            server.says("a", "", item_list=[PICTURE])
        server.says("b", "", item_list=[PICTURE])
        await server.until(lambda: len(server.sent) == 2)
    assert server.heard("a") == ["3 pictures"]
    assert server.heard("b") == ["1 pictures"]
    (three,) = [album for album in albums if len(album) == 3]
    assert all(isinstance(message, ImageMessage) for message in three)
    assert [message.sequence for message in three] == sorted(message.sequence for message in three)


async def test_text_and_pictures_are_merged_if_their_handlers_share_a_policy(server: Server, make_bot: Make) -> None:
    bot = make_bot()
    share = LanePolicy(mode="merge", merge_seconds=30.0, merge_most_messages=2)

    @bot.on_image(policy=share)
    async def picture(message: ImageMessage) -> None:
        await message.reply("a picture")

    @bot.on_text(policy=share)
    async def words(message: TextMessage) -> None:
        await message.reply(" + ".join(type(one).__name__ for one in message.merged))

    async with running(bot):
        server.says("a", "", item_list=[PICTURE])
        server.says("a", "what is this?")
        await server.until(lambda: len(server.sent) == 1)
    assert server.heard("a") == ["ImageMessage + TextMessage"]


async def test_a_handler_that_asks_about_an_album_sees_all_of_it_after_each_answer(
    server: Server, make_bot: Make
) -> None:
    bot = make_bot()
    seen: list[tuple[str, ...]] = []
    share = LanePolicy(mode="merge", merge_seconds=30.0, merge_most_messages=3)

    @bot.on_image(policy=share)
    async def picture(message: ImageMessage) -> None:
        await message.reply("only a picture")

    @bot.on_text(policy=share)
    async def album(message: TextMessage, ctx: Context) -> None:
        seen.append((message.text, *(str(one.id) for one in message.merged)))
        title = await ctx.ask("Which title?")
        place = await ctx.ask("Which place?")
        await message.reply(f"{len(message.merged)}: {title}, {place}")

    async with running(bot):
        server.says("a", "", item_list=[PICTURE])
        server.says("a", "", item_list=[PICTURE])
        server.says("a", "put these into an album")
        for answers, text in enumerate(("Spring", "Kyoto"), start=1):
            await server.until(lambda answers=answers: len(server.sent) == answers)  # type: ignore[misc]
            server.says("a", text)
        await server.until(lambda: len(server.sent) == 3)
    assert server.heard("a")[-1] == "3: Spring, Kyoto"
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert len(seen[0]) == 4


async def test_what_is_said_while_a_handler_comes_to_its_question_is_its_answer_and_not_merged(
    server: Server, make_bot: Make
) -> None:
    bot = make_bot()
    began, go_on = asyncio.Event(), asyncio.Event()

    @bot.on_text(policy=LanePolicy(mode="merge", merge_seconds=0.05, merge_most_messages=2))
    async def order(message: TextMessage, ctx: Context) -> None:
        began.set()
        await go_on.wait()
        size = await ctx.ask("Which size?")
        colour = await ctx.ask("Which colour?")
        await message.reply(f"{message.text}: {size}, {colour}")

    async with running(bot):
        server.says("a", "shirt")
        await began.wait()
        for text in ("large", "red"):
            server.says("a", text)
        await server.until(lambda: len(server.polls) == 3)  # what the second one brought is stored
        go_on.set()
        await server.until(lambda: len(server.sent) == 3)
    assert server.heard("a")[-1] == "shirt: large, red"


async def test_a_message_that_was_not_merged_is_alone(server: Server) -> None:
    raw = server.says("a", "hi")
    wire = read_update(raw)
    assert wire is not None
    message = read_message(raw, wire, account="bot")  # type: ignore[arg-type]
    assert message.merged == (message,)
    with pytest.raises(ConfigError, match="time limit"):
        message.extend(5)


async def test_a_newer_question_replaces_the_one_that_is_being_answered(server: Server, make_bot: Make) -> None:
    bot = make_bot()
    began = asyncio.Event()

    @bot.on_text(policy=LanePolicy(mode="restart"))
    async def answer(message: TextMessage) -> None:
        await message.reply(f"thinking about {message.text}")
        if message.text == "old":
            began.set()
            await asyncio.Event().wait()

    async with running(bot):
        server.says("a", "old")
        await began.wait()
        server.says("a", "new")
        await server.until(lambda: len(server.sent) == 1)
    assert server.heard("a") == ["thinking about new"]


async def test_stop_overtakes_and_cancels(server: Server, make_bot: Make) -> None:
    bot = make_bot()
    began = asyncio.Event()

    @bot.on_command("stop", policy=LanePolicy(overtakes=True, cancels_running=True))
    async def stop(message: TextMessage) -> None:
        await message.reply("stopped")

    @bot.on_text()
    async def work(message: TextMessage) -> None:
        if message.text == "work":
            began.set()
            await asyncio.Event().wait()
        await message.reply(f"re {message.text}")

    async with running(bot):
        server.says("a", "work")
        server.says("a", "next")
        await began.wait()
        server.says("a", "/stop")
        await server.until(lambda: len(server.sent) == 2)
    assert sorted(server.heard("a")) == ["re next", "stopped"]


class TestTime:
    async def test_a_policy_says_how_long_its_handler_may_take(self, server: Server, make_bot: Make) -> None:
        bot = make_bot()
        attempts: list[int] = []

        @bot.on_text(policy=LanePolicy(seconds=0.01))
        async def answer(message: TextMessage) -> None:
            attempts.append(message.attempt)
            if message.attempt == 1:
                await asyncio.Event().wait()
            await message.reply("second try")

        async with running(bot):
            server.says("a", "hi")
            await server.until(lambda: server.heard("a") == ["second try"])
        assert attempts == [1, 2]

    async def test_a_handler_that_gets_on_takes_longer(self, server: Server, make_bot: Make) -> None:
        bot = make_bot()

        @bot.on_text(policy=LanePolicy(seconds=0.1))
        async def answer(message: TextMessage) -> None:
            for _ in range(4):
                message.extend(30)
                await asyncio.sleep(0.05)
            await message.reply(f"attempt {message.attempt}")

        async with running(bot):
            server.says("a", "hi")
            await server.until(lambda: len(server.sent) == 1)
        assert server.heard("a") == ["attempt 1"]

    async def test_extending_never_shortens(self, server: Server, make_bot: Make) -> None:
        bot = make_bot(policies=replace(FAST, handler_seconds=60.0))

        @bot.on_text()
        async def answer(message: TextMessage) -> None:
            message.extend(0.001)
            await asyncio.sleep(0.02)
            await message.reply(f"attempt {message.attempt}")

        async with running(bot):
            server.says("a", "hi")
            await server.until(lambda: len(server.sent) == 1)
        assert server.heard("a") == ["attempt 1"]


async def test_a_parked_conversation_is_told_of_counted_and_freed(server: Server, make_bot: Make) -> None:
    bot = make_bot(policies=replace(FAST, on_failure="park", attempts=2))
    incidents: list[Incident] = []
    bot.on_incident(lambda incident: incidents.append(incident) or server.change())

    @bot.on_text()
    async def answer(message: TextMessage) -> None:
        if message.text.startswith("poison") and not is_healed:
            raise ValueError("cannot take this")
        await message.reply(message.text)

    is_healed = False
    async with running(bot):
        server.says("a", "poison")
        server.says("b", "poison too")
        server.says("a", "after")
        server.says("b", "after")
        await server.until(lambda: len(incidents) == 2)
        parked = {one.conversation: one for one in incidents if isinstance(one, LaneParked)}
        assert "cannot take this" in parked["u:a"].error
        assert (await bot.counts()).parked == 2
        is_healed = True
        assert await bot.replay(parked["u:a"].sequence)
        assert await bot.drop(parked["u:b"].sequence)
        await server.until(lambda: len(server.sent) == 3)
        assert (await bot.counts()).parked == 0
        assert not await bot.replay(4711)
        assert not await bot.drop(4711)
    assert server.heard("a") == ["poison", "after"]
    assert server.heard("b") == ["after"]


async def test_an_answer_to_a_question_goes_to_its_handler_at_once(server: Server, make_bot: Make) -> None:
    bot = make_bot()

    @bot.on_text(policy=ALBUM)
    async def order(message: TextMessage, context: Context) -> None:
        colour = await context.ask("Which colour?")
        await message.reply(f"{colour}, then")

    async with running(bot):
        for number in range(3):
            server.says("a", f"order {number}")
        await server.until(lambda: len(server.sent) == 1)
        server.says("a", "red")
        await server.until(lambda: len(server.sent) == 2)
    assert server.heard("a")[1] == "red, then"
