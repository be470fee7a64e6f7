"""Accounts and journals of every earlier version, with what they hold, are brought to the newest one and go on."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from ilink.bot.store import Store, find_place, open_store
from ilink.errors import StoreCorruptError
from ilink.storage.accounts import AccountState, Position
from ilink.storage.journal import Arrival, Draft, Journal, OutboxState, Outcome, WindowEvent
from ilink.storage.keys import new_key, read_keys
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.postgres_migrations import migrations
from ilink.wire.ids import AccountId, ClientId, Cursor, MessageId, Secret, UserId

NOW = 1_790_000_000_000
BOT, ALICE, LANE = AccountId("bot@im.bot"), UserId("alice"), "u:alice"
SQLITE = sorted(
    (one for one in (resources.files("ilink.storage") / "migrations" / "sqlite" / "local").iterdir()),
    key=lambda one: one.name,
)
POSTGRES = migrations("local")
ENVIRON = {"ILINK_STORE_KEY": new_key()}

LOGINS = """
INSERT INTO accounts (account_id, owner_id, base_url, token, generation, state, created_at_ms)
    VALUES ('bot@im.bot', 'owner', 'https://one.test', 'old-token', 3, 'active', 1);
INSERT INTO positions VALUES ('bot@im.bot', 3, 'cursor-9', 35000);
INSERT INTO peers VALUES ('bot@im.bot', 'alice', 'context-1', 1);
"""
"""What the first version keeps."""

JOURNAL = """
INSERT INTO journals (account_id, epoch, duplicates) VALUES ('bot@im.bot', 5, 2);
INSERT INTO inbox
    (account_id, seq, conversation, user_id, identity, state, attempts, received_ms, finished_ms, error, raw)
VALUES
    ('bot@im.bot', 1, 'u:alice', 'alice', 'm:1', 1, 0, 1, 1, NULL, 'raw-1'),
    ('bot@im.bot', 2, 'u:alice', 'alice', 'm:2', 2, 5, 1, 1, 'boom', 'raw-2'),
    ('bot@im.bot', 3, 'u:alice', 'alice', 'm:3', 0, 1, 1, NULL, 'once', 'raw-3');
INSERT INTO outbox
    (account_id, out_seq, conversation, user_id, client_id, cause_seq, is_progress, item, state, created_ms, message_id)
VALUES
    ('bot@im.bot', 1, 'u:alice', 'alice', 'c-1', 1, FALSE, 'item-1', 1, 1, 'm-1'),
    ('bot@im.bot', 2, 'u:alice', 'alice', 'c-2', 2, FALSE, 'item-2', 0, 1, NULL);
INSERT INTO windows
    (account_id, user_id, heard_ms, sent, credit, allowance, is_strict, is_closed, paused_until_ms, pauses)
    VALUES ('bot@im.bot', 'alice', 1, 4, 10, 10, FALSE, FALSE, 0, 0);
