"""What a message refers to is found in the journal, whatever its phone sends of it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from bot_house import Connection, HastyClock, Server, running
from test_on_the_gateway import login_of

from ilink import Bot, ImageMessage, Message, Quote, TextMessage
from ilink.gateway.views import Quote as Quoted
from ilink.messages.outgoing import OutgoingMessage, SendReceipt
from ilink.storage.history import Said
from ilink.storage.history_sqlite import SqliteHistory
from ilink.testing.gateway import LocalGateway
from ilink.testing.person import Person
from ilink.wire.ids import MessageId

ALICE, BOB = "alice@im.wechat", "bob@im.wechat"
Make = Callable[..., Bot]
TEXT = "alpha beta gamma beta delta beta end"
PICTURE = {"media": {"encrypt_query_param": "cGFyYW0="}, "aeskey": "00112233445566778899aabbccddeeff"}


def quoting(bot: Bot, quotes: list[Quote]) -> Bot:
    @bot.on_any()
    async def handle(message: Message) -> None:
        if message.quote is not None:
            quotes.append(message.quote)
        await message.reply(TEXT if message.text == "tell me" else f"re {message.text}")

    return bot


def reference(message_id: str, *, style: str = "svr_id", selected: str | None = None, **partial: object) -> object:
    """The text "this" about a message, as phones of several ages send it."""
    quote: dict[str, object] = {"svr_id": message_id}
    if style != "svr_id":
        quote = {"message_item": {"type": int(style), "msg_id": message_id, "is_completed": True}}
    if selected is not None:
        digest = hashlib.md5(selected.encode(), usedforsecurity=False).hexdigest()
        quote["partial_text"] = {"start": "beta", "end": "beta", "quotemd5": digest, **partial}
    return [{"type": 1, "text_item": {"text": "this"}, "ref_msg": quote}]


async def said(bot: Bot, server: Server, user: str, text: str, **more: object) -> None:
    """Say something, and wait until the answer is heard and the journal knows that it was."""
    wanted = len(server.heard(user)) + 1
    server.says(user, text, **more)
    await server.until(lambda: len(server.heard(user)) >= wanted)
    await settled(bot)


async def settled(bot: Bot) -> None:
    async with asyncio.timeout(45):
        while (await bot.counts()).outgoing:  # noqa: ASYNC110  # the journal tells nobody
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("style", ["svr_id", "0", "8"])
async def test_our_own_message_is_known_by_its_id(make_bot: Make, server: Server, style: str) -> None:
    quotes: list[Quote] = []
    async with running(quoting(make_bot(), quotes)) as bot:
        await said(bot, server, ALICE, "tell me")
    async with running(quoting(make_bot(), quotes)) as bot:
        await said(bot, server, ALICE, "", item_list=reference("9001", style=style))
    (quote,) = quotes
    assert (quote.text, quote.is_ours, quote.is_known, quote.message_id) == (TEXT, True, True, "9001")


async def test_their_own_message_is_known_with_its_picture(make_bot: Make, server: Server) -> None:
    messages: list[Message] = []
    bot = make_bot()

    @bot.on_any()
    async def handle(message: Message) -> None:
        messages.append(message)
        await message.reply("seen")

    async with running(bot):
        await said(bot, server, ALICE, "", item_list=[{"type": 2, "image_item": PICTURE}])
        first = messages[0].id
        assert first is not None
        await said(bot, server, ALICE, "", item_list=reference(first))
    quote = messages[1].quote
    assert quote is not None
    assert (quote.is_ours, quote.text) == (False, "")
    assert [media.reference.key_texts for media in quote.all_media] == [(PICTURE["aeskey"],)]
    assert messages[1].media.is_quoted
    assert isinstance(messages[0], ImageMessage)
    assert isinstance(messages[1], TextMessage)


@pytest.mark.parametrize("endindex", [2, 0], ids=["counted over the whole text", "counted after the start"])
async def test_selected_words_are_found_by_both_readings(make_bot: Make, server: Server, endindex: int) -> None:
    quotes: list[Quote] = []
    async with running(quoting(make_bot(), quotes)) as bot:
        await said(bot, server, ALICE, "tell me")
        about = reference("9001", selected="beta delta beta", startindex=1, endindex=endindex)
        await said(bot, server, ALICE, "", item_list=about)
        wrong = reference("9001", selected="something else", startindex=0, endindex=0)
        await said(bot, server, ALICE, "", item_list=wrong)
    assert [quote.text for quote in quotes] == ["beta delta beta", TEXT]
    assert quotes[0].whole_text == TEXT


async def test_what_a_person_hears_is_known_though_the_server_has_not_answered_yet(
    make_bot: Make, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    quotes: list[Quote] = []
    send, answered = Connection.send_message, asyncio.Event()

    async def answer_late(connection: Connection, message: OutgoingMessage) -> SendReceipt:
        receipt = await send(connection, message)
        await answered.wait()
        return receipt

    find = SqliteHistory.find

    async def look(history: SqliteHistory, conversation: str, message_id: MessageId) -> Said | None:
        found = await find(history, conversation, message_id)
        answered.set()
        return found

    monkeypatch.setattr(Connection, "send_message", answer_late)
    monkeypatch.setattr(SqliteHistory, "find", look)
    async with running(quoting(make_bot(), quotes)) as bot:
        server.says(ALICE, "tell me")
        await server.until(lambda: len(server.heard(ALICE)) == 1)
        await said(bot, server, ALICE, "", item_list=reference("9001"))
    assert [(quote.text, quote.is_ours) for quote in quotes] == [(TEXT, True)]


async def test_what_is_not_known_says_so(make_bot: Make, server: Server, clock: HastyClock) -> None:
    quotes: list[Quote] = []
    async with running(quoting(make_bot(), quotes)) as bot:
        await said(bot, server, BOB, "tell me")
        await said(bot, server, ALICE, "", item_list=reference("9001"))  # what Bob was told is none of Alice's business
        await said(bot, server, ALICE, "", item_list=reference("123"))
    for quote in quotes:
        assert (quote.is_known, quote.is_ours, quote.text, quote.all_media) == (False, None, "", ())


async def test_what_the_phone_sends_is_used_where_the_journal_knows_nothing(make_bot: Make, server: Server) -> None:
    quotes: list[Quote] = []
    embedded = {"type": 1, "msg_id": "77", "text_item": {"text": "long ago"}}
    about = [{"type": 1, "text_item": {"text": "this"}, "ref_msg": {"title": "ago", "message_item": embedded}}]
    async with running(quoting(make_bot(), quotes)) as bot:
        await said(bot, server, ALICE, "", item_list=about)
    assert (quotes[0].text, quotes[0].is_known, quotes[0].is_ours) == ("long ago", True, None)


@pytest.mark.parametrize("style", ["svr_id", "embedded", "type8", "type0"])
@pytest.mark.parametrize("endindex", ["global", "relative"])
async def test_every_phone_of_the_gateway_is_understood(tmp_path: Path, style: str, endindex: str) -> None:
    async with LocalGateway(knobs={"quote.style": style, "quote.endindex": endindex}) as gateway:
        alice: Person = await gateway.person("alice")
        bot = Bot(data=tmp_path, base_url=gateway.api_url)
        quotes: list[Quote] = []
        quoting(bot, quotes)
        signed_in = asyncio.Event()
        async with running(bot, login=login_of(gateway, alice, signed_in)):
            await signed_in.wait()
            assert alice.bot_id is not None
            await alice.says("tell me")
            assert await alice.hears() == TEXT
            await settled(bot)
            (_, told) = await gateway.rules.transcript(alice.bot_id, alice.user_id)
            await gateway.rules.post_message(
                alice.user_id,
                alice.bot_id,
                text="this",
                quote=Quoted(message_id=told.message_id, partial="beta delta beta"),
            )
            await alice.hears()
        assert [quote.text for quote in quotes] == ["beta delta beta"]
        assert [quote.is_ours for quote in quotes] == [True]
