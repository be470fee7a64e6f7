"""sendmessage: how many a second a server takes, and the processor time of each."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from bench.machine import cpu_seconds
from bench.people import Bot, open_windows, sign_in, write
from bench.processes import BenchError, Gateway
from bench.rawhttp import Connection, Pool

__all__ = ["BOTS", "CONNECTIONS", "SECONDS", "SendFigures", "measure_sends"]

BOTS: Final = 16
CONNECTIONS: Final = 64
SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class SendFigures:
    """Messages a second, and seconds of the server's processor for one."""

    rate: float
    cpu_of_one: float | None


async def measure_sends(server: Gateway, *others: Gateway) -> SendFigures:
    """Send for two seconds from 64 connections of 16 bots, each as fast as it is answered.

    Args:
        server: Where the bots sign in, and whose processor time is told.
        others: More servers on the same store; connections are spread over all of them.
    """
    async with Pool(server.api_url, 4) as api, Pool(server.control_url, 4) as control:
        await open_windows(control)
        bots = [await sign_in(api, control, f"sender-{number}") for number in range(BOTS)]
        for bot in bots:
            await write(control, bot.bot_id, bot.owner, 0)
    urls = [one.api_url for one in (server, *others)]
    connections = [await Connection.open(urls[n % len(urls)]) for n in range(CONNECTIONS)]
    before, began, numbers = cpu_seconds(server.pid), time.perf_counter(), itertools.count()
    await asyncio.gather(
        *(
            _send(connection, bots[n // len(urls) % BOTS], numbers, began + SECONDS)
            for n, connection in enumerate(connections)
        )
    )
    seconds, sent, after = time.perf_counter() - began, next(numbers), cpu_seconds(server.pid)
    for connection in connections:
        connection.close()
    cpu = (after - before) / (sent / len(urls)) if after is not None and before is not None else None
    return SendFigures(sent / seconds, cpu)


async def _send(connection: Connection, bot: Bot, numbers: Iterator[int], until: float) -> None:
    while time.perf_counter() < until:
        answer = await connection.call("POST", "/ilink/bot/sendmessage", _body(bot, next(numbers)), token=bot.token)
        if b'"message_id"' not in answer:
            message = f"sendmessage was not accepted: {answer[:200]!r}"
            raise BenchError(message)


def _body(bot: Bot, number: int) -> bytes:
    text = {"type": 1, "text_item": {"text": f"answer number {number}"}}
    message = {
        "from_user_id": "",
        "to_user_id": bot.owner,
        "client_id": f"bench-{number}",
        "message_type": 2,
        "message_state": 2,
        "context_token": "",
        "item_list": [text],
    }
    return msgspec.json.encode({"msg": message, "base_info": {"channel_version": "0.1.0"}})
