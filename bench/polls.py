"""Held polls: the memory of each, and how long a message takes to wake one, or all."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from bench.machine import cpu_seconds, memory_bytes
from bench.people import Bot, open_windows, sign_in, write, write_all
from bench.processes import Gateway
from bench.rawhttp import Connection, Pool

__all__ = ["PollFigures", "measure_polls"]

T = TypeVar("T")

_SINGLE_WAKES: Final = 200
_RAMP: Final = 100
"""Connections opened at a time, fewer than any listen queue holds."""
_IDLE_SECONDS: Final = 10.0
_LOT: Final = 1000
"""Messages written by one call, and bots that sign in at a time."""


@dataclass(frozen=True, slots=True)
class PollFigures:
    """What holding so many polls costs; seconds and bytes."""

    polls: int
    memory_of_one: float | None
    idle_cpu: float | None
    """Seconds of the server's processor in one second in which nothing happens."""
    wake_one: float
    wake_one_p99: float
    wake_all: float


class Holder:
    """One bot's poll, held and asked again."""

    def __init__(self, bot: Bot, connection: Connection) -> None:
        self.bot = bot
        self._connection = connection
        self._cursor = ""
        self.answer = self._poll()

    def _poll(self) -> asyncio.Future[bytes]:
        body = msgspec.json.encode({"get_updates_buf": self._cursor, "base_info": {"channel_version": "0.1.0"}})
        return self._connection.call("POST", "/ilink/bot/getupdates", body, token=self.bot.token)

    async def woken(self) -> None:
        """Wait for a message and poll again."""
        while True:
            updates = msgspec.json.decode(await self.answer)
            self._cursor = updates["get_updates_buf"]
            self.answer = self._poll()
            if updates["msgs"]:
                return

    def close(self) -> None:
        """Hang up."""
        self.answer.cancel()
        self._connection.close()


async def measure_polls(server: Gateway, counts: list[int]) -> list[PollFigures]:
    """Hold more and more polls on one server and measure at each of the counts, which grow."""
    holders: list[Holder] = []
    figures: list[PollFigures] = []
    async with Pool(server.api_url, 32) as api, Pool(server.control_url, 32) as control:
        await open_windows(control)
        try:
            for count in counts:
                names = [f"holder-{number}" for number in range(len(holders), count)]
                bots = [bot for lot in _lots(names) for bot in await _sign_in_all(api, control, lot)]
                figures.append(await _measure(server, control, holders, bots))
        finally:
            for holder in holders:
                holder.close()
    return figures


async def _measure(server: Gateway, control: Pool, holders: list[Holder], bots: list[Bot]) -> PollFigures:
    before = memory_bytes(server.pid)
    for first in range(0, len(bots), _RAMP):
        some = bots[first : first + _RAMP]
        holders += [Holder(bot, await Connection.open(server.api_url)) for bot in some]
    await _settle(holders)
    after = memory_bytes(server.pid)
    idle_cpu = await _idle(server, holders)
    singles = [await _wake_one(control, random.choice(holders), number) for number in range(_SINGLE_WAKES)]
    return PollFigures(
        polls=len(holders),
        memory_of_one=(after - before) / len(bots) if after is not None and before is not None else None,
        idle_cpu=idle_cpu,
        wake_one=statistics.median(singles),
        wake_one_p99=sorted(singles)[int(0.99 * len(singles))],
        wake_all=await _wake_all(control, holders),
    )


async def _settle(holders: list[Holder]) -> None:
    """Give the server the time to have read every poll; nothing tells from outside that one is held."""
    await asyncio.sleep(0.5 + len(holders) / 10_000)
    answered = [holder for holder in holders if holder.answer.done()]
    assert not answered, f"{len(answered)} polls were not held: {answered[0].answer.result()[:200]!r}"


async def _idle(server: Gateway, holders: list[Holder]) -> float | None:
    """Return the processor time of a second in which all polls wait and nothing comes."""
    before, began = cpu_seconds(server.pid), time.perf_counter()
    await asyncio.sleep(_IDLE_SECONDS)
    after, seconds = cpu_seconds(server.pid), time.perf_counter() - began
    assert not any(holder.answer.done() for holder in holders), "a poll was answered though nothing happened"
    return (after - before) / seconds if after is not None and before is not None else None


async def _wake_one(control: Pool, holder: Holder, number: int) -> float:
    began = time.perf_counter()
    woken = asyncio.ensure_future(holder.woken())
    written = asyncio.ensure_future(write(control, holder.bot.bot_id, holder.bot.owner, number))
    await woken
    delay = time.perf_counter() - began
    await written
    return delay


async def _sign_in_all(api: Pool, control: Pool, names: list[str]) -> list[Bot]:
    """Sign bots in, fewer at a time than a slow machine confirms before their codes run out."""
    return await asyncio.gather(*(sign_in(api, control, name) for name in names))


def _lots(things: list[T]) -> list[list[T]]:
    return [things[first : first + _LOT] for first in range(0, len(things), _LOT)]


async def _wake_all(control: Pool, holders: list[Holder]) -> float:
    began = time.perf_counter()
    await asyncio.gather(
        *(holder.woken() for holder in holders),
        *(write_all(control, [holder.bot for holder in some]) for some in _lots(holders)),
    )
    return time.perf_counter() - began
