"""What the page hears while it asks: events that outrun answers, other browsers' changes, and what a reload keeps."""

from __future__ import annotations

import asyncio
import re

import pytest
from phone_house import BROWSER, LANGUAGES, MICROPHONE, House, Words, open_house_of_its_own
from playwright.async_api import Page, Route, expect

pytestmark = BROWSER


async def hold_answer(page: Page, address: str) -> tuple[asyncio.Event, asyncio.Event]:
    """Let the next answer from an address be on its way until the second event is set; the first tells that it is."""
    pattern = re.compile(address)
    underway, go = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        answer = await route.fetch()
        underway.set()
        await go.wait()
        await route.fulfill(response=answer)

    await page.route(pattern, hold, times=1)
    return underway, go


async def test_a_message_told_while_the_chat_is_being_read_is_not_missed(house: House) -> None:
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    page = await house.page(at="?person=alice")
    row = page.locator(".row")
    await expect(row).to_be_visible()
    underway, go = await hold_answer(page, "/transcript")
    await row.click()
    await underway.wait()
    async with page.expect_response("**/_sim/chats"):  # the list is read again because of the event
        await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text="in between")
    go.set()
    await expect(page.locator(".message.in .text")).to_have_text("in between")


async def test_reading_told_while_the_chat_is_being_read_is_not_missed(house: House) -> None:
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text="hi")
    page = await house.page(at="?person=alice")
    row = page.locator(".row")
    await expect(row).to_be_visible()
    underway, go = await hold_answer(page, "/transcript")
    await row.click()
    await underway.wait()
    held = await poll_twice(house, bot)
    await expect(page.locator('.presence[data-state="polling"]')).to_be_visible()
    go.set()
    await expect(page.locator(".message.in")).to_have_attribute("data-state", "acked")
    held.cancel()


async def test_a_list_of_bots_from_before_an_event_does_not_undo_it(house: House) -> None:
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text="hi")
    page = await house.page(at=f"?person=alice&bot={bot.bot_id}&panel=bots")
    tag = page.locator(".bot .tag")
    await expect(tag).to_be_visible()
    underway, go = await hold_answer(page, "/_sim/bots$")
    await house.gateway.clock.advance(hours=1)
    await underway.wait()
    held = await poll_twice(house, bot)
    await expect(tag).to_have_text("Polling")
    async with page.expect_response("**/mailbox*"):  # asked for as soon as the list is taken up
        go.set()
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    await expect(tag).to_have_text("Polling")
    held.cancel()


async def poll_twice(house: House, bot) -> asyncio.Task:
    """A message is fetched, and acknowledged by a poll that waits."""
    await bot.poll()
    return asyncio.create_task(bot.poll())


@LANGUAGES
async def test_knobs_and_clock_that_others_set_show_at_once(house: House, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    here, there = [await house.page(at="?panel=mischief", locale=language) for _ in range(2)]
    knob = there.locator('[data-knob="quota.per_inbound"]')
    await expect(knob).not_to_have_attribute("data-changed", "")
    typed = here.locator('[data-knob="quota.per_inbound"]').get_by_role("textbox")
    await typed.fill("4")
    await typed.press("Enter")
    await expect(knob.get_by_role("textbox")).to_have_value("4")
    await expect(knob).to_have_attribute("data-changed", "")
    await here.get_by_role("combobox", name=words("knobs.profile"), exact=True).select_option("strict")
    await expect(there.get_by_role("combobox", name=words("knobs.profile"), exact=True)).to_have_value("strict")
    await house.gateway.rules.configure(knobs={"quota.per_inbound": 3}, user_id=alice.user_id)
    mark = there.locator(f'.whose option[value="{alice.user_id}"]')
    await expect(mark).to_have_text("• alice")
    await house.gateway.rules.drop_config(user_id=alice.user_id)
    await expect(mark).to_have_text("alice")
    await here.get_by_role("button", name=words("clock.freeze"), exact=True).click()
    await expect(there.locator(".now .tag")).to_have_text(words("clock.frozen"))
    await here.get_by_role("button", name=words("preset.stale")).click()
    await expect(there.locator("[data-fault]")).to_contain_text("ret -14")


async def test_what_is_typed_into_a_knob_stays_while_other_things_happen(house: House) -> None:
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    page = await house.page(at=f"?person=alice&bot={bot.bot_id}&panel=mischief")
    typed = page.locator('[data-knob="quota.per_inbound"]').get_by_role("textbox")
    await typed.fill("12")
    await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text="meanwhile")
    await expect(page.locator(".message.in .text")).to_have_text("meanwhile")
    await expect(typed).to_have_value("12")
    await typed.press("Enter")
    await expect(page.locator('[data-knob="quota.per_inbound"]')).to_have_attribute("data-changed", "")
    assert house.gateway.rules.config().knobs["quota.per_inbound"] == 12


