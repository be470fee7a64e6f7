"""`ilink login --import` reads the folders that other people's clients really leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from clients import CLIENTS, Running
from keyboard import Control
from peer_house import installed

from ilink.storage.foreign_accounts import find_foreign_accounts

Fleet = Callable[[str], Running]

NOT_READ = {"easywechatpy", "ilink-bot-server", "ides-adapter-weixin"}
"""Those with forms of their own, or with none: the program around them keeps the account."""
KEEPING = [name for name, client in CLIENTS.items() if client.keeps_account and name not in NOT_READ]
KEEPING += ["wechat-clawbot-sdk"]
FORGETS_CURSOR = {"wechatbot-sdk", "weixin-bot-sdk", "nonebot-adapter-wxclaw", "nonebot-adapter-claweixin"}
"""Those whose cursor is lost when they end, or kept by the program around them."""
FORGETS_OWNER = {"nonebot-adapter-wxclaw", "nonebot-adapter-claweixin"}

CLAWBOT = """
import json, sys
from wechat_clawbot.auth import accounts
from wechat_clawbot.claude_channel import credentials
from wechat_clawbot.storage import sync_buf

given = json.loads(sys.argv[1])
if given["where"] == "openclaw":
    name = given["account"].replace("@", "-").replace(".", "-")
    accounts.save_weixin_account(name, token=given["token"], base_url=given["url"], user_id=given["user"])
    accounts.register_weixin_account_id(name)
    sync_buf.save_get_updates_buf(sync_buf.get_sync_buf_file_path(name), given["cursor"])
else:
    credentials.save_credentials(
        credentials.AccountData(given["token"], given["url"], given["account"], given["user"], "2026-01-01")
    )
"""


def ilink(*arguments: str, data: Path) -> str:
    """Run a command that works, and return what it says."""
    command = [sys.executable, "-m", "ilink", *arguments]
    environ = {**os.environ, "ILINK_DATA": str(data)}
    run = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=180, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("name", KEEPING)
def test_an_account_of_another_client_goes_on_here(
    name: str, newcomer: Fleet, gateway: Control, tmp_path: Path
) -> None:
    client = newcomer(name)
    client.sign_in()
    before = gateway.say(client.person, client.bot_id, "hello")
    gateway.hear(client.person, client.bot_id, before)
    client.stop()
    (found,) = find_foreign_accounts(client._folder)
    assert found.account.account_id == client.bot_id
    assert found.account.base_url == gateway.info["api_url"]
    assert found.account.owner_id == (None if name in FORGETS_OWNER else client.person)
    assert bool(found.cursor) is (name not in FORGETS_CURSOR)
    data = tmp_path / "ours"
    assert f"Imported {client.bot_id}" in ilink("login", "--import", str(client._folder), data=data)
    before = gateway.say(client.person, client.bot_id, "and now?")
    ilink("send", "from here", "--to", client.person, data=data)
    assert gateway.hear(client.person, client.bot_id, before)["items"][0]["text"] == "from here"


@pytest.mark.parametrize("where", ["openclaw", "channel"])
def test_what_wechat_clawbot_stores_is_read(where: str, newcomer: Fleet, gateway: Control, tmp_path: Path) -> None:
    """Its own functions write what its commands keep after a login; the library beneath them keeps nothing."""
    client = newcomer("wechat-clawbot-sdk")
    client.sign_in()
    client.stop()
    (signed_in,) = find_foreign_accounts(client._folder)
    account = signed_in.account
    given = {
        "where": where,
        "account": account.account_id,
        "token": account.token.reveal(),
        "url": account.base_url,
        "user": account.owner_id,
        "cursor": "where it was",
    }
    home = tmp_path / "home"
    environ = {**os.environ, "HOME": str(home), "USERPROFILE": str(home)}
    command = [str(installed("wechat-clawbot").program), "-c", CLAWBOT, json.dumps(given)]
    subprocess.run(command, env=environ, check=True, timeout=180)
    if where == "channel":
        (home / ".claude/channels/wechat/sync_buf.txt").write_text("where it was")
    (found,) = find_foreign_accounts(home)
    assert found.account == account
    assert found.cursor == "where it was"
    assert f"Imported {account.account_id}" in ilink("login", "--import", str(home), data=tmp_path / "ours")
