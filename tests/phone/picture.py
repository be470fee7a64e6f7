"""Take the pictures of the page that the documentation shows: `python tests/phone/picture.py [FOLDER]`.

A gateway, people and bots are made for them and thrown away after; docs/images is where the pictures go by default.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from io import BytesIO
from math import sin
from pathlib import Path

from phone_house import House, ScriptedBot, Words, film, open_house_of_its_own
from PIL import Image, ImageDraw, ImageOps
from playwright.async_api import Page, expect

from ilink.gateway.views import Quote

IMAGES = Path(__file__).parents[2] / "docs/images"

THEMES = ("light", "dark")

TALKS = {
    "en": (
        "alice",
        "bob",
        ("Good morning! What can you do?", "Plenty: I answer questions, keep notes and remind you of things."),
        (
            "What is on for today?",
            (
                "## Today\n\n1. **9:00** water the plants\n2. **11:30** call *Dr. Lee*\n3. **18:00** dinner\n\n"
                "| Task | Left |\n|---|--:|\n| Notes | 3 |\n| Mails | 12 |\n\n> Umbrella: rain from four."
            ),
        ),
        "Show me the view from the hut",
        "hut.jpg",
        "Where is that?",
        "Hi, are you the bot that alice told me about?",
        "I am. Nice to meet you, bob!",
    ),
    "zh-CN": (
        "小明",
        "小红",
        ("早上好！你能做什么？", "很多：回答问题、记录笔记、按时提醒。"),
        (
            "今天有什么安排？",
            (
                "## 今天\n\n1. **9:00** 给植物浇水\n2. **11:30** 给李医生打电话\n3. **18:00** 晚饭\n\n"
                "| 事项 | 剩余 |\n|---|--:|\n| 笔记 | 3 |\n| 邮件 | 12 |\n\n> 记得带伞：四点起有雨。"
            ),
        ),
        "给我看看小屋外的风景",
        "小屋.jpg",
        "这是哪里？",
        "你好，你就是小明说的那个机器人吗？",
        "是我，很高兴认识你，小红！",
    ),
}

SIZES = {
    "phone": (1180, 780),
    "welcome": (1180, 780),
    "two": (1480, 860),
    "narrow": (390, 780),
    "scan": (1180, 780),
    "menu": (1180, 780),
    "bots": (1480, 860),
    "wire": (1480, 860),
    "mischief": (1480, 1000),
    "share": (1480, 860),
    "crowd": (1480, 860),
}
"""Each view, and how large its picture is."""


async def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    camera = folder / "camera.y4m"
    film(camera, "https://example.org/", scale=9)
    flags = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
    )
    for language in TALKS:
        async with open_house_of_its_own(*flags) as house:
            for theme in THEMES:
                await take_welcome(house, folder, language, theme)
            scene = await Scene.play(house, language)
            for theme in THEMES:
                for view in SIZES:
                    if view not in ("welcome", "crowd"):
                        await scene.take(folder, view, theme)
            scene.held.cancel()
            await asyncio.wait([scene.held])
            await gather_crowd(house, language)
            for theme in THEMES:
                await take_crowd(house, folder, language, theme)
    camera.unlink()


async def take_welcome(house: House, folder: Path, language: str, theme: str) -> None:
    """What is seen before there is anybody."""
    page = await open_page(house, "", "welcome", language, theme)
    await expect(page.get_by_role("heading", name=Words(language)("welcome.title"))).to_be_visible()
    await save(page, folder, "welcome", language, theme)


async def gather_crowd(house: House, language: str) -> None:
    """Two thousand people, each with a bot; forty of them have written to the first one."""
    name, other = TALKS[language][:2]
    hello = TALKS[language][2][0]
    names = [name, other, *(f"{name} {number:04}" for number in range(3, 2001))]
    await house.put_scene(
        people=[{"name": one} for one in names],
        bots=[{"id": f"{number:012x}@im.bot", "owner": one} for number, one in enumerate(names, 0x3B820718)],
        messages=[
            {"person": one, "bot": f"{0x3B820718:012x}@im.bot", "direction": "in", "text": hello} for one in names[:40]
        ],
    )


async def take_crowd(house: House, folder: Path, language: str, theme: str) -> None:
    page = await open_page(house, f"?person={TALKS[language][0]}&panel=bots", "crowd", language, theme)
    await expect(page.locator(".window").first).to_be_visible()
    await save(page, folder, "crowd", language, theme)


async def open_page(house: House, address: str, view: str, language: str, theme: str) -> Page:
    width, height = SIZES[view]
    return await house.page(
        at=address,
        viewport={"width": width, "height": height},
        color_scheme=theme,
        locale=language,
        permissions=["camera"],
    )


async def save(page: Page, folder: Path, view: str, language: str, theme: str) -> None:
    """Take the picture once everything that moves has come to rest, with no pointer or focus on anything."""
    await page.mouse.move(0, 0)
    if view != "menu":
        await page.evaluate("document.activeElement.blur()")
    await page.evaluate(
        "Promise.allSettled(document.getAnimations().filter((one) => one.effect.getComputedTiming().endTime < 9e9)"
        ".map((one) => one.finished))"
    )
    await page.wait_for_timeout(300)
    path = folder / f"{view}-{language}-{theme}.png"
    await page.screenshot(path=path, animations="disabled")
    # A palette makes the file a fifth as large; it is chosen for reach, or rare colours such as a badge's are lost.
    with Image.open(path) as picture:
        palette = {"method": Image.Quantize.MAXCOVERAGE, "kmeans": 3, "dither": Image.Dither.FLOYDSTEINBERG}
        picture.convert("RGB").quantize(256, **palette).save(path, optimize=True)
    await page.context.close()


class Scene:
    """A person who has talked with a bot, a second one who has just begun, and a bot that wants to log in."""

    held: asyncio.Task
    """The bot's polls, so that it is seen to listen."""

    def __init__(self, house: House, language: str, bot: ScriptedBot) -> None:
        self.house, self.words, self.bot = house, Words(language), bot
        self.person, self.other = TALKS[language][:2]

    @classmethod
    async def play(cls, house: House, language: str) -> Scene:
        name, other_name, *talks, wish, file, question, hello, answer = TALKS[language]
        rules = house.gateway.rules
        person = await rules.add_person(name)
        bot = await house.bot_of(person.user_id)
        other = await rules.add_person(other_name)
        await rules.post_message(other.user_id, bot.bot_id, text=hello)
        await bot.say(await bot.hear(), answer)
        scene = cls(house, language, bot)
        first, *later = talks
        message = await scene._talk(person.user_id, *first)
        tool = {"tool_name": "find_place", "tool_call_id": "t1"}
        await bot.send(message, {"type": 12, "tool_call_result_item": {**tool, "status": "completed"}})
        await bot.send(message, {"type": 3, "voice_item": {"playtime": 4000}})
        sent = await rules.post_media(person.user_id, bot.bot_id, "image", _hills(), name=file, text=wish)
        message = await bot.hear()
        quote = Quote(message_id=sent.message_id)
        await rules.post_message(person.user_id, bot.bot_id, text=question, quote=quote)
        message = await bot.hear()
        house.gateway.fault("sendmessage", ret=-2, errmsg="prepare failed", times=1)
        await bot.say(message, answer)
        for asked, answered in later:
            await scene._talk(person.user_id, asked, answered)
        house.gateway.fault("getupdates", duplicate="new_id", times=3)
        scene.held = asyncio.create_task(scene._keep_polling())
        # Time stands still for all pictures: the code never runs out, however slow the machine is.
        await rules.freeze_clock(frozen=True)
        await house.bot().ask_for_code()
        return scene

    async def _talk(self, user_id: str, asked: str, answered: str) -> dict:
        await self.house.gateway.rules.post_message(user_id, self.bot.bot_id, text=asked)
        message = await self.bot.hear()
        await self.bot.type_to(message, is_typing=True)
        await self.bot.say(message, answered)
        await self.bot.type_to(message, is_typing=False)
        return message

    async def _keep_polling(self) -> None:
        while True:
            await self.bot.poll()

    async def take(self, folder: Path, view: str, theme: str) -> None:
        address = f"?person={self.person}&bot={self.bot.bot_id}"
        if view == "two":
            address += f"&person={self.other}"
        elif view in PANELS:
            address += f"&panel={view}"
        page = await open_page(self.house, address, view, self.words.language, theme)
        await page.locator(".entry").first.wait_for()
        for picture in await page.locator(".picture img").all():
            await picture.evaluate("picture => picture.decode()")
        await expect(page.locator('.presence[data-state="polling"]').first).to_be_visible()
        await self._arrange(page, view)
        await save(page, folder, view, self.words.language, theme)

    async def _arrange(self, page: Page, view: str) -> None:
        words = self.words
        if view in ("narrow", "menu", "scan"):
            await page.get_by_role("button", name=words("code.later")).click()
        if view == "wire":
            await page.locator('.wire li[data-endpoint="sendmessage"][data-verdict="bad"] .line').first.click()
        elif view == "menu":
            await page.locator(".message.out .bubble:has(.heading)").click(button="right", position={"x": 90, "y": 90})
        elif view == "scan":
            await page.get_by_role("button", name=words("chat.back")).click()
            await page.evaluate("document.querySelector('person-phone').scan()")
            await expect(page.locator(".scan-screen video")).to_have_js_property("readyState", 4)


async def _hills() -> AsyncIterator[bytes]:
    """A picture that nobody else owns: three ranges of hills under an evening sky."""
    sky = Image.linear_gradient("L").resize((900, 620))
    picture = ImageOps.colorize(sky, "#31507e", "#ffcf9c")
    draw = ImageDraw.Draw(picture)
    for base, swing, length, colour in ((380, 46, 210, "#7d6f93"), (450, 60, 150, "#4f5578"), (540, 40, 97, "#2b3350")):
        ridge = [(x, base + swing * sin(x / length) + swing / 3 * sin(x / 31 + base)) for x in range(0, 901, 4)]
        draw.polygon([(0, 620), *ridge, (900, 620)], fill=colour)
    draw.ellipse((620, 150, 700, 230), fill="#fff1d0")
    content = BytesIO()
    picture.save(content, "JPEG", quality=88)
    yield content.getvalue()


PANELS = ("bots", "wire", "mischief", "share")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES))
