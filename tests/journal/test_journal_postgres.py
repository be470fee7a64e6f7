"""What only the journal in PostgreSQL has to see to: several writers at once, cut connections, hints, days."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_house import BOT, arrival, draft, sign_in
from msgspec.structs import astuple as struct_tuple
from tests.disks import SmallDisk

from ilink.errors import StoreUnavailableError
from ilink.flows.window import Window, accepted, heard, limited, refused
from ilink.storage.journal import Arrival, Draft, OutboxState, Outcome, WindowEvent
from ilink.storage.journal_postgres import PostgresJournal
from ilink.storage.journal_postgres_rows import escaped, unescaped
from ilink.storage.postgres import PostgresDatabase
from ilink.testing.engines import PostgresEngine
from ilink.wire.ids import AccountId, ClientId, Cursor, MessageId, UserId

ALICE = UserId("alice")
TABLES = "accounts, positions, peers, journals, inbox, outbox, windows, conversations, jobs, results"


@pytest.fixture
async def database(journals_url: str) -> AsyncIterator[PostgresDatabase]:
    async with PostgresDatabase(journals_url) as database:
        await database.execute(f"TRUNCATE {TABLES}")
        await database.execute("UPDATE inbox_keeping SET looked_at = clock_timestamp()")
        await sign_in(database, BOT)
        yield database


@pytest.fixture
async def journal(database: PostgresDatabase) -> AsyncIterator[PostgresJournal]:
    async with PostgresJournal(database, AccountId(BOT)) as journal:
        await journal.adopt()
        yield journal


async def ingest(journal: PostgresJournal, *arrivals: Arrival, cursor: str = "c", now_ms: int = 1_000):
    return await journal.ingest(arrivals, cursor=Cursor(cursor), generation=1, hint_ms=None, now_ms=now_ms)


class TestOrder:
    async def test_who_sees_a_message_sees_all_before_it_however_many_write_at_once(
        self, database: PostgresDatabase, journals_url: str
    ) -> None:
        """Each reader goes on behind the newest place it saw, as a bot does; in the end it has seen everything."""
        async with AsyncExitStack() as exits:
            writers = []
            for _ in range(6):
                other = await exits.enter_async_context(PostgresDatabase(journals_url))
                writers.append(await exits.enter_async_context(PostgresJournal(other, AccountId(BOT))))
            reader = await exits.enter_async_context(PostgresJournal(database, AccountId(BOT)))
            seen: set[str] = set()
            place = 0
            writing = asyncio.gather(*(self._write(writer, n) for n, writer in enumerate(writers)))
            is_over = False
            while not is_over:
                is_over = writing.done()
                found, place = await reader.find_enqueued(place)
                seen.update(found)
            await writing
            assert len(seen) == 6 * 60

    async def _write(self, journal: PostgresJournal, writer: int) -> None:
        for number in range(60):
            name = f"{writer}-{number}"
            await journal.enqueue([draft(name, name)], now_ms=1)

    async def test_updates_that_several_store_at_once_are_stored_once_each(
        self, database: PostgresDatabase, journals_url: str
    ) -> None:
        async with AsyncExitStack() as exits:
            journals = []
            for _ in range(4):
                other = await exits.enter_async_context(PostgresDatabase(journals_url))
                journals.append(await exits.enter_async_context(PostgresJournal(other, AccountId(BOT))))
            batch = [arrival(f"m:{number}", f"u{number % 3}") for number in range(20)]
            answers = await asyncio.gather(*(ingest(one, *batch) for one in journals for _ in range(3)))
            stored = [sequence for answer in answers for sequence in answer.sequences if sequence is not None]
            assert len(stored) == len(set(stored)) == 20
            assert (await journals[0].count()).duplicates == 11 * 20

    async def test_a_login_at_the_same_time_keeps_its_position(self, database: PostgresDatabase) -> None:
        """An older login's batch that was being stored while a newer one was put in place moves nothing."""
        async with PostgresJournal(database, AccountId(BOT)) as journal:
            await journal.adopt()
            await ingest(journal, cursor="old")
            async with database.transaction() as newer:
                await newer.execute("UPDATE accounts SET generation = 2")
                await newer.execute("UPDATE positions SET generation = 2, cursor = 'newer'")
                late = asyncio.ensure_future(ingest(journal, arrival("m:1"), cursor="late"))
                await self._blocked(database)
            assert not (await late).has_moved
            assert (await late).sequences != (None,)
        row = await database.read_row("SELECT generation, cursor FROM positions")
        assert row is not None
        assert tuple(row) == (2, "newer")

    async def _blocked(self, database: PostgresDatabase) -> None:
        """Wait until somebody waits for a lock."""
        while not await database.read("SELECT FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.01)


Lose = Callable[[str], None]


@pytest.fixture
def lose_answer(database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> Lose:
    """Let the answer to the next statement that holds some words get lost after it was stored."""
    doomed: list[str] = []
    write_row = database.write_row
    execute = database.execute

    def losing(ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def asked(statement: str, *values: object) -> Any:
            answer = await ask(statement, *values)
            if doomed and doomed[0] in statement:
                doomed.pop()
                message = "the connection was cut"
                raise StoreUnavailableError(message, is_uncertain=True)
            return answer

        return asked

    monkeypatch.setattr(database, "write_row", losing(write_row))
    monkeypatch.setattr(database, "execute", losing(execute))
    return doomed.append


class TestLostAnswers:
    """What was stored although nobody heard of it is known again, and neither stored nor counted twice."""

    async def test_a_completion(self, journal: PostgresJournal, lose_answer: Lose) -> None:
        first, second = (await ingest(journal, arrival("m:1"), arrival("m:2"))).sequences
        assert first is not None
        assert second is not None
        lose_answer("store_group")
        good = journal.complete(first, 0, drafts=[draft("a"), draft("b")], state=b"s", now_ms=5)
        bad = journal.complete(second, 7, drafts=[draft("c")], state=None, now_ms=5)
        added = journal.enqueue([draft("d"), draft("a")], now_ms=6)
        assert (await good).is_accepted
        assert [message.draft.client_id for message in (await good).outgoing] == ["a", "b"]
        assert not (await bad).is_accepted
        assert [message.draft.client_id for message in await added] == ["d"]
        assert [message.draft.client_id for message in await journal.read_outgoing("u:alice")] == ["a", "b", "d"]

    async def test_an_outcome(self, journal: PostgresJournal, lose_answer: Lose) -> None:
        (message,) = await journal.enqueue([draft("a")], now_ms=1)
        lose_answer("store_group")
        waits = Outcome(
            out_sequence=message.out_sequence, user=ALICE, state=OutboxState.WAITING, event=WindowEvent.ACCEPTED
        )
        await journal.settle(waits, now_ms=2)
        (again,) = await journal.read_outgoing("u:alice")
        assert again.attempts == 1
        assert (await journal.read_windows([ALICE]))[ALICE].sent == 1

    async def test_a_failure(self, journal: PostgresJournal, lose_answer: Lose) -> None:
        (sequence,) = (await ingest(journal, arrival("m:1"))).sequences
        assert sequence is not None
        lose_answer("fail_update")
        letter = await journal.fail(sequence, 0, error="no", due_ms=9, now_ms=1)
        assert letter is not None
        assert (letter.attempts, letter.claim) == (1, 1)

    async def test_an_adoption(self, database: PostgresDatabase, journal: PostgresJournal, lose_answer: Lose) -> None:
        await ingest(journal, arrival("m:1"))
        await journal.release()
        async with PostgresJournal(database, AccountId(BOT)) as heir:
            lose_answer("adopt_journal")
            adopted = await heir.adopt()
            assert (adopted.epoch, adopted.was_open) == (2, False)
            assert [letter.interrupted for letter in await heir.read_waiting("u:alice")] == [0]
            assert await heir.is_ours()

    async def test_a_batch_that_is_brought_again_waits_where_others_have_stored(
        self, journal: PostgresJournal, lose_answer: Lose
    ) -> None:
        lose_answer("ingest")
        with pytest.raises(StoreUnavailableError):
            await ingest(journal, arrival("m:1"))
        again = await ingest(journal, arrival("m:1"))
        assert again.sequences == (None,)
        assert again.foreign == ("u:alice",)

    async def test_nobody_can_tell_while_the_database_is_away(
        self, journal: PostgresJournal, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(_statement: str, *_values: object) -> None:
            message = "away"
            raise StoreUnavailableError(message, is_uncertain=True)

        (sequence,) = (await ingest(journal, arrival("m:1"))).sequences
        assert sequence is not None
        monkeypatch.setattr(database, "write_row", away)
        monkeypatch.setattr("ilink.storage.journal_postgres._PAUSES", (0.01, 0.01))
        completing = journal.complete(sequence, 0, drafts=[], state=None, now_ms=1)
        following = journal.enqueue([draft("a")], now_ms=1)
        with pytest.raises(StoreUnavailableError):
            await completing
        with pytest.raises(StoreUnavailableError):
            await following


class TestCutConnections:
    async def test_everything_is_handled_once_in_order_while_connections_are_cut(
        self, database: PostgresDatabase, journals_url: str
    ) -> None:
        self.progress = asyncio.Event()
        cutting = asyncio.create_task(self._cut(journals_url))
        done: dict[str, list[str]] = {}
        async with PostgresJournal(database, AccountId(BOT)) as journal:
            await self._insist(journal.adopt)
            for batch in range(12):
                arrivals = [arrival(f"m:{batch}.{n}", f"u{n % 3}") for n in range(5)]
                await self._insist(lambda arrivals=arrivals, batch=batch: ingest(journal, *arrivals, cursor=f"{batch}"))
                self.progress.set()
                for name in await self._insist(journal.waiting_conversations):
                    await self._handle(journal, name, done)
            cutting.cancel()
            await asyncio.wait([cutting])
            assert (await journal.count()).waiting == 0
            for n in range(3):
                sent = [message.draft.client_id for message in await journal.read_outgoing(f"u:u{n}", limit=500)]
                expected = [f"re m:{batch}.{k}" for batch in range(12) for k in range(5) if k % 3 == n]
                assert sent == expected
                assert done[f"u:u{n}"] == expected

    async def _handle(self, journal: PostgresJournal, name: str, done: dict[str, list[str]]) -> None:
        for letter in await self._insist(lambda: journal.read_waiting(name)):
            reply = Draft(client_id=ClientId(f"re {letter.identity}"), conversation=name, user=letter.user, item=b"{}")
            run = {"drafts": [reply], "state": None, "now_ms": 1}
            completed = await self._insist(lambda letter=letter, run=run: journal.complete(letter.sequence, 0, **run))
            assert completed.is_accepted
            self.progress.set()
            done.setdefault(name, []).extend(message.draft.client_id for message in completed.outgoing)

    async def _insist(self, ask: Callable[[], Any]) -> Any:
        while True:
            try:
                return await ask()
            except StoreUnavailableError:
                await asyncio.sleep(0.01)

    async def _cut(self, url: str) -> None:
        """Let the server end all other connections, at whatever they are, whenever something was achieved."""
        random = Random(7)
        async with PostgresDatabase(url) as killer:
            while True:
                await self.progress.wait()
                self.progress.clear()
                await asyncio.sleep(random.random() * 0.02)
                await killer.write(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND application_name = 'ilink'"
                )


class TestNoticing:
    async def test_what_a_stranger_puts_in_is_noticed_at_once(
        self, database: PostgresDatabase, journal: PostgresJournal, journals_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ilink.storage.journal_postgres_changes._SWEEP", 3600)
        waiting = asyncio.ensure_future(journal.wait_changed(0))
        async with PostgresDatabase(journals_url) as other, PostgresJournal(other, AccountId(BOT)) as stranger:
            while not waiting.done():
                await stranger.enqueue([draft(f"a{asyncio.get_running_loop().time()}")], now_ms=1)
                await asyncio.wait([waiting], timeout=0.2)
            assert await waiting == 1

    async def test_what_a_hint_did_not_tell_is_found_by_looking(
        self, database: PostgresDatabase, journal: PostgresJournal, journals_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ilink.storage.journal_postgres_changes._SWEEP", 0.05)
        _, place = await journal.find_enqueued(0)
        async with PostgresDatabase(journals_url) as other, PostgresJournal(other, AccountId(BOT)) as stranger:
            monkeypatch.setattr(other, "notify", lambda *_: None)
            await stranger.enqueue([draft("a")], now_ms=1)
            assert await journal.wait_changed(0) == 1
        assert (await journal.find_enqueued(place))[0] == ["u:alice"]

    async def test_the_owner_is_told_at_once_what_an_owner_before_stores(
        self, database: PostgresDatabase, journal: PostgresJournal, journals_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ilink.storage.journal_postgres_changes._SWEEP", 3600)
        async with PostgresDatabase(journals_url) as other, PostgresJournal(other, AccountId(BOT)) as owner:
            await owner.adopt()
            waiting = asyncio.ensure_future(owner.wait_changed(0))
            for number in count():
                await ingest(journal, arrival(f"m:{number}"))
                if (await asyncio.wait([waiting], timeout=0.2))[0]:
                    break
            assert await waiting == 1

    async def test_what_an_owner_before_stores_is_found_by_looking_when_its_hint_is_lost(
        self, database: PostgresDatabase, journal: PostgresJournal, journals_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ilink.storage.journal_postgres_changes._SWEEP", 0.05)
        monkeypatch.setattr(database, "notify", lambda *_: None)
        async with PostgresDatabase(journals_url) as other, PostgresJournal(other, AccountId(BOT)) as owner:
            await owner.adopt()
            await owner.find_enqueued(0)
            await ingest(journal, arrival("m:1"))
            async with asyncio.timeout(30):
                assert await owner.wait_changed(0) == 1

    async def test_a_decision_of_a_stranger_is_found(
        self, database: PostgresDatabase, journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ilink.storage.journal_postgres_changes._SWEEP", 0.05)
        (message,) = await journal.enqueue([draft("a")], now_ms=1)
        asked = Outcome(out_sequence=message.out_sequence, user=ALICE, state=OutboxState.ASKED)
        await journal.settle(asked, now_ms=1)
        await journal.find_enqueued(0)
        async with PostgresJournal(database, AccountId(BOT)) as stranger:
            monkeypatch.setattr(database, "notify", lambda *_: None)
            assert await stranger.decide(ClientId("a"), is_retry=True, now_ms=2) is not None
        assert await journal.wait_changed(0) == 1


class TestDays:
    DAY = 86_400_000

    async def _days(self, database: PostgresDatabase) -> set[int]:
        return {row["day"] for row in await database.read("SELECT day FROM inbox_days")}

    async def _keep(self, database: PostgresDatabase) -> None:
        await database.write("SELECT keep_inbox_days('0')")

    async def test_days_are_made_before_they_are_needed(
        self, database: PostgresDatabase, journal: PostgresJournal
    ) -> None:
        await self._keep(database)
        row = await database.read_row("SELECT today() AS today")
        assert row is not None
        assert {row["today"] + n for n in range(3)} <= await self._days(database)

    async def test_a_day_that_nobody_needs_is_dropped_and_what_waits_or_is_dead_stays(
        self, database: PostgresDatabase, journal: PostgresJournal
    ) -> None:
        at_ms = 100 * self.DAY + 5
        batch = [arrival(name) for name in ("m:1", "m:2", "m:3")]
        done, waiting, dead = (await ingest(journal, *batch, now_ms=at_ms)).sequences
        assert done is not None
        assert dead is not None
        await journal.complete(done, 0, drafts=[], state=None, now_ms=at_ms)
        await journal.fail(dead, 0, error="no", due_ms=None, now_ms=at_ms)
        assert 100 in await self._days(database)
        await journal.prune(101 * self.DAY - 1)
        await self._keep(database)
        assert 100 in await self._days(database), "its last millisecond is still wanted"
        await journal.prune(101 * self.DAY)
        await self._keep(database)
        assert 100 not in await self._days(database)
        (letter,) = await journal.read_waiting("u:alice")
        assert (letter.sequence, letter.identity, letter.received_ms) == (waiting, "m:2", at_ms)
        assert [one.sequence for one in await journal.read_dead()] == [dead]
        again = await ingest(journal, *batch[1:], now_ms=at_ms)
        assert again.sequences == (None, None)
        assert await journal.replay([dead]) == ["u:alice"]
        assert (await journal.complete(letter.sequence, 0, drafts=[], state=None, now_ms=at_ms)).is_accepted

    async def test_an_account_that_still_needs_a_day_keeps_it(
        self, database: PostgresDatabase, journal: PostgresJournal
    ) -> None:
        await sign_in(database, "slow@im.bot")
        async with PostgresJournal(database, AccountId("slow@im.bot")) as slow:
            await ingest(journal, arrival("m:1"), now_ms=100 * self.DAY)
            await ingest(slow, arrival("m:1"), now_ms=100 * self.DAY)
            await slow.prune(99 * self.DAY)
            await journal.prune(200 * self.DAY)
            await self._keep(database)
            assert 100 in await self._days(database)
            await slow.prune(101 * self.DAY)
            await self._keep(database)
            assert 100 not in await self._days(database)

    async def test_days_that_are_to_be_dropped_are_not_deleted_row_by_row(
        self, database: PostgresDatabase, journal: PostgresJournal
    ) -> None:
        (done,) = (await ingest(journal, arrival("m:1"), now_ms=100 * self.DAY)).sequences
        assert done is not None
        await journal.complete(done, 0, drafts=[], state=None, now_ms=100 * self.DAY)
        await self._keep(database)  # so that nobody looks after days now
        assert await journal.prune(103 * self.DAY) == 0
        assert (await ingest(journal, arrival("m:1"), now_ms=103 * self.DAY)).sequences == (None,)
        await self._keep(database)
        assert 100 not in await self._days(database)
        assert (await ingest(journal, arrival("m:1"), now_ms=103 * self.DAY)).sequences != (None,)

    async def test_of_days_that_others_need_for_long_an_account_forgets_its_rows(
        self, database: PostgresDatabase, journal: PostgresJournal
    ) -> None:
        await sign_in(database, "slow@im.bot")
        async with PostgresJournal(database, AccountId("slow@im.bot")) as slow:
            for one in (journal, slow):
                (done,) = (await ingest(one, arrival("m:1"), now_ms=100 * self.DAY)).sequences
                assert done is not None
                await one.complete(done, 0, drafts=[], state=None, now_ms=100 * self.DAY)
            await slow.prune(99 * self.DAY)
            assert await journal.prune(104 * self.DAY - 1) == 0
            assert await journal.prune(104 * self.DAY) == 1
            await self._keep(database)
            rows = await database.read("SELECT account_id FROM inbox WHERE day = 100")
            assert [row["account_id"] for row in rows] == ["slow@im.bot"]

    async def test_what_outlived_its_day_is_forgotten_row_by_row(
        self, database: PostgresDatabase, journal: PostgresJournal
    ) -> None:
        (waiting,) = (await ingest(journal, arrival("m:1"), now_ms=100 * self.DAY)).sequences
        assert waiting is not None
        await journal.prune(101 * self.DAY)
        await self._keep(database)
        await journal.complete(waiting, 0, drafts=[], state=None, now_ms=102 * self.DAY)
        assert await journal.prune(101 * self.DAY) == 1

    async def test_a_wrong_clock_does_not_drop_the_days_of_the_others(
        self, database: PostgresDatabase, journal: PostgresJournal
    ) -> None:
        row = await database.read_row("SELECT today() AS today")
        assert row is not None
        now_ms = (row["today"] + 1) * self.DAY
        await ingest(journal, arrival("m:1"), now_ms=now_ms - 1)
        await journal.prune(now_ms + 365 * self.DAY)
        await self._keep(database)
        assert row["today"] in await self._days(database)

    async def test_a_day_that_is_being_copied_is_dropped_later(
        self, database: PostgresDatabase, journal: PostgresJournal
    ) -> None:
        await ingest(journal, arrival("m:1"), now_ms=100 * self.DAY)
        await journal.prune(101 * self.DAY)
        async with database.transaction() as backup:
            await backup.fetch("SELECT count(*) FROM inbox")
            await self._keep(database)
            assert 100 in await self._days(database)
        await self._keep(database)
        assert 100 not in await self._days(database)

    async def test_several_who_look_after_days_do_it_once(
        self, database: PostgresDatabase, journal: PostgresJournal
    ) -> None:
        for day in range(50, 55):
            await ingest(journal, arrival(f"m:{day}"), now_ms=day * self.DAY)
        await journal.prune(60 * self.DAY)
        await database.execute("UPDATE inbox_keeping SET looked_at = '-infinity'")
        looks = [database.read("SELECT keep_inbox_days('1 hour')") for _ in range(5)]
        dropped = [rows[0][0] for rows in await asyncio.gather(*looks)]
        assert sorted(dropped)[:4] == [0, 0, 0, 0]
        assert sum(dropped) >= 5
        assert [letter.identity for letter in await journal.read_waiting("u:alice")] == [
            f"m:{day}" for day in range(50, 55)
        ]


class TestText:
    async def test_text_with_nul_is_kept(self, journal: PostgresJournal) -> None:
        """A server may say anything in a name; what it says must not stop the bot."""
        odd = "a\x00b\x1a0c"
        one = arrival(f"c:{odd}", odd, token=odd)
        assert (await ingest(journal, one, cursor=odd)).has_moved
        assert await journal.waiting_conversations() == [f"u:{odd}"]
        (letter,) = await journal.read_waiting(f"u:{odd}")
        assert (letter.identity, letter.user, letter.conversation) == (f"c:{odd}", odd, f"u:{odd}")
        token = await journal.read_context_token(UserId(odd))
        assert token is not None
        assert token.reveal() == odd
        (message,) = await journal.enqueue([draft(odd, odd)], now_ms=1)
        await journal.settle(
            Outcome(
                out_sequence=message.out_sequence,
                user=UserId(odd),
                state=OutboxState.REJECTED,
                event=WindowEvent.ACCEPTED,
                message_id=MessageId(odd),
                reason=odd,
            ),
            now_ms=1,
        )
        sent = await journal.read_sent(ClientId(odd))
        assert sent is not None
        assert (sent.message_id, sent.reason) == (odd, odd)
        assert set(await journal.read_windows([UserId(odd)])) == {odd}
        assert (await ingest(journal, one)).sequences == (None,)

    @given(st.text(st.sampled_from("a\x00\x1a01")))
    def test_text_comes_back_as_it_was(self, text: str) -> None:
        assert "\x00" not in escaped(text)
        assert unescaped(escaped(text)) == text


MOMENTS = st.integers(0, 3 * 86_400_000)
WINDOWS = st.builds(
    Window,
    heard_ms=st.none() | MOMENTS,
    sent=st.integers(0, 15),
    credit=st.integers(-5, 30),
    allowance=st.integers(0, 12),
    is_strict=st.booleans(),
    is_closed=st.booleans(),
    paused_until_ms=MOMENTS,
    pauses=st.integers(0, 12),
    probe_ms=st.just(0) | MOMENTS,
    refusals=st.integers(0, 12),
)


class TestWindows:
    """The rules of windows are there twice, because a batch is stored in one round trip; they are the same."""

    async def _compare(
        self, database: PostgresDatabase, cases: list[tuple[Window, Window, str, tuple[Any, ...]]]
    ) -> None:
        async with database.transaction() as connection:
            for window, expected, call, values in cases:
                row = await connection.fetchrow(
                    f"SELECT * FROM {call.format('ROW($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)::windows')}",
                    BOT, ALICE, *struct_tuple(window), *values,
                )  # fmt: skip
                assert row is not None
                assert tuple(row)[2:] == struct_tuple(expected), (call, window, values)

    @given(
        data=st.lists(st.tuples(WINDOWS, MOMENTS, st.integers(1, 5), st.none() | st.integers(0, 10**7)), max_size=12)
    )
    def test_they_are_those_of_the_flows(
        self, journals_url: str, data: list[tuple[Window, int, int, int | None]]
    ) -> None:
        async def compare() -> None:
            async with PostgresDatabase(journals_url) as database:
                await self._compare(database, [case for one in data for case in _cases(*one)])

        asyncio.run(compare())


def _cases(
    window: Window, at_ms: int, messages: int, retry: int | None
) -> list[tuple[Window, Window, str, tuple[Any, ...]]]:
    return [
        (window, heard(window, at_ms, messages=messages), "window_heard({}, $13, $14)", (at_ms, messages)),
        (window, accepted(window), "window_accepted({})", ()),
        (window, refused(window, at_ms), "window_refused({}, $13)", (at_ms,)),
        (window, limited(window, at_ms, retry_after_ms=retry), "window_limited({}, $13, $14)", (at_ms, retry)),
        (
            window,
            limited(refused(accepted(window), at_ms), at_ms, retry_after_ms=retry),
            "window_after({}, ARRAY[1, 2, 3]::smallint[], ARRAY[0, $13, $13]::bigint[], ARRAY[0, 0, $14]::bigint[])",
            (at_ms, retry),
        ),
    ]


async def test_after_a_full_disk_the_check_asks_for_room_until_there_is_some(
    own_postgres: PostgresEngine, small_disk: SmallDisk
) -> None:
    async with PostgresDatabase(own_postgres.url()) as database:
        await sign_in(database, BOT)
        async with PostgresJournal(database, AccountId(BOT)) as journal:
            await journal.adopt()
            await small_disk.take_tables()
            small_disk.fill()
            await journal.check(gap_ms=0)  # it finds room in a page that is there
            with pytest.raises(StoreUnavailableError, match="disk"):
                await _ingest_without_end(journal)
            for _ in range(2):
                with pytest.raises(StoreUnavailableError, match="disk"):
                    await journal.check(gap_ms=0)
            small_disk.make_room()
            await journal.check(gap_ms=0)
            stored = await ingest(journal, arrival("m:last", raw=b"x" * 3000))
            assert stored.has_moved
            assert stored.sequences != (None,)


async def _ingest_without_end(journal: PostgresJournal) -> None:
    for number in count():
        await ingest(journal, arrival(f"m:{number}", raw=b"x" * 3000))
