"""Messages that were given up are found, read, handled again or dropped from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ilink.storage.accounts_sqlite import SqliteAccounts
from ilink.storage.journal import Arrival, InboxState
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, Cursor, Secret, UserId
from tests.cli.test_command import ilink

pytestmark = pytest.mark.timeout(180)  # processes start, and a machine may be busy

ALICE = UserId("o9cq80AbCdEfGhIjKlMnOpQrStUv@im.wechat")
RAW = b'{"message_id":7512000000000000123,"from_user_id":"alice","context_token":"canary-token"}'


@pytest.fixture
async def dead(tmp_path: Path) -> tuple[Path, list[int]]:
    """A folder with an account, and the numbers of its two dead letters: a message, and no JSON at all."""
    async with SqliteAccounts(tmp_path) as accounts:
        stored = await accounts.put(
            Account(account_id=AccountId("a@im.bot"), token=Secret("t"), base_url="http://127.0.0.1:9", owner_id=ALICE)
        )
        async with SqliteJournal(accounts.database, stored.account.account_id) as journal:
            await journal.adopt()
            ingested = await journal.ingest(
                [arrival(RAW, "one"), arrival(b"\xff no JSON", "two")],
                cursor=Cursor("c"),
                generation=stored.generation,
                hint_ms=None,
                now_ms=1_790_000_000_000,
            )
            await journal.release()
    return tmp_path, [sequence for sequence in ingested.sequences if sequence is not None]


def arrival(raw: bytes, identity: str) -> Arrival:
    return Arrival(
        raw=raw,
        identity=identity,
        conversation=f"u:{ALICE}",
        user=ALICE,
        state=InboxState.DEAD,
        error="the handler failed: ValueError: no",
        opens=True,
    )


def listed(folder: Path) -> list[int]:
    run = ilink("journal", "list", "--json", ILINK_DATA=str(folder))
    assert run.returncode == 0, run.stderr
    return [letter["sequence"] for letter in json.loads(run.stdout)]


def test_dead_letters_are_listed_with_their_errors(dead: tuple[Path, list[int]]) -> None:
    folder, sequences = dead
    run = ilink("journal", "list", ILINK_DATA=str(folder))
    assert "ValueError: no" in run.stdout
    assert listed(folder) == sequences


async def test_what_waits_and_what_came_twice_is_counted(tmp_path: Path) -> None:
    async with SqliteAccounts(tmp_path) as accounts:
        account = Account(account_id=AccountId("a@im.bot"), token=Secret("t"), base_url="http://x", owner_id=ALICE)
        await accounts.put(account)
        async with SqliteJournal(accounts.database, account.account_id) as journal:
            await journal.adopt()
            one = Arrival(raw=b"{}", identity="m:1", conversation="u:a", user=ALICE)
            twin = Arrival(raw=b"{}", identity="m:2", conversation="u:a", user=ALICE, resembles="m:1")
            await journal.ingest([one, twin, one], cursor=Cursor("c"), generation=1, hint_ms=None, now_ms=1)
    counts = json.loads(ilink("journal", "count", ILINK_DATA=str(tmp_path)).stdout)
    assert (counts["waiting"], counts["duplicates"], counts["suspects"], counts["suspects_dropped"]) == (2, 1, 1, 0)
    listed = ilink("journal", "list", ILINK_DATA=str(tmp_path))
    assert "2 messages wait to be handled" in listed.stderr
    assert "1 came twice" in listed.stderr


def test_a_letter_is_shown_without_its_secrets(dead: tuple[Path, list[int]]) -> None:
    folder, (message, garbage) = dead
    shown = ilink("journal", "show", str(message), ILINK_DATA=str(folder))
    assert json.loads(shown.stdout)["message"]["message_id"] == 7512000000000000123
    assert "canary" not in shown.stdout
    assert json.loads(ilink("journal", "show", str(garbage), ILINK_DATA=str(folder)).stdout)["message"] is None


def test_a_replayed_letter_waits_for_its_handler_again(dead: tuple[Path, list[int]]) -> None:
    folder, (message, garbage) = dead
    assert ilink("journal", "replay", str(message), ILINK_DATA=str(folder)).returncode == 0
    assert listed(folder) == [garbage]
    state = json.loads(ilink("journal", "show", str(message), ILINK_DATA=str(folder)).stdout)["state"]
    assert state == "waiting"
    again = ilink("journal", "replay", str(message), ILINK_DATA=str(folder))
    assert again.returncode == 2
    assert "no dead letter" in again.stderr


def test_a_dropped_letter_is_gone_from_the_list(dead: tuple[Path, list[int]]) -> None:
    folder, (message, garbage) = dead
    assert ilink("journal", "drop", str(garbage), ILINK_DATA=str(folder)).returncode == 0
    assert listed(folder) == [message]


def test_an_unknown_number_is_refused(dead: tuple[Path, list[int]]) -> None:
    run = ilink("journal", "show", "999", ILINK_DATA=str(dead[0]))
    assert run.returncode == 2
    assert "999" in run.stderr
