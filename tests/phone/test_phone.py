"""The page as hands use it, in a real browser, on a real gateway."""

from __future__ import annotations

import asyncio
import base64
import re
from pathlib import Path

import pytest
from axe_rules import violations
from phone_house import BROWSER, LANGUAGES, MICROPHONE, House, Words, film, open_house_of_its_own
from playwright.async_api import Page, Route, expect

from ilink.gateway.views import Quote

pytestmark = BROWSER

DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def make_person(page: Page, words: Words, name: str) -> None:
    await page.get_by_role("textbox", name=words("people.name")).fill(name)
    await page.get_by_role("button", name=words("welcome.make")).click()
    await expect(page.get_by_role("heading", name=words("chats.title"))).to_be_visible()


async def write(page: Page, text: str) -> None:
    await page.locator(".composer textarea").fill(text)
    await page.keyboard.press("Enter")


@LANGUAGES
async def test_a_person_is_made_a_code_is_scanned_and_the_two_talk(house: House, language: str) -> None:
    words = Words(language)
    page = await house.page(locale=language)
    await make_person(page, words, "alice")
    bot = house.bot()
    await bot.ask_for_code()
    await page.get_by_role("button", name=words("code.scan", name="alice")).click()
    await expect(page.get_by_text(words("code.status.scaned", name="alice"))).to_be_visible()
    assert await bot.status() == "scaned"
    await page.get_by_role("button", name=words("code.confirm")).click()
    await bot.wait_until_confirmed()
    await expect(page.get_by_role("heading", name=words("bot.of", owner="alice"))).to_be_visible()
    await write(page, "hello\nthere")
    await expect(page.locator(".message.in")).to_have_attribute("data-state", "stored")
    message = await bot.hear()
    await expect(page.locator(".message.in")).to_have_attribute("data-state", "handed_out")
    await bot.type_to(message, is_typing=True)
    await expect(page.locator("[data-typing]")).to_be_visible()
    await expect(page.get_by_role("status").filter(has_text=words("chat.typing"))).to_be_visible()
    await bot.say(message, "You said: hello\nthere")
    await expect(page.locator(".message.out .text")).to_have_text("You said: hello\nthere")
    await bot.type_to(message, is_typing=False)
    await expect(page.locator("[data-typing]")).to_have_count(0)
    next_poll = asyncio.create_task(bot.poll())
    await expect(page.locator(".message.in")).to_have_attribute("data-state", "acked")
    next_poll.cancel()


async def test_the_code_on_the_card_is_the_bots(house: House, tmp_path: Path) -> None:
    zxing = pytest.importorskip("zxingcpp")
    image = pytest.importorskip("PIL.Image")
    await house.gateway.person("alice")
    page = await house.page(device_scale_factor=2)
    bot = house.bot()
    await bot.ask_for_code()
    await page.locator("svg.qr").screenshot(path=tmp_path / "code.png")
    (code,) = await house.gateway.rules.codes()
    assert zxing.read_barcode(image.open(tmp_path / "code.png")).text == code.url


@LANGUAGES
async def test_cancelling_ends_the_login(house: House, language: str) -> None:
    words = Words(language)
    await house.gateway.person("alice")
    page = await house.page(locale=language)
    bot = house.bot()
    await bot.ask_for_code()
    await page.get_by_role("button", name=words("code.scan", name="alice")).click()
    await page.get_by_role("button", name=words("code.cancel")).click()
    await expect(page.get_by_text(words("code.status.expired"))).to_be_visible()
    assert await bot.status() == "expired"


@LANGUAGES
async def test_a_verify_code_is_shown_until_the_bot_sends_it(house: House, language: str) -> None:
    words = Words(language)
    await house.gateway.person("alice")
    page = await house.page(locale=language)
    bot = house.bot()
    await bot.ask_for_code()
    await page.get_by_text(words("code.more"), exact=True).click()
    await page.get_by_role("button", name=words("code.scan", name="alice")).click()
    await expect(page.get_by_role("button", name=words("code.confirm"))).to_be_visible()
    await page.get_by_role("button", name=words("code.verify")).click()  # what was opened before is open still
    digits = await page.locator(".digits").inner_text()
    assert len(digits) == 6
    await bot.status(verify_code=digits)
    await page.get_by_role("button", name=words("code.confirm")).click()
    await bot.wait_until_confirmed()


