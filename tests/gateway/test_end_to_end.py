"""The whole way once: a person scans, writes, is answered and sees typing."""

from __future__ import annotations

from gateway_house import House


async def test_a_person_and_a_bot_talk(house: House) -> None:
    alice = await house.person("alice")
    bot = await house.login(alice)
    poll = bot.begin_poll()
    await house.held(bot)
    posted = await house.gateway.post_message(alice, bot.bot_id, text="hello")
    answer = (await poll.answer()).json
    (message,) = answer["msgs"]
    assert message["item_list"][0]["text_item"]["text"] == "hello"
    assert str(message["message_id"]) == posted.message_id

    config = await bot.call("getconfig", {"ilink_user_id": alice, "context_token": message["context_token"]})
    typing = {"ilink_user_id": alice, "typing_ticket": config["typing_ticket"], "status": 1}
    assert await bot.call("sendtyping", typing) == {"ret": 0}
    assert house.gateway.typing(bot.bot_id, alice).typing

    sent = await bot.send(alice, "hi alice", context_token=message["context_token"])
    assert sent["ret"] == 0
    entries = await house.gateway.transcript(bot.bot_id, alice)
    assert [(entry.direction, entry.items[0].text, entry.state) for entry in entries] == [
        ("in", "hello", "handed_out"),
        ("out", "hi alice", "shown"),
    ]
    assert str(sent["message_id"]) == entries[1].message_id
