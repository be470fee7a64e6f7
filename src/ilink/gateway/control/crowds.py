"""Calls about many people at once."""

from __future__ import annotations

import asyncio
from typing import Final

from ilink.gateway.control.answers import PostedAll, PostedOrRefused
from ilink.gateway.control.calls import CallTable
from ilink.gateway.control.chats import post
from ilink.gateway.control.refusals import SAID_NO, Refusal, as_refusal
from ilink.gateway.control.requests import CrowdMessage, CrowdMessages
from ilink.gateway.control.state import ControlState

__all__ = ["calls"]

calls = CallTable()

_AT_A_TIME: Final = 64
"""Chats that are written to at a time. More would share a commit with no gain, and thousands crowd one another out of
the processor's caches, which makes each of them dearer by a third."""


@calls.call("POST", "/_sim/messages")
async def say_all(control: ControlState, body: CrowdMessages) -> PostedAll:
    """Let many people write at once; each message is stored, or refused, by itself.

    The answers are in the order of the messages. Those of one person to one bot are stored in their order too.
    """
    chats: dict[tuple[str, str], list[int]] = {}
    for place, message in enumerate(body.messages):
        chats.setdefault((message.user_id, message.bot_id), []).append(place)
    answers: dict[int, PostedOrRefused] = {}

    queue = iter(chats.values())

    async def say_in_turn() -> None:
        for places in queue:
            for place in places:
                answers[place] = await _say(control, body.messages[place])

    await asyncio.gather(*(say_in_turn() for _ in range(min(len(chats), _AT_A_TIME))))
    return PostedAll(messages=[answers[place] for place in range(len(body.messages))])


async def _say(control: ControlState, message: CrowdMessage) -> PostedOrRefused:
    try:
        return PostedOrRefused(posted=await post(control, message.user_id, message))
    except Refusal as refusal:
        return PostedOrRefused(error=refusal.words)
    except SAID_NO as error:
        return PostedOrRefused(error=as_refusal(error).words)
