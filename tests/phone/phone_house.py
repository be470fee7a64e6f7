"""A gateway, a browser on its page, and a bot in a few lines of plain HTTP."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
import segno
from playwright.async_api import Browser, BrowserContext, Locator, Page, Request, async_playwright, expect

import ilink
from ilink.testing import LocalGateway

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""A browser that runs as root in a container, and by itself calls nobody."""

MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
"""A microphone that beeps, and a person who lets every page hear it."""

PATIENCE = 45_000
"""Milliseconds until something that is waited for counts as missing; a machine may be slow, and nobody waits longer
than it takes."""

expect.set_options(timeout=PATIENCE)

BROWSER = [pytest.mark.browser, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="session")]
"""Marks of tests that drive a browser: many waits, each of which may take as long as PATIENCE says, in the event loop
in which the browser lives that they share."""

LANGUAGES = pytest.mark.parametrize("language", ["en", "zh-CN"])


class ScriptedBot:
    """Speaks the wire by hand, one call at a time, so that a test decides when each thing happens."""

    def __init__(self, http: aiohttp.ClientSession, api_url: str) -> None:
        self._http = http
        self._api_url = api_url
        self._token = ""
        self._cursor = ""
        self.qrcode = ""
        self.bot_id = ""

    async def ask_for_code(self) -> None:
        answer = await self._post("get_bot_qrcode?bot_type=3", {"local_token_list": []})
        self.qrcode = answer["qrcode"]

    async def status(self, **query: str) -> str:
        """The code's status; a confirmed one brings the token."""
        url = f"{self._api_url}/ilink/bot/get_qrcode_status"
        async with self._http.get(url, params={"qrcode": self.qrcode, **query}) as answer:
            body = await answer.json(content_type=None)
        if body["status"] == "confirmed":
            self._token, self.bot_id = body["bot_token"], body["ilink_bot_id"]
        return body["status"]

    async def wait_until_confirmed(self) -> None:
        while await self.status() != "confirmed":
            pass

    async def poll(self) -> list[dict]:
        answer = await self._post("getupdates", {"get_updates_buf": self._cursor})
        self._cursor = answer["get_updates_buf"]
        return answer.get("msgs") or []

    async def hear(self) -> dict:
        """The next message, waited for."""
        while True:
            messages = await self.poll()
            if messages:
                return messages[-1]

    async def say(self, message: dict, text: str) -> dict:
        """Answer a message."""
        return await self.send(message, {"type": 1, "text_item": {"text": text}})

    async def send(self, message: dict, item: dict) -> dict:
        body = {
            "to_user_id": message["from_user_id"],
            "client_id": f"{message['client_id']}-{os.urandom(4).hex()}",
            "message_type": 2,
            "message_state": 2,
            "context_token": message["context_token"],
            "item_list": [item],
        }
        return await self._post("sendmessage", {"msg": body})

    async def type_to(self, message: dict, *, is_typing: bool) -> None:
        user_id = message["from_user_id"]
        request = {"ilink_user_id": user_id, "context_token": message["context_token"]}
        ticket = (await self._post("getconfig", request))["typing_ticket"]
        status = 1 if is_typing else 2
        await self._post("sendtyping", {"ilink_user_id": user_id, "typing_ticket": ticket, "status": status})

    async def _post(self, endpoint: str, body: dict) -> dict:
        headers = {"AuthorizationType": "ilink_bot_token", "X-WECHAT-UIN": "MTIzNDU2Nzg5MA=="}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        url = f"{self._api_url}/ilink/bot/{endpoint}"
        body = {**body, "base_info": {"channel_version": "2.4.9"}}
        async with self._http.post(url, json=body, headers=headers) as answer:
            return await answer.json(content_type=None)