INSERT INTO conversations (account_id, conversation, state) VALUES ('bot@im.bot', 'u:alice', 'kept');
"""
"""What the second keeps besides."""


class Sqlite:
    """A folder, whose file has the schema of an earlier version."""

    versions = range(1, len(SQLITE) + 1)

    def __init__(self, folder: Path) -> None:
        self.data: Path | str = folder
        self._path = folder / "ilink.db"

    async def make(self, version: int) -> None:
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        with closing(sqlite3.connect(self._path)) as connection:
            for step in SQLITE[:version]:
                connection.executescript(step.read_text("utf-8"))
            connection.execute(f"PRAGMA user_version = {version}")
            connection.executescript(LOGINS)
            if version > 1:
                blobs = re.sub("'(raw-.|item-.|kept)'", r"CAST('\1' AS BLOB)", JOURNAL)
                connection.executescript(blobs)
            connection.commit()

    async def be_newer(self) -> None:
        with closing(sqlite3.connect(self._path)) as connection:
            connection.execute("PRAGMA user_version = 999")


class Postgres:
    """A schema of an earlier version."""

    versions = range(1, len(POSTGRES) + 1)

    def __init__(self, url: str) -> None:
        self.data: Path | str = url

    async def make(self, version: int) -> None:
        steps = POSTGRES[:version]
        async with (
            PostgresDatabase(str(self.data), steps=steps) as database,
            database.transaction() as connection,
        ):
            keys = read_keys(ENVIRON)
            assert keys is not None
            sealed = keys.seal(Secret("old-token"), BOT, 3)
            await connection.execute("ALTER TABLE accounts ALTER COLUMN key_id SET DEFAULT ''")
            await connection.execute(LOGINS)
            await connection.execute("ALTER TABLE accounts ALTER COLUMN key_id DROP DEFAULT")
            await connection.execute("UPDATE accounts SET key_id = $1, token = $2", sealed.key_id, sealed.sealed)
            if version > 1:
                await connection.execute("ALTER TABLE inbox ALTER COLUMN day SET DEFAULT -1")
                await connection.execute(JOURNAL)
                await connection.execute("ALTER TABLE inbox ALTER COLUMN day DROP DEFAULT")
                await connection.execute("SELECT setval('inbox_seq', 3), setval('outbox_seq', 2)")

    async def be_newer(self) -> None:
        async with PostgresDatabase(str(self.data)) as database:
            newest = POSTGRES[-1].number
            await database.execute("UPDATE ilink_migrations SET number = 999 WHERE number = $1", newest)


Earlier = Sqlite | Postgres


@pytest.fixture
def earlier(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Earlier]:
    def choose(store: str) -> Earlier:
        return Sqlite(tmp_path / "data") if store == "sqlite" else Postgres(request.getfixturevalue("postgres_url"))

    return choose


@asynccontextmanager
async def opened(earlier: Earlier) -> AsyncGenerator[Store, None]:
    environ = ENVIRON if isinstance(earlier, Postgres) else {}
    async with open_store(find_place(earlier.data, environ=environ)) as store:
        yield store


EVERY = [("sqlite", version) for version in Sqlite.versions] + [("postgres", version) for version in Postgres.versions]


@pytest.mark.parametrize(("store", "version"), EVERY)
async def test_a_login_of_an_earlier_version_goes_on_where_it_was(earlier: Any, store: str, version: int) -> None:
    old = earlier(store)
    await old.make(version)
    async with opened(old) as new:
        (stored,) = await new.accounts.list()
        assert (stored.account.account_id, stored.account.owner_id) == (BOT, "owner")
        assert (stored.generation, stored.state) == (3, AccountState.ACTIVE)
        assert stored.account.token.reveal() == "old-token"
        assert await new.accounts.position(BOT) == Position(cursor=Cursor("cursor-9"), hint_ms=35_000)
        async with new.open_account(BOT) as own:
            token = await own.journal.read_context_token(ALICE)
            assert token is not None
            assert token.reveal() == "context-1"


@pytest.mark.parametrize(("store", "version"), [one for one in EVERY if one[1] > 1])
async def test_a_journal_of_an_earlier_version_goes_on_where_it_was(earlier: Any, store: str, version: int) -> None:
    old = earlier(store)
    await old.make(version)
    async with opened(old) as new, new.open_account(BOT) as own:
        journal = own.journal
        adopted = await journal.adopt()
        assert (adopted.epoch, adopted.was_open) == (6, False)
        await handled_once(journal)
        await sent_once(journal)
        again = Arrival(raw=b"raw-1", identity="m:1", conversation=LANE, user=ALICE)
        fresh = Arrival(raw=b"raw-4", identity="m:4", conversation=LANE, user=ALICE)
        ingested = await journal.ingest(
            [again, fresh], cursor=Cursor("cursor-10"), generation=3, hint_ms=None, now_ms=NOW
        )
        known, sequence = ingested.sequences
        assert (known, ingested.has_moved) == (None, True)
        assert sequence is not None
        assert sequence > 3
        assert (await journal.read_windows([ALICE]))[ALICE].sent == 0  # she wrote
        assert await new.accounts.position(BOT) == Position(cursor=Cursor("cursor-10"))


async def handled_once(journal: Journal) -> None:
    """What waited is handled, what was given up is there, and the state of the conversation too."""
    assert await journal.waiting_conversations() == [LANE]
    (letter,) = await journal.read_waiting(LANE)
    assert (letter.sequence, letter.raw, letter.attempts) == (3, b"raw-3", 1)
    (dead,) = await journal.read_dead()
    assert (dead.sequence, dead.error) == (2, "boom")
    assert await journal.read_state(LANE) == b"kept"
    answer = Draft(client_id=ClientId("c-3"), conversation=LANE, user=ALICE, item=b"item-3", cause=3)
    completed = await journal.complete(3, letter.claim, drafts=[answer], state=b"newer", now_ms=NOW)
    assert completed.is_accepted
    assert await journal.waiting_conversations() == []


async def sent_once(journal: Journal) -> None:
    """What waited to be sent is sent before what was said now, and the window goes on."""
    assert (await journal.read_windows([ALICE]))[ALICE].sent == 4
    first, second = await journal.read_outgoing(LANE)
    assert [first.draft.client_id, second.draft.client_id] == ["c-2", "c-3"]
    assert (first.out_sequence, first.draft.item, first.is_doubtful) == (2, b"item-2", False)
    for number, waiting in enumerate((first, second)):
        outcome = Outcome(
            out_sequence=waiting.out_sequence,
            user=ALICE,
            state=OutboxState.ACCEPTED,
            event=WindowEvent.ACCEPTED,
            message_id=MessageId(f"m-{number + 2}"),
        )
        await journal.settle(outcome, now_ms=NOW)
    assert await journal.read_outgoing(LANE) == []
    before = await journal.read_sent(ClientId("c-1"))
    assert before is not None
    assert (before.state, before.message_id) == (OutboxState.ACCEPTED, "m-1")
    assert (await journal.read_windows([ALICE]))[ALICE].sent == 6


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
async def test_a_store_of_a_newer_version_is_refused_with_what_to_do(earlier: Any, store: str) -> None:
    old = earlier(store)
    await old.make(old.versions[-1])
    await old.be_newer()
    with pytest.raises(StoreCorruptError, match=r"newer version of ilink .*; upgrade this program"):
        async with opened(old):
            pass


DIES_IN_SQLITE = """
import asyncio, os, signal, sys
from pathlib import Path
from ilink.storage import sqlite
real, steps = sqlite._statements, []
def statements(script):
    steps.append(script)
    for n, statement in enumerate(real(script)):
        yield statement
        if len(steps) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
