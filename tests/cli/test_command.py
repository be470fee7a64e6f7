"""The command as its user meets it: help, versions, wrong words, languages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from ilink.cli import words as cli_words
from ilink.cli.app import build_app
from ilink.cli.words import say
from ilink.client.words import LANGUAGES
from ilink.storage.accounts_sqlite import SqliteAccounts
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, Secret, UserId

pytestmark = pytest.mark.timeout(180)  # processes start, and a machine may be busy

ILINK = Path(sys.executable).with_name("ilink")
COMMANDS = ("demo", "gateway", "login", "run", "send", "load", "journal", "accounts", "logout")


def ilink(*arguments: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ILINK_", "LC_", "LANG"))}
    return subprocess.run(
        [ILINK, *arguments],
        input=text,
        capture_output=True,
        text=True,
        env={**kept, "LANG": "en_US.UTF-8", "COLUMNS": "120", **environment},
        check=False,
        timeout=90,
    )


def test_version_is_printed_without_loading_the_command_line_library() -> None:
    code = "import sys; sys.argv = ['ilink', '--version']\nfrom ilink.cli import main\nmain()\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, modules = run.stdout.splitlines()
    assert first == f"ilink {version('ilink')}"
    assert {"cyclopts", "rich", "aiohttp"} & set(modules.split()) == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_help_names_every_command_in_the_readers_language(language: str) -> None:
    run = ilink("--help", ILINK_LANG=language)
    assert run.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^.*\b{command}\b", run.stdout, re.MULTILINE), command
    assert ("机器人" in run.stdout) == (language == "zh-CN")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_each_command_explains_itself(command: str, language: str) -> None:
    run = ilink(command, "--help", ILINK_LANG=language)
    assert run.returncode == 0
    assert f"ilink {command}" in run.stdout
    assert run.stderr == ""


def test_unknown_command_is_one_line_with_a_suggestion() -> None:
    run = ilink("gatevay")
    assert run.returncode == 2
    assert "gateway" in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""


def test_unknown_option_names_itself() -> None:
    run = ilink("accounts", "--colour")
    assert run.returncode == 2
    assert "--colour" in run.stderr
    assert "Traceback" not in run.stderr


def test_texts_of_all_languages_have_the_same_keys_and_places() -> None:
    def places(language: str) -> dict[str, set[str]]:
        return {key: set(re.findall(r"{(\w+)}", text)) for key, text in say.texts(language).items()}

    english, *others = map(places, LANGUAGES)
    for other in others:
        assert other == english


def test_every_text_is_used() -> None:
    source = "".join(path.read_text("utf-8") for path in Path(cli_words.__file__).parent.glob("*.py"))
    used = {key for _, key in re.findall(r"""say\(\s*f?(["'])(\S+?)\1""", source)}
    patterns = [re.compile(re.sub(r"\\{.*?\\}", r"\\w+", re.escape(key))) for key in used]
    unused = {key for key in say.texts("en") if not any(pattern.fullmatch(key) for pattern in patterns)}
    assert unused == set()


def test_an_empty_machine_has_no_accounts(tmp_path: Path) -> None:
    run = ilink("accounts", "--data", str(tmp_path))
    assert run.returncode == 0
    assert run.stdout == ""
    assert "ilink login" in run.stderr


@pytest.fixture
async def signed_in(tmp_path: Path) -> Path:
    async with SqliteAccounts(tmp_path) as accounts:
        await accounts.put(
            Account(
                account_id=AccountId("0badc0ffee42@im.bot"),
                token=Secret("canary-token"),
                base_url="http://127.0.0.1:9",
                owner_id=UserId("o9cq80AbCdEfGhIjKlMnOpQrStUv@im.wechat"),
            )
        )
    return tmp_path


async def test_accounts_are_listed_without_their_tokens(signed_in: Path) -> None:
    listed = ilink("accounts", ILINK_DATA=str(signed_in))
    assert "0badc0ffee42@im.bot" in listed.stdout
    machine = ilink("accounts", "--json", ILINK_DATA=str(signed_in))
    (account,) = json.loads(machine.stdout)
    assert account["account_id"] == "0badc0ffee42@im.bot"
    assert account["state"] == "active"
    assert "canary" not in listed.stdout + listed.stderr + machine.stdout + machine.stderr


async def test_logout_forgets_an_account_once(signed_in: Path) -> None:
    assert ilink("logout", "0badc0ffee42@im.bot", ILINK_DATA=str(signed_in)).returncode == 0
    again = ilink("logout", "0badc0ffee42@im.bot", ILINK_DATA=str(signed_in))
    assert again.returncode == 2
    assert "there is no account" in again.stderr


async def test_account_in_use_is_forgotten_and_left_to_the_bot_to_end(signed_in: Path) -> None:
    async with SqliteAccounts(signed_in) as accounts:
        with accounts.lock(AccountId("0badc0ffee42@im.bot")):
            run = ilink("logout", "0badc0ffee42@im.bot", ILINK_DATA=str(signed_in))
        assert await accounts.list() == ()
    assert run.returncode == 0
    assert "a bot that works for it ends that" in run.stdout


def test_commands_are_loaded_only_when_called() -> None:
    before = {name for name in sys.modules if name.startswith("ilink.cli.")}
    build_app()
    assert {name for name in sys.modules if name.startswith("ilink.cli.")} == before
