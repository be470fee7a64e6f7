"""What a handler or a job plans is planned once, however often it is run, and stays when it is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from bot_house import FAST, OWNER, HastyClock, Server, running

from ilink import Context, Job, Message
from ilink.bot import Bot

Make = Callable[..., Bot]
HOUR = 3_600_000


def reminding(bot: Bot) -> Bot:
    @bot.job()
    async def remind(job: Job) -> None:
        await job.send(f"remember {job.data}")

    return bot


async def heard(server: Server, count: int) -> list[str]:
    await server.until(lambda: len(server.heard(OWNER)) >= count)
    return server.heard(OWNER)


async def reminders(bot: Bot, server: Server, clock: HastyClock) -> list[str]:
    """What people are reminded of when everything is due."""
    await bot.schedule("remind", in_=7_200, data="that this is all", key="zzz")  # comes last, by its name
    clock.ahead_ms += 3 * HOUR
    await server.until(lambda: "remember that this is all" in server.heard(OWNER))
    async with asyncio.timeout(45):
        while (counts := await bot.counts()).waiting or counts.outgoing:  # noqa: ASYNC110  # a count tells nobody
            await asyncio.sleep(0.002)
    return sorted(text for text in server.heard(OWNER) if text.startswith("remember") and "all" not in text)


async def test_a_handler_that_is_run_again_finds_its_plans(make_bot: Make, server: Server, clock: HastyClock) -> None:
    bot = reminding(make_bot())
    planned: list[list[bool]] = []

    @bot.on_text()
    async def plan(message: Message) -> None:
        planned.append([await bot.schedule("remind", in_=3_600, data=what) for what in ("the tea", "the cake")])
        if message.attempt < 3:
            raise ValueError
        await message.reply("planned")

    async with running(bot):
        server.says(OWNER, "go")
        await heard(server, 1)
        server.says(OWNER, "and again")
        await server.until(lambda: len(planned) == 6)
        assert planned == [[True, True], [False, False], [False, False]] * 2
        assert await reminders(bot, server, clock) == ["remember the cake"] * 2 + ["remember the tea"] * 2


async def test_a_handler_that_asks_plans_once_also_when_the_answer_comes_after_a_restart(
    make_bot: Make, server: Server, clock: HastyClock
) -> None:
    def asking() -> Bot:
        bot = reminding(make_bot())

        @bot.on_command("order")
        async def order(message: Message, ctx: Context) -> None:
            await bot.schedule("remind", in_=3_600, data="the order")
            drink = await ctx.ask("What?")
            await bot.schedule("remind", in_=3_600, data=drink)
            await message.reply(f"{drink}, {await ctx.ask('How many?')}")

        return bot

    async with running(asking()):
        server.says(OWNER, "/order")
        await heard(server, 1)
    async with running(bot := asking()):
        server.says(OWNER, "tea")
        await heard(server, 2)
        server.says(OWNER, "two")
        assert (await heard(server, 3))[2] == "tea, two"
        assert await reminders(bot, server, clock) == ["remember tea", "remember the order"]


async def test_a_job_that_is_run_again_finds_its_plans(make_bot: Make, server: Server, clock: HastyClock) -> None:
    bot = reminding(make_bot())

    @bot.job()
    async def plan(job: Job) -> None:
        await bot.schedule("remind", in_=3_600, data=job.data)
        if job.attempt < 3:
            raise ValueError
        await job.send("planned")

    async with running(bot):
        for what in ("the tea", "the cake"):
            await bot.schedule("plan", in_=0.0, data=what)
        await heard(server, 2)
        assert await reminders(bot, server, clock) == ["remember the cake", "remember the tea"]


async def test_what_a_handler_planned_stays_when_it_is_given_up(
    make_bot: Make, server: Server, clock: HastyClock
) -> None:
    bot = reminding(make_bot(policies=replace(FAST, attempts=2)))
    dead: list[object] = []
    bot.on_dead_letter(lambda letter, _error: (dead.append(letter), server.change())[0])

    @bot.on_text()
    async def plan(message: Message) -> None:
        await bot.schedule("remind", in_=3_600, data=message.text)
        raise ValueError

    async with running(bot):
        server.says(OWNER, "the tea")
        await server.until(lambda: bool(dead))
        assert await reminders(bot, server, clock) == ["remember the tea"]


async def test_outside_of_handlers_every_plan_is_a_new_one(make_bot: Make, server: Server, clock: HastyClock) -> None:
    async with running(reminding(make_bot())) as bot:
        assert [await bot.schedule("remind", in_=3_600, data="the tea") for _ in range(2)] == [True, True]
        assert await reminders(bot, server, clock) == ["remember the tea"] * 2
