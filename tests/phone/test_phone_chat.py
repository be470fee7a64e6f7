"""Chats as hands use them: Markdown, quotes, pictures, voice, long transcripts, and what two browsers see."""

from __future__ import annotations

import asyncio
import io
import re
import struct
import wave

import pytest
from phone_house import BROWSER, LANGUAGES, MICROPHONE, House, ScriptedBot, Words, copied, open_house_of_its_own
from playwright.async_api import Locator, Page, expect

pytestmark = BROWSER


async def chat(house: House, **options: object) -> tuple[Page, ScriptedBot, dict]:
    """A page with a chat open in which a message was said; the message as the bot got it."""
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text="alpha beta gamma beta delta")
    message = await bot.hear()
    page = await house.page(at=f"?person=alice&bot={bot.bot_id}", **options)
    await expect(page.locator(".message.in .text")).to_have_text("alpha beta gamma beta delta")
    return page, bot, message


async def test_what_a_bot_writes_is_drawn_as_on_a_phone(house: House) -> None:
    page, bot, message = await chat(house)
    await bot.say(
        message,
        "# Title\n\nSome *slanted*, **bold** and `code`, but *中文* as it is.\n\n- one\n- two\n\n> said\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n---\n\n```py\nx = 1 < 2\n```\n[here](https://docs.example/) "
        "[not](javascript:alert(1)) ##### plain",
    )
    text = page.locator(".message.out .text")
    await expect(text.get_by_role("heading", name="Title")).to_be_visible()
    await expect(text.locator("em")).to_have_text(["slanted"])
    await expect(text.locator("strong")).to_have_text(["bold"])
    await expect(text.locator("p code")).to_have_text(["code"])
    await expect(text.locator("ul li")).to_have_text(["one", "two"])
    await expect(text.locator("blockquote")).to_have_text("said")
    await expect(text.locator("td")).to_have_text(["1", "2"])
    await expect(text.locator("pre")).to_have_text("x = 1 < 2")
    await expect(text.locator("a")).to_have_attribute("href", "https://docs.example/")
    await expect(text).to_contain_text("*中文*")
    await expect(text).to_contain_text("[not](javascript:alert(1)) ##### plain")


@LANGUAGES
async def test_what_a_person_writes_stays_as_it_is(house: House, language: str) -> None:
    words = Words(language)
    page, _, _ = await chat(house, locale=language)
    await page.get_by_role("textbox", name=words("chat.message")).fill("**not bold**")
    await page.keyboard.press("Enter")
    await expect(page.locator(".message.in .text").last).to_have_text("**not bold**")
    await expect(page.locator(".message.in strong")).to_have_count(0)


async def open_menu(page: Page, bubble: Locator, way: str) -> None:
    box = await bubble.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    if way == "right click":
        await page.mouse.click(x, y, button="right")
    elif way == "keyboard":
        await bubble.locator("xpath=../following-sibling::button").focus()
        await page.keyboard.press("Enter")
    else:
        point = {"pointerType": "touch", "bubbles": True, "clientX": x, "clientY": y}
        await bubble.dispatch_event("pointerdown", point)
    await expect(page.get_by_role("menu")).to_be_visible()


@LANGUAGES
@pytest.mark.parametrize("way", ["right click", "long press", "keyboard"])
async def test_a_message_is_quoted(house: House, language: str, way: str) -> None:
    words = Words(language)
    page, bot, _ = await chat(house, locale=language)
    await open_menu(page, page.locator(".message.in .bubble"), way)
    await page.get_by_role("menuitem", name=words("menu.quote"), exact=True).click()
    await expect(page.locator(".quoting")).to_contain_text("alpha beta gamma")
    await page.get_by_role("textbox", name=words("chat.message")).fill("this one?")
    await page.keyboard.press("Enter")
    await expect(page.locator(".quote")).to_have_text("alpha beta gamma beta delta")
    reference = (await bot.hear())["item_list"][0]["ref_msg"]
    assert set(reference) == {"svr_id"}
    await expect(page.locator(".quoting")).to_have_count(0)


