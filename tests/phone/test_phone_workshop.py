"""The workshop around the phones as hands use it: scanning, bots, the wire, mischief, time, scenes."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import segno
from phone_house import BROWSER, LANGUAGES, House, Words, copied, film, open_house_of_its_own
from playwright.async_api import Page, expect

from ilink.gateway.server import GatewayServer, ServerOptions

pytestmark = BROWSER


def screenshot(text: str) -> bytes:
    """A bot's terminal as a picture: its code, small, in a corner of a large screen."""
    image = pytest.importorskip("PIL.Image")
    code = io.BytesIO()
    segno.make(text).save(code, kind="png", scale=4, border=4)
    screen = image.new("RGB", (1600, 900), "#1e1e1e")
    screen.paste(image.open(code).convert("RGB"), (90, 520))
    picture = io.BytesIO()
    screen.save(picture, "PNG")
    return picture.getvalue()


@LANGUAGES
async def test_a_code_is_scanned_by_camera(tmp_path: Path, language: str) -> None:
    words = Words(language)
    camera = tmp_path / "camera.y4m"
    film(camera, "https://example.org/no-code-of-a-bot")
    flags = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
    )
    async with open_house_of_its_own(*flags) as house:
        await house.gateway.person("alice")
        bot = house.bot()
        await bot.ask_for_code()
        (code,) = await house.gateway.rules.codes()
        film(camera, code.url)
        page = await house.page(locale=language, permissions=["camera"])
        await page.get_by_text(words("code.more"), exact=True).click()
        await page.get_by_role("button", name=words("code.camera")).click()
        await expect(page.get_by_text(words("code.status.scaned", name="alice"))).to_be_visible()
        assert await bot.status() == "scaned"
        await expect(page.locator("scan-screen")).to_have_count(0)
        await page.get_by_role("button", name=words("code.confirm"), exact=True).click()
        await bot.wait_until_confirmed()
        assert (house.complaints, house.strangers) == ([], [])


@LANGUAGES
async def test_without_a_camera_the_phone_says_so_and_takes_a_picture(house: House, language: str) -> None:
    words = Words(language)
    await house.gateway.person("alice")
    page = await house.page(locale=language)
    await page.get_by_role("button", name=words("chats.scan")).click()
    await expect(page.get_by_role("dialog")).to_contain_text(words("scan.camera.none"))
    bot = house.bot()
    await bot.ask_for_code()
    (code,) = await house.gateway.rules.codes()
    file = {"name": "shot.png", "mimeType": "image/png", "buffer": screenshot(code.url)}
    await page.locator("scan-screen input[type=file]").set_input_files(file)
    await expect(page.get_by_text(words("code.status.scaned", name="alice"))).to_be_visible()


@pytest.mark.parametrize("where", [".phone", ".tray"])
@LANGUAGES
async def test_a_screenshot_of_a_code_is_scanned_by_dropping_it(house: House, where: str, language: str) -> None:
    words = Words(language)
    await house.gateway.person("alice")
    bot = house.bot()
    await bot.ask_for_code()
    (code,) = await house.gateway.rules.codes()
    page = await house.page(locale=language)
    await expect(page.locator(".code")).to_be_visible()
    await drop(page, where, screenshot(code.url), "shot.png", "image/png")
    await expect(page.get_by_text(words("code.status.scaned", name="alice"))).to_be_visible()
    assert await bot.status() == "scaned"


@LANGUAGES
async def test_a_picture_of_something_else_is_no_code(house: House, language: str) -> None:
    words = Words(language)
    await house.gateway.person("alice")
    page = await house.page(locale=language)
    await expect(page.get_by_role("heading", name=words("chats.title"))).to_be_visible()
    await drop(page, ".phone", screenshot("https://example.org/elsewhere"), "shot.png", "image/png")
    await expect(page.get_by_role("alert").filter(has_text=words("scan.foreign"))).to_be_visible()
    await drop(page, ".phone", b"not a picture", "shot.png", "image/png")
    await expect(page.get_by_role("alert").filter(has_text=words("scan.no_code", name="shot.png"))).to_be_visible()


async def drop(page: Page, selector: str, content: bytes, name: str, kind: str) -> None:
    transfer = await page.evaluate_handle(
        "([bytes, name, type]) => { const data = new DataTransfer();"
        " data.items.add(new File([new Uint8Array(bytes)], name, {type})); return data; }",
        [list(content), name, kind],
    )
    await page.dispatch_event(selector, "drop", {"dataTransfer": transfer, "bubbles": True})


