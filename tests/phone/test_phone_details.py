"""Details of what the page shows of bots, codes, exchanges and time, each as hands come across it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import aiohttp
import pytest
from phone_house import BROWSER, LANGUAGES, House, ScriptedBot, Words, copied
from playwright.async_api import Page, expect

pytestmark = BROWSER


async def talk(house: House, text: str = "hi") -> tuple[str, ScriptedBot, dict]:
    """A person, a bot, and a message that the bot has heard."""
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text=text)
    return alice.user_id, bot, await bot.hear()


def fact(page: Page, words: str):
    """One of a bot's facts, by its name."""
    return page.locator(".facts div").filter(has=page.get_by_text(words, exact=True)).locator("dd")


@LANGUAGES
async def test_what_a_bot_may_still_send_is_a_gauge(house: House, language: str) -> None:
    words = Words(language)
    user_id, bot, message = await talk(house)
    page = await house.page(at="?panel=bots", locale=language)
    gauge = page.get_by_role("meter", name=words("bots.window.meter", name="alice"))
    await expect(gauge).to_have_js_property("value", 10)
    await bot.say(message, "one")
    await bot.say(message, "two")
    await expect(gauge).to_have_js_property("value", 8)
    await expect(page.locator(".window")).to_contain_text("8")
    await house.gateway.rules.post_message(user_id, bot.bot_id, text="go on")
    await expect(gauge).to_have_js_property("value", 10)
    await expect(fact(page, words("bots.depth"))).to_have_text("2")
    await house.gateway.clock.advance(hours=25)
    await expect(page.locator(".window")).to_contain_text(words("bots.window.closed"))
    await expect(gauge).to_have_js_property("value", 0)


@LANGUAGES
async def test_polls_and_depth_of_a_bot_follow_what_it_does(house: House, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    page = await house.page(at="?panel=bots", locale=language)
    await expect(fact(page, words("bots.last_poll"))).to_have_text(words("bots.never"))
    await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text="hi")
    await expect(fact(page, words("bots.depth"))).to_have_text("1")
    await bot.poll()
    held = asyncio.create_task(bot.poll())
    await expect(fact(page, words("bots.polls"))).to_have_text("1")
    await expect(fact(page, words("bots.depth"))).to_have_text("0")
    await expect(fact(page, words("bots.head"))).to_have_text("1 / 1")
    await expect(fact(page, words("bots.last_poll"))).not_to_have_text(words("bots.never"))
    held.cancel()


@LANGUAGES
async def test_wrong_digits_close_a_login(house: House, language: str) -> None:
    words = Words(language)
    await house.gateway.person("alice")
    page = await house.page(locale=language)
    bot = house.bot()
    await bot.ask_for_code()
    await page.get_by_role("button", name=words("code.scan", name="alice")).click()
    await page.get_by_text(words("code.more"), exact=True).click()
    await page.get_by_role("button", name=words("code.verify")).click()
    right = await page.locator(".digits").inner_text()
    wrong = "000000" if right != "000000" else "111111"
    for _ in range(3):
        await bot.status(verify_code=wrong)
    await expect(page.get_by_text(words("code.status.verify_code_blocked"))).to_be_visible()


@LANGUAGES
async def test_an_exchange_shows_its_time_its_findings_and_its_bodies(house: House, language: str) -> None:
    words = Words(language)
    page = await house.page(at="?panel=wire", locale=language)
    _, bot, message = await talk(house)
    await bot.say(message, "你好 <b>")
    row = page.locator('.wire [data-endpoint="sendmessage"]')
    await expect(row.locator(".held")).to_contain_text("ms")
    await expect(row.locator(".verdict")).to_have_text("ret 0")
    await row.locator(".line").click()
    details = row.locator(".details")
    await expect(details.locator(".finding code").first).to_contain_text("header_missing")
    explained = details.locator(".finding span").first
    await expect(explained).to_contain_text("缺少请求头" if language == "zh-CN" else "is missing; send")
    await expect(explained).to_have_attribute("lang", language)
    request = details.get_by_label(words("wire.request"), exact=True)
    await expect(request).to_contain_text('"text": "你好 <b>"')
    await expect(request).to_contain_text('"context_token": "***"')
    assert '\n  "msg": {\n    "to_user_id"' in (await request.text_content() or "")
    await expect(details.get_by_label(words("wire.response"), exact=True)).to_contain_text('"message_id"')
    assert message["context_token"] not in await page.content()
    await page.get_by_role("button", name=words("wire.stop"), exact=True).click()
    await bot.say(message, "more")
    # What is held stays; what came meanwhile is there when it goes on.
    await expect(page.locator(".wire")).not_to_contain_text("more")
    await page.get_by_role("button", name=words("wire.go"), exact=True).click()
    await expect(row).to_have_count(2)


