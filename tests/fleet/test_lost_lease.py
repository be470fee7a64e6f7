"""A worker that others take for dead, while a poll's answer is on its way into the store."""

from __future__ import annotations

import asyncio
from asyncio import Event
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from random import Random

import pytest
from fleet_people import ENVIRON, Crowd

from ilink import Bot, Message
from ilink.bot.clock import WallClock
from ilink.bot.store import Store
from ilink.fleet.accounts import fleet_accounts
from ilink.fleet.beginning import Polls
from ilink.fleet.settings import FleetSettings
from ilink.fleet.worker import serve_worker
from ilink.storage.journal import Arrival
from ilink.storage.journal_postgres import PostgresJournal
from ilink.storage.keys import KEY_VARIABLE
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.roles import Role
from ilink.storage.slots import LeaseTerms, SessionId
from ilink.storage.slots_postgres import PostgresSlots
from ilink.testing.gateway import LocalGateway
from ilink.wire.codec import encode
from ilink.wire.ids import AccountId, Cursor, UserId

ONE, OTHER = AccountId("one@im.bot"), AccountId("other@im.bot")


class LosableSlots(PostgresSlots):
    """Slots of which a test says that a session was lost."""

    def __init__(self, database: PostgresDatabase) -> None:
        super().__init__(database)
        self.is_lost = Event()
        self.was_told = Event()

    async def renew(self, session: SessionId, *, ttl: float, report: Mapping[str, object]) -> bool:
        if self.is_lost.is_set() and not self.was_told.is_set():
            self.was_told.set()
            await self.close_session(session)
            return False
        return await super().renew(session, ttl=ttl, report=report)


@asynccontextmanager
async def at_work(url: str, found: list[LosableSlots]) -> AsyncGenerator[None, None]:
    """Let a worker answer, until the block ends."""
    bot = Bot(data=url, allow="anyone")

    @bot.on_text()
    async def answer(message: Message) -> None:
        await message.reply(f"re {message.text}")

    def open_slots(store: Store) -> LosableSlots:
        found.append(LosableSlots(fleet_accounts(store).database))
        return found[-1]

    terms = LeaseTerms(ttl=600, renew=0.1, margin=1, cool_down=0)
    stop = Event()
    async with asyncio.TaskGroup() as tasks:
        settings = FleetSettings(role=Role.ALL, terms=terms, poll_seconds=60)
        tasks.create_task(serve_worker(bot, settings, stop, open_slots=open_slots))
        try:
            yield
        finally:
            stop.set()


async def test_what_a_poll_brought_is_stored_by_who_has_lost_its_lease(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, ENVIRON[KEY_VARIABLE])
    knobs = {"poll.hold_ms": 500, "poll.consume_on_send": True}
    async with LocalGateway(knobs=knobs) as gateway, PostgresDatabase(postgres_url) as database:
        crowd = await Crowd.make(gateway, postgres_url, 1, Random(1))
        found: list[LosableSlots] = []
        async with at_work(postgres_url, found):
            await crowd.say_everywhere()
            assert await crowd.wait_answered(60)
            async with database.transaction() as connection:
                await connection.execute("SELECT FROM journals FOR UPDATE")
                await crowd.say_everywhere()
                await wait_until_storing(database)
                found[0].is_lost.set()
                await found[0].was_told.wait()
                await asyncio.sleep(0.2)  # time to be cancelled in, for who would be
            assert await crowd.wait_answered(60)


async def test_what_a_stale_owner_stores_is_answered_before_the_look_of_each_minute(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, ENVIRON[KEY_VARIABLE])
    async with LocalGateway() as gateway, PostgresDatabase(postgres_url) as database:
        crowd = await Crowd.make(gateway, postgres_url, 1, Random(1))
        (person,) = crowd.people
        async with PostgresJournal(database, AccountId(str(person.bot_id))) as stale:
            await stale.adopt()
            async with at_work(postgres_url, []):
                await crowd.say_everywhere()
                assert await crowd.wait_answered(60)
                items = [{"type": 1, "text_item": {"text": "late"}}]
                said = {"from_user_id": person.user_id, "message_type": 1, "message_state": 2, "item_list": items}
                arrival = Arrival(
                    raw=encode({"message_id": 1, **said}),
                    identity="m:1",
                    conversation=f"u:{person.user_id}",
                    user=UserId(person.user_id),
                )
                stored = await stale.ingest([arrival], cursor=Cursor("old"), generation=1, hint_ms=None, now_ms=1)
                assert not stored.has_moved
                crowd.said[person.name].append("late")
                assert await crowd.wait_answered(30)


async def wait_until_storing(database: PostgresDatabase) -> None:
    """Wait until a worker waits for the lock on a journal, with what a poll brought."""
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%ingest%'"
    async with asyncio.timeout(60):
        while not await database.read(waiting):  # noqa: ASYNC110  # databases tell nobody
            await asyncio.sleep(0.05)


async def test_a_poll_is_under_way_until_what_it_brought_is_stored() -> None:
    polls = Polls(WallClock())
    polls.begin(ONE)
    polls.begin(OTHER)
    waiting = asyncio.create_task(polls.wait_ended())
    polls.end(ONE)
    await asyncio.sleep(0)
    assert not waiting.done()
    polls.end(OTHER)
    await waiting
