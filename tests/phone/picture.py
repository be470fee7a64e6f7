"""Take the pictures of the page that the documentation shows: `python tests/phone/picture.py [FOLDER]`.

A gateway, people and bots are made for them and thrown away after; docs/images is where the pictures go by default.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from phone_house import House, ScriptedBot, open_house
from PIL import Image
from playwright.async_api import Page

IMAGES = Path(__file__).parents[2] / "docs/images"

TALKS = {
    "en": (
        "alice",
        ("Good morning! What can you do?", "Plenty: I answer questions, keep notes and remind you of things."),
        ("Remind me at nine to water the plants", "Noted. I will write to you at nine:\nwater the plants."),
    ),
    "zh-CN": (
        "小明",
        ("早上好！你能做什么？", "很多：回答问题、记录笔记、按时提醒。"),
        ("九点提醒我浇花", "好的，九点我会发消息提醒你：\n给植物浇水。"),
    ),
}


async def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for language in TALKS:
        async with open_house() as house:
            scene = await Scene.play(house, language)
            await scene.take(folder)
            scene.held.cancel()
            await asyncio.wait([scene.held])


LATER = {"en": "Not now", "zh-CN": "稍后"}


class Scene:
    """A person who has talked with a bot, a second one who has just begun, and a bot that wants to log in."""

    def __init__(self, house: House, language: str, person: str, bot: ScriptedBot, held: asyncio.Task) -> None:
        self.house, self.language, self.person, self.bot, self.held = house, language, person, bot, held

    @classmethod
    async def play(cls, house: House, language: str) -> Scene:
        name, *lines = TALKS[language]
        rules = house.gateway.rules
        person = await rules.add_person(name)
        bot = await house.bot_of(person.user_id)
        for question, answer in lines:
            await rules.post_message(person.user_id, bot.bot_id, text=question)
            message = await bot.hear()
            await bot.type_to(message, is_typing=True)
            await bot.say(message, answer)
            await bot.type_to(message, is_typing=False)
        other = await rules.add_person("bob")
        await rules.post_message(other.user_id, bot.bot_id, text="Hi, are you the bot that alice told me about?")
        await bot.say(await bot.hear(), "I am. Nice to meet you, bob!")
        held = asyncio.create_task(bot.poll())
        return cls(house, language, name, bot, held)

    async def take(self, folder: Path) -> None:
        chat = f"?person={self.person}&bot={self.bot.bot_id}"
        await self.bot_wants_in()
        for theme in ("light", "dark"):
            await self.shoot(folder / f"phone-{self.language}-{theme}.png", chat, theme)
            await self.shoot(folder / f"narrow-{self.language}-{theme}.png", chat, theme, width=390)
            wide = {"width": 1480, "height": 860}
            await self.shoot(folder / f"two-{self.language}-{theme}.png", f"{chat}&person=bob", theme, **wide)
            await self.shoot(folder / f"bots-{self.language}-{theme}.png", f"{chat}&panel=bots", theme, **wide)
            await self.shoot(folder / f"wire-{self.language}-{theme}.png", f"{chat}&panel=wire", theme, **wide)

    async def bot_wants_in(self) -> None:
        await self.house.bot().ask_for_code()

    async def shoot(self, path: Path, address: str, theme: str, *, width: int = 1180, height: int = 780) -> None:
        page = await self.house.page(
            at=address, viewport={"width": width, "height": height}, color_scheme=theme, locale=self.language
        )
        await page.locator(".phone").first.wait_for()
        if "panel=wire" in address:
            await page.locator('.wire li[data-endpoint="sendmessage"] .line').first.click()
        await settle(page)
        if width < 760:
            await page.get_by_role("button", name=LATER[self.language]).click()
        await page.screenshot(path=path)
        # A palette makes the file a third as large, and nobody sees it.
        with Image.open(path) as picture:
            picture.convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
        await page.context.close()


async def settle(page: Page) -> None:
    await page.locator(".message, .row").first.wait_for()
    await page.wait_for_timeout(700)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES))
