"""What is known about sending to users, at hand: it is what the journal knows, also while that is being read."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from bot_house import Server, running
from lanes_house import HandClock, journals

from ilink import AcceptedUnconfirmed, Bot, Message
from ilink.bot.outbox import ledger as ledgers
from ilink.bot.outbox.ledger import Ledger
from ilink.flows.window import ALLOWANCE, Gate, Window, gate, heard
from ilink.storage.journal import Arrival, Draft, OutboxState, Outcome, WindowEvent
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.wire.ids import ClientId, Cursor, Secret, UserId

ALICE, BOB = UserId("a"), UserId("b")
HALF_AN_HOUR = 1_800.0


class SlowJournal:
    """A journal whose readers are held up once they have read."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal
        self.reads = 0
        self.has_read = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def read_windows(self, users: Sequence[UserId]) -> Mapping[UserId, Window]:
        return await self._held_up(self._journal.read_windows(users))

    async def read_context_token(self, user: UserId) -> Secret | None:
        return await self._held_up(self._journal.read_context_token(user))

    async def _held_up(self, reading: Any) -> Any:
        found = await reading
        self.reads += 1
        self.has_read.set()
        await self.may_answer.wait()
        return found

    def hold(self) -> None:
        self.has_read.clear()
        self.may_answer.clear()


@pytest.fixture
def hand() -> HandClock:
    return HandClock()


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SlowJournal]:
    async with journals(tmp_path) as open_journal, open_journal() as opened:
        await opened.adopt()
        yield SlowJournal(opened)


@pytest.fixture
def ledger(journal: SlowJournal, hand: HandClock) -> Ledger:
    return Ledger(journal, clock=hand)  # type: ignore[arg-type]


async def write(journal: SlowJournal, hand: HandClock, user: UserId, token: str) -> None:
    """Let the journal store that a user wrote."""
    one = Arrival(
        raw=b"{}", identity=f"m:{token}", conversation=f"u:{user}", user=user, context_token=Secret(token)
    )  # fmt: skip
    await journal.ingest([one], cursor=Cursor(token), generation=1, hint_ms=None, now_ms=hand.now_ms())


async def tried(
    journal: SlowJournal, ledger: Ledger, hand: HandClock, event: WindowEvent, *, retry_after_ms: int | None = None
) -> None:
    """Store what an attempt to send taught, and tell the ledger, in the order in which senders do."""
    draft = Draft(client_id=ClientId(f"c{journal.reads}"), conversation="u:a", user=ALICE, item=b"{}")
    await journal.enqueue([draft], now_ms=hand.now_ms())
    page = await journal.read_outgoing("u:a", limit=1)
    outcome = Outcome(
        out_sequence=page[0].out_sequence,
        user=ALICE,
        state=OutboxState.WAITING,
        event=event,
        retry_after_ms=retry_after_ms,
    )
    storing = journal.settle(outcome, now_ms=hand.now_ms())
    ledger.learn(outcome, now_ms=hand.now_ms())
    await storing


async def read_while(journal: SlowJournal, asking: Callable[[], Any], change: Callable[[], Any]) -> Any:
    """Ask something, let something change after the journal was read, and return the answer."""
    journal.hold()
    answer = asyncio.ensure_future(asking())
    await journal.has_read.wait()
    done = change()
    if done is not None:
        await done
    journal.may_answer.set()
    return await answer