sqlite._statements = statements
async def main():
    async with sqlite.Database(Path(sys.argv[1]) / "ilink.db", schema="local"):
        pass
asyncio.run(main())
"""
DIES_IN_POSTGRES = """
import asyncio, os, signal, sys
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.postgres_migrations import Migration, migrations
class Deadly(Migration):
    @property
    def checksum(self):  # asked for when its script has run
        os.kill(os.getpid(), signal.SIGKILL)
version = int(sys.argv[2])
steps = list(migrations("local"))
steps[version + 1] = Deadly(steps[version + 1].number, steps[version + 1].name, steps[version + 1].script)
async def main():
    async with PostgresDatabase(sys.argv[1], steps=tuple(steps)):
        pass
asyncio.run(main())
"""
"""Both bring a store of an earlier version one step further, and are killed within the next."""


@pytest.mark.parametrize(("store", "version"), [one for one in EVERY if one[1] in (2, 4, 6)])
async def test_who_is_killed_while_upgrading_leaves_what_is_upgraded_then(
    earlier: Any, store: str, version: int
) -> None:
    old = earlier(store)
    await old.make(version)
    program = DIES_IN_SQLITE if store == "sqlite" else DIES_IN_POSTGRES
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(old.data), str(version))
    assert await killed.wait() == -signal.SIGKILL
    async with opened(old) as new, new.open_account(BOT) as own:
        await own.journal.adopt()
        await handled_once(own.journal)
        await sent_once(own.journal)
        (stored,) = await new.accounts.list()
        assert stored.account.token.reveal() == "old-token"