@LANGUAGES
async def test_a_code_put_aside_waits_until_it_is_wanted(house: House, language: str) -> None:
    words = Words(language)
    await house.gateway.person("alice")
    page = await house.page(viewport={"width": 390, "height": 780}, locale=language)
    await house.bot().ask_for_code()
    scan = page.get_by_role("button", name=words("code.scan", name="alice"))
    await expect(scan).to_be_visible()
    await page.get_by_role("button", name=words("code.later")).click()
    await expect(scan).to_have_count(0)
    await page.get_by_role("button", name=words("chats.scan")).click()
    await expect(scan).to_be_visible()


@LANGUAGES
async def test_a_reload_loses_nothing(house: House, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    page = await house.page(locale=language)
    await page.get_by_role("button", name=words("bot.of", owner="alice")).click()
    await write(page, "remember me")
    await bot.say(await bot.hear(), "I shall")
    await expect(page.locator(".message.out .text")).to_have_text("I shall")
    await page.reload()
    await expect(page.locator(".message .text")).to_have_text(["remember me", "I shall"])


async def test_two_browsers_see_the_same(house: House) -> None:
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    here, there = [await house.page(at=f"?person=alice&bot={bot.bot_id}") for _ in range(2)]
    await write(here, "seen twice")
    await expect(there.locator(".message.in .text")).to_have_text("seen twice")


@LANGUAGES
async def test_people_sit_side_by_side_and_unread_messages_are_counted(house: House, language: str) -> None:
    words = Words(language)
    alice, bob = await house.gateway.person("alice"), await house.gateway.person("bob")
    bot = await house.bot_of(alice.user_id)
    page = await house.page(at="?person=alice&person=bob", viewport={"width": 1500, "height": 860}, locale=language)
    phones = page.locator("person-phone article")
    await expect(phones).to_have_count(2)
    await house.gateway.rules.post_message(bob.user_id, bot.bot_id, text="hi")
    await bot.say(await bot.hear(), "hello bob")
    row = page.get_by_role("article", name=words("phone.of", name="bob")).get_by_role(
        "button", name=words("bot.of", owner="alice")
    )
    await expect(row).to_contain_text(words("chats.unread", count=1))
    await expect(row).to_contain_text("hello bob")
    await row.click()
    await page.get_by_role("button", name=words("chat.back")).click()
    await expect(row).to_be_focused()
    await expect(row.locator(".badge")).to_have_count(0)
    await expect(page).to_have_title(words("app.title"))


@LANGUAGES
async def test_of_a_crowd_the_bar_shows_few_and_a_search_finds_the_others(house: House, language: str) -> None:
    words = Words(language)
    for number in range(1, 61):
        await house.gateway.person(f"person {number:02}")
    last = await house.gateway.person("Zoë")
    page = await house.page(at="?person=person 02", locale=language)
    bar = page.locator(".people .person")
    await expect(bar).to_have_count(24)
    await expect(bar.first).to_contain_text("person 02")
    assert await violations(page) == []
    bot = await house.bot_of(last.user_id)
    await house.gateway.rules.post_message(last.user_id, bot.bot_id, text="hi")
    await bot.say(await bot.hear(), "hello")
    await expect(bar.nth(1)).to_contain_text("Zoë")
    await expect(bar).to_have_count(24)
    search = page.get_by_role("searchbox", name=words("people.search", count=61))
    await search.fill("SON 4")
    await expect(bar).to_have_count(10)
    await search.fill("nobody at all")
    await expect(page.get_by_text(words("people.nobody"))).to_be_visible()
    await search.fill("zoë")
    await expect(bar).to_have_count(1)
    await search.press("Enter")
    await expect(page.locator(f'person-phone[data-user-id="{last.user_id}"]')).to_be_visible()


@LANGUAGES
async def test_a_refused_send_shows_with_its_reason(house: House, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    page = await house.page(at=f"?person=alice&bot={bot.bot_id}", locale=language)
    await write(page, "go on")
    message = await bot.hear()
    await house.gateway.clock.advance(hours=25)
    await bot.say(message, "too late")
    refused = page.locator('.message[data-state="refused"]')
    await expect(refused).to_contain_text("too late")
    await expect(refused).to_contain_text(words("state.refused"))


async def test_names_and_texts_are_never_markup(house: House) -> None:
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    alice = await house.gateway.person("<img src=x onerror=alert(1)>")
    bot = await house.bot_of(alice.user_id)
    page = await house.page(at=f"?bot={bot.bot_id}")
    await write(page, evil)
    await bot.say(await bot.hear(), evil + " [x](javascript:alert(1))")
    await expect(page.locator(".message.out .text")).to_have_text(evil + " [x](javascript:alert(1))")
    assert await page.locator(".text img, .text a, .text script, [onerror]").count() == 0
    assert "owned" not in await page.title()


@LANGUAGES
async def test_a_picture_is_sent_and_seen_and_a_page_is_only_saved(house: House, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    page = await house.page(at=f"?bot={bot.bot_id}", locale=language)
    await expect(page.get_by_role("textbox", name=words("chat.message"))).to_be_visible()
    picker = page.locator("input[type=file]")
    await picker.set_input_files({"name": "dot.png", "mimeType": "image/png", "buffer": DOT})
    await page.get_by_role("button", name=words("chat.send"), exact=True).click()
    await expect(page.locator(".bubble img")).to_have_js_property("naturalWidth", 1)
    evil = b"<script>document.title='owned'</script>"
    await picker.set_input_files({"name": "page.html", "mimeType": "text/html", "buffer": evil})
    await page.keyboard.press("Enter")
    await expect(page.locator("a.chip")).to_have_attribute("download", "page.html")
    assert (await bot.hear())["item_list"][0]["type"] == 4


async def test_a_chat_stays_at_its_end_while_pictures_load(house: House, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (200, 600), "navy").save(tmp_path / "tall.png")
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    for number in range(12):
        await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text=f"message {number}")
    page = await house.page(at=f"?bot={bot.bot_id}")
    await page.locator("input[type=file]").set_input_files(tmp_path / "tall.png")
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.locator(".bubble img")).to_have_js_property("naturalHeight", 600)
    await expect(page.locator(".message .state").last).to_be_in_viewport()


async def test_enter_that_ends_a_choice_of_characters_does_not_send(house: House) -> None:
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    page = await house.page(at=f"?bot={bot.bot_id}")
    box = page.get_by_role("textbox", name="Message")
    await box.fill("你好")
    await box.dispatch_event("keydown", {"key": "Enter", "isComposing": True, "bubbles": True, "cancelable": True})
    await expect(box).to_have_value("你好")
    await page.keyboard.press("Shift+Enter")
    await expect(box).to_have_value("你好\n")
    await expect(page.locator(".message")).to_have_count(0)


async def test_the_frame_is_painted_before_any_module_or_data_is_there(house: House) -> None:
    context = await house.browser.new_context(viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await page.route(re.compile(r"/_sim/|main\.js|views/|panels\.css|tray\.css|locales/"), hold)
    await page.goto(house.gateway.phone_url, wait_until="commit")
    painted = "performance.getEntriesByName('first-contentful-paint').length"
    while not await page.evaluate(painted):
        await page.evaluate("new Promise(requestAnimationFrame)")
    await expect(page.locator("#frame .phone")).to_be_visible()
    held.set()
    await expect(page.get_by_role("heading", name="Whose phone is this?")).to_be_visible()
    await expect(page.locator("#frame")).to_have_count(0)
    await context.close()


async def test_the_language_follows_the_browser_and_a_choice_is_remembered(house: House) -> None:
    await house.gateway.person("小明")
    page = await house.page(locale="zh-CN")
    await expect(page.get_by_role("heading", name="聊天")).to_be_visible()
    await page.get_by_label("语言").select_option("en")
    await expect(page.get_by_role("heading", name="Chats")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("heading", name="Chats")).to_be_visible()
    assert await page.locator("html").get_attribute("lang") == "en"


async def test_a_theme_is_remembered(house: House) -> None:
    page = await house.page(color_scheme="light")
    await page.get_by_role("button", name="Dark theme").click()
    await page.reload()
    await expect(page.get_by_role("button", name="Light theme")).to_be_visible()
    assert await page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


@LANGUAGES
async def test_the_panel_shows_bots_and_expires_them(house: House, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    page = await house.page(at="?panel=bots", locale=language)
    card = page.locator(".bot")
    held = asyncio.create_task(bot.poll())
    await expect(card.locator(".tag")).to_have_text(words("bot.state.polling"))
    await card.get_by_role("button", name=words("bots.expire")).click()
    await expect(card.locator(".tag")).to_have_text(words("bot.state.expired"))
    held.cancel()


@LANGUAGES
async def test_the_wire_shows_exchanges_without_secrets(house: House, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    page = await house.page(at="?panel=wire", locale=language)
    bot = await house.bot_of(alice.user_id)
    await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text="find me")
    await bot.poll()
    await page.get_by_role("searchbox", name=words("wire.search")).fill("find me")
    line = page.locator(".line")
    await expect(line).to_have_count(1)
    await expect(line).to_contain_text("getupdates")
    await line.click()
    await expect(page.locator(".details")).to_contain_text("find me")
    assert bot._token not in await page.content()


async def test_what_was_missed_while_the_gateway_was_away_is_caught_up(house: House) -> None:
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    page = await house.page(at=f"?bot={bot.bot_id}")
    await expect(page.get_by_text("Live")).to_be_visible()
    await page.context.set_offline(True)
    await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text="while you were away")
    await page.context.set_offline(False)
    await expect(page.locator(".message.in .text")).to_have_text("while you were away")
    house.complaints.clear()  # the browser itself reports the cut


@LANGUAGES
async def test_a_text_that_does_not_arrive_can_be_sent_again(house: House, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    page = await house.page(at=f"?bot={bot.bot_id}", locale=language)
    await expect(page.get_by_role("textbox", name=words("chat.message"))).to_be_visible()
    await page.route("**/messages", lambda route: route.abort())
    await write(page, "hold on to me")
    await expect(page.get_by_role("alert").filter(has_text=words("state.failed"))).to_be_visible()
    await page.unroute("**/messages")
    await page.get_by_role("button", name=words("chat.again")).click()
    await expect(page.locator(".message.in:not(.draft) .text")).to_have_text("hold on to me")
    await expect(page.locator(".draft")).to_have_count(0)
    house.complaints.clear()  # the browser itself reports the cut


@LANGUAGES
async def test_a_reset_gateway_shows_empty(house: House, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    page = await house.page(at=f"?bot={bot.bot_id}", locale=language)
    await expect(page.get_by_role("textbox", name=words("chat.message"))).to_be_visible()
    await house.gateway.rules.reset(7)
    await expect(page.get_by_role("heading", name=words("welcome.title"))).to_be_visible()


async def test_a_long_chat_opens_at_its_end_and_shows_older_messages_on_the_way_up(house: House) -> None:
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    for number in range(400):
        await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text=f"message {number}")
    page = await house.page(at=f"?bot={bot.bot_id}")
    await expect(page.get_by_text("message 399", exact=True)).to_be_in_viewport()
    assert await page.locator(".message").count() < 200
    while not await page.get_by_text("message 0", exact=True).count():
        await page.locator(".log").evaluate("log => log.scrollTo(0, 0)")
        await page.evaluate("new Promise(requestAnimationFrame)")
    await page.get_by_role("button", name="Newest").click()
    await expect(page.get_by_text("message 399", exact=True)).to_be_in_viewport()


@LANGUAGES
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_axe_finds_nothing(house: House, scheme: str, width: int, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    page = await house.page(
        color_scheme=scheme, viewport={"width": width, "height": 800}, reduced_motion="reduce", locale=language
    )
    await expect(page.get_by_role("heading", name=words("chats.title"), exact=True)).to_be_visible()
    assert await violations(page) == []
    bot = await house.bot_of(alice.user_id)
    rules = house.gateway.rules
    posted = await rules.post_message(alice.user_id, bot.bot_id, text="hi")
    message = await bot.hear()
    await bot.say(
        message, "# Hello\n\n*see* https://example.org/ and `code`\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\nx\n```"
    )
    await bot.send(message, {"type": 3, "voice_item": {"playtime": 2000}})
    await bot.send(message, {"type": 11, "tool_call_start_item": {"tool_name": "search", "tool_call_id": "t1"}})
    await rules.post_message(alice.user_id, bot.bot_id, text="this", quote=Quote(message_id=posted.message_id))
    await house.gateway.clock.advance(hours=25)
    await bot.say(message, "too late")
    await page.locator(".row").click()
    await expect(page.locator('[data-state="refused"]').first).to_be_visible()
    assert await violations(page) == []
    await page.locator(".message.in .bubble").first.click(button="right")
    await expect(page.get_by_role("menu")).to_be_visible()
    assert await violations(page) == []
    await page.get_by_role("menuitem", name=words("menu.quote_part")).click()
    assert await violations(page) == []
    await page.get_by_role("dialog").get_by_role("button", name=words("menu.quote_words")).click()
    house.gateway.fault("sendmessage", ret=-2, times=1)
    for panel in ("bots", "wire", "mischief", "share"):
        await page.locator(f"[data-panel-button={panel}]").click()
        await expect(page.get_by_role("tab", name=words(f"panel.{panel}"), selected=True)).to_be_visible()
        if panel == "wire":
            await page.locator('.wire [data-endpoint="sendmessage"] .line').first.click()
        if panel == "mischief":
            await expect(page.locator("[data-knob]").first).to_be_visible()
            await page.get_by_text(words("fault.own")).click()
        assert await violations(page) == []
        await page.get_by_role("button", name=words("panel.close")).click()
    await house.bot().ask_for_code()
    await expect(page.get_by_role("button", name=words("code.scan", name="alice"))).to_be_visible()
    assert await violations(page) == []
    await page.get_by_role("button", name=words("people.new"), exact=True).click()
    assert await violations(page) == []


@LANGUAGES
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_axe_finds_nothing_on_what_lies_over_a_chat(
    tmp_path: Path, scheme: str, width: int, language: str
) -> None:
    words = Words(language)
    camera = tmp_path / "camera.y4m"
    film(camera, "https://example.org/no-code-of-a-bot")
    async with open_house_of_its_own(*MICROPHONE, f"--use-file-for-fake-video-capture={camera}") as house:
        alice = await house.gateway.person("alice")
        bot = await house.bot_of(alice.user_id)
        page = await house.page(
            at=f"?person=alice&bot={bot.bot_id}",
            color_scheme=scheme,
            viewport={"width": width, "height": 800},
            reduced_motion="reduce",
            locale=language,
            permissions=["camera", "microphone"],
        )
        file = {"name": "dot.png", "mimeType": "image/png", "buffer": DOT}
        await page.locator("input[type=file]").set_input_files(file)
        await expect(page.locator(".attachments")).to_contain_text("dot.png")
        assert await violations(page) == []
        await page.get_by_role("button", name=words("chat.send"), exact=True).click()
        await page.locator(".picture").click()
        await expect(page.get_by_role("dialog")).to_contain_text("dot.png")
        assert await violations(page) == []
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name=words("chat.record"), exact=True).click()
        await expect(page.locator(".recording .seconds")).to_have_text(re.compile("0:0[1-9]"))
        assert await violations(page) == []
        await page.get_by_role("button", name=words("chat.record.cancel")).click()
        await page.get_by_role("button", name=words("chat.back")).click()
        await page.get_by_role("button", name=words("chats.scan")).click()
        await expect(page.locator("scan-screen .finder i")).to_be_visible()
        assert await violations(page) == []
        assert (house.complaints, house.strangers) == ([], [])