@LANGUAGES
async def test_a_login_is_sent_to_another_host(house: House, language: str) -> None:
    words = Words(language)
    await house.gateway.person("alice")
    page = await house.page(locale=language)
    bot = house.bot()
    await bot.ask_for_code()
    await page.get_by_text(words("code.more"), exact=True).click()
    await page.get_by_role("button", name=words("code.redirect")).click()
    await page.get_by_label(words("code.redirect.host")).fill("127.0.0.1:41443")
    await page.get_by_role("button", name=words("code.redirect.go"), exact=True).click()
    await expect(page.get_by_text(words("code.status.scaned_but_redirect", host="127.0.0.1:41443"))).to_be_visible()
    assert await bot.status() == "scaned_but_redirect"


@LANGUAGES
async def test_a_code_is_let_to_expire(house: House, language: str) -> None:
    words = Words(language)
    await house.gateway.person("alice")
    page = await house.page(locale=language)
    bot = house.bot()
    await bot.ask_for_code()
    await page.get_by_text(words("code.more"), exact=True).click()
    await page.get_by_role("button", name=words("code.expire")).click()
    await expect(page.get_by_text(words("code.status.expired"))).to_be_visible()
    assert await bot.status() == "expired"


@LANGUAGES
async def test_bots_are_rebound_and_rotated(house: House, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text="hi")
    message = await bot.hear()
    await bot.type_to(message, is_typing=True)
    page = await house.page(at="?panel=bots", locale=language)
    card = page.locator(".bot")
    await expect(card.get_by_label(words("bots.window.meter", name="alice"))).to_be_visible()
    await card.get_by_text(words("bots.tickets"), exact=True).last.click()
    await expect(card.locator(".tickets li")).to_contain_text("alice")
    await card.get_by_role("button", name=words("bots.rotate")).click()
    await expect(card.locator(".facts div", has_text=words("bots.generation")).locator("dd")).to_have_text("2")
    await card.get_by_role("button", name=words("bots.rebind")).click()
    await expect(card.locator(".tag")).to_have_text(words("bot.state.replaced"))


@LANGUAGES
async def test_a_fault_is_set_by_a_preset_and_strikes(house: House, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text="hi")
    message = await bot.hear()
    page = await house.page(at=f"?person=alice&bot={bot.bot_id}&panel=mischief", locale=language)
    await page.get_by_role("button", name=words("preset.allowance")).click()
    fault = page.locator("[data-fault]")
    await expect(fault).to_contain_text("ret -2 · errmsg prepare failed")
    assert (await bot.say(message, "hello"))["ret"] == -2
    await expect(fault).to_have_attribute("data-spent", "")
    await expect(fault.locator(".hits")).to_contain_text("1")
    assert (await bot.say(message, "hello"))["ret"] == 0
    await expect(page.locator(".message.out .text")).to_have_text("hello")
    await fault.get_by_role("button").click()
    await expect(fault).to_have_count(0)


@LANGUAGES
async def test_any_fault_is_put_together_in_the_form(house: House, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    page = await house.page(at="?panel=mischief", locale=language)
    await page.get_by_text(words("fault.own")).click()
    form = page.locator(".fault-form")
    await form.get_by_label(words("fault.endpoint")).select_option("getupdates")
    await form.get_by_label(words("fault.action")).select_option("duplicate")
    await form.locator("[name=duplicate]").select_option("new_id")
    await form.get_by_label(words("fault.person")).select_option(label="alice")
    await form.get_by_label(words("fault.times.label")).fill("2")
    await form.get_by_role("button", name=words("fault.set")).click()
    await expect(page.locator("[data-fault]")).to_contain_text("duplicate new_id")
    await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text="hi")
    assert len(await bot.poll()) == 2
    await expect(page.locator("[data-fault] .hits")).to_have_text(words("fault.hits", count=1))


@pytest.mark.parametrize("preset", ["duplicates", "cdn_slow", "slow", "edge", "stale", "swallowed", "cursor_lost"])
async def test_every_preset_is_one_the_gateway_takes(house: House, preset: str) -> None:
    page = await house.page(at="?panel=mischief")
    await page.locator(f'[data-preset="{preset}"]').click()
    await expect(page.locator("[data-fault]").first).to_be_visible()
    await expect(page.locator(".notice")).to_have_count(0)


@LANGUAGES
async def test_travel_in_time_closes_the_window(house: House, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text="hi")
    message = await bot.hear()
    page = await house.page(at=f"?person=alice&bot={bot.bot_id}&panel=mischief", locale=language)
    await page.get_by_role("button", name=words("clock.freeze"), exact=True).click()
    await expect(page.locator(".now .tag")).to_have_text(words("clock.frozen"))
    before = house.gateway.rules.now
    await page.get_by_role("button", name=words("clock.day")).click()
    await expect(page.locator(".now time")).to_have_attribute("datetime", after(before, 25))
    await bot.say(message, "too late")
    await expect(page.locator('.message[data-state="refused"]')).to_contain_text("too late")
    await page.get_by_role("button", name=words("clock.run")).click()
    await expect(page.locator(".now .tag")).to_have_count(0)


