"""Messages of every kind that the testing kit makes."""

from __future__ import annotations

import pytest

from ilink import Bot, FileMessage, ImageMessage, Message, OtherMessage, TextMessage, VideoMessage, VoiceMessage
from ilink.testing import LocalGateway
from ilink.testing.updates import (
    ODD_UPDATES,
    Item,
    file_item,
    image_item,
    make_message,
    quoting,
    several_items,
    text_item,
    tool_result_item,
    tool_start_item,
    unknown_item,
    video_item,
    voice_item,
)


@pytest.mark.parametrize(
    ("item", "kind", "text"),
    [
        (text_item("hi"), TextMessage, "hi"),
        (image_item(), ImageMessage, ""),
        (voice_item(transcript="hm"), VoiceMessage, "hm"),
        (file_item("a.txt"), FileMessage, ""),
        (video_item(), VideoMessage, ""),
        (tool_start_item(), OtherMessage, ""),
        (tool_result_item(), OtherMessage, ""),
        (unknown_item(), OtherMessage, ""),
        (quoting(text_item("no"), quoted=text_item("a word or two"), words="word"), TextMessage, "no"),
    ],
)
async def test_an_item_makes_a_message_of_its_kind_here_and_on_the_gateway(
    ilink_gateway: LocalGateway, item: Item, kind: type[Message], text: str
) -> None:
    made = make_message(item)
    assert (type(made), made.text) == (kind, text)
    bot, seen = Bot(), list[Message]()

    @bot.on_any()
    async def note(message: Message) -> None:
        seen.append(message)
        await message.reply("noted")

    alice = await ilink_gateway.person("alice")
    await alice.befriend(bot)
    await alice.sends(item)
    assert await alice.hears() == "noted"
    assert (type(seen[0]), seen[0].text, seen[0].items) == (kind, text, made.items)


def test_a_quote_selects_its_words() -> None:
    quote = make_message(quoting(text_item("no"), quoted=text_item("a word or two"), words="word")).quote
    assert quote is not None
    assert quote.text == "word"
    told = make_message(quoting(text_item("no"), message_id="123")).quote
    assert told is not None
    assert (told.message_id, told.is_known) == ("123", False)


def test_a_message_of_several_items_has_all_files_and_an_id_of_its_own() -> None:
    one, other = make_message(*several_items()), make_message(*several_items())
    assert [file.kind.value for file in one.all_media] == ["image", "voice", "file", "video"]
    assert one.id != other.id
    assert make_message(text_item(), context_token=None).context_token is None


@pytest.mark.parametrize("name", ODD_UPDATES)
async def test_a_bot_survives_odd_messages(ilink_gateway: LocalGateway, name: str) -> None:
    bot = Bot(allow="anyone")

    @bot.on_any()
    async def look(message: Message) -> None:
        if message.text == "ping":
            await message.reply("pong")

    alice = await ilink_gateway.person("alice")
    await alice.befriend(bot)
    items, fields = ODD_UPDATES[name]
    await alice.sends(*items, **fields)
    await alice.says("ping")
    assert await alice.hears(timeout=45) == "pong"
