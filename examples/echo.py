"""The smallest whole bot: it says back what it hears."""

from ilink import Bot, Message

bot = Bot()


@bot.on_text()
async def echo(message: Message) -> None:
    await message.reply(f"You said: {message.text}")


bot.run()
