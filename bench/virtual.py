"""How long hours of a test's time take: `python -m bench.virtual [ROUNDS]`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median

from ilink import Account, AccountId, Bot, Client, Job, Secret, TextMessage, UserId
from ilink.testing import LocalGateway, Person
from ilink.wire.ids import Cursor

Measure = Callable[[], Awaitable[float]]


async def signed_in(gateway: LocalGateway, person: Person) -> Account:
    """Return an account that a person has just bound."""
    async with Client(base_url=gateway.api_url) as client:
        code = await client.get_qr_code()
        await person.befriend(code.qrcode)
        report = await client.get_login_status(code.qrcode)
    return Account(
        account_id=AccountId(report.account_id or ""),
        token=Secret(report.token or ""),
        base_url=gateway.api_url,
        owner_id=UserId(report.owner_id or ""),
    )


async def held_poll() -> float:
    """A poll that is held for 35 seconds and brings nothing."""
    async with LocalGateway() as gateway:
        account = await signed_in(gateway, await gateway.person("alice"))
        async with Client(account) as client:
            polling = asyncio.create_task(client.get_updates(Cursor("")))
            await asyncio.sleep(0.2)
            assert not polling.done()
            begun = time.perf_counter()
            await gateway.clock.advance(seconds=35)
            batch = await polling
            assert not batch.updates
            return time.perf_counter() - begun


async def window() -> float:
    """A window of 24 hours that closes while its bot polls on."""
    async with LocalGateway() as gateway:
        bot = Bot()

        @bot.on_text()
        async def answer(message: TextMessage) -> None:
            await message.reply("yes")

        alice = await gateway.person("alice")
        await alice.befriend(bot)
        await alice.says("hi")
        await alice.hears()
        assert (await bot.can_send(alice.user_id)).can_send
        begun = time.perf_counter()
        await gateway.clock.advance(hours=24, seconds=1)
        assert not (await bot.can_send(alice.user_id)).can_send
        return time.perf_counter() - begun


async def job() -> float:
    """A job that is due in 12 hours and heard by a person who waits for it."""
    async with LocalGateway() as gateway:
        bot = Bot()

        @bot.job()
        async def remind(job: Job) -> None:
            await job.send("it is time")

        @bot.on_text()
        async def plan(message: TextMessage) -> None:
            await bot.schedule("remind", in_=12 * 3600)
            await message.reply("planned")

        alice = await gateway.person("alice")
        await alice.befriend(bot)
        await alice.says("hi")
        await alice.hears()
        begun = time.perf_counter()
        assert await alice.hears(within=13 * 3600) == "it is time"
        return time.perf_counter() - begun


async def measure(rounds: int) -> None:
    """Print the median of some rounds of each, in milliseconds."""
    measures: list[Measure] = [held_poll, window, job]
    for one in measures:
        seconds = sorted([await one() for _ in range(rounds)])
        print(f"{median(seconds) * 1000:7.1f} ms, {seconds[-1] * 1000:7.1f} at most: {one.__doc__}")


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 9))
