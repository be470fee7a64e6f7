"""`ilink listen`, `inspect`, `doctor` and `login --import`."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from ilink.cli.doctor import compare_clocks
from ilink.storage.foreign_accounts import find_foreign_accounts
from ilink.testing import LocalGateway
from ilink.testing.updates import file_item, text_item
from ilink.wire.cipher import encrypt
from ilink.wire.keys import KeyForm, MediaKey
from tests.cli.terminal import ILINK, terminal
from tests.cli.test_command import ilink
from tests.cli.test_terminal import on, sign_in

pytestmark = pytest.mark.timeout(180)
KEY = MediaKey(bytes(range(16)))


@pytest.mark.parametrize("form", list(KeyForm))
def test_a_key_is_recognised_in_every_spelling_and_not_shown(form: KeyForm) -> None:
    run = ilink("inspect", "--json", "--", KEY.spell(form))
    assert json.loads(run.stdout) == {"is": "key", "form": form.value}
    shown = ilink("inspect", "--", KEY.spell(form))
    assert (shown.returncode, KEY.spell(form) in shown.stdout) == (0, False)


def test_a_reference_is_told_without_its_secrets_and_its_file_decrypted(tmp_path: Path) -> None:
    item = {**file_item("a.txt"), "file_item": {**file_item("a.txt")["file_item"], "len": "5"}}  # type: ignore[dict-item]
    item["file_item"]["media"]["aes_key"] = KEY.spell(KeyForm.BASE64_HEX)  # type: ignore[index]
    run = ilink("inspect", "--json", text=json.dumps(item))
    told = json.loads(run.stdout)
    assert (told["is"], told["kind"], told["name"], told["size"]) == ("media", "file", "a.txt", 5)
    assert (told["key"], told["reference"]) == ("base64_hex", "param")
    assert KEY.spell(KeyForm.BASE64_HEX) not in run.stdout
    (tmp_path / "blob").write_bytes(encrypt(KEY, b"hello"))
    out = tmp_path / "plain.txt"
    arguments = ("inspect", "--decrypt", str(tmp_path / "blob"), "-o", str(out))
    assert ilink(*arguments, text=json.dumps(item)).returncode == 0
    assert out.read_bytes() == b"hello"
    again = ilink(*arguments, text=json.dumps(item))
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
    wrong = ilink("inspect", "ff" * 16, "--decrypt", str(tmp_path / "blob"))
    assert (wrong.returncode, "Traceback" in wrong.stderr) == (1, False)
    missing = ilink("inspect", "ff" * 16, "--decrypt", str(tmp_path / "nowhere"))
    assert (missing.returncode, "Traceback" in missing.stderr) == (1, False)


@pytest.mark.parametrize("text", ["what is this", "{}", "[1]", "", "a" * 40])
def test_what_is_nothing_is_said_so(text: str) -> None:
    run = ilink("inspect", "--", text)
    assert (run.returncode, "Traceback" in run.stderr) == (2, False)
    assert "no media key" in run.stderr


async def test_listen_prints_updates_and_stores_what_was_written(ilink_gateway: LocalGateway, tmp_path: Path) -> None:
    alice = await sign_in(ilink_gateway, tmp_path)
    for text in ("one", "two"):
        await alice.says(text)
    first = await asyncio.to_thread(ilink, "listen", "--lines", "2", ILINK_DATA=str(tmp_path))
    assert first.returncode == 0, first.stderr
    heard = [json.loads(line) for line in first.stdout.splitlines()]
    assert [update["item_list"][0]["text_item"]["text"] for update in heard] == ["one", "two"]
    with terminal("listen", ILINK_DATA=str(tmp_path)) as screen:
        await alice.sends(text_item("three\nlines"))
        await on(screen, "three")
        screen.presses_control_c()
        assert await asyncio.to_thread(screen.wait_exit) == 0
        assert "Traceback" not in screen.text
        assert "two" not in screen.text


async def test_listen_acknowledges_nothing_that_it_could_not_write(ilink_gateway: LocalGateway, tmp_path: Path) -> None:
    alice = await sign_in(ilink_gateway, tmp_path)
    await alice.says("one")
    reader, writer = os.pipe()
    os.close(reader)
    environ = {**os.environ, "ILINK_DATA": str(tmp_path)}
    run = await asyncio.to_thread(
        subprocess.run,
        [ILINK, "listen", "--lines", "1"],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=environ,
        timeout=60,
    )
    os.close(writer)
    assert (run.returncode, b"Traceback" in run.stderr) == (1, False)
    again = await asyncio.to_thread(ilink, "listen", "--lines", "1", ILINK_DATA=str(tmp_path))
    assert json.loads(again.stdout)["item_list"][0]["text_item"]["text"] == "one"


async def test_a_cursor_of_a_gateway_is_read(ilink_gateway: LocalGateway, tmp_path: Path) -> None:
    alice = await sign_in(ilink_gateway, tmp_path)
    await alice.says("one")
    await asyncio.to_thread(ilink, "listen", "--lines", "1", ILINK_DATA=str(tmp_path))
    from ilink.storage.accounts_sqlite import SqliteAccounts

    async with SqliteAccounts(tmp_path) as accounts:
        assert alice.bot_id is not None
        cursor = (await accounts.position(alice.bot_id)).cursor
    told = json.loads((await asyncio.to_thread(ilink, "inspect", "--json", "--", cursor)).stdout)
    assert (told["is"], told["seq"]) == ("cursor", 1)


async def test_doctor_finds_a_healthy_account_and_a_dead_token(ilink_gateway: LocalGateway, tmp_path: Path) -> None:
    alice = await sign_in(ilink_gateway, tmp_path)
    data = {"ILINK_DATA": str(tmp_path), "NO_PROXY": "*"}
    healthy = await asyncio.to_thread(ilink, "doctor", "--json", "--poll", **data)
    verdicts = {one["check"]: one["verdict"] for one in json.loads(healthy.stdout)}
    assert verdicts == {
        **dict.fromkeys(("disk", "account", "lock", "proxy", "dns", "token", "poll"), "ok"),
        **dict.fromkeys(("tls", "clock"), "skipped"),  # plain http, and the gateway sends no date
    }
    assert healthy.returncode == 0
    assert alice.bot_id is not None
    await ilink_gateway.rules.expire_bot(alice.bot_id)
    sick = await asyncio.to_thread(ilink, "doctor", "--json", **data)
    found = {one["check"]: one for one in json.loads(sick.stdout)}
    assert (sick.returncode, found["token"]["verdict"]) == (1, "bad")
    assert "ilink login" in found["token"]["advice"]
    chinese = await asyncio.to_thread(ilink, "doctor", ILINK_LANG="zh-CN", **data)
    assert "重新登录" in chinese.stdout


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(0, "ok"), (60, "ok"), (-60, "ok"), (600, "bad"), (-600, "bad"), (None, "skipped")]
)
def test_the_clock_is_compared_with_the_servers(seconds: int | None, verdict: str) -> None:
    date = b"nonsense" if seconds is None else formatdate(time.time() + seconds, usegmt=True).encode()
    assert compare_clocks(b"HTTP/1.1 404 Not Found\r\nDate: " + date + b"\r\n\r\n").verdict == verdict


def test_doctor_names_what_cannot_be_reached_and_hides_the_proxys_password(tmp_path: Path) -> None:
    run = ilink("doctor", "--json", "--base-url", "http://127.0.0.1:9", ILINK_DATA=str(tmp_path), NO_PROXY="*")
    found = {one["check"]: one for one in json.loads(run.stdout)}
    assert (run.returncode, found["account"]["verdict"], found["tls"]["verdict"]) == (1, "bad", "bad")
    assert "firewall" in found["tls"]["advice"]
    name = ilink("doctor", "--json", "--base-url", "http://nowhere.invalid", ILINK_DATA=str(tmp_path), NO_PROXY="*")
    assert {one["check"]: one["verdict"] for one in json.loads(name.stdout)}["dns"] == "bad"
    proxied = ilink(
        "doctor",
        "--base-url",
        "http://x.example",
        ILINK_DATA=str(tmp_path),
        http_proxy="http://me:s3cret@proxy:3128",
        NO_PROXY="",
        no_proxy="",
    )
    assert ("proxy:3128" in proxied.stdout, "s3cret" in proxied.stdout + proxied.stderr) == (True, False)
    (tmp_path / "file").write_text("")
    disk = ilink("doctor", "--json", "--base-url", "http://127.0.0.1:9", ILINK_DATA=str(tmp_path / "file" / "x"))
    assert json.loads(disk.stdout)[0]["verdict"] == "bad"
    assert "Traceback" not in run.stderr + name.stderr + proxied.stderr + disk.stderr


LAYOUTS = {
    "the official plugin": (
        "openclaw-weixin/accounts/0123456789ab-im-bot.json",
        {"token": "t", "baseUrl": "U", "userId": "O"},
    ),
    "wechatbot": (
        "credentials.json",
        {"token": "t", "baseUrl": "U", "accountId": "0123456789ab@im.bot", "userId": "O"},
    ),
    "weilink": ("default/token.json", {"bot_id": "0123456789ab@im.bot", "base_url": "U", "token": "t", "user_id": "O"}),
    "the login's answer": (
        "a.json",
        {"bot_token": "t", "ilink_bot_id": "0123456789ab@im.bot", "baseurl": "U", "ilink_user_id": "O"},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_state_folders_of_other_programs_are_read(tmp_path: Path, name: str) -> None:
    place, fields = LAYOUTS[name]
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields))
    path.with_suffix(".sync.json").write_text('{"get_updates_buf": "c"}')
    (tmp_path / "other.json").write_text("[1")
    (found,) = find_foreign_accounts(tmp_path)
    account = found.account
    assert (account.account_id, account.owner_id, account.base_url) == ("0123456789ab@im.bot", "O", "U")
    assert (account.token.reveal(), found.cursor) == ("t", "c")


async def test_an_account_of_another_program_goes_on_here(ilink_gateway: LocalGateway, tmp_path: Path) -> None:
    from ilink.storage.accounts_sqlite import SqliteAccounts

    alice = await sign_in(ilink_gateway, tmp_path / "theirs")
    async with SqliteAccounts(tmp_path / "theirs") as accounts:
        account = (await accounts.list())[0].account
    state = tmp_path / "state" / "openclaw-weixin" / "accounts"
    state.mkdir(parents=True)
    file = state / f"{account.account_id.replace('@im.bot', '-im-bot')}.json"
    file.write_text(
        json.dumps({"token": account.token.reveal(), "baseUrl": account.base_url, "userId": account.owner_id})
    )
    ours = {"ILINK_DATA": str(tmp_path / "ours")}
    run = await asyncio.to_thread(ilink, "login", "--import", str(tmp_path / "state"), **ours)
    assert run.returncode == 0, run.stderr
    assert f"Imported {account.account_id}" in run.stdout
    assert account.token.reveal() not in run.stdout + run.stderr
    assert stat.S_IMODE((tmp_path / "ours" / "ilink.db").stat().st_mode) == 0o600
    await alice.says("hi")
    sent = await asyncio.to_thread(ilink, "send", "from here", **ours)
    assert sent.returncode == 0, sent.stderr
    assert await alice.hears() == "from here"
    await ilink_gateway.rules.expire_bot(account.account_id)
    dead = await asyncio.to_thread(ilink, "login", "--import", str(state), ILINK_DATA=str(tmp_path / "third"))
    assert (dead.returncode, "works no more" in dead.stderr) == (1, True)
    (tmp_path / "empty").mkdir()
    for folder, words in (("empty", "no account was found"), ("nowhere", "there is no folder")):
        none = await asyncio.to_thread(ilink, "login", "--import", str(tmp_path / folder), **ours)
        assert (none.returncode, words in none.stderr) == (2, True)
