"""`ilink dev` in a real terminal: the bot is reloaded, its errors are shown, and everything ends in order."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cli.terminal import Terminal, terminal
from tests.cli.test_command import ilink
from tests.cli.test_terminal import on

pytestmark = pytest.mark.timeout(120)

BOT = """
from ilink import Bot, Message

bot = Bot(base_url="http://127.0.0.1:9")

@bot.on_text()
async def echo(message: Message) -> None:
    await message.reply(f"{words}: {{message.text}}")

bot.run()
"""


class Page:
    """The control API, as the page uses it."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def get(self, path: str, **query: str) -> Any:
        async with self._session.get(f"{self._url}{path}", params=query) as answer:
            return await answer.json()

    async def post(self, path: str, body: dict[str, object]) -> Any:
        async with self._session.post(f"{self._url}{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def notice(self, text: str) -> dict[str, str]:
        """Wait until the page is shown something."""
        async with self._session.get(f"{self._url}/_sim/events?last_event_id=0") as answer:
            kind = ""
            async for line in answer.content:
                if line.startswith(b"event:"):
                    kind = line.split()[1].decode()
                elif line.startswith(b"data:") and kind == "notice":
                    data = json.loads(line[5:])
                    if re.search(text, data["text"]):
                        return data
        raise AssertionError(text)


@asynccontextmanager
async def developing(path: Path) -> AsyncIterator[tuple[Terminal, Page]]:
    with terminal("dev", str(path), "--no-open", TMPDIR=str(path.parent)) as screen:
        url = await on(screen, r"http://127\.0\.0\.1:\d+")
        async with aiohttp.ClientSession() as session:
            yield screen, Page(session, url)


async def befriend(page: Page) -> tuple[str, str]:
    alice = (await page.post("/_sim/people", {"name": "alice"}))["user_id"]
    code = await page.get("/_sim/wait", qr="1", timeout="30")
    bound = await page.post(f"/_sim/qr/{code['qrcode']}/confirm", {"user_id": alice})
    return alice, bound["bot_id"]


async def talk(page: Page, alice: str, bot: str, text: str) -> str:
    said = await page.post(f"/_sim/people/{alice}/messages", {"bot_id": bot, "text": text})
    query = {"bot_id": bot, "user_id": alice, "after": str(said["n"]), "direction": "out", "timeout": "30"}
    heard = await page.get("/_sim/wait", **query)
    return heard["messages"][0]["items"][0]["text"]


async def test_a_saved_file_is_reloaded_and_nothing_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "bot.py"
    path.write_text(BOT.format(words="one"))
    async with developing(path) as (screen, page):
        alice, bot = await befriend(page)
        assert await talk(page, alice, bot, "hi") == "one: hi"
        path.write_text(BOT.format(words="two"))
        await on(screen, r"Changed: bot\.py(.|\n)*The bot is running")
        assert await talk(page, alice, bot, "hi") == "two: hi"
        screen.presses_control_c()
        assert await asyncio.to_thread(screen.wait_exit) == 0
        assert "Traceback" not in screen.text
    assert [name for name in tmp_path.iterdir() if name.name.startswith("ilink-dev-")] == []


async def test_errors_are_shown_in_the_terminal_and_on_the_page(tmp_path: Path) -> None:
    path = tmp_path / "bot.py"
    path.write_text("def f(:\n")
    async with developing(path) as (screen, page):
        await on(screen, r"line 1: SyntaxError(.|\n)*Correct it and save")
        assert "SyntaxError" in (await page.notice("line 1: SyntaxError"))["hint"]
        path.write_text(BOT.format(words="x").replace("async def", "def").replace("await ", ""))
        await on(screen, r"Changed(.|\n)*line 6: ConfigError")
        await page.notice("ConfigError")
        path.write_text(BOT.format(words="x").replace("    await", "    1 / 0\n    await"))
        alice, bot = await befriend(page)
        await page.post(f"/_sim/people/{alice}/messages", {"bot_id": bot, "text": "hi"})
        await on(screen, r"ZeroDivisionError")
        assert "ZeroDivisionError" in (await page.notice("handling message"))["hint"]
        path.write_text(BOT.format(words="well"))
        assert (await page.get("/_sim/wait", bot_id=bot, user_id=alice, direction="out", timeout="30"))["messages"]
        screen.presses_control_c()
        assert await asyncio.to_thread(screen.wait_exit) == 0


def test_a_missing_file_is_named() -> None:
    run = ilink("dev", "nowhere.py")
    assert (run.returncode, "there is no file nowhere.py" in run.stderr) == (2, True)
