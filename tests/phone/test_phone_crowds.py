"""Crowds: every list and choice stays short, and a search finds the others."""

from __future__ import annotations

import pytest
from axe_rules import violations
from phone_house import BROWSER, LANGUAGES, House, Words
from playwright.async_api import Page, expect

pytestmark = BROWSER

MANY = 300


async def crowd(house: House, count: int = MANY) -> None:
    """So many people, each with a bot; everybody has written to the bot of the first."""
    people = [{"name": f"person {number:04}", "id": f"p{number:04}@im.wechat"} for number in range(count)]
    bots = [{"id": f"b{number:04}@im.bot", "owner": f"person {number:04}"} for number in range(count)]
    messages = [{"person": one["name"], "bot": "b0000@im.bot", "direction": "in", "text": "hi"} for one in people]
    await house.put_scene(people=people, bots=bots, messages=messages)


async def elements(page: Page) -> int:
    return await page.evaluate("document.querySelectorAll('*').length")


@LANGUAGES
async def test_of_many_bots_few_are_shown_and_a_search_finds_the_others(house: House, language: str) -> None:
    words = Words(language)
    await crowd(house)
    page = await house.page(at="?person=person 0007&panel=bots", locale=language)
    cards = page.locator(".bot")
    await expect(cards).to_have_count(24)
    await expect(page.get_by_text(words("bots.more", count=MANY - 24))).to_be_visible()
    await expect(cards.first.locator(".id")).to_have_text("b0007@im.bot")
    search = page.get_by_role("searchbox", name=words("bots.search", count=MANY))
    await search.fill("PERSON 0000")
    await expect(cards).to_have_count(1)
    await expect(cards.locator(".window")).to_have_count(8)
    await expect(page.get_by_text(words("bots.windows.more", count=MANY - 8))).to_be_visible()
    await cards.get_by_role("searchbox").fill("0123")
    await expect(cards.locator(".window")).to_have_count(1)
    await expect(cards.locator(".window")).to_contain_text("person 0123")
    await search.fill("b0299@")
    await expect(cards.locator(".id")).to_have_text("b0299@im.bot")
    await search.fill("nobody's at all")
    await expect(page.get_by_text(words("bots.nothing_found"))).to_be_visible()
    assert await violations(page) == []


@LANGUAGES
async def test_of_many_chats_few_are_listed_and_a_search_finds_the_others(house: House, language: str) -> None:
    words = Words(language)
    await crowd(house)
    page = await house.page(at="?person=person 0007", locale=language)
    rows = page.locator(".row")
    await expect(rows).to_have_count(40)
    await expect(rows.first).to_have_attribute("data-bot-id", "b0000@im.bot")
    await expect(rows.nth(1)).to_have_attribute("data-bot-id", "b0007@im.bot")
    await expect(page.get_by_text(words("chats.more", count=MANY - 40))).to_be_visible()
    assert await violations(page) == []
    search = page.get_by_role("searchbox", name=words("chats.search", count=MANY))
    await search.fill("nothing of the kind")
    await expect(page.get_by_text(words("chats.nothing_found"))).to_be_visible()
    await search.fill("0288")
    await expect(rows).to_have_count(1)
    await rows.click()
    await expect(page.get_by_role("heading", name=words("bot.of", owner="person 0288"))).to_be_visible()


@LANGUAGES
async def test_a_choice_among_many_is_searched(house: House, language: str) -> None:
    words = Words(language)
    await crowd(house)
    page = await house.page(at="?person=person 0007&panel=mischief", locale=language)
    whose = page.get_by_role("combobox", name=words("knobs.whose"), exact=True)
    await expect(page.locator(".whose option")).to_have_count(51)
    search = page.get_by_role("searchbox", name=words("choice.search", what=words("knobs.whose"), count=2 * MANY + 1))
    await search.fill("p0250@im")
    await expect(page.locator(".whose option")).to_have_count(2)
    await search.press("Enter")
    await expect(whose).to_have_value("p0250@im.wechat")
    await expect(page.locator("[data-different]")).to_have_text(words("knobs.whose.same"))
    await page.get_by_text(words("fault.own")).click()
    form = page.locator(".fault-form")
    search = form.get_by_role("searchbox", name=words("fault.person"))
    await search.fill("0199")
    await search.press("Enter")
    await expect(form.locator("[name=user_id]")).to_have_value("p0199@im.wechat")
    await expect(page.locator("[data-fault]")).to_have_count(0)
    await form.get_by_role("button", name=words("fault.set")).click()
    await expect(page.locator("[data-fault]")).to_contain_text("person 0199")
    assert await violations(page) == []
    await page.locator("[data-panel-button=wire]").click()
    search = page.locator("wire-panel .one-of").get_by_role("searchbox")
    await search.fill("0042")
    await search.press("Enter")
    await expect(page.get_by_role("combobox", name=words("wire.bot"), exact=True)).to_have_value("b0042@im.bot")


@LANGUAGES
async def test_who_scans_is_searched_among_many_and_of_many_codes_few_are_laid_out(house: House, language: str) -> None:
    words = Words(language)
    await crowd(house)
    for _ in range(9):
        await house.bot().ask_for_code()
    page = await house.page(at="?person=person 0007", locale=language)
    await expect(page.locator(".code")).to_have_count(6)
    await expect(page.get_by_text(words("codes.more", count=3))).to_be_visible()
    card = page.locator(".code").first
    await card.get_by_role("searchbox").fill("0222")
    await card.get_by_role("searchbox").press("Enter")
    await card.get_by_role("button", name=words("code.scan", name="person 0222")).click()
    await expect(card.get_by_text(words("code.status.scaned", name="person 0222"))).to_be_visible()
    assert await violations(page) == []


@pytest.mark.parametrize("panel", ["bots", "wire", "mischief", "share"])
async def test_the_page_is_no_larger_for_more_people(house: House, panel: str) -> None:
    await crowd(house, 120)
    page = await house.page(at=f"?person=person 0007&panel={panel}")
    await expect(page.get_by_role("tab", selected=True)).to_be_visible()
    await expect(page.locator(".row")).to_have_count(40)
    await settled(page, panel)
    few = await elements(page)
    await crowd(house, 360)
    await expect(page.get_by_text("320 more: search for them.")).to_be_visible()
    await settled(page, panel)
    # A few elements may come or go: an allowance here, a line of words there.
    assert abs(await elements(page) - few) < 60


async def settled(page: Page, panel: str) -> None:
    """Wait until a panel shows everything that it asks for."""
    if panel == "bots":
        await expect(page.locator(".bot").first.locator(".facts")).to_be_visible()
        await expect(page.locator(".bot")).to_have_count(24)
    elif panel == "mischief":
        await expect(page.locator("[data-knob]").first).to_be_visible()
