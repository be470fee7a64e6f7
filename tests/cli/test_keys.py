"""Keys are made and changed from the command line, and every command takes a database in place of a folder."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from ilink.bot.store import find_place, open_store
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, Secret, UserId
from tests.cli.test_command import ilink

pytestmark = pytest.mark.timeout(180)  # each test starts several processes, one after the other

OWNER = UserId("o9cq80AbCdEfGhIjKlMnOpQrStUv@im.wechat")
AWAY = "postgresql://me:hush@127.0.0.1:1/bots"
ACCOUNT = Account(
    account_id=AccountId("a@im.bot"), token=Secret("t0ken"), base_url="http://127.0.0.1:9", owner_id=OWNER
)


def new_key() -> str:
    made = ilink("keys", "new")
    assert made.returncode == 0, made.stderr
    assert len(base64.urlsafe_b64decode(made.stdout.strip())) == 32
    return made.stdout.strip()


async def test_keys_are_changed_in_a_database(postgres_url: str, tmp_path: Path) -> None:
    old, new = new_key(), new_key()
    async with open_store(find_place(postgres_url, environ={"ILINK_STORE_KEY": old})) as store:
        await store.accounts.put(ACCOUNT)
    file = tmp_path / "keys"
    file.write_text(f"# the newest first\n{new}\n{old}\n", "utf-8")
    rotated = ilink("keys", "rotate", "--database-url", postgres_url, ILINK_STORE_KEY_FILE=str(file), ILINK_LANG="en")
    assert rotated.returncode == 0, rotated.stderr
    assert rotated.stdout.startswith("1 tokens were sealed anew")
    listed = ilink("accounts", "--json", ILINK_DATABASE_URL=postgres_url, ILINK_STORE_KEY=new)
    assert [entry["account_id"] for entry in json.loads(listed.stdout)] == ["a@im.bot"]
    refused = ilink("accounts", ILINK_DATABASE_URL=postgres_url, ILINK_STORE_KEY=old)
    assert refused.returncode == 1
    assert "sealed with the key" in refused.stderr
    counted = ilink("journal", "count", "--database-url", postgres_url, ILINK_STORE_KEY=new)
    assert json.loads(counted.stdout)["waiting"] == 0
    removed = ilink("logout", "a@im.bot", "--database-url", postgres_url, ILINK_STORE_KEY=new)
    assert removed.returncode == 0, removed.stderr


async def test_the_doctor_looks_at_the_database(postgres_url: str, tmp_path: Path) -> None:
    key = base64.urlsafe_b64encode(bytes(32)).decode()
    async with open_store(find_place(postgres_url, environ={"ILINK_STORE_KEY": key})) as store:
        await store.accounts.put(ACCOUNT)
    for url, verdict, words in ((postgres_url, "ok", "takes writes"), (AWAY, "bad", "cannot be reached")):
        arguments = ("doctor", "--json", "--base-url", ACCOUNT.base_url)  # or it asks the real server's name
        asked = ilink(*arguments, ILINK_DATABASE_URL=url, ILINK_STORE_KEY=key, ILINK_DATA=str(tmp_path))
        found = {entry["check"]: entry for entry in json.loads(asked.stdout)}
        assert found["database"]["verdict"] == verdict
        assert words in found["database"]["found"]
        assert "hush" not in asked.stdout


def test_what_is_wrong_is_told_in_one_line_without_secrets(tmp_path: Path) -> None:
    missing = ilink("accounts", "--database-url", "postgresql://me:hush@127.0.0.1:1/bots")
    assert (missing.returncode, "ilink keys new" in missing.stderr) == (2, True)
    away = ilink("accounts", "--database-url", "postgresql://me:hush@127.0.0.1:1/bots", ILINK_STORE_KEY=new_key())
    assert (away.returncode, "cannot be reached" in away.stderr) == (1, True)
    strange = ilink("accounts", "--database-url", "mysql://me:hush@127.0.0.1/bots")
    assert (strange.returncode, "postgresql://" in strange.stderr) == (2, True)
    both = ilink("accounts", "--data", str(tmp_path), "--database-url", "postgresql://me@127.0.0.1/bots")
    assert (both.returncode, "--data" in both.stderr) == (2, True)
    broken = ilink("accounts", "--database-url", "postgresql://me@127.0.0.1/bots", ILINK_STORE_KEY="hush")
    assert (broken.returncode, "no key, in place 1" in broken.stderr) == (2, True)
    for run in (missing, away, strange, both, broken):
        assert "hush" not in run.stderr
        assert "Traceback" not in run.stderr


async def test_workers_without_the_key_of_a_token_are_not_started(postgres_url: str, tmp_path: Path) -> None:
    async with open_store(find_place(postgres_url, environ={"ILINK_STORE_KEY": new_key()})) as store:
        await store.accounts.put(ACCOUNT)
    bot = tmp_path / "bot.py"
    bot.write_text("from ilink import Bot\n\nbot = Bot()\n", "utf-8")
    told = ilink("run", str(bot), "--workers", "2", ILINK_DATABASE_URL=postgres_url, ILINK_STORE_KEY=new_key())
    assert (told.returncode, "behind the newest" in told.stderr) == (1, True)
    assert told.stderr.count("\n") == 1
