"""What every agenda does, whatever it is kept in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ilink.storage.accounts import Accounts
from ilink.storage.accounts_postgres import PostgresAccounts
from ilink.storage.accounts_sqlite import SqliteAccounts, local_database
from ilink.storage.agenda import Agenda, Due, Posting, Question, StoredJob
from ilink.storage.agenda_postgres import PostgresAgenda
from ilink.storage.agenda_sqlite import SqliteAgenda
from ilink.storage.history import History, Said
from ilink.storage.history_postgres import PostgresHistory
from ilink.storage.history_sqlite import SqliteHistory
from ilink.storage.journal import Arrival, Draft, OutboxState, Outcome
from ilink.storage.journal_postgres import PostgresJournal
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.storage.keys import StoreKeys
from ilink.storage.postgres import PostgresDatabase
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, ClientId, Cursor, MessageId, Secret, UserId

ALICE = UserId("alice")


class House:
    """The journal and the agenda of one account."""

    def __init__(self, journal: Any, agenda: Agenda, accounts: Accounts, history: History) -> None:
        self.journal = journal
        self.agenda = agenda
        self.accounts = accounts
        self.history = history


@asynccontextmanager
async def in_sqlite(folder: Path) -> AsyncIterator[Callable[[AccountId], House]]:
    async with local_database(folder, synchronous="OFF") as database:
        yield lambda name: House(
            SqliteJournal(database, name),
            SqliteAgenda(database, name),
            SqliteAccounts(folder, database=database),
            SqliteHistory(database, name),
        )


@asynccontextmanager
async def in_postgres(url: str) -> AsyncIterator[Callable[[AccountId], House]]:
    async with PostgresDatabase(url) as database:
        accounts = PostgresAccounts(database, keys=StoreKeys([Secret("17" * 32)]))
        yield lambda name: House(
            PostgresJournal(database, name), PostgresAgenda(database, name), accounts, PostgresHistory(database, name)
        )


@pytest.fixture(params=["sqlite", "postgres"])
async def houses(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[House]]:
    """Two accounts in one store."""
    async with AsyncExitStack() as exits:
        opened = (
            in_sqlite(tmp_path) if request.param == "sqlite" else in_postgres(request.getfixturevalue("postgres_url"))
        )
        build = await exits.enter_async_context(opened)
        found = []
        for name in ("one@im.bot", "two@im.bot"):
            house = build(AccountId(name))
            stored = Account(account_id=AccountId(name), token=Secret("t"), base_url="http://x", owner_id=ALICE)
            await house.accounts.put(stored)
            await exits.enter_async_context(house.journal)
            await house.journal.adopt()
            found.append(house)
        yield found


@pytest.fixture
def house(houses: list[House]) -> House:
    return houses[0]


def posting(identity: str = "job:tea:5", conversation: str = "j:tea") -> Posting:
    return Posting(identity=identity, conversation=conversation, user=ALICE, raw=b'{"job":"tea"}')


def job(name: str = "tea", **changes: object) -> StoredJob:
    fields = {"name": name, "handler": "make_tea", "plan": "every 5", "next_ms": 5, **changes}
    return StoredJob(**fields)  # type: ignore[arg-type]


def due(name: str = "tea", due_ms: int = 5, next_ms: int | None = 10) -> Due:
    return Due(name=name, due_ms=due_ms, next_ms=next_ms, posting=posting(f"job:{name}:{due_ms}"))


async def a_message(house: House, identity: str = "m:1") -> int:
    arrival = Arrival(raw=b"{}", identity=identity, conversation="u:alice", user=ALICE)
    ingested = await house.journal.ingest([arrival], cursor=Cursor("c"), generation=1, hint_ms=None, now_ms=1)
    assert ingested.sequences[0] is not None
    return ingested.sequences[0]


class TestJobs:
    async def test_a_job_comes_back_as_it_was_stored(self, house: House) -> None:
        stored = job(data=b'{"x":1}', last_ms=3, is_declared=True)
        await house.agenda.put_job(stored)
        assert await house.agenda.read_job("tea") == stored
        assert await house.agenda.read_jobs() == [stored]

    async def test_putting_replaces_and_adding_does_not(self, house: House) -> None:
        assert await house.agenda.add_job(job(next_ms=5))
        assert not await house.agenda.add_job(job(next_ms=6))
        assert await house.agenda.read_job("tea") == job(next_ms=5)
        await house.agenda.put_job(job(next_ms=7))
        assert await house.agenda.read_job("tea") == job(next_ms=7)

    async def test_removing_tells_whether_there_was_something_to_do(self, house: House) -> None:
        await house.agenda.put_job(job())
        assert await house.agenda.remove_job("tea")
        assert not await house.agenda.remove_job("tea")
        await house.agenda.put_job(job(next_ms=None))
        assert not await house.agenda.remove_job("tea")

    async def test_a_due_job_moves_into_the_inbox_in_one_step(self, house: House) -> None:
        await house.agenda.put_job(job())
        letter = await house.agenda.fire(due(), now_ms=7)
        assert letter is not None
        assert (letter.identity, letter.conversation, letter.raw) == ("job:tea:5", "j:tea", b'{"job":"tea"}')
        assert await house.journal.read_waiting("j:tea") == [letter]
        assert await house.agenda.read_job("tea") == job(next_ms=10, last_ms=5)

    async def test_a_moment_fires_once(self, house: House) -> None:
        await house.agenda.put_job(job())
        assert await house.agenda.fire(due(), now_ms=7) is not None
        assert await house.agenda.fire(due(), now_ms=7) is None
        assert len(await house.journal.read_waiting("j:tea")) == 1

    async def test_a_moment_that_is_known_to_the_inbox_is_not_done_again(self, house: House) -> None:
        await house.agenda.put_job(job())
        await house.agenda.fire(due(), now_ms=7)
        await house.agenda.put_job(job())  # planned anew for the same moment
        assert await house.agenda.fire(due(), now_ms=7) is None
        assert await house.agenda.read_job("tea") == job(next_ms=10, last_ms=5)

    async def test_a_skipped_moment_is_planned_and_not_posted(self, house: House) -> None:
        await house.agenda.put_job(job())
        skipped = Due(name="tea", due_ms=5, next_ms=10, posting=None)
        assert await house.agenda.fire(skipped, now_ms=7) is None
        assert await house.journal.read_waiting("j:tea") == []
        assert await house.agenda.read_job("tea") == job(next_ms=10, last_ms=5)

    async def test_accounts_keep_their_jobs_apart(self, houses: list[House]) -> None:
        one, two = houses
        await one.agenda.put_job(job(next_ms=5))
        await two.agenda.put_job(job(next_ms=6))
        assert await one.agenda.fire(due(due_ms=6), now_ms=7) is None
        assert await one.agenda.fire(due(due_ms=5), now_ms=7) is not None
        assert await two.agenda.read_job("tea") == job(next_ms=6)
        assert await two.journal.read_waiting("j:tea") == []

    async def test_a_newer_login_inherits_jobs_and_results(self, houses: list[House]) -> None:
        one, two = houses
        await one.agenda.put_job(job(last_ms=1))
        await one.agenda.remember("m:1", "paid", b"true", now_ms=1)
        await two.journal.inherit(AccountId("one@im.bot"))
        assert await two.agenda.read_job("tea") == job(last_ms=1)
        assert await two.agenda.recall("m:1") == {"paid": b"true"}


class TestPosting:
    async def test_what_is_posted_waits_behind_what_came_before(self, house: House) -> None:
        first = await a_message(house)
        letter = await house.agenda.post(posting("ask:1", "u:alice"), now_ms=9)
        assert letter is not None
        assert [waiting.sequence for waiting in await house.journal.read_waiting("u:alice")] == [first, letter.sequence]

    async def test_what_is_known_is_not_posted_again(self, house: House) -> None:
        letter = await house.agenda.post(posting("ask:1"), now_ms=9)
        assert letter is not None
        assert (await house.journal.complete(letter.sequence, 0, drafts=[], state=None, now_ms=9)).is_accepted
        assert await house.agenda.post(posting("ask:1"), now_ms=9) is None


class TestQuestions:
    async def test_a_question_is_found_until_the_state_says_otherwise(self, house: House) -> None:
        for number, due_ms in enumerate([70, None], start=1):
            sequence = await a_message(house, f"m:{number}")
            await house.journal.complete(sequence, 0, drafts=[], state=b"{}", now_ms=1, due_ms=due_ms)
            found = [] if due_ms is None else [Question(conversation="u:alice", due_ms=due_ms)]
            assert await house.agenda.read_questions() == found

    async def test_the_first_to_be_over_comes_first(self, house: House) -> None:
        for number, due_ms in enumerate([70, 50]):
            letter = await house.agenda.post(posting(f"p{number}", f"u:{number}"), now_ms=1)
            assert letter is not None
            await house.journal.complete(letter.sequence, 0, drafts=[], state=b"{}", now_ms=1, due_ms=due_ms)
        assert [question.conversation for question in await house.agenda.read_questions()] == ["u:1", "u:0"]

    async def test_an_empty_state_forgets_the_conversation(self, house: House) -> None:
        for number, state in enumerate([b"{}", b""]):
            sequence = await a_message(house, f"m:{number}")
            await house.journal.complete(sequence, 0, drafts=[], state=state, now_ms=1)
        assert await house.journal.read_state("u:alice") is None


class TestResults:
    async def test_the_first_result_stays(self, house: House) -> None:
        await house.agenda.remember("m:1", "paid", b"1", now_ms=1)
        await house.agenda.remember("m:1", "paid", b"2", now_ms=1)
        await house.agenda.remember("m:2", "paid", b"3", now_ms=1)
        assert await house.agenda.recall("m:1") == {"paid": b"1"}
        assert await house.agenda.recall("m:9") == {}


class TestPrune:
    async def test_only_what_is_over_goes(self, house: House) -> None:
        await house.agenda.put_job(job("over", next_ms=None, last_ms=4))
        await house.agenda.put_job(job("declared", next_ms=None, last_ms=4, is_declared=True))
        await house.agenda.put_job(job("waiting", next_ms=99, last_ms=4))
        await house.agenda.put_job(job("young", next_ms=None, last_ms=6))
        await house.agenda.remember("m:old", "a", b"1", now_ms=4)
        await house.agenda.remember("m:new", "a", b"1", now_ms=5)
        for number, expires_ms in enumerate([4, 5, None]):
            letter = await house.agenda.post(posting(f"p{number}", f"u:{number}"), now_ms=1)
            assert letter is not None
            await house.journal.complete(letter.sequence, 0, drafts=[], state=b"{}", now_ms=1, expires_ms=expires_ms)
        assert await house.agenda.prune(5) == 3
        assert [stored.name for stored in await house.agenda.read_jobs()] == ["declared", "waiting", "young"]
        assert await house.agenda.recall("m:old") == {}
        assert await house.agenda.recall("m:new") == {"a": b"1"}
        assert [await house.journal.read_state(f"u:{number}") is None for number in range(3)] == [True, False, False]


class TestNames:
    async def test_every_character_comes_back(self, house: House) -> None:
        """PostgreSQL has no place for one of them, and what people name things is theirs."""
        name = "a\x00b\x1ac"
        await house.agenda.put_job(job(name))
        await house.agenda.remember(name, name, b"1", now_ms=1)
        assert [stored.name for stored in await house.agenda.read_jobs()] == [name]
        assert await house.agenda.recall(name) == {name: b"1"}
        letter = await house.agenda.fire(due(name), now_ms=7)
        assert letter is not None
        assert await house.journal.read_waiting("j:tea") == [letter]


class TestHistory:
    async def test_what_people_said_is_found_by_the_servers_id(self, house: House) -> None:
        await a_message(house, "m:77")
        assert await house.history.find("u:alice", MessageId("77")) == Said(raw=b"{}", is_ours=False, at_ms=1)
        assert await house.history.find("u:bob", MessageId("77")) is None
        assert await house.history.find("u:alice", MessageId("7")) is None

    async def test_what_the_bot_said_is_found_once_it_was_accepted(self, house: House) -> None:
        draft = Draft(client_id=ClientId("c"), conversation="u:alice", user=ALICE, item=b'{"said":1}')
        (message,) = await house.journal.enqueue([draft], now_ms=3)
        assert await house.history.find("u:alice", MessageId("88")) is None
        accepted = Outcome(
            out_sequence=message.out_sequence, user=ALICE, state=OutboxState.ACCEPTED, message_id=MessageId("88")
        )
        await house.journal.settle(accepted, now_ms=4)
        assert await house.history.find("u:alice", MessageId("88")) == Said(raw=b'{"said":1}', is_ours=True, at_ms=4)

    async def test_accounts_know_nothing_of_each_other(self, houses: list[House]) -> None:
        one, two = houses
        await a_message(one, "m:77")
        assert await two.history.find("u:alice", MessageId("77")) is None
