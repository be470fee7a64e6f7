"""Approvals by chat: work waits for a yes, for days if it must, and is done once."""

from ilink import AskTimeoutError, Bot, Context, TextMessage

bot = Bot()

STAGES = ["test", "staging", "production"]


@bot.on_command("deploy", "发布")
async def deploy(message: TextMessage, ctx: Context, version: str) -> None:
    """Deploy a version, if somebody agrees."""
    stage = await ctx.ask(f"Where shall {version} go?", STAGES)
    try:
        is_approved = await ctx.confirm(f"Deploy {version} to {stage}?", timeout=3 * 3600)
    except AskTimeoutError:
        await message.reply(f"Nobody agreed in time; {version} stays where it is.")
        return
    if not is_approved:
        await message.reply("All right, nothing happens.")
        return
    async with message.typing():
        build = await ctx.once("deploy", lambda: start_deployment(version, stage))
    await message.reply(f"{version} is on {stage}: build {build}.")


def start_deployment(version: str, stage: str) -> int:
    """Stands for what your build server does."""
    return len(version) + STAGES.index(stage)


bot.run()