@dataclass
class House:
    """One gateway, any number of pages and bots."""

    gateway: LocalGateway
    browser: Browser
    http: aiohttp.ClientSession
    complaints: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    async def page(self, *, at: str = "", context: BrowserContext | None = None, **options: object) -> Page:
        """A page in a browser of its own, wide unless said otherwise, in English."""
        if context is None:
            options = {"viewport": {"width": 1280, "height": 800}, "locale": "en-US", **options}
            context = await self.browser.new_context(**options)
        page = await context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._seen)
        await page.goto(self.gateway.phone_url + at)
        return page

    async def put_scene(self, **parts: object) -> None:
        """Put people, bots and messages there at once."""
        body = io.BytesIO(json.dumps({"ilink_scene": 1, **parts}).encode())
        headers = {"content-type": "application/json"}
        async with self.http.put(f"{self.gateway.control_url}/_sim/scene", data=body, headers=headers) as answer:
            assert answer.status == 204, await answer.text()

    def bot(self) -> ScriptedBot:
        return ScriptedBot(self.http, self.gateway.api_url)

    async def bot_of(self, user_id: str) -> ScriptedBot:
        """A bot that a person confirmed already."""
        bot = self.bot()
        await bot.ask_for_code()
        await self.gateway.rules.confirm(bot.qrcode, user_id=user_id)
        await bot.wait_until_confirmed()
        return bot

    def _seen(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.hostname != "127.0.0.1":
            self.strangers.append(request.url)


async def copied(page: Page, button: Locator) -> str:
    """Press what copies something, and return that as soon as it is there."""
    await page.evaluate("navigator.clipboard.writeText('')")
    await button.click()
    found = await page.wait_for_function("navigator.clipboard.readText()")
    return await found.json_value()


class Words:
    """What the page says in a language, by key, as `t` of the page does."""

    def __init__(self, language: str) -> None:
        self.language = language
        path = Path(ilink.__file__).parent / f"phone/locales/{language}.json"
        self._texts: dict[str, str] = json.loads(path.read_text("utf-8"))

    def __call__(self, key: str, **values: object) -> str:
        if key not in self._texts:
            key += ".one" if self.language == "en" and values["count"] == 1 else ".other"
        return self._texts[key].format(**values)


def film(path: Path, text: str, *, scale: int = 6) -> None:
    """What a camera sees that is held before a QR code: raw video of ten frames, grey as all cameras may be."""
    width, height = 640, 480
    rows = [bytearray(b"\xb0" * width) for _ in range(height)]
    matrix = list(segno.make(text, error="m").matrix_iter(scale=scale, border=4))
    top, left = (height - len(matrix)) // 2, (width - len(matrix[0])) // 2
    for y, row in enumerate(matrix):
        for x, dark in enumerate(row):
            rows[top + y][left + x] = 0x18 if dark else 0xE8
    frame = b"FRAME\n" + b"".join(rows) + b"\x80" * (width * height // 2)
    path.write_bytes(f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg\n".encode() + frame * 10)


def chromium() -> str:
    """The system's browser; a test that needs one is skipped without, unless one is required."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        reason = "no Chromium on this machine (Debian: apt-get install chromium)"
        if os.environ.get("ILINK_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@asynccontextmanager
async def open_browser(*flags: str) -> AsyncIterator[Browser]:
    """Start a browser."""
    program = chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def open_house(browser: Browser) -> AsyncIterator[House]:
    """A gateway of its own; of the browser, contexts of its own, which no other house sees."""
    async with LocalGateway(seed=7) as gateway, aiohttp.ClientSession() as http:
        try:
            yield House(gateway, browser, http)
        finally:
            for context in browser.contexts:
                await leave(context)


@asynccontextmanager
async def open_house_of_its_own(*flags: str) -> AsyncIterator[House]:
    """A house with a browser that was started with flags which others are not to have."""
    async with open_browser(*flags) as browser, open_house(browser) as house:
        yield house


async def leave(context: BrowserContext) -> None:
    """Close a context; answers that are still held back are nobody's then."""
    for page in context.pages:
        await page.unroute_all(behavior="ignoreErrors")
    await context.close()
