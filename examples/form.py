"""A form: a few questions, answers as people give them, and nothing lost if the bot is stopped in between."""

from dataclasses import dataclass

from ilink import Bot, Context, State, TextMessage

bot = Bot()

MENU = {"Tea, 2 €": 2, "Coffee, 3 €": 3, "Cake, 4 €": 4}


@dataclass
class Guest:
    name: str = ""
    visits: int = 0


@bot.on_command("order", "点单")
async def order(message: TextMessage, ctx: Context, guest: State[Guest]) -> None:
    """Order something."""
    name = guest.value.name or await ctx.ask("Hello! What is your name?")
    price = await ctx.ask(f"What would you like, {name}?", MENU)
    count = await ctx.ask("How many?", int)
    if not await ctx.confirm(f"That is {count * price} €. All right?"):
        await message.reply("Another time, then.")
        return
    number = await ctx.once("place the order", lambda: place_order(name, count))
    guest.value.name = name
    guest.value.visits += 1
    await message.reply(f"Order {number} is on its way. This is your visit number {guest.value.visits}.")


def place_order(name: str, count: int) -> int:
    """Stands for what must not happen twice, such as a payment."""
    return len(name) * 100 + count


@bot.on_text()
async def hint(message: TextMessage) -> None:
    await message.reply("Say /order to order something, and /cancel to stop.")


bot.run()
