"""What a bot does when something does not work: on the way in, in the handler, on the way out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from bot_house import ACCOUNT, FAST, OWNER, HastyClock, Server, running, sign_in, text_update, words

from ilink import (
    Bot,
    ConnectError,
    Deferred,
    DeferredWhy,
    Expired,
    Message,
    OnUnknown,
    OutcomeUnknownError,
    RateLimitedError,
    Rejected,
    RequestRejectedError,
    ServerError,
    SessionState,
    StaleTokenError,
    StoreLockedError,
    Unknown,
    WindowClosedError,
)
from ilink.bot.lanes import Lanes
from ilink.flows.polling import Backoff
from ilink.storage.accounts_sqlite import SqliteAccounts
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, Secret

Make = Callable[..., Bot]

CLOSED = WindowClosedError("-2", endpoint="sendmessage", ret=-2, errmsg="prepare failed")
STALE = StaleTokenError("-14", endpoint="getupdates", ret=-14, errcode=-14)


class Halfway(Random):
    """Draws the middle."""

    def random(self) -> float:
        return 0.5


def echo(bot: Bot) -> Bot:
    @bot.on_text()
    async def say_it_again(message: Message) -> None:
        await message.reply(f"You said: {message.text}")

    return bot


class TestIncoming:
    async def test_a_message_that_comes_twice_is_answered_once(self, server: Server, make_bot: Make) -> None:
        async with running(echo(make_bot())):
            update = server.says("a", "hi")
            await server.until(lambda: len(server.sent) == 1)
            server.hands_out(update, update)
            server.says("a", "bye")
            await server.until(lambda: len(server.sent) == 2)
        async with running(echo(make_bot())):
            server.hands_out(update)
            server.says("a", "back")
            await server.until(lambda: len(server.sent) == 3)
        assert server.heard("a") == ["You said: hi", "You said: bye", "You said: back"]

    async def test_the_same_words_said_twice_are_two_messages(self, server: Server, make_bot: Make) -> None:
        async with running(echo(make_bot())):
            server.says("a", "ok")
            server.says("a", "ok")
            nameless = text_update(9, "a", "ok", message_id=None)
            server.hands_out(nameless, nameless)
            await server.until(lambda: len(server.sent) == 4)
        assert server.heard("a") == ["You said: ok"] * 4

    async def test_what_cannot_be_read_is_kept_as_a_dead_letter_and_stops_nobody(
        self, server: Server, make_bot: Make, folder: Path
    ) -> None:
        async with running(echo(make_bot())):
            server.hands_out(b"[1, 2]", b'"text"', b"17", b'{"message_id": 5}', b'{"item_list": 3, "from_user_id": {}}')
            server.says("a", "hi")
            await server.until(lambda: len(server.sent) == 1)
        async with SqliteAccounts(folder) as accounts, SqliteJournal(accounts.database, ACCOUNT.account_id) as journal:
            dead = await journal.read_dead()
        assert [letter.raw for letter in dead][:3] == [b"[1, 2]", b'"text"', b"17"]
        assert len(dead) == 5
        assert all("cannot be read" in (letter.error or "") for letter in dead)

    async def test_the_next_poll_presents_the_cursor_that_was_stored(self, server: Server, make_bot: Make) -> None:
        async with running(echo(make_bot())):
            server.says("a", "hi")
            await server.until(lambda: len(server.polls) == 2)
        async with running(echo(make_bot())):
            await server.until(lambda: len(server.polls) == 3)
        assert server.polls == ["", "cursor-1", "cursor-1"]

    async def test_polls_that_fail_are_repeated_with_growing_pauses(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        server.poll_errors.extend([ServerError("500", endpoint="getupdates", http_status=500)] * 3)
        server.poll_errors.append(ConnectError("refused"))
        async with running(echo(make_bot())):
            server.says("a", "hi")
            await server.until(lambda: len(server.sent) == 1)
        assert len([pause for pause in clock.slept if 0.2 < pause <= 60]) >= 4

    async def test_a_poll_that_is_refused_for_good_ends_the_bot(self, server: Server, make_bot: Make) -> None:
        server.poll_errors.extend([RequestRejectedError("no", endpoint="getupdates", http_status=400)] * 10)
        with pytest.raises(RequestRejectedError):
            await echo(make_bot()).serve(login=sign_in)


class TestHandlers:
    async def test_a_failed_handler_runs_again_and_its_replies_count_once(self, server: Server, make_bot: Make) -> None:
        bot = make_bot()
        attempts = []

        @bot.on_text()
        async def answer(message: Message) -> None:
            attempts.append((message.attempt, message.key))
            await message.reply("one")
            await message.reply("now", wait=5)
            if message.attempt < 3:
                raise ValueError("not yet")
            await message.reply("two")

        async with running(bot):
            server.says("a", "hi")
            await server.until(lambda: len(server.sent) == 3)
        assert [attempt for attempt, _ in attempts] == [1, 2, 3]
        assert len({key for _, key in attempts}) == 1
        assert server.heard("a") == ["one", "now", "two"]
        assert set(server.by_client_id.values()) == {1}

    async def test_a_failing_message_holds_up_its_own_conversation_only(self, server: Server, make_bot: Make) -> None:
        bot = make_bot(policies=replace(FAST, attempts=1_000_000))  # however long the other one takes
        may_pass = asyncio.Event()

        @bot.on_text()
        async def answer(message: Message) -> None:
            if message.text == "bad" and not may_pass.is_set():
                raise ValueError("bad")
            await message.reply(message.text)

        async with running(bot):
            server.says("a", "bad")
            server.says("a", "after")
            server.says("b", "good")
            await server.until(lambda: server.heard("b") == ["good"])
            assert server.heard("a") == []
            may_pass.set()
            await server.until(lambda: len(server.sent) == 3)
        assert server.heard("a") == ["bad", "after"]

    async def test_a_message_that_always_fails_becomes_a_dead_letter_and_the_lane_goes_on(
        self, server: Server, make_bot: Make, folder: Path
    ) -> None:
        bot = make_bot()
        dead: list[Any] = []
        bot.on_dead_letter(lambda letter, error: dead.append((letter, error)))

        @bot.on_text()
        async def answer(message: Message) -> None:
            if message.text == "poison":
                raise ValueError("cannot take this")
            await message.reply(message.text)

        async with running(bot):
            server.says("a", "poison")
            server.says("a", "after")
            await server.until(lambda: server.heard("a") == ["after"])
        ((letter, error),) = dead
        assert letter.attempts == FAST.attempts
        assert "cannot take this" in letter.error
        assert isinstance(error.__cause__, ValueError)
        async with SqliteAccounts(folder) as accounts, SqliteJournal(accounts.database, ACCOUNT.account_id) as journal:
            assert await journal.replay([letter.sequence]) == ["u:a"]
        healed = make_bot()
        healed.on_text()(say_healed)
        async with running(healed):
            await server.until(lambda: server.heard("a") == ["after", "healed: poison"])

    async def test_a_slow_handler_stalls_neither_the_poll_nor_others(self, server: Server, make_bot: Make) -> None:
        bot = make_bot()
        may_go_on = asyncio.Event()

        @bot.on_text()
        async def answer(message: Message) -> None:
            if message.user == "slow":
                await may_go_on.wait()
            await message.reply(message.text)

        async with running(bot):
            server.says("slow", "1")
            for number in range(100):
                server.says("quick", str(number))
            await server.until(lambda: len(server.heard("quick")) == 100)
            assert server.heard("slow") == []
            may_go_on.set()
            await server.until(lambda: server.heard("slow") == ["1"])

    async def test_a_handler_that_takes_too_long_is_a_failed_handler(self, server: Server, make_bot: Make) -> None:
        bot = make_bot(policies=replace(FAST, handler_seconds=0.01))

        @bot.on_text()
        async def answer(message: Message) -> None:
            if message.attempt == 1:
                await asyncio.Event().wait()
            await message.reply("second try")

        async with running(bot):
            server.says("a", "hi")
            await server.until(lambda: server.heard("a") == ["second try"])

    async def test_a_cancellation_inside_a_handler_is_a_failure_of_it(self, server: Server, make_bot: Make) -> None:
        bot = make_bot()

        @bot.on_text()
        async def answer(message: Message) -> None:
            if message.attempt == 1:
                raise asyncio.CancelledError
            await message.reply("second try")

        async with running(bot):
            server.says("a", "hi")
            await server.until(lambda: server.heard("a") == ["second try"])

    async def test_long_queues_stay_in_the_journal_and_in_order(self, server: Server, make_bot: Make) -> None:
        bot = make_bot()
        may_go_on = asyncio.Event()

        @bot.on_text()
        async def answer(message: Message) -> None:
            await may_go_on.wait()
            await message.reply(message.text)

        server.batch = 100
        async with running(bot) as running_bot:
            for number in range(1000):
                server.says("a", str(number))
            await server.until(lambda: not server.mail and len(server.polls) == 11)
            (lane,) = running_lanes(running_bot)._scheduler.lanes
            assert len(lane.waiting) <= 50
            may_go_on.set()
            await server.until(lambda: len(server.sent) == 1000)
        assert server.heard("a") == [str(number) for number in range(1000)]


async def say_healed(message: Message) -> None:
    await message.reply(f"healed: {message.text}")


class TestOutgoing:
    async def test_a_refused_message_waits_until_the_user_writes_and_is_not_tried_before(
        self, server: Server, make_bot: Make
    ) -> None:
        tried: list[str] = []

        def refuse(message: Any) -> Any:
            tried.append(message.client_id)
            return CLOSED if is_closed else None

        server.fault_for = refuse
        is_closed = True
        async with running(echo(make_bot())) as bot:
            server.says("a", "one")
            await server.until(lambda: len(tried) == 1)
            receipt = await bot.send("a", "more", wait=0.05)
            forecast = await bot.can_send("a")
            server.says("b", "hello")
            await server.until(lambda: len(tried) == 2)
            assert len(set(tried)) == 2
            is_closed = False
            server.says("a", "two")
            await server.until(lambda: len(server.heard("a")) == 3)
        assert isinstance(receipt, Deferred)
        assert receipt.why is DeferredWhy.WINDOW
        assert not forecast.can_send
        assert server.heard("a") == ["You said: one", "more", "You said: two"]

    async def test_a_refused_message_survives_a_restart(self, server: Server, make_bot: Make) -> None:
        server.send_faults.append(CLOSED)
        async with running(echo(make_bot())):
            server.says("a", "one")
            await server.until(lambda: not server.send_faults)
        server.fault_for = lambda message: AssertionError("the window is closed")  # type: ignore[assignment, return-value]
        async with running(echo(make_bot())) as bot:
            receipt = await bot.send("a", "more", wait=0.05)
            assert isinstance(receipt, Deferred)
            server.fault_for = lambda message: None
            server.says("a", "two")
            await server.until(lambda: len(server.sent) == 3)
        assert server.heard("a") == ["You said: one", "more", "You said: two"]

    async def test_too_many_calls_make_a_pause_of_the_length_the_server_wants(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        server.send_faults.append(RateLimitedError("429", endpoint="sendmessage", retry_after=50.0))
        async with running(echo(make_bot())):
            server.says("a", "one")
            await server.until(lambda: not server.send_faults)
            await server.until_slept(clock, 49.0, below=60.0)
            clock.ahead_ms += 51_000
            await server.until(lambda: len(server.sent) == 1)

    @pytest.mark.parametrize(
        "fault",
        [
            ConnectError("refused"),
            ServerError("-1", endpoint="sendmessage", ret=-1),
            OutcomeUnknownError("no answer"),
        ],
        ids=lambda fault: type(fault).__name__,
    )
    async def test_what_passes_is_tried_again_as_the_same_message(
        self, server: Server, make_bot: Make, fault: Any
    ) -> None:
        names: list[str] = []

        def count(message: Any) -> None:
            names.append(message.client_id)

        server.fault_for = count
        server.send_faults.extend([fault, fault])
        async with running(echo(make_bot())):
            server.says("a", "one")
            await server.until(lambda: len(server.sent) == 1)
        assert names == [server.sent[0].client_id]

    @pytest.mark.parametrize(
        "away", [ConnectError("refused"), ServerError("HTTP 503", endpoint="sendmessage", http_status=503)], ids=str
    )
    async def test_while_the_server_is_away_nothing_is_given_up(
        self, server: Server, make_bot: Make, away: Any
    ) -> None:
        server.send_faults.extend([away] * 30)
        async with running(echo(make_bot())):
            server.says("a", "one")
            await server.until(lambda: len(server.sent) == 1)

    async def test_pauses_before_the_server_is_tried_again_grow_to_a_ceiling(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        server.send_faults.extend([ConnectError("refused")] * 5)
        growing = Backoff(first=100.0, ceiling=700.0, floor=100.0)
        async with running(echo(make_bot(policies=replace(FAST, send_backoff=growing), random=Halfway()))):
            server.says("a", "one")
            await server.until(lambda: len(server.sent) == 1)
        pauses = [round(pause, 1) for pause in clock.slept if 100 <= pause <= 700]
        assert pauses == [100, 100, 200, 350, 350]

    async def test_words_that_no_store_takes_end_nothing(
        self, server: Server, make_bot: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.CRITICAL)  # what is logged has them too, and no report of a test can
        bot, half = make_bot(), "half an emoji: \ud83d"
        dead: list[str | None] = []
        bot.on_dead_letter(lambda letter, _error: (dead.append(letter.error), server.change())[0])

        @bot.on_text()
        async def answer(message: Message) -> None:
            if message.text == "bad":
                raise ValueError(half)
            await message.reply(message.text)

        async with running(bot):
            server.says("a", "bad")
            await server.until(lambda: len(dead) == 1)
            server.send_faults.append(RequestRejectedError(half, endpoint="sendmessage", ret=-3))
            receipt = await bot.send("a", "hi", wait=5)
            server.says("b", "good")
            await server.until(lambda: server.heard("b") == ["good"])
        assert dead[0] is not None
        assert "half an emoji: \\ud83d" in dead[0]
        assert isinstance(receipt, Rejected)
        assert receipt.reason == "half an emoji: \\ud83d"

    async def test_a_rejected_message_is_not_repeated_and_the_next_goes_out(
        self, server: Server, make_bot: Make
    ) -> None:
        async with running(echo(make_bot())) as bot:
            server.send_faults.append(RequestRejectedError("wrong id", endpoint="sendmessage", ret=-3))
            receipt = await bot.send("A@wrong", "hi", wait=5)
            assert isinstance(receipt, Rejected)
            assert receipt.code == -3
            with pytest.raises(RequestRejectedError):
                receipt.raise_for_status()

    async def test_an_unknown_outcome_can_be_left_alone(self, server: Server, make_bot: Make) -> None:
        async with running(echo(make_bot(policies=replace(FAST, on_unknown=OnUnknown.DROP)))) as bot:
            server.send_faults.append(OutcomeUnknownError("no answer"))
            receipt = await bot.send("a", "hi", wait=5)
            assert isinstance(receipt, Unknown)
            with pytest.raises(OutcomeUnknownError):
                receipt.raise_for_status()
            await bot.send("a", "next", wait=5)
        assert words(server.sent) == ["next"]

    async def test_an_unknown_outcome_can_wait_for_a_decision(self, server: Server, make_bot: Make) -> None:
        async with running(echo(make_bot(policies=replace(FAST, on_unknown=OnUnknown.ASK)))) as bot:
            server.send_faults.append(OutcomeUnknownError("no answer"))
            await bot.send("a", "hi")
            await server.until(lambda: not server.send_faults)
            receipt = await bot.send("a", "next", wait=0.1)
            assert isinstance(receipt, Deferred)
            assert receipt.why is DeferredWhy.DECISION
        assert server.sent == []

    async def test_a_message_that_waited_too_long_expires(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        server.send_faults.append(CLOSED)
        async with running(echo(make_bot(policies=replace(FAST, expire_seconds=3600)))) as bot:
            server.says("a", "one")
            await server.until(lambda: not server.send_faults)
            old = await bot.send("a", "old news")
            clock.ahead_ms += 3_601_000
            server.says("a", "two")
            await server.until(lambda: len(server.sent) == 1)
            assert isinstance(await bot.outbox.receipt(old.client_id, wait=1), Expired)
        assert server.heard("a") == ["You said: two"]

    async def test_one_conversation_never_has_two_messages_on_the_way(self, server: Server, make_bot: Make) -> None:
        async with running(echo(make_bot())):
            for number in range(30):
                server.says("a", str(number))
            await server.until(lambda: len(server.sent) == 30)
        assert server.most_sending == 1


class TestAccount:
    async def test_a_refused_token_stops_polling_and_keeps_everything(self, server: Server, make_bot: Make) -> None:
        states: list[SessionState] = []
        bot = echo(make_bot())
        bot.on_state(lambda state: (states.append(state), server.change())[0])
        server.send_faults.append(replace_stale("sendmessage"))
        async with running(bot):
            server.says("a", "one")
            await server.until(lambda: not server.send_faults)
            server.poll_errors.extend([STALE, STALE])
            server.change()
            await server.until(lambda: bot.state is SessionState.EXPIRED)
            polls = len(server.polls)
            assert server.sent == []
            async with SqliteAccounts(bot._blueprint.place.folder) as accounts:
                await accounts.put(ACCOUNT)
            await server.until(lambda: len(server.sent) == 1)
            assert bot.state is SessionState.ACTIVE
            await server.until(lambda: len(server.polls) > polls)
        assert states == [SessionState.ACTIVE, SessionState.EXPIRED, SessionState.ACTIVE, SessionState.STOPPED]
        assert server.notified == ["start", "start", "start", "stop"]

    async def test_a_token_that_works_after_notifystart_is_no_expiry(self, server: Server, make_bot: Make) -> None:
        server.poll_errors.append(STALE)
        async with running(echo(make_bot())) as bot:
            server.says("a", "one")
            await server.until(lambda: len(server.sent) == 1)
            assert bot.state is SessionState.ACTIVE
        assert server.notified == ["start", "start", "stop"]

    async def test_the_owners_new_account_finishes_what_the_old_one_began(self, server: Server, make_bot: Make) -> None:
        bot = echo(make_bot())
        states: list[SessionState] = []
        bot.on_state(lambda state: (states.append(state), server.change())[0])
        async with running(bot):
            server.send_faults.append(CLOSED)
            server.says(OWNER, "one")
            await server.until(lambda: not server.send_faults)
            server.poll_errors.extend([STALE, STALE])
            server.change()
            await server.until(lambda: SessionState.EXPIRED in states)
            async with SqliteAccounts(bot._blueprint.place.folder) as accounts:
                await accounts.put(
                    Account(
                        account_id=AccountId("new@im.bot"),
                        token=Secret("n3w"),
                        base_url=ACCOUNT.base_url,
                        owner_id=OWNER,
                    )
                )
            await server.until(lambda: states.count(SessionState.ACTIVE) == 2)
            await server.until(lambda: len(server.sent) == 1)
        assert server.heard(OWNER) == ["You said: one"]
        assert SessionState.DISPLACED in states

    async def test_a_second_process_is_refused_and_told_who_runs_the_account(
        self, server: Server, make_bot: Make
    ) -> None:
        async with running(echo(make_bot())):
            await server.until(lambda: len(server.polls) == 1)
            with pytest.raises(StoreLockedError, match="in use by pid"):
                await echo(make_bot()).serve(login=sign_in)


class TestStopping:
    async def test_running_handlers_finish_and_their_replies_go_out(self, server: Server, make_bot: Make) -> None:
        bot = make_bot()
        began = asyncio.Event()
        may_finish = asyncio.Event()

        @bot.on_text()
        async def answer(message: Message) -> None:
            began.set()
            await may_finish.wait()
            await message.reply("finished")

        async with running(bot):
            server.says("a", "hi")
            server.says("a", "next time")
            await began.wait()
            lanes = running_lanes(bot)
            bot.stop()
            async with asyncio.timeout(45):
                while not lanes._scheduler.is_stopped:  # noqa: ASYNC110  # it tells nobody
                    await asyncio.sleep(0.001)
            may_finish.set()
        assert server.heard("a") == ["finished"]
        assert server.notified[-1] == "stop"
        may_finish.set()
        async with running(bot):
            await server.until(lambda: server.heard("a") == ["finished", "finished"])

    async def test_handlers_that_do_not_finish_in_time_run_again_next_time(
        self, server: Server, make_bot: Make
    ) -> None:
        bot = make_bot(policies=replace(FAST, stop_seconds=0.05))
        began = asyncio.Event()

        @bot.on_text()
        async def hang(message: Message) -> None:
            await message.reply("never")
            began.set()
            await asyncio.Event().wait()

        async with running(bot):
            server.says("a", "hi")
            await began.wait()
        assert server.sent == []
        async with running(echo(make_bot())):
            await server.until(lambda: server.heard("a") == ["You said: hi"])

    async def test_cancelling_serve_loses_nothing(self, server: Server, make_bot: Make) -> None:
        bot = make_bot()
        began = asyncio.Event()

        @bot.on_text()
        async def hang(message: Message) -> None:
            began.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(bot.serve(login=sign_in))
        server.says("a", "hi")
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with running(echo(make_bot())):
            await server.until(lambda: server.heard("a") == ["You said: hi"])

    async def test_a_batch_the_poll_returned_just_then_is_stored(self, server: Server, make_bot: Make) -> None:
        bot = echo(make_bot())
        async with running(bot):
            await server.until(lambda: len(server.polls) == 1)
            server.says("a", "hi")
            bot.stop()
        handed_out = not server.mail
        async with running(echo(make_bot())):
            await server.until(lambda: server.heard("a") == ["You said: hi"])
        assert handed_out


def running_lanes(bot: Bot) -> Lanes:
    runner = bot._runner_of(None)
    assert runner._handlers is not None
    return runner._handlers.lanes


def replace_stale(endpoint: str) -> StaleTokenError:
    return StaleTokenError("-14", endpoint=endpoint, ret=-14)


class TestProgress:
    async def test_progress_is_left_out_when_the_answer_is_there_already(self, server: Server, make_bot: Make) -> None:
        bot = make_bot()

        @bot.on_text()
        async def answer(message: Message) -> None:
            await message.reply("thinking", progress=True, wait=5)
            await message.reply("still thinking", progress=True)
            await message.reply("done")

        async with running(bot):
            server.says("a", "hi")
            await server.until(lambda: "done" in server.heard("a"))
        assert server.heard("a") == ["thinking", "done"]

    async def test_the_last_of_the_allowance_is_kept_for_the_answer(self, server: Server, make_bot: Make) -> None:
        bot = make_bot()

        @bot.on_text()
        async def answer(message: Message) -> None:
            for number in range(20):
                await message.reply(f"step {number}", progress=True, wait=5)
            await message.reply("done")

        async with running(bot):
            server.says("a", "hi")
            await server.until(lambda: "done" in server.heard("a"))
        assert server.heard("a") == [*(f"step {number}" for number in range(8)), "done"]

    async def test_a_server_that_stops_confirming_gets_only_what_matters(self, server: Server, make_bot: Make) -> None:
        bot = make_bot()
        states: list[SessionState] = []
        bot.on_state(lambda state: (states.append(state), server.change())[0])

        @bot.on_text()
        async def answer(message: Message) -> None:
            async with message.typing():
                await message.reply("thinking", progress=True, wait=5)
            await message.reply("done")

        async with running(bot):
            server.says("a", "hi")
            await server.until(lambda: len(server.sent) == 2)
            server.confirms = False
            for number in range(3):
                server.says(f"user-{number}", "hi")
            await server.until(lambda: SessionState.SUSPENDED in states)
            sent, typed = len(server.sent), len(server.typing)
            await server.until(lambda: len(server.sent) >= 7)
            server.says("z", "hi")
            await server.until(lambda: server.heard("z") == ["done"])
            assert not [user for user, _ in server.typing[typed:] if user == "z"]
            server.confirms = True
            server.says("z", "hi")
            await server.until(lambda: bot.state is SessionState.ACTIVE)
        assert sent >= 5


class TestBacklog:
    @pytest.mark.parametrize(
        ("backlog", "heard"),
        [("process", ["old", "new"]), ("skip", ["new"]), (lambda sent_at: sent_at.year == 2026, ["old", "new"])],
    )
    async def test_old_messages_are_handled_as_the_bot_wants(
        self, server: Server, make_bot: Make, clock: HastyClock, backlog: Any, heard: list[str]
    ) -> None:
        bot = make_bot(policies=replace(FAST, backlog=backlog))

        @bot.on_text()
        async def answer(message: Message) -> None:
            await message.reply(message.text)

        async with running(bot):
            server.says("a", "old", create_time_ms=1_790_000_000_000)
            server.says("a", "new", create_time_ms=clock.now_ms())
            await server.until(lambda: "new" in server.heard("a"))
        assert server.heard("a") == heard


async def test_a_running_bot_takes_up_what_another_process_replays(server: Server, make_bot: Make) -> None:
    bot = make_bot()
    dead: list[int] = []
    bot.on_dead_letter(lambda letter, _error: (dead.append(letter.sequence), server.change())[0])
    is_healed = False

    @bot.on_text()
    async def answer(message: Message) -> None:
        if not is_healed:
            raise ValueError("not yet")
        await message.reply("healed")

    async with running(bot):
        server.says("a", "hi")
        await server.until(lambda: bool(dead))
        is_healed = True
        folder = bot._blueprint.place.folder
        async with SqliteAccounts(folder) as accounts, SqliteJournal(accounts.database, ACCOUNT.account_id) as journal:
            await journal.replay(dead)
        await server.until(lambda: server.heard("a") == ["healed"])