@LANGUAGES
async def test_words_that_are_selected_are_quoted_alone(house: House, language: str) -> None:
    words = Words(language)
    page, bot, _ = await chat(house, locale=language)
    bubble = page.locator(".message.in .bubble")
    await bubble.locator(".text").evaluate(
        "text => { const range = document.createRange();"
        " const node = [...text.childNodes].find((one) => one.data?.includes('gamma'));"
        " range.setStart(node, node.data.indexOf('gamma')); range.setEnd(node, node.data.indexOf('gamma') + 10);"
        " getSelection().removeAllRanges(); getSelection().addRange(range); }"
    )
    await bubble.click(button="right")
    await page.get_by_role("menuitem", name=words("menu.quote_words")).click()
    await page.get_by_role("textbox", name=words("chat.message")).fill("why these?")
    await page.keyboard.press("Enter")
    await expect(page.locator(".quote")).to_have_text("“gamma beta”")
    partial = (await bot.hear())["item_list"][0]["ref_msg"]["partial_text"]
    assert (partial["start"], partial["end"]) == ("gamma", "beta")


@LANGUAGES
@pytest.mark.parametrize("way", ["long press", "keyboard"])
async def test_a_part_is_chosen_and_quoted(house: House, language: str, way: str) -> None:
    words = Words(language)
    page, bot, _ = await chat(house, locale=language)
    await open_menu(page, page.locator(".message.in .bubble"), way)
    await page.get_by_role("menuitem", name=words("menu.quote_part")).press("Enter")
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("textbox").evaluate("area => area.setSelectionRange(6, 10)")
    await dialog.get_by_role("button", name=words("menu.quote_words")).click()
    await expect(page.locator(".quoting")).to_contain_text("“beta”")
    await expect(page.get_by_role("textbox", name=words("chat.message"))).to_be_focused()
    await page.get_by_role("textbox", name=words("chat.message")).fill("which?")
    await page.keyboard.press("Enter")
    await expect(page.locator(".quote")).to_have_text("“beta”")
    partial = (await bot.hear())["item_list"][0]["ref_msg"]["partial_text"]
    assert (partial["start"], partial["end"]) == ("beta", "beta")


async def test_a_quote_leads_to_what_it_quotes_however_far_back(house: House) -> None:
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    rules = house.gateway.rules
    first = await rules.post_message(alice.user_id, bot.bot_id, text="the very first")
    for number in range(300):
        await rules.post_message(alice.user_id, bot.bot_id, text=f"message {number}")
    from ilink.gateway.views import Quote

    await rules.post_message(alice.user_id, bot.bot_id, text="that", quote=Quote(message_id=first.message_id))
    page = await house.page(at=f"?bot={bot.bot_id}")
    await page.locator(".quote").click()
    await expect(page.locator(".message .text", has_text="the very first")).to_be_in_viewport()


@LANGUAGES
async def test_a_picture_goes_with_a_caption_and_opens_in_full_view(house: House, language: str) -> None:
    words = Words(language)
    image = pytest.importorskip("PIL.Image")
    picture = io.BytesIO()
    image.new("RGB", (320, 200), "seagreen").save(picture, "PNG")
    page, bot, _ = await chat(house, locale=language)
    await page.locator("input[type=file]").set_input_files(
        {"name": "<b>green.png", "mimeType": "image/png", "buffer": picture.getvalue()}
    )
    await expect(page.locator(".attachments")).to_contain_text("<b>green.png")
    await page.get_by_role("textbox", name=words("chat.message")).fill("so green")
    await page.keyboard.press("Enter")
    await expect(page.locator(".attachments")).to_have_count(0)
    last = page.locator(".entry").last
    await expect(last.locator(".text")).to_have_text("so green")
    items = (await bot.hear())["item_list"]
    assert [item["type"] for item in items] == [1, 2]
    await last.locator(".picture").click()
    viewer = page.get_by_role("dialog")
    await expect(viewer.locator("img")).to_have_js_property("naturalWidth", 320)
    await expect(viewer).to_contain_text("<b>green.png")
    await page.keyboard.press("Escape")
    await expect(viewer).to_have_count(0)


@LANGUAGES
async def test_a_file_dropped_on_a_chat_waits_to_be_sent(house: House, language: str) -> None:
    words = Words(language)
    page, bot, _ = await chat(house, locale=language)
    await drop(page, ".phone", b"notes", "notes.txt", "text/plain")
    await expect(page.locator(".attachments")).to_contain_text("notes.txt")
    await page.get_by_role("button", name=words("chat.detach", name="notes.txt")).click()
    await expect(page.locator(".attachments")).to_have_count(0)
    await drop(page, ".phone", b"notes", "notes.txt", "text/plain")
    await page.get_by_role("button", name=words("chat.send"), exact=True).click()
    await expect(page.locator("a.chip")).to_have_attribute("download", "notes.txt")
    assert (await bot.hear())["item_list"][0]["file_item"]["file_name"] == "notes.txt"


