"""Forms whose questions are the fields of a dataclass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from bot_house import Server, running

from ilink import Bot, ConfigError, Context, TextMessage, question, tame_markdown
from ilink.bot.conversation import ENGLISH

ALICE = "alice@im.wechat"
Make = Callable[..., Bot]


@dataclass
class Order:
    drink: str = question("Drink?", ["tea", "coffee"])
    cups: int = question("Cups?", int)
    wish: str = question("Wishes?", default="none")
    tags: list[str] = field(default_factory=list)


def taking(bot: Bot) -> Bot:
    @bot.on_command("order")
    async def order(message: TextMessage, ctx: Context) -> None:
        form = await ctx.fill(Order)
        await message.reply(f"{form.cups} {form.drink}, {form.wish}")

    return bot


async def filled(make_bot: Make, server: Server, *texts: str, restarts: bool = False) -> list[str]:
    """Say texts, each in a run of the program of its own if wanted, and return what was heard."""
    groups = [[text] for text in texts] if restarts else [list(texts)]
    for group in groups:
        async with running(taking(make_bot())):
            for text in group:
                count = len(server.heard(ALICE)) + 1
                server.says(ALICE, text)
                await server.until(lambda count=count: len(server.heard(ALICE)) >= count)
    return [text.splitlines()[0] for text in server.heard(ALICE)]


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_form_is_filled_field_by_field(make_bot: Make, server: Server, restarts: bool) -> None:
    heard = await filled(make_bot, server, "/order", "tea", "2", "with milk", restarts=restarts)
    assert heard == ["Drink?", "Cups?", "Wishes?", "2 tea, with milk"]


async def test_there_is_a_way_back(make_bot: Make, server: Server) -> None:
    texts = ("/order", "tea", "back", "coffee", "2", "返回", "3", "no sugar")
    heard = await filled(make_bot, server, *texts, restarts=True)
    assert heard == ["Drink?", "Cups?", "Drink?", "Cups?", "Wishes?", "Cups?", "Wishes?", "3 coffee, no sugar"]


async def test_what_has_a_default_can_be_skipped_and_nothing_else(make_bot: Make, server: Server) -> None:
    heard = await filled(make_bot, server, "/order", "skip", "tea", "2", "跳过")
    assert heard == ["Drink?", ENGLISH.not_understood, "Cups?", "Wishes?", "2 tea, none"]


async def test_the_first_question_has_nothing_before_it(make_bot: Make, server: Server) -> None:
    assert (await filled(make_bot, server, "/order", "back"))[1] == ENGLISH.not_understood


async def test_a_form_is_cancelled(make_bot: Make, server: Server) -> None:
    assert await filled(make_bot, server, "/order", "tea", "取消") == ["Drink?", "Cups?", ENGLISH.cancelled]


@pytest.mark.parametrize("kind", [int, dataclass(type("Empty", (), {}))])
async def test_what_is_no_form_is_refused(make_bot: Make, server: Server, kind: type[object]) -> None:
    bot = make_bot()
    refused: list[str] = []

    @bot.on_text()
    async def odd(message: TextMessage, ctx: Context) -> None:
        with pytest.raises(ConfigError, match="is no form") as caught:
            await ctx.fill(kind)
        refused.append(str(caught.value))
        await message.reply("refused")

    async with running(bot):
        server.says(ALICE, "x")
        await server.until(lambda: bool(server.heard(ALICE)))
    assert len(refused) == 1


def test_markdown_can_be_tamed_by_hand() -> None:
    assert tame_markdown("##### Five") == "Five"
