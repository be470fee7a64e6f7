"""Messages of which nobody knows whether they arrived wait for a decision, and say so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from bot_house import FAST, HastyClock, Server, running, sign_in
from outbox_house import House, house, quiet_bot

from ilink import Accepted, Bot, ConfigError, Deferred, DeferredWhy, Message, OnUnknown, Unknown
from ilink.bot.clock import WallClock
from ilink.bot.outbox.postbox import OutboxEntry
from ilink.storage.accounts_sqlite import SqliteAccounts
from ilink.storage.journal import OutboxState, Outcome
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.wire.ids import ClientId

ASK = replace(FAST, on_unknown=OnUnknown.ASK)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path / "data") as home:
        yield home


async def test_what_asks_is_listed_told_and_holds_its_conversation_up(home: House) -> None:
    told: list[OutboxEntry] = []
    home.gateway.fault("sendmessage", reset="after_effect", times=1)
    async with quiet_bot(home, ASK) as bot:
        bot.on_unknown(told.append)
        sent = await bot.send(home.alice.user_id, "one")
        await home.until_state(sent.client_id, OutboxState.ASKED)
        later = await bot.send(home.alice.user_id, "two", wait=0.1)
        (entry,) = await bot.outbox.asked()
        assert (entry.client_id, entry.user, entry.text) == (sent.client_id, home.alice.user_id, "one")
        assert entry.attempts == 1
        assert entry.receipt == Deferred(client_id=sent.client_id, why=DeferredWhy.DECISION)
        assert isinstance(later, Deferred)
        assert later.why is DeferredWhy.DECISION
    assert [(one.client_id, one.receipt.is_final) for one in told] == [(sent.client_id, False)]
    assert await home.shown() == ["one"]


async def test_what_is_tried_again_is_the_same_message_and_the_rest_follows(home: House) -> None:
    home.gateway.fault("sendmessage", reset="after_effect", times=1)
    async with quiet_bot(home, ASK) as bot:
        sent = await bot.send(home.alice.user_id, "one")
        later = await bot.send(home.alice.user_id, "two")
        await home.until_state(sent.client_id, OutboxState.ASKED)
        await bot.outbox.retry(sent.client_id)
        assert isinstance(await bot.outbox.receipt(sent.client_id, wait=20), Accepted)
        assert isinstance(await bot.outbox.receipt(later.client_id, wait=20), Accepted)
        assert await bot.outbox.asked() == []
    assert await home.shown() == ["one", "two"], "the gateway knows the client id"


async def test_what_is_dropped_stays_unknown_and_the_rest_follows(home: House) -> None:
    told: list[OutboxEntry] = []
    home.gateway.fault("sendmessage", reset="before", times=1)
    async with quiet_bot(home, ASK) as bot:
        bot.on_unknown(told.append)
        sent = await bot.send(home.alice.user_id, "one")
        later = await bot.send(home.alice.user_id, "two")
        await home.until_state(sent.client_id, OutboxState.ASKED)
        entry = await bot.outbox.drop(sent.client_id)
        assert isinstance(entry.receipt, Unknown)
        assert isinstance(await bot.outbox.receipt(sent.client_id), Unknown)
        assert isinstance(await bot.outbox.receipt(later.client_id, wait=20), Accepted)
    assert await home.shown() == ["two"]
    assert len(told) == 1


@pytest.mark.parametrize("action", ["retry", "drop"])
async def test_a_message_that_does_not_ask_is_not_decided_about(home: House, action: str) -> None:
    async with quiet_bot(home, ASK) as bot:
        sent = await bot.send(home.alice.user_id, "one", wait=20)
        decide = getattr(bot.outbox, action)
        for name in (sent.client_id, "ilink-nothing"):
            with pytest.raises(ConfigError, match="does not wait for a decision"):
                await decide(name)
        assert isinstance(await bot.outbox.receipt(sent.client_id), Accepted)


async def test_decisions_of_other_processes_are_noticed(home: House) -> None:
    home.gateway.fault("sendmessage", reset="before", times=2)
    async with quiet_bot(home, ASK, clock=WallClock()) as bot:  # no hasty clock: they are not found by and by
        first = await bot.send(home.alice.user_id, "one")
        second = await bot.send(home.alice.user_id, "two")
        await home.until_state(first.client_id, OutboxState.ASKED)
        async with SqliteAccounts(home.folder) as accounts, SqliteJournal(accounts.database, home.account) as other:
            assert await other.decide(ClientId(first.client_id), is_retry=False, now_ms=1)
            await home.until_state(second.client_id, OutboxState.ASKED)
            assert await other.decide(ClientId(second.client_id), is_retry=True, now_ms=1)
        assert isinstance(await bot.outbox.receipt(second.client_id, wait=20), Accepted)


async def test_what_asks_too_long_is_unknown_not_expired(home: House) -> None:
    home.gateway.fault("sendmessage", reset="before", times=1)
    async with quiet_bot(home, ASK) as bot:
        sent = await bot.send(home.alice.user_id, "one")
        await home.until_state(sent.client_id, OutboxState.ASKED)
        home.clock.ahead_ms += 25 * 3_600_000
        await home.until_state(sent.client_id, OutboxState.UNKNOWN)


async def test_what_was_on_its_way_when_the_process_died_asks(home: House) -> None:
    async with SqliteAccounts(home.folder) as accounts, SqliteJournal(accounts.database, home.account) as journal:
        await journal.adopt()
        receipt = await home.bot(ASK).send(home.alice.user_id, "one")
        (waiting,) = await journal.read_outbox([OutboxState.WAITING])
        await journal.settle(
            Outcome(
                out_sequence=waiting.out_sequence,
                user=waiting.draft.user,
                state=OutboxState.IN_FLIGHT,
                was_tried=False,
            ),
            now_ms=1,
        )
    async with quiet_bot(home, ASK) as bot:
        await home.until_state(receipt.client_id, OutboxState.ASKED)
        assert [entry.text for entry in await bot.outbox.asked()] == ["one"]


async def test_the_first_of_each_conversation_is_doubtful_after_a_death(
    server: Server, clock: HastyClock, folder: Path
) -> None:
    async with SqliteAccounts(folder) as accounts:
        stored = await sign_in(accounts)
        async with SqliteJournal(accounts.database, stored.account.account_id) as journal:
            await journal.adopt()  # and never given back
    bot = Bot(data=folder, open_client=server.open, clock=clock, environ={}, policies=FAST, allow="anyone")

    @bot.on_any()
    async def listen(message: Message) -> None:
        return

    first, second = [await bot.send("a", text) for text in ("one", "two")]
    async with running(bot):
        await server.until(lambda: len(server.sent) == 2)
    account_id = stored.account.account_id
    async with SqliteAccounts(folder) as accounts, SqliteJournal(accounts.database, account_id) as journal:
        rows = [await journal.read_sent(ClientId(one.client_id)) for one in (first, second)]
    assert [row.is_doubtful for row in rows if row is not None] == [True, False]
