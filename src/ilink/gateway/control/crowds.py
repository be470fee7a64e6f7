"""Calls about many people at once."""

from __future__ import annotations

import asyncio

from ilink.gateway.control.answers import PostedAll, PostedOrRefused
from ilink.gateway.control.calls import CallTable
from ilink.gateway.control.chats import post
from ilink.gateway.control.refusals import Refusal, refused
from ilink.gateway.control.requests import CrowdMessage, CrowdMessages
from ilink.gateway.control.state import ControlState

__all__ = ["calls"]

calls = CallTable()


@calls.call("POST", "/_sim/messages")
async def say_all(control: ControlState, body: CrowdMessages) -> PostedAll:
    """Let many people write at once; each message is stored, or refused, by itself.

    The answers are in the order of the messages. Those of one person to one bot are stored in their order too.
    """
    chats: dict[tuple[str, str], list[int]] = {}
    for place, message in enumerate(body.messages):
        chats.setdefault((message.user_id, message.bot_id), []).append(place)
    answers: dict[int, PostedOrRefused] = {}

    async def say_in_turn(places: list[int]) -> None:
        for place in places:
            answers[place] = await _say(control, body.messages[place])

    await asyncio.gather(*map(say_in_turn, chats.values()))
    return PostedAll(messages=[answers[place] for place in range(len(body.messages))])


async def _say(control: ControlState, message: CrowdMessage) -> PostedOrRefused:
    try:
        with refused():
            return PostedOrRefused(posted=await post(control, message.user_id, message))
    except Refusal as refusal:
        return PostedOrRefused(error=refusal.words)
