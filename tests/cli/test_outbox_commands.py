"""The outbox from the command line: what waits, what to do about it, and files that are sent."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from ilink.messages.outgoing import text_item
from ilink.storage.accounts_sqlite import SqliteAccounts
from ilink.storage.journal import Draft, OutboxState, Outcome, OutgoingFile
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.testing import LocalGateway
from ilink.wire.accounts import Account
from ilink.wire.codec import encode
from ilink.wire.ids import AccountId, ClientId, Secret, UserId
from tests.cli.test_command import ilink
from tests.cli.test_terminal import sign_in

pytestmark = pytest.mark.timeout(180)  # processes start, and a machine may be busy

ALICE = UserId("o9cq80AbCdEfGhIjKlMnOpQrStUv@im.wechat")


@dataclass
class Stored:
    folder: Path

    def outbox(self, **environ: str) -> list[dict[str, object]]:
        run = ilink("journal", "outbox", "--json", ILINK_DATA=str(self.folder), **environ)
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)


@pytest.fixture
async def stored(tmp_path: Path) -> Stored:
    """A folder with an account, and three messages: one that asks, one that waits, and a file that waits."""
    async with SqliteAccounts(tmp_path) as accounts:
        account = await accounts.put(
            Account(account_id=AccountId("a@im.bot"), token=Secret("t"), base_url="http://127.0.0.1:9", owner_id=ALICE)
        )
        async with SqliteJournal(accounts.database, account.account.account_id) as journal:
            await journal.adopt()
            asks, *_ = await journal.enqueue(
                [
                    said("ilink-1", "did this arrive?"),
                    said("ilink-2", "x" * 100),
                    said("ilink-3", "", OutgoingFile(size=1, sha256="", name="plan.pdf")),
                ],
                now_ms=1_790_000_000_000,
            )
            await journal.settle(
                Outcome(out_sequence=asks.out_sequence, user=ALICE, state=OutboxState.ASKED, reason="no answer came"),
                now_ms=1_790_000_000_000,
            )
            await journal.release()
    return Stored(tmp_path)


def said(name: str, text: str, file: OutgoingFile | None = None) -> Draft:
    item = b"" if file else encode(text_item(text))
    return Draft(client_id=ClientId(name), conversation=f"u:{ALICE}", user=ALICE, item=item, file=file)


def test_what_waits_is_listed_with_what_it_waits_for(stored: Stored) -> None:
    assert [(one["client_id"], one["state"], one["text"]) for one in stored.outbox()] == [
        ("ilink-1", "asked", "did this arrive?"),
        ("ilink-2", "waiting", "x" * 100),
        ("ilink-3", "waiting", "plan.pdf"),
    ]
    table = ilink("journal", "outbox", ILINK_DATA=str(stored.folder), COLUMNS="200").stdout
    assert "waits for a decision" in table
    assert "no answer came" in table
    assert "x" * 100 not in table
    assert "等待决定" in ilink("journal", "outbox", ILINK_DATA=str(stored.folder), ILINK_LANG="zh-CN").stdout


def test_a_message_that_asks_is_tried_again(stored: Stored) -> None:
    run = ilink("journal", "retry", "ilink-1", ILINK_DATA=str(stored.folder))
    assert (run.returncode, "ilink-1" in run.stdout) == (0, True)
    assert [one["state"] for one in stored.outbox()] == ["waiting", "waiting", "waiting"]


def test_a_message_that_asks_is_dropped(stored: Stored) -> None:
    assert ilink("journal", "drop", "ilink-1", ILINK_DATA=str(stored.folder)).returncode == 0
    assert [one["client_id"] for one in stored.outbox()] == ["ilink-2", "ilink-3"]


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_a_message_that_does_not_ask_is_refused(stored: Stored, command: str) -> None:
    run = ilink("journal", command, "ilink-2", ILINK_DATA=str(stored.folder))
    assert run.returncode == 2
    assert "ilink-2" in run.stderr
    assert len(stored.outbox()) == 3


async def test_files_are_sent_with_their_text_before_them(ilink_gateway: LocalGateway, tmp_path: Path) -> None:
    alice = await sign_in(ilink_gateway, tmp_path / "data")
    await alice.says("hi")
    (tmp_path / "plan.txt").write_text("step one")
    run = await asyncio.to_thread(
        ilink, "send", "the plan", "--file", str(tmp_path / "plan.txt"), "--json", ILINK_DATA=str(tmp_path / "data")
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["receipt"] == "accepted"
    entries = await ilink_gateway.rules.transcript(alice.bot_id, alice.user_id)
    items = [entry.items[0] for entry in entries if entry.direction == "out"]
    assert [item.text or item.file_name for item in items] == ["the plan", "plan.txt"]


async def test_a_file_that_cannot_be_read_is_explained_in_one_line(ilink_gateway: LocalGateway, tmp_path: Path) -> None:
    await sign_in(ilink_gateway, tmp_path / "data")
    run = await asyncio.to_thread(
        ilink, "send", "--file", str(tmp_path / "nowhere.txt"), ILINK_DATA=str(tmp_path / "data")
    )
    assert run.returncode != 0
    assert "nowhere.txt" in run.stderr
    assert "Traceback" not in run.stderr


async def test_a_server_that_is_away_defers_the_message(ilink_gateway: LocalGateway, tmp_path: Path) -> None:
    alice = await sign_in(ilink_gateway, tmp_path)
    away = ilink_gateway.fault("sendmessage", http_status=503)
    run = await asyncio.to_thread(ilink, "send", "hello", "--wait", "0.5", "--json", ILINK_DATA=str(tmp_path))
    assert run.returncode == 4, run.stdout + run.stderr
    told = json.loads(run.stdout)
    assert (told["receipt"], told["waits_for"]) == ("deferred", "connection")
    away.remove()
    await alice.says("hi")
    again = await asyncio.to_thread(ilink, "send", "and again", ILINK_DATA=str(tmp_path))
    assert again.returncode == 0
    entries = await ilink_gateway.rules.transcript(alice.bot_id, alice.user_id)
    shown = [entry.items[0].text for entry in entries if entry.direction == "out" and entry.state == "shown"]
    assert shown == ["hello", "and again"]
