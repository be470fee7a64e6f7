"""A digest every morning, reminders on demand, and what happens when the user may not be written to."""

from datetime import timedelta
from pathlib import Path

from ilink import Bot, Job, TextMessage

bot = Bot()


async def keep_for_later(job: Job) -> None:
    """WeChat takes nothing 24 hours after the user last wrote: leave it where they will look."""
    leave(f"{job.moment:%Y-%m-%d}: {headlines()}\n")


@bot.daily("08:00", tz="Asia/Shanghai", if_closed=keep_for_later)
async def digest(job: Job) -> None:
    await job.send(f"Good morning! {headlines()}")


@bot.job()
async def remind(job: Job) -> None:
    await job.send(f"You wanted to be reminded: {job.data}")


@bot.on_command("remind", "提醒")
async def plan(message: TextMessage, minutes: int, *what: str) -> None:
    """Remind you of something in some minutes."""
    await bot.schedule("remind", in_=timedelta(minutes=minutes), data=" ".join(what))
    await message.reply(f"I will, in {minutes} minutes.")


def leave(text: str) -> None:
    with Path("missed-digests.txt").open("a") as file:
        file.write(text)


def headlines() -> str:
    return "Nothing happened, and it happened slowly."


bot.run()