class TestWindows:
    @pytest.mark.parametrize("event", [WindowEvent.ACCEPTED, WindowEvent.REFUSED, WindowEvent.LIMITED])
    async def test_what_an_attempt_taught_is_at_hand_and_in_the_journal(
        self, journal: SlowJournal, ledger: Ledger, hand: HandClock, event: WindowEvent
    ) -> None:
        await write(journal, hand, ALICE, "t1")
        before = await ledger.window(ALICE)
        await tried(journal, ledger, hand, event, retry_after_ms=90_000)
        at_hand = await ledger.window(ALICE)
        assert at_hand != before
        assert at_hand == (await journal.read_windows([ALICE]))[ALICE]
        assert journal.reads == 2, "one to begin with, and that of this test"
        if event is WindowEvent.LIMITED:
            assert at_hand.paused_until_ms == hand.now_ms() + 90_000

    async def test_what_was_sent_while_the_window_was_read_counts(
        self, journal: SlowJournal, ledger: Ledger, hand: HandClock
    ) -> None:
        await write(journal, hand, ALICE, "t1")
        window = await read_while(
            journal, lambda: ledger.window(ALICE), lambda: tried(journal, ledger, hand, WindowEvent.ACCEPTED)
        )
        assert window.sent == 1

    async def test_what_a_user_wrote_while_the_window_was_read_opens_it(
        self, journal: SlowJournal, ledger: Ledger, hand: HandClock
    ) -> None:
        await write(journal, hand, ALICE, "t1")
        await tried(journal, ledger, hand, WindowEvent.REFUSED)

        async def say() -> None:
            await write(journal, hand, ALICE, "t2")
            ledger.hear(ALICE, Secret("t2"))

        window = await read_while(journal, lambda: ledger.window(ALICE), say)
        assert gate(window, hand.now_ms()) is Gate.OPEN

    async def test_what_another_process_heard_is_read(
        self, journal: SlowJournal, ledger: Ledger, hand: HandClock
    ) -> None:
        await write(journal, hand, ALICE, "t1")
        await tried(journal, ledger, hand, WindowEvent.REFUSED)
        assert gate(await ledger.window(ALICE), hand.now_ms()) is Gate.CLOSED
        ledger.learn_upload(ALICE, WindowEvent.REFUSED)
        await write(journal, hand, ALICE, "t2")
        ledger.forget(ALICE)
        assert gate(await ledger.window(ALICE), hand.now_ms()) is Gate.OPEN
        assert ledger.upload_gate(ALICE)[0] is Gate.OPEN

    async def test_two_who_read_at_the_same_time_learn_the_same(
        self, journal: SlowJournal, ledger: Ledger, hand: HandClock
    ) -> None:
        await write(journal, hand, ALICE, "t1")
        journal.hold()
        asking = [asyncio.ensure_future(ledger.window(ALICE)) for _ in range(2)]
        await journal.has_read.wait()
        journal.may_answer.set()
        first, second = await asyncio.gather(*asking)
        assert first == second == heard(Window(), hand.now_ms())

    async def test_who_only_sends_believes_pauses_and_nothing_else(
        self, journal: SlowJournal, ledger: Ledger, hand: HandClock
    ) -> None:
        await write(journal, hand, ALICE, "t1")
        await tried(journal, ledger, hand, WindowEvent.REFUSED)
        deaf = Ledger(journal, clock=hand, is_deaf=True)  # type: ignore[arg-type]
        assert gate(await deaf.window(ALICE), hand.now_ms()) is Gate.OPEN
        await tried(journal, ledger, hand, WindowEvent.LIMITED)
        deaf = Ledger(journal, clock=hand, is_deaf=True)  # type: ignore[arg-type]
        assert gate(await deaf.window(ALICE), hand.now_ms()) is Gate.PAUSED

    async def test_what_is_at_hand_is_bounded_and_read_again(
        self, journal: SlowJournal, ledger: Ledger, hand: HandClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ledgers, "_REMEMBERED", 2)
        await write(journal, hand, ALICE, "t1")
        for user in (ALICE, BOB, UserId("c")):
            await ledger.window(user)
        assert journal.reads == 3
        await ledger.window(BOB)
        assert journal.reads == 3
        assert (await ledger.window(ALICE)).heard_ms == hand.now_ms()
        assert journal.reads == 4


class TestTokens:
    async def test_a_newer_token_that_came_while_the_journal_was_read_is_used(
        self, journal: SlowJournal, ledger: Ledger, hand: HandClock
    ) -> None:
        await write(journal, hand, ALICE, "old")
        token = await read_while(
            journal, lambda: ledger.context_token(ALICE), lambda: ledger.keep_token(ALICE, Secret("new"))
        )
        assert token.reveal() == "new"
        assert (await ledger.context_token(ALICE)).reveal() == "new"  # type: ignore[union-attr]

    async def test_where_another_process_polls_the_journal_is_asked_each_time(
        self, journal: SlowJournal, hand: HandClock
    ) -> None:
        shared = Ledger(journal, clock=hand, is_shared=True)  # type: ignore[arg-type]
        for token in ("t1", "t2"):
            await write(journal, hand, ALICE, token)
            assert (await shared.context_token(ALICE)).reveal() == token  # type: ignore[union-attr]


