"""Two accounts in one program: each knows its own guests, and the owner may send a notice through either."""

from collections import Counter
from dataclasses import dataclass

from ilink import AccountId, Bot, ConfigError, Context, SessionState, State, TextMessage

bot = Bot(accounts="all", allow="anyone")  # those of this machine, and those that `ilink login` adds while this runs
answered: Counter[AccountId] = Counter()


@dataclass
class Guest:
    name: str = ""


@bot.on_command("hello", "你好")
async def hello(message: TextMessage, ctx: Context, guest: State[Guest]) -> None:
    """Introduce yourself."""
    # The same person who writes to the other account is a stranger there: nothing is shared that you do not share.
    if not guest.value.name:
        guest.value.name = await ctx.ask("Hello! What is your name?")
    answered[message.account] += 1
    await message.reply(f"Welcome, {guest.value.name}.")


@bot.on_command("notify", "通知")
async def notify(message: TextMessage, account: str, user: str, *words: str) -> None:
    """Send somebody a notice through one of the accounts."""
    try:
        await bot.send(user, " ".join(words), account=account)
    except ConfigError as error:
        await message.reply(str(error))
    else:
        await message.reply("It is on its way.")


@bot.on_state
def changed(state: SessionState, account: AccountId) -> None:
    print(f"{account} is {state}, and has welcomed {answered[account]}")


bot.run()
