"""What a person does at a terminal: sign in, run a bot, stop it, send a message."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image

from ilink.testing import LocalGateway, Person
from tests.cli.terminal import Terminal, terminal
from tests.cli.test_command import ilink

ECHO = Path(__file__).parent.parent.parent / "examples" / "echo.py"

pytestmark = pytest.mark.timeout(180)


async def on(screen: Terminal, pattern: str) -> str:
    return (await asyncio.to_thread(screen.wait_for, pattern)).group(0)


async def sign_in(gateway: LocalGateway, data: Path) -> Person:
    alice = await gateway.person("alice")
    with terminal("login", "--base-url", gateway.api_url, "--data", str(data)) as screen:
        await alice.befriend()
        await on(screen, "Signed in as")
        assert await asyncio.to_thread(screen.wait_exit) == 0
    return alice


async def test_login_shows_a_code_asks_for_digits_and_signs_in(ilink_gateway: LocalGateway, tmp_path: Path) -> None:
    alice = await ilink_gateway.person("alice")
    picture = tmp_path / "code.png"
    arguments = ("--base-url", ilink_gateway.api_url, "--data", str(tmp_path / "data"), "--image", str(picture))
    with terminal("login", *arguments) as screen:
        link = await on(screen, r"https://\S+qrcode=[0-9a-f]{32}\S*")
        await on(screen, "Also as a picture")
        code = await ilink_gateway.rules.wait_code()
        assert code is not None
        assert link == code.url
        assert [found.text for found in zxingcpp.read_barcodes(Image.open(picture))] == [code.url]
        await ilink_gateway.rules.scan(code.qrcode, alice.user_id)
        await on(screen, "Confirm on the phone")
        await ilink_gateway.rules.require_code(code.qrcode, "123456")
        await on(screen, "Type it here")
        screen.types("000000")
        await on(screen, "That was not it")
        screen.types("123456")
        await alice.befriend(await accepted(ilink_gateway, code.qrcode))
        await on(screen, f"Signed in as {alice.bot_id}, owned by {alice.user_id}")
        assert await asyncio.to_thread(screen.wait_exit) == 0
    listed = ilink("accounts", "--json", ILINK_DATA=str(tmp_path / "data"))
    assert [account["account_id"] for account in json.loads(listed.stdout)] == [alice.bot_id]


async def accepted(gateway: LocalGateway, qrcode: str) -> str:
    """Return the code once its digits were accepted."""
    async for _ in gateway.rules.events.follow(0):
        if (await gateway.rules.code(qrcode)).status == "scaned":
            break
    return qrcode


async def test_login_without_force_says_that_this_machine_is_connected(
    ilink_gateway: LocalGateway, tmp_path: Path
) -> None:
    alice = await sign_in(ilink_gateway, tmp_path)
    with terminal("login", "--base-url", ilink_gateway.api_url, "--data", str(tmp_path)) as screen:
        await alice.scans()
        await on(screen, "already connected")
        assert await asyncio.to_thread(screen.wait_exit) == 0


async def test_control_c_ends_a_login_without_a_traceback(ilink_gateway: LocalGateway, tmp_path: Path) -> None:
    with terminal("login", "--base-url", ilink_gateway.api_url, "--data", str(tmp_path)) as screen:
        await on(screen, "Scan this code")
        screen.presses_control_c()
        assert await asyncio.to_thread(screen.wait_exit) == 130
        assert "Traceback" not in screen.text


async def test_control_c_ends_a_bot_that_waits_to_be_scanned(ilink_gateway: LocalGateway, tmp_path: Path) -> None:
    with terminal("run", str(ECHO), ILINK_BASE_URL=ilink_gateway.api_url, ILINK_DATA=str(tmp_path)) as screen:
        await on(screen, "Scan this code")
        screen.presses_control_c()
        assert await asyncio.to_thread(screen.wait_exit) == 0
        assert "Traceback" not in screen.text


async def test_bot_in_a_file_signs_in_answers_and_stops_on_control_c(
    ilink_gateway: LocalGateway, tmp_path: Path
) -> None:
    alice = await ilink_gateway.person("alice")
    with terminal("run", str(ECHO), ILINK_BASE_URL=ilink_gateway.api_url, ILINK_DATA=str(tmp_path)) as screen:
        await on(screen, "Scan this code")
        await alice.befriend()
        await alice.says("hi")
        assert await alice.hears(timeout=45) == "You said: hi"
        screen.presses_control_c()
        assert await asyncio.to_thread(screen.wait_exit) == 0
        assert "Traceback" not in screen.text


async def test_bot_without_account_and_without_terminal_does_not_wait_for_a_scan(tmp_path: Path) -> None:
    run = await asyncio.to_thread(
        ilink, "run", str(ECHO), ILINK_DATA=str(tmp_path), ILINK_BASE_URL="http://127.0.0.1:9"
    )
    assert run.returncode == 2
    assert "ilink login" in run.stderr
    assert "Traceback" not in run.stderr


async def test_send_tells_the_truth_by_its_exit_code(ilink_gateway: LocalGateway, tmp_path: Path) -> None:
    alice = await sign_in(ilink_gateway, tmp_path)
    closed = await asyncio.to_thread(ilink, "send", "too early", ILINK_DATA=str(tmp_path))
    assert closed.returncode == 4
    assert closed.stdout.startswith("deferred: the user has to write first")
    await alice.says("hi")
    accepted = await asyncio.to_thread(ilink, "send", "--json", text="from a pipe\n", ILINK_DATA=str(tmp_path))
    assert accepted.returncode == 0
    assert json.loads(accepted.stdout)["receipt"] == "accepted"
    entries = await ilink_gateway.rules.transcript(alice.bot_id, alice.user_id)
    assert [(entry.state, entry.items[0].text) for entry in entries if entry.direction == "out"] == [
        ("refused", "too early"),
        ("shown", "too early"),
        ("shown", "from a pipe"),
    ]
    await ilink_gateway.rules.configure(knobs={"ids.send_as": "omit"})
    unconfirmed = await asyncio.to_thread(ilink, "send", "who knows", ILINK_DATA=str(tmp_path))
    assert unconfirmed.returncode == 3


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("x = 1\n", "makes no Bot"),
        ("from ilink import Bot\na = Bot()\nb = Bot()\n", "several bots: a, b"),
        ("import nothing_like_that\n", "line 1: ModuleNotFoundError"),
        ("def f(:\n", "line 1: SyntaxError"),
    ],
)
def test_file_that_is_no_bot_is_explained_in_one_line(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "bot.py"
    path.write_text(content)
    run = ilink("run", str(path))
    assert run.returncode == 2
    assert complaint in run.stderr
    assert "Traceback" not in run.stderr


def test_missing_file_is_named() -> None:
    run = ilink("run", "nowhere.py")
    assert run.returncode == 2
    assert "there is no file nowhere.py" in run.stderr


def test_demo_plays_the_whole_conversation_without_a_browser() -> None:
    run = ilink("demo", "--check")
    assert run.returncode == 0, run.stderr
    assert "Bot:   You said: hi" in run.stdout
    assert "The whole conversation went through." in run.stdout


async def test_demo_stops_on_control_c(tmp_path: Path) -> None:
    with terminal("demo", "--no-open", TMPDIR=str(tmp_path)) as screen:
        await on(screen, r"http://127\.0\.0\.1:\d+/")
        await on(screen, "waits to be scanned")
        screen.presses_control_c()
        assert await asyncio.to_thread(screen.wait_exit) == 0
        assert "Traceback" not in screen.text
    assert list(tmp_path.iterdir()) == []