async def drop(page: Page, selector: str, content: bytes, name: str, kind: str) -> None:
    transfer = await page.evaluate_handle(
        "([bytes, name, type]) => { const data = new DataTransfer();"
        " data.items.add(new File([new Uint8Array(bytes)], name, {type})); return data; }",
        [list(content), name, kind],
    )
    await page.dispatch_event(selector, "drop", {"dataTransfer": transfer})


@LANGUAGES
async def test_tool_progress_and_voice_that_phones_do_not_show(house: House, language: str) -> None:
    words = Words(language)
    page, bot, message = await chat(house, locale=language)
    start = {"type": 11, "tool_call_start_item": {"tool_name": "<i>search</i>", "tool_call_id": "t1"}}
    await bot.send(message, start)
    result = {"tool_name": "search", "tool_call_id": "t1", "status": "failed"}
    await bot.send(message, {"type": 12, "tool_call_result_item": result})
    await bot.send(message, {"type": 3, "voice_item": {"playtime": 2000}})
    await expect(page.locator(".tool-name")).to_have_text(["<i>search</i>", "search"])
    await expect(page.locator(".tool-line").last).to_contain_text(words("item.tool.failed"))
    await expect(page.locator(".message.out").last).to_have_attribute("data-state", "not_shown")
    await expect(page.locator(".message.out").last).to_contain_text(words("state.not_shown"))


@LANGUAGES
async def test_a_voice_message_is_recorded_and_played(language: str) -> None:
    pytest.importorskip("pysilk")
    words = Words(language)
    async with open_house_of_its_own(*MICROPHONE) as house:
        page, bot, _ = await chat(house, locale=language, permissions=["microphone"])
        await page.get_by_role("button", name=words("chat.record"), exact=True).click()
        await expect(page.locator(".recording .seconds")).to_have_text(re.compile("0:0[1-9]"))
        await page.get_by_role("button", name=words("chat.record.send")).click()
        voice = page.locator(".voice")
        await expect(voice).to_be_visible()
        item = (await bot.hear())["item_list"][0]
        assert item["type"] == 3
        assert 900 <= item["voice_item"]["playtime"] <= 10_000
        sound = await page.request.get(await sound_url(page))
        with wave.open(io.BytesIO(await sound.body())) as recording:
            samples = recording.readframes(recording.getnframes())
        # The fake microphone beeps; silence would tell that nothing was recorded.
        assert max(abs(value) for (value,) in struct.iter_unpack("<h", samples)) > 1000
        # It is over soon: every state is noted, since a look now and then may miss the first one.
        await voice.evaluate(
            "voice => { voice.seen = []; new MutationObserver(() => voice.seen.push(voice.ariaPressed))"
            ".observe(voice, {attributeFilter: ['aria-pressed']}); }"
        )
        await voice.click()
        await expect(voice).to_have_js_property("seen", ["true", "false"])
        assert (house.complaints, house.strangers) == ([], [])


async def sound_url(page: Page) -> str:
    address = await page.evaluate("document.querySelector('voice-bubble').item.media.media_id")
    return f"{page.url.split('?')[0]}_sim/media/{address}?wav=1"


@LANGUAGES
async def test_a_recording_that_is_thrown_away_is_not_sent(language: str) -> None:
    words = Words(language)
    async with open_house_of_its_own(*MICROPHONE) as house:
        page, _, _ = await chat(house, locale=language, permissions=["microphone"])
        await page.get_by_role("button", name=words("chat.record")).click()
        await page.get_by_role("button", name=words("chat.record.cancel")).click()
        await expect(page.get_by_role("textbox", name=words("chat.message"))).to_be_visible()
        await expect(page.locator(".voice")).to_have_count(0)
        assert house.complaints == []


@LANGUAGES
async def test_without_a_microphone_the_page_says_so(house: House, language: str) -> None:
    words = Words(language)
    page, _, _ = await chat(house, locale=language)
    await page.get_by_role("button", name=words("chat.record")).click()
    await expect(page.get_by_role("alert").filter(has_text=words("chat.record.none"))).to_be_visible()