@LANGUAGES
async def test_the_clock_goes_an_hour_on_and_codes_and_times_follow(house: House, language: str) -> None:
    words = Words(language)
    await house.gateway.person("alice")
    bot = house.bot()
    await bot.ask_for_code()
    page = await house.page(at="?panel=mischief", locale=language)
    await page.get_by_role("button", name=words("clock.freeze"), exact=True).click()
    await expect(page.locator(".now .tag")).to_be_visible()
    before = house.gateway.rules.now
    await page.get_by_role("button", name=words("clock.hour"), exact=True).click()
    await expect(page.get_by_text(words("code.status.expired"))).to_be_visible()
    assert house.gateway.rules.now - before == timedelta(hours=1)
    assert await bot.status() == "expired"


@LANGUAGES
async def test_links_to_a_person_open_that_phone(house: House, language: str) -> None:
    words = Words(language)
    await house.gateway.person("alice")
    bob = await house.gateway.person("bob")
    page = await house.page(
        at="?person=bob&panel=share", locale=language, permissions=["clipboard-read", "clipboard-write"]
    )
    link = await copied(page, page.get_by_role("button", name=words("share.link.person", name="bob")))
    other = await page.context.new_page()
    await other.goto(link)
    await expect(other.get_by_role("article", name=words("phone.of", name="bob"))).to_be_visible()
    await expect(other.locator(f'person-phone[data-user-id="{bob.user_id}"]')).to_have_count(1)


async def test_a_reset_with_a_seed_brings_the_same_ids_again(house: House) -> None:
    async def reset_and_make(seed: str) -> str:
        await page.get_by_role("spinbutton", name="Seed").fill(seed)
        await page.get_by_role("button", name="Reset", exact=True).click()
        async with page.expect_response("**/_sim/reset"):  # a heading alone may be the one of before
            await page.get_by_role("button", name="Forget it").click()
        await expect(page.get_by_role("heading", name="Whose phone is this?")).to_be_visible()
        return (await house.gateway.person("alice")).user_id

    page = await house.page(at="?panel=share")
    first, other, again = [await reset_and_make(seed) for seed in ("5", "6", "5")]
    assert first == again != other


VIDEO = """
async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 48 });
  const brush = canvas.getContext("2d");
  const recorder = new MediaRecorder(canvas.captureStream(20), { mimeType: "video/webm" });
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const ended = new Promise((done) => (recorder.onstop = done));
  recorder.start();
  for (let i = 0; i < 12; i++) {
    brush.fillStyle = `hsl(${i * 30} 80% 50%)`;
    brush.fillRect(0, 0, 64, 48);
    await new Promise((done) => setTimeout(done, 50));
  }
  recorder.stop();
  await ended;
  return [...new Uint8Array(await new Blob(parts).arrayBuffer())];
}
"""


@LANGUAGES
async def test_a_video_is_sent_and_plays(house: House, language: str) -> None:
    words = Words(language)
    _, bot, _ = await talk(house)
    page = await house.page(at=f"?person=alice&bot={bot.bot_id}", locale=language)
    film = bytes(await page.evaluate(VIDEO))
    file = {"name": "clip.webm", "mimeType": "video/webm", "buffer": film}
    await page.locator("input[type=file]").set_input_files(file)
    await expect(page.locator(".attachments")).to_contain_text("clip.webm")
    await page.get_by_role("button", name=words("chat.send"), exact=True).click()
    video = page.locator("video.picture")
    await expect(video).to_have_js_property("videoWidth", 64)
    await video.evaluate("video => { video.muted = true; return video.play(); }")
    await expect(video).to_have_js_property("ended", True)
    assert (await bot.hear())["item_list"][0]["type"] == 5


@pytest.mark.parametrize("preset", ["answer_dropped", "swallowed"])
async def test_what_a_preset_promises_happens(house: House, preset: str) -> None:
    _, bot, message = await talk(house)
    page = await house.page(at=f"?person=alice&bot={bot.bot_id}&panel=mischief")
    await page.locator(f'[data-preset="{preset}"]').click()
    await expect(page.locator("[data-fault]")).to_be_visible()
    if preset == "answer_dropped":
        with pytest.raises(aiohttp.ClientConnectionError):  # however the connection ends, there is no answer
            await bot.say(message, "hello")
        await expect(page.locator(".message.out .text")).to_have_text("hello")
    else:
        assert (await bot.say(message, "hello"))["ret"] == 0
        await expect(page.locator(".message.out")).to_have_attribute("data-state", "not_shown")
    await expect(page.locator("[data-fault]")).to_have_attribute("data-spent", "")