@LANGUAGES
async def test_a_reload_keeps_what_was_not_sent_yet(house: House, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text="the first")
    page = await house.page(at=f"?person=alice&bot={bot.bot_id}", locale=language)
    await page.locator(".message.in .bubble").click(button="right")
    await page.get_by_role("menuitem", name=words("menu.quote"), exact=True).click()
    box = page.get_by_role("textbox", name=words("chat.message"))
    await box.fill("half a thou")
    await page.reload()
    await expect(box).to_have_value("half a thou")
    await expect(page.locator(".quoting")).to_contain_text("the first")
    await page.route("**/messages", lambda route: route.abort())
    await box.press("Enter")
    await expect(page.get_by_role("alert").filter(has_text=words("state.failed"))).to_be_visible()
    await page.unroute("**/messages")
    await page.reload()
    await page.get_by_role("button", name=words("chat.again")).click()
    await expect(page.locator(".message.in:not(.draft) .text").last).to_have_text("half a thou")
    await expect(page.locator(".quote")).to_have_text("the first")
    await page.reload()
    await expect(page.locator(".message.in .text")).to_have_text(["the first", "half a thou"])
    await expect(box).to_have_value("")
    house.complaints.clear()  # the browser itself reports the cut


async def test_a_text_that_arrived_although_its_answer_was_cut_off_is_not_offered_again(house: House) -> None:
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    page = await house.page(at=f"?person=alice&bot={bot.bot_id}")
    arrived = asyncio.Event()

    async def take_and_say_nothing(route: Route) -> None:
        await route.fetch()
        arrived.set()

    await page.route("**/messages", take_and_say_nothing)
    await page.get_by_role("textbox", name="Message").fill("did you get it?")
    await page.keyboard.press("Enter")
    await arrived.wait()
    await page.reload()
    await expect(page.locator(".message.in .text")).to_have_text("did you get it?")
    await expect(page.locator(".draft")).to_have_count(0)
    assert await page.evaluate("Object.keys(localStorage).filter((key) => key.includes('draft'))") == []


@pytest.mark.parametrize("what", ["file", "recording"])
async def test_before_what_a_reload_would_lose_is_lost_the_browser_asks(what: str) -> None:
    async with open_house_of_its_own(*MICROPHONE) as house:
        alice = await house.gateway.person("alice")
        bot = await house.bot_of(alice.user_id)
        page = await house.page(at=f"?person=alice&bot={bot.bot_id}", permissions=["microphone"])
        await page.get_by_role("textbox", name="Message").click()  # a browser asks only on pages that were touched
        if what == "file":
            file = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"notes"}
            await page.locator("input[type=file]").set_input_files(file)
            kept = page.locator(".attachments")
        else:
            await page.get_by_role("button", name="Record a voice message").click()
            kept = page.locator(".recording")
        await expect(kept).to_be_visible()
        async with page.expect_event("dialog") as asking:
            leaving = asyncio.create_task(page.evaluate("location.reload()"))
        question = await asking.value
        assert question.type == "beforeunload"
        await question.dismiss()
        await leaving
        await expect(kept).to_be_visible()


async def test_however_many_tabs_are_open_the_next_one_loads(house: House) -> None:
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    context = await house.browser.new_context(locale="en-US")
    pages = []
    for _ in range(8):
        page = await house.page(at="?person=alice", context=context)
        await expect(page.locator(".row")).to_be_visible()
        await see(page, is_hidden=True)
        pages.append(page)
    await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text="hi")
    await bot.say(await bot.hear(), "hello")
    # The first ones still count what is unread; the others catch up when they are looked at.
    await expect(pages[0]).to_have_title("(1) ilink phone")
    await see(pages[5], is_hidden=False)
    await expect(pages[5].locator(".row")).to_contain_text("hello")


async def see(page: Page, *, is_hidden: bool) -> None:
    """Behave as if the tab were in front, or behind another one: without a screen all of them are in front."""
    await page.evaluate(
        "isHidden => { Object.defineProperty(document, 'hidden', {configurable: true, get: () => isHidden});"
        " document.dispatchEvent(new Event('visibilitychange', {bubbles: true})); }",
        is_hidden,
    )
