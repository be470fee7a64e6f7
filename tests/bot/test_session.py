"""The life of a session: dead polls, sleep, clocks that are set, takeovers, tokens that die and come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bot_house import ACCOUNT, FAST, HastyClock, Server, running, sign_in
from test_on_the_gateway import login_of

from ilink import (
    Account,
    AccountId,
    Bot,
    Client,
    Message,
    Secret,
    SessionState,
    StoreLockedError,
    UserId,
    WindowClosedError,
)
from ilink.bot import (
    ClockSet,
    Incident,
    MachineSlept,
    PollAbandoned,
    PollsShared,
    PollsSlowed,
    ProcessStalled,
)
from ilink.bot.outbox.senders import Senders
from ilink.client.answers import Batch
from ilink.storage.accounts import Accounts
from ilink.storage.accounts_sqlite import SqliteAccounts
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.testing.gateway import LocalGateway
from ilink.testing.person import Person
from ilink.wire.ids import Cursor

Make = Callable[..., Bot]
DAY_MS = 86_400_000
CLOSED = WindowClosedError("-2", endpoint="sendmessage", ret=-2, errmsg="prepare failed")


def echo(bot: Bot) -> list[Incident]:
    """Let a bot answer, and collect what goes wrong."""
    seen: list[Incident] = []
    bot.on_incident(seen.append)

    @bot.on_text()
    async def say_it_again(message: Message) -> None:
        await message.reply(f"You said: {message.text}")

    return seen


async def eventually(condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Wait until something is true that tells nobody."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


class TestAbsence:
    async def test_after_sleep_the_poll_is_given_up_and_a_new_one_begun(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        bot = make_bot()
        seen = echo(bot)
        async with running(bot):
            await server.until(lambda: len(server.polls) == 1)
            clock.ahead_ms += 600_000
            await server.until(lambda: len(server.polls) == 2)
            server.says("a", "hi")
            await server.until(lambda: len(server.sent) == 1)
        assert [type(incident) for incident in seen] == [MachineSlept]
        assert bot.incidents == {MachineSlept: 1}
        assert server.notified == ["start", "start", "stop"]

    async def test_after_sleep_nobody_waits_for_the_end_of_a_pause(
        self, server: Server, make_bot: Make, clock: HastyClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.poll_errors.append(PassingError())
        naps: list[float] = []
        nap = HastyClock.sleep

        async def sleep(self: HastyClock, seconds: float) -> None:
            if 0.2 <= seconds <= 2.0 and len(server.polls) == 1:  # the pause after the poll that failed
                naps.append(seconds)
                await asyncio.Event().wait()
            await nap(self, seconds)

        monkeypatch.setattr(HastyClock, "sleep", sleep)
        bot = make_bot()
        echo(bot)
        async with running(bot):
            await eventually(lambda: bool(naps))
            clock.ahead_ms += 600_000
            await server.until(lambda: len(server.polls) == 2)

    async def test_a_program_that_stood_still_polls_anew(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        bot = make_bot()
        seen = echo(bot)
        async with running(bot):
            await server.until(lambda: len(server.polls) == 1)
            clock.late += 60.0
            await server.until(lambda: len(server.polls) == 2)
        assert [type(incident) for incident in seen] == [ProcessStalled]

    async def test_a_poll_that_is_never_answered_is_given_up(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        bot = make_bot()
        seen = echo(bot)
        async with running(bot):
            await server.until(lambda: len(server.polls) == 1)
            while not seen:
                assert clock.late <= 51.0
                clock.late += 1.0
                clock.slept.clear()
                await eventually(lambda: 5.0 in clock.slept)
            await server.until(lambda: len(server.polls) == 2)
            server.says("a", "hi")
            await server.until(lambda: len(server.sent) == 1)
        assert [type(incident) for incident in seen] == [PollAbandoned]
        assert clock.late >= 49.0

    async def test_a_poll_the_client_gave_up_counts_when_the_server_was_to_answer_earlier(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        bot = make_bot()
        seen = echo(bot)
        async with running(bot):
            await server.until(lambda: len(server.polls) == 1)
            server.empties = 1
            server.change()
            await server.until(lambda: len(server.polls) == 2)
            assert seen == []
            for _ in range(8):
                clock.late += 5.0
                clock.slept.clear()
                await eventually(lambda: 5.0 in clock.slept)
            server.empties = 1
            server.change()
            await server.until(lambda: len(server.polls) == 3)
            await eventually(lambda: bool(seen))
        assert [type(incident) for incident in seen] == [PollAbandoned]

    async def test_empty_answers_at_once_are_told_once_and_slowed(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        bot = make_bot()
        seen = echo(bot)
        async with running(bot):
            server.empties = 8
            server.change()
            await server.until(lambda: len(server.polls) >= 9)
            server.says("a", "hi")
            await server.until(lambda: len(server.sent) == 1)
            server.empties = 8
            server.change()
            await eventually(lambda: len(seen) == 2)
        assert seen == [PollsSlowed(4), PollsSlowed(4)]
        assert bot.incidents == {PollsSlowed: 2}
        assert len([pause for pause in clock.slept if 0.25 <= pause <= 60 and pause != 5.0]) >= 5

    @pytest.mark.parametrize("is_cut", [False, True])
    async def test_polls_that_the_server_ends_early_are_told_and_those_that_an_edge_cuts_are_not(
        self, server: Server, make_bot: Make, monkeypatch: pytest.MonkeyPatch, is_cut: bool
    ) -> None:
        monkeypatch.setattr("ilink.flows.polling.FAST", 0.0)  # these were held, for a moment
        bot = make_bot()
        seen = echo(bot)
        async with running(bot):
            server.says("a", "hi")  # its answer names how long polls are held
            await server.until(lambda: len(server.polls) == 2)
            server.moves_while_empty = not is_cut
            server.empties = 12
            server.change()
            await server.until(lambda: len(server.polls) == 14)
        assert seen == ([] if is_cut else [PollsShared(6)])


class PassingError(WindowClosedError):
    """Any refusal that is repeated after a pause."""

    def __init__(self) -> None:
        super().__init__("-2", endpoint="getupdates", ret=-2)


class TestClocks:
    @pytest.mark.parametrize("days", [2, -2])
    async def test_a_clock_that_is_set_expires_and_delays_nothing(
        self, server: Server, make_bot: Make, clock: HastyClock, days: int
    ) -> None:
        bot = make_bot()
        seen = echo(bot)
        failures: list[str] = []

        @bot.on_image()
        async def fail_once(message: Message) -> None:
            failures.append(message.key)
            if len(failures) == 1:
                clock.set_ms += days * DAY_MS
                raise ValueError("not yet")
            await message.reply("seen")

        async with running(bot):
            server.send_faults.append(CLOSED)
            server.says("a", "one")
            await server.until(lambda: not server.send_faults)
            server.says("b", "hi", item_list=[{"type": 2, "image_item": {"aeskey": "00" * 16}}])
            await server.until(lambda: server.heard("b") == ["seen"])
            await eventually(lambda: ClockSet in bot.incidents)
            forecast = await bot.can_send("b")
            server.says("a", "two")
            await server.until(lambda: len(server.sent) == 3)
        assert server.heard("a") == ["You said: one", "You said: two"]
        assert forecast.can_send
        assert [round(incident.seconds) for incident in seen if isinstance(incident, ClockSet)] == [days * 86_400]

    @pytest.mark.parametrize("days", [2, -2])
    async def test_what_waits_is_still_good_for_the_next_process(
        self, server: Server, make_bot: Make, clock: HastyClock, days: int
    ) -> None:
        bot = make_bot()
        echo(bot)
        async with running(bot):
            server.send_faults.append(CLOSED)
            update = server.says("a", "one")
            await server.until(lambda: not server.send_faults)
            clock.set_ms += days * DAY_MS
            await eventually(lambda: ClockSet in bot.incidents)
            await eventually(lambda: bot._crew is not None and not bot._runner_of(None)._wants_gap_stored)
        later = make_bot()
        echo(later)
        async with running(later):
            server.hands_out(update)
            server.says("a", "two")
            await server.until(lambda: len(server.sent) == 2)
            assert (await later.counts()).duplicates == 1
        assert server.heard("a") == ["You said: one", "You said: two"]

    async def test_a_login_wakes_a_bot_though_the_clock_was_set_back(self, server: Server, make_bot: Make) -> None:
        from datetime import UTC, datetime

        from test_faults import STALE

        bot = make_bot()
        echo(bot)
        async with running(bot):
            server.poll_errors.extend([STALE, STALE])
            server.change()
            await eventually(lambda: bot.state is SessionState.EXPIRED)
            async with SqliteAccounts(
                bot._blueprint.place.folder, now=lambda: datetime(1999, 1, 1, tzinfo=UTC)
            ) as accounts:
                await accounts.put(replace(ACCOUNT, account_id=AccountId("new@im.bot")))
            await eventually(lambda: bot.state is SessionState.ACTIVE)
            server.says("a", "hi")
            await server.until(lambda: len(server.sent) == 1)


class TestTakeover:
    async def test_a_bot_whose_journal_was_taken_over_stops_and_completes_nothing(
        self, server: Server, make_bot: Make, folder: Path
    ) -> None:
        bot = make_bot()
        began, may_finish = asyncio.Event(), asyncio.Event()

        @bot.on_text()
        async def answer(message: Message) -> None:
            began.set()
            await may_finish.wait()
            await message.reply("from the old one")

        serving = asyncio.create_task(bot.serve(login=sign_in))
        server.says("a", "hi")
        await began.wait()
        async with SqliteAccounts(folder) as accounts, SqliteJournal(accounts.database, ACCOUNT.account_id) as newer:
            await newer.adopt()
            may_finish.set()
            server.says("a", "and then")  # what the old one still hears is stored for the new one
            with pytest.raises(StoreLockedError, match="took the journal"):
                await serving
            assert [letter.user for letter in await newer.read_waiting("u:a")] == ["a", "a"]
            assert await newer.outgoing_conversations() == []
        assert server.sent == []

    async def test_a_bot_that_comes_back_from_a_stall_looks_whose_journal_it_is(
        self, server: Server, make_bot: Make, folder: Path, clock: HastyClock
    ) -> None:
        bot = make_bot()
        echo(bot)
        serving = asyncio.create_task(bot.serve(login=sign_in))
        await server.until(lambda: len(server.polls) == 1)
        async with SqliteAccounts(folder) as accounts, SqliteJournal(accounts.database, ACCOUNT.account_id) as newer:
            await newer.adopt()
            clock.late += 60.0
            with pytest.raises(StoreLockedError, match="took the journal"):
                await serving
        assert len(server.polls) == 1

    async def test_a_login_elsewhere_on_this_machine_is_taken_up_by_the_next_batch(
        self, server: Server, make_bot: Make
    ) -> None:
        bot = make_bot()
        echo(bot)
        async with running(bot):
            await server.until(lambda: len(server.polls) == 1)
            async with SqliteAccounts(bot._blueprint.place.folder) as accounts:
                await accounts.put(ACCOUNT)
            server.says("a", "hi")
            await server.until(lambda: len(server.sent) == 1)
            await eventually(lambda: server.notified.count("start") == 2)
            assert bot.state is SessionState.ACTIVE


class TestStopping:
    async def test_a_handler_that_hangs_leaves_time_for_what_is_on_its_way(
        self, server: Server, make_bot: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bot = make_bot(policies=replace(FAST, stop_seconds=0.5))
        left: list[float] = []
        true_drain = Senders.drain

        async def drain(self: Senders, seconds: float) -> None:
            left.append(seconds)
            await true_drain(self, seconds)

        monkeypatch.setattr(Senders, "drain", drain)

        @bot.on_text()
        async def hang(message: Message) -> None:
            server.texts["hangs"].append(message.text)
            server.change()
            await asyncio.Event().wait()

        async with running(bot):
            server.says("a", "hi")
            await server.until(lambda: bool(server.heard("hangs")))
        assert 0 < left[0] <= 0.1

    async def test_an_answer_that_is_on_its_way_is_waited_for_and_stored(self, server: Server, make_bot: Make) -> None:
        bot = make_bot()
        echo(bot)
        arrived = asyncio.Event()
        open_true = server.open

        def open_slow(stored: Any) -> Any:
            connection = open_true(stored)
            get_updates = connection.get_updates  # type: ignore[attr-defined]

            async def answer_late(cursor: Cursor, *, hint_ms: int | None = None) -> Batch:
                batch = await get_updates(cursor, hint_ms=hint_ms)
                arrived.set()
                for _ in range(5):  # its bytes are still coming in
                    await asyncio.sleep(0)
                return batch

            connection.get_updates = answer_late  # type: ignore[attr-defined]
            return connection

        bot._blueprint = replace(bot._blueprint, way=open_slow)
        async with running(bot):
            server.says("a", "hi")
            await arrived.wait()
            bot.stop()
        again = make_bot()
        echo(again)
        async with running(again):
            await server.until(lambda: server.heard("a") == ["You said: hi"])

    async def test_a_server_that_never_answers_a_greeting_delays_no_stop(
        self, server: Server, make_bot: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bot = make_bot()
        echo(bot)
        greeted = asyncio.Event()

        def open_mute(stored: Any) -> Any:
            connection = server.open(stored)

            async def hang() -> None:
                greeted.set()
                await asyncio.Event().wait()

            connection.notify_start = hang  # type: ignore[attr-defined]
            return connection

        bot._blueprint = replace(bot._blueprint, way=open_mute)
        serving = asyncio.create_task(bot.serve(login=sign_in))
        await greeted.wait()
        bot.stop()
        async with asyncio.timeout(10):
            await serving


class Life:
    """A bot on a gateway, its owner, and the states it went through."""

    def __init__(self, gateway: LocalGateway, owner: Person, folder: Path) -> None:
        self.gateway = gateway
        self.owner = owner
        self.folder = folder
        self.logins = 0
        self.states: list[SessionState] = []
        self.bot = Bot(
            data=folder, base_url=gateway.api_url, clock=HastyClock(), policies=FAST, environ={}, allow="anyone"
        )
        self.bot.on_state(self.states.append)
        echo(self.bot)

    async def sign_in(self, accounts: Accounts) -> Any:
        self.logins += 1
        return await login_of(self.gateway, self.owner, asyncio.Event())(accounts)

    async def sign_in_again(self) -> None:
        """What `ilink login` does, in another process."""
        async with SqliteAccounts(self.folder) as accounts:
            await login_of(self.gateway, self.owner, asyncio.Event())(accounts)

    async def until(self, state: SessionState) -> None:
        await eventually(lambda: self.bot.state is state)


@pytest.fixture
async def life(tmp_path: Path) -> Any:
    async with LocalGateway(knobs={"poll.error_delay_ms": 1}) as gateway:
        yield Life(gateway, await gateway.person("alice"), tmp_path)


class TestOnTheGateway:
    async def test_a_token_that_dies_stops_polling_at_once_and_a_login_goes_on_where_it_was(self, life: Life) -> None:
        gateway, alice = life.gateway, life.owner
        async with running(life.bot, login=life.sign_in):
            await eventually(lambda: alice.bot_id is not None)
            await alice.says("one")
            assert await alice.hears() == "You said: one"
            old = alice.bot_id
            assert old is not None
            await gateway.rules.expire_bot(old)
            await life.until(SessionState.EXPIRED)
            polls = len(gateway.rules.wire_log(limit=1000))
            await asyncio.sleep(0.05)
            assert len(gateway.rules.wire_log(limit=1000)) == polls
            await life.bot.send(alice.user_id, "meanwhile")
            await life.sign_in_again()
            await life.until(SessionState.ACTIVE)
            await alice.says("two")
            heard = [await alice.hears(), await alice.hears()]
        assert sorted(heard) == ["You said: two", "meanwhile"]
        assert life.states[:2] == [SessionState.ACTIVE, SessionState.EXPIRED]
        assert life.states[-2:] == [SessionState.ACTIVE, SessionState.STOPPED]
        assert life.logins == 1  # a code is never shown from the loop
        gateway.assert_no_findings(ignore={"two_pollers", "context_token_missing"})  # the heir had none yet

    async def test_an_owner_who_signs_in_elsewhere_displaces_the_bot_and_brings_it_back(self, life: Life) -> None:
        gateway, alice = life.gateway, life.owner
        await gateway.rules.configure(knobs={"bind.revoke_delay_s": 0})
        async with running(life.bot, login=life.sign_in):
            await eventually(lambda: alice.bot_id is not None)
            await alice.says("one")
            await alice.hears()
            old = alice.bot_id
            assert old is not None
            await gateway.rules.rebind_bot(old)
            await life.until(SessionState.EXPIRED)
            await life.sign_in_again()
            await life.until(SessionState.ACTIVE)
            await alice.says("two")
            assert await alice.hears() == "You said: two"
        assert SessionState.DISPLACED in life.states or alice.bot_id == old

    async def test_a_new_generation_of_the_stream_is_read_from_its_beginning_and_nothing_twice(
        self, life: Life
    ) -> None:
        gateway, alice = life.gateway, life.owner
        async with running(life.bot, login=life.sign_in):
            await eventually(lambda: alice.bot_id is not None)
            for text in ("one", "two"):
                await alice.says(text)
                assert await alice.hears() == f"You said: {text}"
            assert alice.bot_id is not None
            await gateway.rules.rotate_bot(alice.bot_id)
            await alice.says("three")
            assert await alice.hears() == "You said: three"
            entries = await gateway.rules.transcript(alice.bot_id, alice.user_id)
        assert len([entry for entry in entries if entry.direction == "out"]) == 3

    async def test_a_server_that_confirms_nothing_suspends_the_session_until_it_does_again(self, life: Life) -> None:
        gateway, alice = life.gateway, life.owner
        async with running(life.bot, login=life.sign_in):
            await eventually(lambda: alice.bot_id is not None)
            await alice.says("one")
            await alice.hears()
            fault = gateway.fault("sendmessage", omit=["message_id"])
            for number in range(5):
                await alice.says(str(number))
                await alice.hears()
            await life.until(SessionState.SUSPENDED)
            fault.remove()
            await alice.says("again")
            await alice.hears()
            await life.until(SessionState.ACTIVE)

    @pytest.mark.parametrize("conflict", ["newest", "split", "http403", "stale"])
    async def test_two_bots_on_one_token_answer_every_message_once_between_them(
        self, tmp_path: Path, conflict: str
    ) -> None:
        """The second is another machine with a copy of the token; each has its own journal."""
        knobs = {"poll.conflict": conflict, "poll.error_delay_ms": 1, "poll.consume_on_send": True}
        async with LocalGateway(knobs=knobs) as gateway:
            alice = await gateway.person("alice")
            one, two = Life(gateway, alice, tmp_path / "1"), Life(gateway, alice, tmp_path / "2")
            async with running(one.bot, login=one.sign_in):
                await eventually(lambda: alice.bot_id is not None)

                async def copy(accounts: Accounts) -> Any:
                    async with SqliteAccounts(tmp_path / "1") as originals:
                        (original,) = await originals.list()
                    return await accounts.put(original.account)

                async with running(two.bot, login=copy):
                    said = [str(number) for number in range(5)]
                    for text in said:
                        await alice.says(text)
                    heard = [await alice.hears() for _ in said]
                    assert sorted(heard) == [f"You said: {text}" for text in said]
                    assert one.bot.state is not SessionState.EXPIRED or two.bot.state is not SessionState.EXPIRED


async def test_a_poll_that_hangs_at_the_gateway_is_given_up_and_the_next_brings_the_message(tmp_path: Path) -> None:
    async with LocalGateway() as gateway:
        alice = await gateway.person("alice")
        clock = HastyClock()
        bot = Bot(data=tmp_path, base_url=gateway.api_url, clock=clock, environ={})
        seen = echo(bot)
        hanging = gateway.fault("getupdates", hang=True, times=1)
        async with running(bot, login=login_of(gateway, alice, asyncio.Event())):
            await eventually(lambda: hanging.hits == 1)
            await alice.says("hi")
            for _ in range(11):
                clock.late += 5.0
                clock.slept.clear()
                await eventually(lambda: 5.0 in clock.slept)
            assert await alice.hears() == "You said: hi"
    assert PollAbandoned in {type(incident) for incident in seen}


async def test_a_client_that_is_opened_for_a_new_login_uses_its_token(tmp_path: Path) -> None:
    """What `Bot` gives a client is the account as it is stored now."""
    account = Account(account_id=AccountId("a@im.bot"), token=Secret("t"), base_url="http://x", owner_id=UserId("o"))
    async with SqliteAccounts(tmp_path) as accounts:
        stored = await accounts.put(account)
        client = Bot(data=tmp_path, environ={})._blueprint.open_client(stored)
        assert isinstance(client, Client)
        assert client.account == account