def after(moment, hours: int) -> str:
    from datetime import timedelta

    later = moment + timedelta(hours=hours)
    return later.strftime("%Y-%m-%dT%H:%M:%S.") + f"{later.microsecond // 1000:03}Z"


@LANGUAGES
async def test_knobs_are_set_with_their_evidence_beside_them(house: House, language: str) -> None:
    words = Words(language)
    page = await house.page(at="?panel=mischief", locale=language)
    knob = page.locator('[data-knob="bind.single"]')
    await expect(knob).to_contain_text("ocw#69")
    await knob.get_by_role("checkbox").uncheck()
    await expect(knob).to_have_attribute("data-changed", "")
    assert house.gateway.rules.config().knobs["bind.single"] is False
    await knob.get_by_role("button", name=words("knobs.back", value="true")).click()
    await expect(knob).not_to_have_attribute("data-changed", "")
    number = page.locator('[data-knob="quota.per_inbound"]').get_by_role("textbox")
    await number.fill("many")
    await number.press("Enter")
    await expect(page.get_by_role("alert").filter(has_text="quota.per_inbound cannot be 'many'")).to_be_visible()
    house.complaints.clear()  # the browser itself reports the refusal
    await page.get_by_label(words("knobs.profile")).select_option("strict")
    await expect(page.locator('[data-knob="bind.owner_only"]').get_by_role("checkbox")).to_be_checked()
    await page.get_by_role("searchbox").fill("revoke")
    await expect(page.locator("[data-knob]")).to_have_count(1)


@LANGUAGES
async def test_knobs_of_one_bot_and_of_one_person_differ_from_everybodys(house: House, language: str) -> None:
    words = Words(language)
    alice, bob = await house.gateway.person("alice"), await house.gateway.person("bob")
    bot = await house.bot_of(alice.user_id)
    page = await house.page(at="?panel=mischief", locale=language)
    whose = page.get_by_role("combobox", name=words("knobs.whose"), exact=True)
    await whose.select_option(bob.user_id)
    await expect(page.locator("[data-different]")).to_have_text(words("knobs.whose.same"))
    await expect(page.locator('[data-knob="qr.ttl_s"]')).to_have_count(0)
    allowance = page.locator('[data-knob="quota.per_inbound"]')
    await allowance.get_by_role("textbox").fill("3")
    await allowance.get_by_role("textbox").press("Enter")
    await expect(page.locator("[data-different]")).to_have_text(words("knobs.whose.different"))
    await expect(allowance).to_have_attribute("data-changed", "")
    config = house.gateway.rules.config()
    assert [(one.user_id, one.knobs) for one in config.overrides] == [(bob.user_id, {"quota.per_inbound": 3})]
    assert config.knobs["quota.per_inbound"] == 10
    await whose.select_option(bot.bot_id)
    await expect(allowance.get_by_role("textbox")).to_have_value("10")
    await page.get_by_role("combobox", name=words("knobs.profile"), exact=True).select_option("quota_hard")
    await expect(page.locator("[data-different]")).to_have_text(words("knobs.whose.different"))
    assert {one.profile for one in house.gateway.rules.config().overrides} == {None, "quota_hard"}
    await page.get_by_role("button", name=words("knobs.whose.drop")).click()
    await expect(page.locator("[data-different]")).to_have_text(words("knobs.whose.same"))
    assert [one.user_id for one in house.gateway.rules.config().overrides] == [bob.user_id]
    await whose.select_option("")
    await expect(allowance.get_by_role("textbox")).to_have_value("10")
    await expect(page.locator('[data-knob="qr.ttl_s"]')).to_have_count(1)


@LANGUAGES
async def test_the_wire_is_filtered_linked_and_copied(house: House, tmp_path: Path, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text="hi")
    message = await bot.hear()
    house.gateway.fault("sendmessage", ret=-2, errmsg="prepare failed", times=1)
    await bot.say(message, "refused")
    await bot.say(message, "taken")
    page = await house.page(at="?panel=wire", permissions=["clipboard-read", "clipboard-write"], locale=language)
    lines = page.locator(".wire > li")
    await page.get_by_label(words("wire.endpoint")).select_option("sendmessage")
    await expect(lines).to_have_count(2)
    await page.get_by_label(words("wire.show")).select_option("bad")
    await expect(lines).to_have_count(1)
    await page.get_by_label(words("wire.show")).select_option("faults")
    await lines.locator(".line").click()
    await expect(page.locator(".details")).to_contain_text("prepare failed")
    curl = await copied(page, page.get_by_role("button", name=words("wire.curl")))
    assert curl.startswith("curl -sS -X POST 'http://127.0.0.1:")
    assert bot._token not in curl
    assert message["context_token"] not in curl
    secrets = {"ILINK_TOKEN": bot._token, "ILINK_CONTEXT_TOKEN": message["context_token"]}
    assert json.loads(await asyncio.to_thread(run_command, curl, secrets))["ret"] == 0
    link = await copied(page, page.get_by_role("button", name=words("wire.link")))
    other = await page.context.new_page()
    await other.goto(link)
    await expect(other.locator(".details")).to_contain_text("prepare failed")
    await page.get_by_label(words("wire.show")).select_option("all")
    await lines.first.locator(".line").click()
    test = tmp_path / "test_copied.py"
    test.write_text(await copied(page, page.get_by_role("button", name=words("wire.test"))), "utf-8")
    assert bot._token not in test.read_text("utf-8")
    run = await asyncio.to_thread(run_tests, test)
    assert run.returncode == 0, run.stdout
    assert "1 passed" in run.stdout