class TestProbes:
    async def test_of_several_conversations_of_a_user_one_probes(self, ledger: Ledger) -> None:
        assert ledger.begin_probe(ALICE)
        assert not ledger.begin_probe(ALICE)
        assert ledger.begin_probe(BOB)
        ledger.end_probe(ALICE)
        assert ledger.begin_probe(ALICE)

    @pytest.mark.parametrize("what", ["heard", "forgotten", "learned"])
    async def test_whatever_is_learned_of_a_window_ends_its_probe(
        self, ledger: Ledger, hand: HandClock, what: str
    ) -> None:
        ledger.begin_probe(ALICE)
        match what:
            case "heard":
                ledger.hear(ALICE, None)
            case "forgotten":
                ledger.forget(ALICE)
            case _:
                outcome = Outcome(
                    out_sequence=1, user=ALICE, state=OutboxState.WAITING, event=WindowEvent.REFUSED
                )  # fmt: skip
                ledger.learn(outcome, now_ms=hand.now_ms())
        assert ledger.begin_probe(ALICE)


class TestUploads:
    def test_a_refusal_closes_the_door_for_files_until_the_user_writes(self, ledger: Ledger, hand: HandClock) -> None:
        ledger.learn_upload(ALICE, WindowEvent.REFUSED)
        assert ledger.upload_gate(ALICE) == (Gate.CLOSED, hand.now_ms() + HALF_AN_HOUR * 1000)
        assert ledger.upload_gate(BOB)[0] is Gate.OPEN
        ledger.hear(ALICE, None)
        assert ledger.upload_gate(ALICE) == (Gate.OPEN, 0)

    def test_some_time_after_a_refusal_one_upload_is_tried_and_the_next_refusal_lasts_longer(
        self, ledger: Ledger, hand: HandClock
    ) -> None:
        ledger.learn_upload(ALICE, WindowEvent.REFUSED)
        hand.advance(HALF_AN_HOUR)
        assert ledger.upload_gate(ALICE)[0] is Gate.HALF_OPEN
        ledger.learn_upload(ALICE, WindowEvent.REFUSED)
        assert ledger.upload_gate(ALICE) == (Gate.CLOSED, hand.now_ms() + 2 * HALF_AN_HOUR * 1000)
        ledger.learn_upload(ALICE, WindowEvent.ACCEPTED)
        assert ledger.upload_gate(ALICE) == (Gate.OPEN, 0)

    def test_too_many_uploads_are_paused_as_long_as_the_server_wants(self, ledger: Ledger, hand: HandClock) -> None:
        ledger.learn_upload(ALICE, WindowEvent.LIMITED, retry_after_ms=90_000)
        assert ledger.upload_gate(ALICE) == (Gate.PAUSED, hand.now_ms() + 90_000)
        hand.advance(90)
        assert ledger.upload_gate(ALICE)[0] is Gate.OPEN
        ledger.learn_upload(ALICE, WindowEvent.LIMITED)
        assert ledger.upload_gate(ALICE) == (Gate.PAUSED, hand.now_ms() + 60_000)

    async def test_the_door_for_files_says_nothing_about_texts(self, ledger: Ledger, hand: HandClock) -> None:
        ledger.learn_upload(ALICE, WindowEvent.REFUSED)
        assert gate(await ledger.window(ALICE), hand.now_ms()) is Gate.OPEN
        ledger.learn_upload(ALICE, WindowEvent.NOTHING)
        assert ledger.upload_gate(ALICE)[0] is Gate.CLOSED


def listening(bot: Bot, begun: asyncio.Event) -> Bot:
    @bot.on_text()
    async def listen(_message: Message) -> None:
        begun.set()

    return bot


async def test_what_was_accepted_without_an_id_uses_the_allowance_up_and_is_not_called_confirmed(
    server: Server, make_bot: Callable[..., Bot], folder: Path
) -> None:
    begun = asyncio.Event()
    server.confirms = False
    async with running(listening(make_bot(), begun)) as bot:
        server.says("a", "hi")
        await begun.wait()
        for number in range(3):
            assert isinstance(await bot.send("a", str(number), wait=30), AcceptedUnconfirmed)
        assert (await bot.can_send("a")).left == ALLOWANCE - 3
    async with running(listening(make_bot(), begun)) as bot:
        assert (await bot.can_send("a")).left == ALLOWANCE - 3
    with closing(sqlite3.connect(folder / "ilink.db")) as reader:
        states = reader.execute("SELECT state, count(*) FROM outbox GROUP BY state").fetchall()
    assert states == [(OutboxState.UNCONFIRMED, 3)]
