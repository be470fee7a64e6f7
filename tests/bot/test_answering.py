"""What a bot promises while everything works."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from bot_house import ACCOUNT, OWNER, Server, running, sign_in, words

from ilink import AcceptedUnconfirmed, Accepted, Bot, ConfigError, Deferred, DeferredWhy, ImageMessage, Message, TextMessage

Make = Callable[..., Bot]


def echo(bot: Bot) -> Bot:
    @bot.on_text()
    async def say_it_again(message: Message) -> None:
        await message.reply(f"You said: {message.text}")

    return bot


async def test_text_is_answered_with_the_newest_context_token(server: Server, make_bot: Make) -> None:
    async with running(echo(make_bot())):
        server.says("alice", "hi")
        await server.until(lambda: server.heard("alice") == ["You said: hi"])
    (message,) = server.sent
    assert message.context_token is not None
    assert message.context_token.reveal() == "token-1"
    assert server.notified == ["start", "stop"]


async def test_many_conversations_are_answered_in_order_each(server: Server, make_bot: Make) -> None:
    async with running(echo(make_bot())):
        for number in range(300):
            server.says(f"user-{number % 7}", str(number))
        await server.until(lambda: len(server.sent) == 300)
    for user in range(7):
        assert server.heard(f"user-{user}") == [f"You said: {number}" for number in range(300) if number % 7 == user]
    assert set(server.by_client_id.values()) == {1}