def run_command(command: str, secrets: dict[str, str]) -> str:
    """What a copied command prints in a shell; without curl there is nothing to copy it for."""
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    run = subprocess.run(
        ["/bin/sh", "-c", command], env={**os.environ, **secrets}, capture_output=True, text=True, check=True
    )
    return run.stdout


def run_tests(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, cwd=path.parent)


@LANGUAGES
async def test_the_state_is_saved_reset_and_loaded(house: House, tmp_path: Path, language: str) -> None:
    words = Words(language)
    alice = await house.gateway.person("alice")
    bot = await house.bot_of(alice.user_id)
    await house.gateway.rules.post_message(alice.user_id, bot.bot_id, text="keep me")
    page = await house.page(at=f"?person=alice&bot={bot.bot_id}&panel=share", locale=language)
    await expect(page.locator(".message .text")).to_have_text("keep me")
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name=words("share.save")).click()
    download = await downloading.value
    assert download.suggested_filename.startswith("ilink-scene-")
    await download.save_as(tmp_path / "scene.json")
    await page.get_by_role("button", name=words("share.reset"), exact=True).click()
    await page.get_by_role("button", name=words("share.reset.yes")).click()
    await expect(page.get_by_role("heading", name=words("welcome.title"))).to_be_visible()
    await page.locator("share-panel input[type=file]").set_input_files(tmp_path / "scene.json")
    await page.get_by_role("button", name=words("share.load.yes"), exact=True).click()
    await expect(page.get_by_text(words("share.loaded", name="scene.json"))).to_be_visible()
    await expect(page.locator(".message .text, .row .last").first).to_have_text("keep me")


@LANGUAGES
async def test_a_bad_scene_is_refused_with_what_is_wrong_and_where(house: House, tmp_path: Path, language: str) -> None:
    words = Words(language)
    await house.gateway.person("alice")
    page = await house.page(at="?panel=share", locale=language)
    picker = page.locator("share-panel input[type=file]")
    (tmp_path / "cut.json").write_text('{"ilink_scene": 1')
    await picker.set_input_files(tmp_path / "cut.json")
    await expect(page.locator(".problem")).to_contain_text("cut.json")
    scene = {"ilink_scene": 1, "people": [{"name": "bob"}], "bots": [{"owner": "carol"}]}
    (tmp_path / "wrong.json").write_text(json.dumps(scene))
    await picker.set_input_files(tmp_path / "wrong.json")
    await page.get_by_role("button", name=words("share.load.yes"), exact=True).click()
    await expect(page.locator(".problem")).to_contain_text("bots[0].owner: there is no person 'carol' in `people`")
    await expect(page.get_by_role("button", name="alice", exact=True)).to_be_visible()
    house.complaints.clear()  # the browser itself reports the refusal


@LANGUAGES
async def test_a_person_made_elsewhere_shows_at_once(house: House, language: str) -> None:
    words = Words(language)
    page = await house.page(at="?person=alice", locale=language)
    await expect(page.get_by_text(words("link.live"))).to_be_visible()
    await house.gateway.person("carol")
    await expect(page.get_by_role("button", name="carol", exact=True)).to_be_visible()


async def test_with_a_key_the_page_opens_by_a_link_that_works_once(house: House) -> None:
    async with GatewayServer(ServerOptions(synchronous="OFF", control_key="a-key-of-these-tests")) as server:
        context = await house.browser.new_context(locale="en-US")
        page = await context.new_page()
        link = server.login_url
        await page.goto(link)
        await expect(page.get_by_role("heading", name="Whose phone is this?")).to_be_visible()
        assert "code=" not in page.url
        (cookie,) = await context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert await page.evaluate("document.cookie") == ""
        assert "a-key-of-these-tests" not in await page.evaluate("fetch('/_sim/info').then((one) => one.text())")
        other = await (await house.browser.new_context()).new_page()
        assert (await other.goto(link)).status == 403
        await context.close()  # what it listens to would hold the server up
