"""The bot that a fleet runs while it is measured: it says everything again."""

from __future__ import annotations

from ilink import Bot, Message

bot = Bot(allow="anyone")


@bot.on_text()
async def echo(message: Message) -> None:
    await message.reply(f"You said: {message.text}")


if __name__ == "__main__":
    bot.run()
