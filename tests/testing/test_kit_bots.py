"""The testing kit's bots and people: a bot under test as its author runs it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ilink import Bot, Context, FileMessage, ImageMessage, Message, SessionState, TextMessage, VoiceMessage
from ilink.errors import ConfigError
from ilink.testing import LocalGateway

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f6"
    "45400000000049454e44ae426082"
)


@pytest.fixture
def my_bot() -> Bot:
    bot = Bot()

    @bot.on_text()
    async def echo(message: Message) -> None:
        await message.reply(f"You said: {message.text}")

    return bot


async def test_greets(ilink_gateway, my_bot):
    alice = await ilink_gateway.person("alice")
    await alice.befriend(my_bot)  # scans the bot's QR and confirms
    await alice.says("hi")
    assert await alice.hears() == "You said: hi"
    await ilink_gateway.fault("sendmessage", ret=-2, errmsg="prepare failed", times=1)
    await ilink_gateway.clock.advance(hours=25)


async def test_a_poll_and_a_day_take_a_moment(ilink_gateway: LocalGateway, my_bot: Bot) -> None:
    alice = await ilink_gateway.person("alice")
    bot_id = await alice.befriend(my_bot)
    await alice.says("hi")
    assert await alice.hears() == "You said: hi"
    started = time.perf_counter()
    polls = len(ilink_gateway.rules.wire_log(endpoint="getupdates", limit=10_000))
    await ilink_gateway.clock.advance(seconds=35)
    async for _ in ilink_gateway.rules.events.follow(0):
        if len(ilink_gateway.rules.wire_log(endpoint="getupdates", limit=10_000)) > polls:
            break
    await ilink_gateway.clock.advance(hours=24)
    assert not (await ilink_gateway.rules.mailbox(bot_id)).windows[0].is_open
    await alice.says("still there?")
    assert await alice.hears() == "You said: still there?"
    assert time.perf_counter() - started < 35  # what the poll alone takes where time is real


async def test_a_bot_stopped_and_started_goes_on_where_it_was(ilink_gateway: LocalGateway) -> None:
    bot = Bot()

    @bot.on_command("count")
    async def count(message: TextMessage, ctx: Context) -> None:
        name = await ctx.ask("What is your name?")
        await message.reply(f"Hello {name}")

    alice = await ilink_gateway.person("alice")
    await alice.befriend(bot)
    await alice.says("/count")
    assert await alice.hears() == "What is your name?"
    await ilink_gateway.start(bot).stop()
    await alice.says("Alice")
    ilink_gateway.start(bot)
    assert await alice.hears() == "Hello Alice"


async def test_hours_are_skipped_until_something_is_heard(ilink_gateway: LocalGateway) -> None:
    bot = Bot()

    @bot.job()
    async def remind(job) -> None:
        await job.send(f"Remember: {job.data}")

    @bot.on_text()
    async def plan(message: TextMessage) -> None:
        await bot.schedule("remind", in_=3 * 3600, data=message.text)
        await message.reply("I will.")

    alice = await ilink_gateway.person("alice")
    await alice.befriend(bot)
    await alice.says("tea")
    assert await alice.hears() == "I will."
    await alice.hears_nothing(within=3600)
    assert await alice.hears(within=4 * 3600) == "Remember: tea"
    with pytest.raises(AssertionError, match=r"heard nothing .* 60 s of the gateway's time; the chat: \['in: tea'"):
        await alice.hears(within=60)
    await alice.says("cake")
    with pytest.raises(AssertionError, match=r"was to hear nothing .* 'I will.'"):
        await alice.hears_nothing()


async def test_a_send_that_was_refused_is_not_heard(ilink_gateway: LocalGateway, my_bot: Bot) -> None:
    alice = await ilink_gateway.person("alice")
    await alice.befriend(my_bot)
    ilink_gateway.fault("sendmessage", ret=-2, errmsg="rate limited", times=1)
    await alice.says("hi")
    heard = await alice.receives(within=120)
    assert (heard.text, heard.entry.state) == ("You said: hi", "shown")


async def test_files_and_quotes_of_every_kind_arrive(ilink_gateway: LocalGateway, tmp_path: Path) -> None:
    bot = Bot()

    @bot.on_image()
    async def picture(message: ImageMessage) -> None:
        await message.reply_media(await message.image.read(), name="back.png")

    @bot.on_voice()
    async def voice(message: VoiceMessage) -> None:
        await message.reply(f"heard: {message.text}")

    @bot.on_file()
    async def file(message: FileMessage) -> None:
        await message.reply_media(await message.file.read(), name=f"copy of {message.file.name}")

    @bot.on_video()
    async def video(message: Message) -> None:
        await message.reply(f"saw {len(await message.media.read())} bytes")

    @bot.on_quote()
    async def quote(message: Message) -> None:
        assert message.quote is not None
        await message.reply(f"about {message.quote.text!r}")

    alice = await ilink_gateway.person("alice")
    await alice.befriend(bot)
    await alice.sends_image(PNG)
    picture_back = await alice.receives()
    assert await picture_back.read() == PNG
    await alice.sends_voice(b"\x02#!SILK_V3" + bytes(20), transcript="hello")
    assert await alice.hears() == "heard: hello"
    path = tmp_path / "notes.txt"
    path.write_bytes(b"some notes " * 50_000)
    await alice.sends_file(path)
    copy = await alice.receives()
    assert (copy.file_name, await copy.read()) == ("copy of notes.txt", path.read_bytes())
    await alice.sends_video(b"\0\0\0 ftypisom" + bytes(100))
    text = await alice.receives()
    assert text.text == "saw 112 bytes"
    await alice.quotes(text, "really?")
    assert await alice.hears() == "about 'saw 112 bytes'"
    await alice.quotes(text, "really?", partial="112")
    assert await alice.hears() == "about '112'"
    with pytest.raises(AssertionError, match="carries no file"):
        await text.read()


async def test_two_people_and_two_bots_on_one_gateway(ilink_gateway: LocalGateway) -> None:
    bots = {}
    for name in ("shop", "kitchen"):
        bots[name] = Bot(allow="anyone")

        @bots[name].on_text()
        async def answer(message: TextMessage, name: str = name) -> None:
            await message.reply(f"{name}: {message.text}")

    alice, bob = await ilink_gateway.person("alice"), await ilink_gateway.person("bob")
    shop = await alice.befriend(bots["shop"])
    kitchen = await bob.befriend(bots["kitchen"])
    assert await alice.befriend(bots["kitchen"]) == kitchen
    await bob.says("one")
    await alice.says("two")
    await alice.says("three", bot_id=shop)
    assert [await bob.hears(), await alice.hears()] == ["kitchen: one", "kitchen: two"]
    assert await alice.hears(bot_id=shop) == "shop: three"


async def test_a_phone_that_asks_for_digits_is_read(ilink_gateway: LocalGateway, my_bot: Bot) -> None:
    await ilink_gateway.rules.configure(knobs={"qr.require_code": True})
    alice = await ilink_gateway.person("alice")
    await alice.befriend(my_bot)
    await alice.says("hi")
    assert await alice.hears() == "You said: hi"


async def test_what_a_bot_ends_with_is_raised_where_it_is_waited_for(ilink_gateway: LocalGateway) -> None:
    alice = await ilink_gateway.person("alice")
    with pytest.raises(ConfigError, match="the bot has no handler"):
        await alice.befriend(Bot())


async def test_a_bot_that_dies_is_not_waited_for(ilink_gateway: LocalGateway, my_bot: Bot) -> None:
    @my_bot.on_state
    def die(state: SessionState) -> None:
        if state is SessionState.EXPIRED:
            raise ZeroDivisionError

    alice = await ilink_gateway.person("alice")
    bot_id = await alice.befriend(my_bot)
    await alice.says("hi")
    await alice.hears()
    await ilink_gateway.rules.expire_bot(bot_id)
    with pytest.raises(ZeroDivisionError):
        await alice.hears()


async def test_the_same_bot_serves_the_next_test_with_everything_as_it_was(my_bot: Bot) -> None:
    for _ in range(2):
        async with LocalGateway() as gateway:
            alice = await gateway.person("alice")
            await alice.befriend(my_bot)
            await alice.says("hi")
            assert await alice.hears() == "You said: hi"
            with (
                pytest.raises(ConfigError, match="stop it before it is moved"),
                my_bot.relocated(base_url="http://x", data=Path("/nowhere")),
            ):
                pass
    assert my_bot._blueprint.base_url is None
