"""A bot that takes orders and reminds, to be killed at any moment: `killed_bot.py FOLDER BASE_URL`."""

from __future__ import annotations

import sys
from pathlib import Path

from ilink import Bot, Context, Job, Policies, TextMessage
from ilink.flows.polling import Backoff

HASTE = Backoff(first=0.02, ceiling=0.05, floor=0.0)

bot = Bot(
    data=Path(sys.argv[1]),
    base_url=sys.argv[2],
    policies=Policies(handler_backoff=HASTE, send_backoff=HASTE, interruptions=10_000),
)


def note(what: str) -> None:
    with (Path(sys.argv[1]) / "effects").open("a") as file:
        file.write(f"{what}\n")


@bot.on_command("order")
async def order(message: TextMessage, ctx: Context) -> None:
    number = await ctx.once("number", lambda: len(message.text))
    await message.reply(f"order {number}")
    drink = await ctx.ask("drink?", ["tea", "coffee"])
    await message.reply(f"{drink} noted")
    cups = await ctx.ask("cups?", int)
    await message.reply(f"{cups} noted")
    if await ctx.confirm("sure?"):
        await ctx.once("brew", lambda: note("brewed"))
        await message.reply(f"{cups} {drink}")


@bot.job()
async def remind(job: Job) -> None:
    note("reminded")
    await job.send(f"remember {job.data}")


@bot.on_text()
async def plan(message: TextMessage) -> None:
    await bot.schedule("remind", in_=0.5, data=message.text, key=message.key)
    await message.reply("planned")


bot.run()