@LANGUAGES
async def test_what_one_browser_reads_is_read_in_the_other(house: House, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text="hi")
    await bot.say(await bot.hear(), "hello")
    here, there = (
        await house.page(at="?person=alice", locale=language),
        await house.page(at="?person=alice", locale=language),
    )
    for page in (here, there):
        await expect(page.locator(".row")).to_contain_text(words("chats.unread", count=1))
    await here.locator(".row").click()
    await expect(there.locator(".row .badge")).to_have_count(0)
    await there.reload()
    await expect(there.locator(".row")).to_contain_text("hello")
    await expect(there.locator(".row .badge")).to_have_count(0)


@LANGUAGES
async def test_a_link_leads_to_a_message(house: House, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    for number in range(300):
        await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text=f"message {number}")
    page = await house.page(
        at=f"?person=alice&bot={bot.bot_id}#message=20", permissions=["clipboard-read"], locale=language
    )
    wanted = page.locator('.entry[data-n="20"]')
    await expect(wanted).to_be_in_viewport()
    await wanted.locator(".bubble").click(button="right")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    link = await copied(page, page.get_by_role("menuitem", name=words("menu.link")))
    assert link.endswith(f"&bot={bot.bot_id.replace('@', '%40')}#message=20")
    other = await page.context.new_page()
    await other.goto(link)
    await expect(other.locator('.entry[data-n="20"]')).to_be_in_viewport()


async def requested(page: Page) -> list[str]:
    """The addresses that the page asked for so far."""
    return await page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)")


async def long_chat(house: House, count: int) -> str:
    """A chat of so many messages, put there at once as a scene."""
    messages = [
        {
            "person": "alice",
            "bot": "1@im.bot",
            "direction": "out" if number % 2 else "in",
            "text": f"message {number} " + "and so on " * (number % 13),
        }
        for number in range(count)
    ]
    bot = {"id": "1@im.bot", "owner": "alice", "token": "1@im.bot:token"}
    await house.put_scene(people=[{"name": "alice"}], bots=[bot], messages=messages)
    return "1@im.bot"


async def test_a_chat_of_ten_thousand_messages_opens_at_once_and_scrolls(house: House) -> None:
    bot_id = await long_chat(house, 10_000)
    page = await house.page(at="?person=alice")
    row = page.locator(".row")
    await expect(row).to_be_visible()
    await row.click()
    await expect(page.get_by_text("message 9999")).to_be_in_viewport()
    # Whatever the chat's size, few messages are asked for and drawn.
    asked = [name for name in await requested(page) if "transcript" in name]
    assert asked
    assert all(name.endswith("limit=100") for name in asked)
    drawn = page.locator(".entry")
    assert await drawn.count() < 120
    await page.locator(".log").hover()
    most = 0
    while int(await drawn.first.get_attribute("data-n") or 0) > 9600:
        await page.mouse.wheel(0, -4000)
        await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        most = max(most, await drawn.count())
    assert most < 120
    await expect(page.get_by_role("button", name="Newest")).to_be_visible()
    await page.goto(f"{house.gateway.phone_url}?person=alice&bot={bot_id}#message=5")
    await page.reload()
    await expect(page.locator('.entry[data-n="5"]')).to_be_in_viewport()
    assert await drawn.count() < 120
    await page.get_by_role("button", name="Newest").click()
    await expect(page.get_by_text("message 9999")).to_be_in_viewport()


async def test_a_storm_of_messages_freezes_nothing(house: House) -> None:
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    page = await house.page(at=f"?person=alice&bot={bot.bot_id}&panel=wire")
    await expect(page.get_by_role("textbox", name="Message")).to_be_visible()
    for number in range(500):
        await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text=f"message {number}")
        if number % 10 == 9:
            await asyncio.sleep(0.05)
    await expect(page.get_by_text("message 499", exact=True)).to_be_in_viewport()
    numbers = await page.locator(".entry").evaluate_all("rows => rows.map((row) => Number(row.dataset.n))")
    assert numbers == sorted(numbers)
    calls = await page.evaluate(
        "performance.getEntriesByType('resource').filter((one) => one.name.includes('_sim/')).length"
    )
    # Many events share one request; one request for each of five hundred would be what freezes a page.
    assert calls < 250
    await page.get_by_role("textbox", name="Message").fill("still here")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("still here")).to_be_in_viewport()
