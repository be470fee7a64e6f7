"""Load that comes from people: they are made, sign bots in and write, through the control API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import msgspec

from bench.processes import BenchError
from bench.rawhttp import Pool

__all__ = ["Bot", "add_person", "hear", "held_bots", "open_windows", "read_answers", "sign_in", "write", "write_all"]

_HEAR_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Bot:
    """A bot that is signed in, and the person it belongs to."""

    bot_id: str
    token: str
    owner: str


async def open_windows(control: Pool, *, hold_ms: int = 600_000) -> None:
    """Switch off what would end a measurement early: the allowance, and the end of a held poll after 30 s."""
    knobs = {"quota.per_inbound": 1_000_000, "poll.hold_ms": hold_ms}
    await control.call("PUT", "/_sim/config", msgspec.json.encode({"knobs": knobs}))


async def add_person(control: Pool, name: str) -> str:
    """Make a person and return their user id."""
    answer = await control.call("POST", "/_sim/people", msgspec.json.encode({"name": name}))
    return msgspec.json.decode(answer)["user_id"]


async def sign_in(api: Pool, control: Pool, name: str) -> Bot:
    """Make a person who scans and confirms the code of a new bot."""
    owner = await add_person(control, name)
    code = msgspec.json.decode(await api.call("GET", "/ilink/bot/get_bot_qrcode?bot_type=3"))["qrcode"]
    body = msgspec.json.encode({"user_id": owner})
    await control.call("POST", f"/_sim/qr/{code}/confirm", body)
    login = msgspec.json.decode(await api.call("GET", f"/ilink/bot/get_qrcode_status?qrcode={code}"))
    return Bot(login["ilink_bot_id"], login["bot_token"], owner)


async def write(control: Pool, bot_id: str, user_id: str, number: int) -> None:
    """Let a person write to a bot."""
    body = msgspec.json.encode({"bot_id": bot_id, "text": f"message number {number}"})
    await control.call("POST", f"/_sim/people/{user_id}/messages", body)


async def write_all(control: Pool, bots: list[Bot], text: str = "all together") -> None:
    """Let the owner of each bot write to it."""
    messages = [{"user_id": bot.owner, "bot_id": bot.bot_id, "text": text} for bot in bots]
    await control.call("POST", "/_sim/messages", msgspec.json.encode({"messages": messages}))


async def held_bots(control: Pool) -> set[str]:
    """Return the bots of which a gateway holds a poll now."""
    bots = msgspec.json.decode(await control.call("GET", "/_sim/bots"))["bots"]
    return {bot["bot_id"] for bot in bots if bot["waiting_polls"]}


async def read_answers(control: Pool, bot_id: str, user_id: str) -> list[str]:
    """Return the texts a person has of a bot in their order, a hundred at most."""
    chat = urlencode({"bot_id": bot_id, "user_id": user_id, "direction": "out", "after": 0, "count": 100, "timeout": 0})
    messages = msgspec.json.decode(await control.call("GET", f"/_sim/wait?{chat}"))["messages"]
    return ["".join(item.get("text", "") for item in message["items"]) for message in messages]


async def hear(
    control: Pool, bot_id: str, user_id: str, *, after: int, count: int, seconds: float = _HEAR_SECONDS
) -> int:
    """Wait for answers of a bot to a person and return the number of the last in their transcript.

    Raises:
        BenchError: They did not come.
    """
    chat = {"bot_id": bot_id, "user_id": user_id, "direction": "out"}
    query = urlencode({**chat, "after": after, "count": count, "timeout": seconds})
    answer = msgspec.json.decode(await control.call("GET", f"/_sim/wait?{query}"))
    if len(answer["messages"]) < count:
        message = f"{len(answer['messages'])} of {count} answers came within {seconds:g} s"
        raise BenchError(message)
    return answer["messages"][-1]["n"]
