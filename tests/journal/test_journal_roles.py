"""One journal and three processes: each has its part, and what it takes over takes nothing from the others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import pytest

from ilink import Account, AccountId, Secret, UserId
from ilink.storage.accounts_postgres import PostgresAccounts
from ilink.storage.journal import Arrival, Draft, OutboxState, Outcome, WindowEvent
from ilink.storage.journal_postgres import PostgresJournal
from ilink.storage.keys import KEY_VARIABLE, new_key, read_keys
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.roles import Role
from ilink.wire.ids import ClientId, Cursor

ACCOUNT = AccountId("bot@im.bot")
ALICE = UserId("alice@im.wechat")
LANE = f"u:{ALICE}"


@dataclass
class House:
    """A journal, and processes that open it."""

    database: PostgresDatabase
    exits: AsyncExitStack

    async def join(self, role: Role) -> PostgresJournal:
        journal = await self.exits.enter_async_context(PostgresJournal(self.database, ACCOUNT))
        await journal.adopt(role)
        return journal


@pytest.fixture
async def house(postgres_url: str) -> AsyncIterator[House]:
    async with opened(postgres_url) as house:
        yield house


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[House, None]:
    async with PostgresDatabase(url, schema="local") as database, AsyncExitStack() as exits:
        keys = read_keys({KEY_VARIABLE: new_key()})
        assert keys is not None
        accounts = PostgresAccounts(database, keys=keys)
        await accounts.put(Account(account_id=ACCOUNT, token=Secret("t"), base_url="http://127.0.0.1"))
        yield House(database, exits)


def says(identity: str) -> Arrival:
    return Arrival(raw=b"{}", identity=identity, conversation=LANE, user=ALICE)


def reply(name: str) -> Draft:
    return Draft(client_id=ClientId(name), conversation=LANE, user=ALICE, item=b"{}")


async def ingest(journal: PostgresJournal, *identities: str) -> bool:
    arrivals = [says(identity) for identity in identities]
    stored = await journal.ingest(arrivals, cursor=Cursor(identities[-1]), generation=1, hint_ms=None, now_ms=1000)
    return stored.has_moved


def accepted(out_sequence: int) -> Outcome:
    return Outcome(out_sequence=out_sequence, user=ALICE, state=OutboxState.ACCEPTED)


async def test_each_does_its_part(house: House) -> None:
    poller, handler, sender = [await house.join(role) for role in (Role.POLLER, Role.HANDLER, Role.SENDER)]
    assert await ingest(poller, "m:1")
    [letter] = await handler.read_arrived(0)
    done = await handler.complete(letter.sequence, letter.claim, drafts=[reply("r1")], state=None, now_ms=2000)
    assert done.is_accepted
    [message] = await sender.read_outgoing(LANE)
    await sender.settle(accepted(message.out_sequence), now_ms=3000)
    found = await handler.read_sent(ClientId("r1"))
    assert found is not None
    assert found.state is OutboxState.ACCEPTED


async def test_a_new_handler_takes_completing_from_the_old_one_alone(house: House) -> None:
    poller, handler, sender = [await house.join(role) for role in (Role.POLLER, Role.HANDLER, Role.SENDER)]
    await ingest(poller, "m:1")
    heir = await house.join(Role.HANDLER)
    [letter] = await heir.read_arrived(0)
    late = await handler.complete(letter.sequence, letter.claim, drafts=[reply("r1")], state=None, now_ms=2000)
    assert not late.is_accepted
    assert not await handler.is_ours()
    assert (await poller.is_ours(), await sender.is_ours()) == (True, True)
    assert await ingest(poller, "m:2")
    assert await heir.complete(letter.sequence, letter.claim, drafts=[], state=None, now_ms=2000)


@pytest.mark.parametrize("role", [Role.HANDLER, Role.SENDER])
async def test_the_cursor_stays_with_the_poller(house: House, role: Role) -> None:
    poller, other = await house.join(Role.POLLER), await house.join(role)
    assert not await ingest(other, "m:1")
    assert await ingest(poller, "m:2")
    heir = await house.join(Role.POLLER)
    assert not await ingest(poller, "m:3")
    assert await ingest(heir, "m:4")


async def test_only_the_sender_says_what_becomes_of_what_waits(house: House) -> None:
    handler, sender = await house.join(Role.HANDLER), await house.join(Role.SENDER)
    [message] = await handler.enqueue([reply("r1")], now_ms=1000)
    taken = Outcome(out_sequence=message.out_sequence, user=ALICE, state=OutboxState.ASKED)
    await handler.settle(taken, now_ms=2000)
    assert [one.state for one in await sender.read_outgoing(LANE)] == [OutboxState.WAITING]
    await sender.settle(taken, now_ms=2000)
    assert [one.state for one in await handler.read_outgoing(LANE)] == [OutboxState.ASKED]


async def test_a_handler_that_died_makes_no_message_doubtful(house: House) -> None:
    poller, handler, sender = [await house.join(role) for role in (Role.POLLER, Role.HANDLER, Role.SENDER)]
    await ingest(poller, "m:1")
    await handler.enqueue([reply("r1")], now_ms=1000)
    heir = await house.join(Role.HANDLER)
    assert [letter.interrupted for letter in await heir.read_arrived(0)] == [1]
    assert [message.is_doubtful for message in await sender.read_outgoing(LANE)] == [False]
    await house.join(Role.SENDER)
    assert [message.is_doubtful for message in await sender.read_outgoing(LANE)] == [True]
    assert [letter.interrupted for letter in await heir.read_arrived(0)] == [1]


async def test_one_that_gave_its_part_back_was_not_interrupted(house: House) -> None:
    poller, handler = await house.join(Role.POLLER), await house.join(Role.HANDLER)
    await ingest(poller, "m:1")
    await handler.release()
    heir = await house.join(Role.HANDLER)
    assert [letter.interrupted for letter in await heir.read_arrived(0)] == [0]


async def test_who_does_everything_takes_every_part(house: House) -> None:
    poller, handler, sender = [await house.join(role) for role in (Role.POLLER, Role.HANDLER, Role.SENDER)]
    everything = await house.join(Role.ALL)
    assert [await one.is_ours() for one in (poller, handler, sender, everything)] == [False, False, False, True]
    assert await ingest(everything, "m:1")


async def test_others_are_told_of_what_concerns_them(house: House) -> None:
    poller, handler, sender = [await house.join(role) for role in (Role.POLLER, Role.HANDLER, Role.SENDER)]
    _, place = await handler.find_arrived(1 << 62)
    changes = 0
    await ingest(poller, "m:1")
    changes = await handler.wait_changed(changes)
    assert (await handler.find_arrived(place))[0] == [(LANE, ALICE)]
    [letter] = await handler.read_arrived(place)
    _, sent = await sender.find_enqueued(1 << 62)
    await handler.complete(letter.sequence, letter.claim, drafts=[reply("r1")], state=None, now_ms=2000)
    await sender.wait_changed(0)
    assert (await sender.find_enqueued(sent))[0] == [LANE]
    [message] = await sender.read_outgoing(LANE)
    await sender.settle(accepted(message.out_sequence), now_ms=3000)
    await handler.wait_changed(changes)


async def test_what_hints_miss_is_counted_on_the_row(house: House) -> None:
    poller, handler, sender = [await house.join(role) for role in (Role.POLLER, Role.HANDLER, Role.SENDER)]

    async def calls() -> int:
        row = await house.database.read_row("SELECT calls FROM journals")
        assert row is not None
        return row["calls"]

    await ingest(poller, "m:1")
    assert await calls() == 1
    [letter] = await handler.read_arrived(0)
    await handler.complete(letter.sequence, letter.claim, drafts=[reply("r1")], state=None, now_ms=2000)
    assert await calls() == 2
    [message] = await sender.read_outgoing(LANE)
    await sender.settle(accepted(message.out_sequence), now_ms=3000)
    assert await calls() == 3
    everything = await house.join(Role.ALL)
    await ingest(everything, "m:2")
    assert await calls() == 3


async def test_an_outcome_that_is_stored_again_because_its_answer_was_lost_counts_once(house: House) -> None:
    handler = await house.join(Role.HANDLER)
    sender = PostgresJournal(house.database, ACCOUNT, new_id=lambda: UUID(int=7))  # as a group that is asked for again
    await house.exits.enter_async_context(sender)
    await sender.adopt(Role.SENDER)
    [message] = await handler.enqueue([reply("r1")], now_ms=1000)
    tried = Outcome(
        out_sequence=message.out_sequence, user=ALICE, state=OutboxState.WAITING, event=WindowEvent.ACCEPTED
    )
    for _ in range(2):
        await sender.settle(tried, now_ms=2000)
    [waiting] = await sender.read_outgoing(LANE)
    assert (waiting.attempts, (await sender.read_windows([ALICE]))[ALICE].sent) == (1, 1)
