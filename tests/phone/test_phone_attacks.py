"""Attacks on the page in a real browser: foreign pages, rebound names, and files that would be programs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from phone_house import BROWSER, House, open_house_of_its_own
from playwright.async_api import Browser, Page, Response, Route, expect

pytestmark = BROWSER

EVIL = "http://evil.example"


async def foreign_page(browser: Browser) -> Page:
    """A page of somebody else, which needs no network to be there."""
    page = await (await browser.new_context()).new_page()

    async def serve(route: Route) -> None:
        await route.fulfill(body="<title>elsewhere</title>", content_type="text/html")

    await page.route(f"{EVIL}/**", serve)
    await page.goto(f"{EVIL}/")
    return page


@pytest.mark.parametrize(
    "attack",
    [
        "fetch(url, {method: 'POST', body, mode: 'no-cors'})",
        "fetch(url, {method: 'POST', body, headers: {'content-type': 'application/json'}})",
        "fetch(url, {method: 'POST', body, mode: 'no-cors', referrerPolicy: 'no-referrer', credentials: 'include'})",
        "navigator.sendBeacon(url, body)",
    ],
)
async def test_a_foreign_page_changes_nothing(house: House, attack: str) -> None:
    page = await foreign_page(house.browser)
    url = f"{house.gateway.control_url}/_sim/people"
    script = f"async ([url, body]) => {{ try {{ await {attack}; }} catch (error) {{ return String(error); }} }}"
    await page.evaluate(script, [url, '{"name": "mallory"}'])
    assert await house.gateway.rules.people() == []


async def test_a_form_of_a_foreign_page_changes_nothing(house: House) -> None:
    page = await foreign_page(house.browser)
    url = f"{house.gateway.control_url}/_sim/people"
    async with page.expect_response(url) as answering:
        await page.evaluate(
            "url => { const form = document.createElement('form'); form.method = 'post'; form.action = url;"
            " form.enctype = 'text/plain'; const field = document.createElement('input');"
            ' field.name = \'{"name": "mallory", "x": "\'; field.value = \'"}\';'
            " form.append(field); document.body.append(form); form.submit(); }",
            url,
        )
    answer: Response = await answering.value
    assert answer.status == 403
    assert await house.gateway.rules.people() == []


async def test_a_foreign_page_reads_nothing_and_frames_nothing(house: House) -> None:
    await house.gateway.person("alice")
    page = await foreign_page(house.browser)
    url = house.gateway.control_url
    read = await page.evaluate("url => fetch(`${url}/_sim/people`).then((one) => one.text(), String)", url)
    assert "alice" not in read
    heard = await page.evaluate(
        "url => new Promise((done) => { const source = new EventSource(`${url}/_sim/events`);"
        " source.onopen = () => done('open'); source.onerror = () => done('refused'); })",
        url,
    )
    assert heard == "refused"
    framed = await page.evaluate(
        "url => new Promise((done) => { const frame = document.createElement('iframe'); frame.src = url;"
        " frame.onload = () => { try { done(frame.contentDocument ? 'own' : 'foreign'); } catch { done('foreign'); } };"
        " document.body.append(frame); })",
        url,
    )
    assert framed == "foreign"
    (frame,) = page.main_frame.child_frames
    assert await frame.locator("phone-app, #frame").count() == 0


async def test_a_name_that_is_rebound_to_this_machine_opens_nothing() -> None:
    async with open_house_of_its_own("--host-resolver-rules=MAP evil.example 127.0.0.1") as house:
        page = await (await house.browser.new_context()).new_page()
        answer = await page.goto(f"{EVIL}:{urlsplit(house.gateway.control_url).port}/")
        assert answer is not None
        assert answer.status == 421
        read = await page.evaluate("fetch('/_sim/people').then((one) => one.status, String)")
        assert read == 421


FILES = {
    "page.html": b"<script>fetch('/_sim/people', {method: 'POST', body: '{\"name\": \"mallory\"}'})</script>",
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>fetch('/_sim/people',"
    b" {method: 'POST', body: '{\"name\": \"mallory\"}'})</script></svg>",
    "module.js": b"fetch('/_sim/people', {method: 'POST', body: '{\"name\": \"mallory\"}'})",
    "nothing-known": b"<html><body onload=\"fetch('/_sim/people', {method: 'POST', body: '{\\'name\\': 1}'})\">",
}


@pytest.mark.parametrize("kind", ["file", "image", "video"])
async def test_a_file_that_would_be_a_program_is_none(house: House, kind: str) -> None:
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    for name in FILES:
        await house.gateway.rules.post_media(alice.user_id, bot.bot_id, kind, content_of(name), name=name)
    page = await house.page(at=f"?person=alice&bot={bot.bot_id}")
    chips = page.locator("a.chip")
    await expect(chips).to_have_count(len(FILES))
    assert [await chip.get_attribute("download") for chip in await chips.all()] == [*FILES]
    for chip in await chips.all():
        address = await chip.get_attribute("href")
        await page.evaluate(RUN_IT, address)
        async with page.context.expect_page() as opening:
            await page.evaluate("address => window.open(address, '_blank', 'noopener') && null", address)
        await (await opening.value).close()
    assert [person.name for person in await house.gateway.rules.people()] == ["alice"]
    house.complaints.clear()  # the browser itself reports what it refused to run


RUN_IT = """
async address => {
  for (const [kind, field] of [["iframe", "src"], ["object", "data"], ["embed", "src"], ["script", "src"]]) {
    const element = document.createElement(kind);
    element[field] = address;
    document.body.append(element);
    await new Promise((done) => { element.onload = element.onerror = done; setTimeout(done, 300); });
  }
}
"""
"""Every way in which a page could run a file; one that becomes a download tells nobody that it ended."""


async def content_of(name: str) -> AsyncIterator[bytes]:
    yield FILES[name]
