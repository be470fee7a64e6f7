"""What does not fit waits, whatever restarts; what comes too late goes; and nothing storms against a closed door."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bot_house import FAST, Connection, HastyClock, Server, running, words

from ilink import (
    Accepted,
    Bot,
    Deferred,
    DeferredWhy,
    Expired,
    Message,
    RateLimitedError,
    Receipt,
    SessionState,
    WindowClosedError,
)
from ilink.bot import scheduler
from ilink.flows.window import Confidence
from ilink.messages.outgoing import OutgoingMessage, SendReceipt

Make = Callable[..., Bot]

CLOSED = WindowClosedError("-2", endpoint="sendmessage", ret=-2, errmsg="prepare failed")
LIMITED = RateLimitedError("-2", endpoint="sendmessage", ret=-2, errmsg="freq limit")
HOUR_MS = 3_600_000


def listening(bot: Bot, server: Server) -> Bot:
    @bot.on_any()
    async def listen(message: Message) -> None:
        server.handled.append(message.text)  # type: ignore[attr-defined]
        server.change()

    server.handled = []  # type: ignore[attr-defined]
    return bot


async def hear(server: Server, user: str = "a") -> None:
    """Let the bot hear a user, all the way."""
    before = len(server.handled)  # type: ignore[attr-defined]
    server.says(user, "hi")
    await server.until(lambda: len(server.handled) > before)  # type: ignore[attr-defined]


async def until_deferred(bot: Bot, client_id: str, why: DeferredWhy) -> Deferred:
    async with asyncio.timeout(45):
        while True:
            receipt = await bot.outbox.receipt(client_id)
            if isinstance(receipt, Deferred) and receipt.why is why:
                return receipt
            await asyncio.sleep(0.005)


class TestWaiting:
    async def test_a_refusal_is_tried_once_however_much_waits(self, server: Server, make_bot: Make) -> None:
        tried: list[str] = []

        def refuse(message: object) -> WindowClosedError:
            tried.append(str(message))
            return CLOSED

        async with running(listening(make_bot(), server)) as bot:
            await hear(server)
            server.fault_for = refuse
            sent = [await bot.send("a", str(number)) for number in range(8)]
            await until_deferred(bot, sent[0].client_id, DeferredWhy.WINDOW)
            for _ in range(20):
                bot._runner_of(None)._sending.senders.look_again()  # type: ignore[union-attr]
                await asyncio.sleep(0.005)
            assert len(tried) == 1
            server.fault_for = lambda _message: None
            await hear(server)
            await server.until(lambda: len(server.sent) == 8)
        assert words(server.sent) == [str(number) for number in range(8)]

    async def test_a_user_who_writes_opens_the_door_at_once(self, server: Server, folder: Path) -> None:
        bot = Bot(data=folder, open_client=server.open, environ={}, allow="anyone", policies=FAST)  # no hasty clock
        async with running(listening(bot, server)):
            await hear(server)
            server.send_faults.append(CLOSED)
            sent = await bot.send("a", "one")
            lanes = bot._runner_of(None)._sending.senders._scheduler  # type: ignore[union-attr]
            async with asyncio.timeout(45):
                while (lane := lanes.find("u:a")) is None or lane.pause is None:  # noqa: ASYNC110  # it tells nobody
                    await asyncio.sleep(0.001)
            await hear(server)
            assert isinstance(await bot.outbox.receipt(sent.client_id, wait=10), Accepted)

    async def test_a_user_who_writes_to_a_door_that_stays_closed_costs_one_try(
        self, server: Server, make_bot: Make
    ) -> None:
        tried: list[str] = []

        def refuse(message: object) -> WindowClosedError:
            tried.append(str(message))
            server.change()
            return CLOSED

        async with running(listening(make_bot(), server)) as bot:
            await hear(server)
            server.fault_for = refuse
            for number in range(5):
                await bot.send("a", str(number))
            await server.until(lambda: len(tried) == 1)
            for expected in (2, 3):
                await hear(server)
                await server.until(lambda expected=expected: len(tried) == expected)
            for _ in range(10):
                await asyncio.sleep(0.005)
            assert len(tried) == 3

    async def test_an_early_refusal_is_probed_by_one_message_and_then_all_goes_out(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        tried: list[str] = []

        def refuse(message: object) -> WindowClosedError | None:
            tried.append(str(message))
            server.change()
            return CLOSED if len(tried) < 3 else None

        async with running(listening(make_bot(), server)) as bot:
            await hear(server)
            server.fault_for = refuse
            for number in range(4):
                await bot.send("a", str(number))
            await server.until(lambda: len(tried) == 1)
            clock.ahead_ms += HOUR_MS // 2 + 1
            await server.until(lambda: len(tried) == 2)
            for _ in range(20):
                await asyncio.sleep(0.005)
            assert len(tried) == 2
            clock.ahead_ms += HOUR_MS + 1
            await server.until(lambda: len(server.sent) == 4)
        assert words(server.sent) == ["0", "1", "2", "3"]

    async def test_too_many_calls_are_not_repeated_within_the_pause(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        server.send_faults.append(LIMITED)
        async with running(listening(make_bot(), server)) as bot:
            await hear(server)
            sent = await bot.send("a", "one")
            receipt = await until_deferred(bot, sent.client_id, DeferredWhy.RATE)
            assert receipt.until is not None
            assert 25 < receipt.until.timestamp() - clock.now_ms() / 1000 <= 30
            forecast = await bot.can_send("a")
            assert (forecast.left, forecast.confidence) == (0, Confidence.TOLD)
            assert server.sent == []
            clock.ahead_ms += 30_001
            await server.until(lambda: len(server.sent) == 1)


class TestExpiry:
    async def test_what_waits_behind_a_closed_window_expires_though_nobody_writes(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        policies = replace(FAST, expire_seconds=3_600)
        async with running(listening(make_bot(policies=policies), server)) as bot:
            for number in range(11):
                server.says("a", f"hi {number}")
            await hear(server)
            server.fault_for = lambda _message: CLOSED
            sent = [await bot.send("a", str(number)) for number in range(3)]
            await until_deferred(bot, sent[0].client_id, DeferredWhy.WINDOW)
            clock.ahead_ms += HOUR_MS + 1
            for one in sent:
                assert isinstance(await bot.outbox.receipt(one.client_id, wait=10), Expired)
            server.fault_for = lambda _message: None
            await hear(server)
            assert isinstance(await bot.send("a", "fresh", wait=10), Accepted)
        assert words(server.sent) == ["fresh"]

    async def test_what_waited_while_no_bot_ran_expires_when_one_runs_again(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        policies = replace(FAST, expire_seconds=3_600)
        async with running(listening(make_bot(policies=policies), server)) as bot:
            await hear(server)
            server.fault_for = lambda _message: CLOSED
            sent = await bot.send("a", "old")
            await until_deferred(bot, sent.client_id, DeferredWhy.WINDOW)
        server.fault_for = lambda _message: None
        clock.ahead_ms += HOUR_MS + 1
        async with running(listening(make_bot(policies=policies), server)) as bot:
            assert isinstance(await bot.outbox.receipt(sent.client_id, wait=10), Expired)
        assert server.sent == []


class TestForecast:
    async def test_what_was_learned_from_a_refusal_is_known_after_a_restart(
        self, server: Server, make_bot: Make
    ) -> None:
        async with running(listening(make_bot(), server)) as bot:
            await hear(server)
            assert (await bot.can_send("a")).left == 10
            for number in range(4):
                await bot.send("a", str(number), wait=10)
            assert (await bot.can_send("a")).left == 6
            server.fault_for = lambda _message: CLOSED
            sent = await bot.send("a", "too much")
            await until_deferred(bot, sent.client_id, DeferredWhy.WINDOW)
            forecast = await bot.can_send("a")
            assert (forecast.left, forecast.confidence) == (0, Confidence.TOLD)
            assert "write first" in forecast.why
        async with running(listening(make_bot(), server)) as bot:
            assert await bot.can_send("a") == forecast
            server.fault_for = lambda _message: None
            await hear(server)
            await server.until(lambda: len(server.sent) == 5)
            learned = await bot.can_send("a")
            assert (learned.left, learned.confidence) == (4, Confidence.LEARNED)
        elsewhere = await make_bot().can_send("a")  # without a bot that runs
        assert (elsewhere.left, elsewhere.confidence) == (4, Confidence.LEARNED)

    async def test_the_24_hours_are_counted_across_restarts(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        async with running(listening(make_bot(), server)):
            await hear(server)
        clock.ahead_ms += 23 * HOUR_MS
        async with running(listening(make_bot(), server)) as bot:
            assert (await bot.can_send("a")).can_send
            clock.ahead_ms += HOUR_MS + 1
            forecast = await bot.can_send("a")
            assert not forecast.can_send
            assert "24 hours" in forecast.why
            receipt = await bot.send("a", "hello?", wait=0.05)
            assert isinstance(receipt, Deferred)
            assert receipt.why is DeferredWhy.WINDOW
        assert server.sent == []

    async def test_the_allowance_is_counted_across_restarts(self, server: Server, make_bot: Make) -> None:
        async with running(listening(make_bot(), server)) as bot:
            await hear(server)
            for number in range(7):
                await bot.send("a", str(number), wait=10)
        async with running(listening(make_bot(), server)) as bot:
            assert (await bot.can_send("a")).left == 3
            sent = [await bot.send("a", f"again {number}") for number in range(4)]
            await until_deferred(bot, sent[3].client_id, DeferredWhy.WINDOW)
            assert len(server.sent) == 10


class TestProgress:
    async def test_newer_progress_replaces_what_waits_and_the_answer_all_of_it(
        self, server: Server, make_bot: Make
    ) -> None:
        bot = make_bot(policies=replace(FAST, sends=1))
        has_said, may_send = asyncio.Event(), asyncio.Event()

        @bot.on_text()
        async def answer(message: Message) -> None:
            if message.text == "go":
                for number in range(5):
                    await message.reply(f"step {number}", progress=True, wait=0)
                has_said.set()
            else:
                await message.reply(f"step of {message.text}", progress=True)
                await message.reply("done")

        true_send = Connection.send_message

        async def wait_then_send(self: Connection, message: OutgoingMessage) -> SendReceipt:
            await may_send.wait()
            return await true_send(self, message)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Connection, "send_message", wait_then_send)
            async with running(bot):
                server.says("a", "go")
                await asyncio.wait_for(has_said.wait(), 10)
                may_send.set()
                await server.until(lambda: "step 4" in server.heard("a"))
                server.says("a", "more")
                await server.until(lambda: "done" in server.heard("a"))
        # The first was on its way when the others came.
        assert server.heard("a") == ["step 0", "step 4", "done"]

    async def test_while_the_window_is_closed_only_what_matters_is_kept(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        bot = make_bot()

        @bot.on_text()
        async def answer(message: Message) -> None:
            await message.reply("step", progress=True)
            await message.reply(f"answer to {message.text}")
            await message.reply("and one more step", progress=True)

        server.send_faults.append(CLOSED)
        async with running(bot):
            server.says("a", "one")
            await server.until(lambda: not server.send_faults)
            server.says("a", "two")
            await server.until(lambda: len(server.sent) >= 2)
        assert [text for text in server.heard("a") if text.startswith("answer")] == ["answer to one", "answer to two"]
        assert server.heard("a").count("step") == 0

    async def test_progress_for_which_the_window_is_over_is_left_out_at_once(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        bot = make_bot()
        receipts: list[Receipt] = []

        @bot.on_text()
        async def answer(message: Message) -> None:
            clock.ahead_ms += 25 * HOUR_MS
            receipts.append(await message.reply("step", progress=True, wait=5))
            server.change()

        async with running(bot):
            server.says("a", "hi")
            await server.until(lambda: bool(receipts))
        assert isinstance(receipts[0], Expired)

    async def test_progress_at_the_end_of_what_is_in_memory_makes_room_for_what_is_not(
        self, server: Server, make_bot: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scheduler, "_PAGE", 2)
        bot = make_bot()

        @bot.on_text()
        async def answer(message: Message) -> None:
            if message.text == "go":
                await message.reply("one", wait=0)
                await message.reply("step", progress=True, wait=0)
                await message.reply("done")

        server.send_faults.append(CLOSED)
        async with running(bot):
            server.says("a", "go")
            lanes = bot._runner_of(None)._sending.senders._scheduler.lanes  # type: ignore[union-attr]
            async with asyncio.timeout(45):
                while (await bot.counts()).outgoing < 3 or not any(lane.pause for lane in lanes):  # noqa: ASYNC110  # they tell nobody
                    await asyncio.sleep(0.001)
            server.says("a", "well?")
            await server.until(lambda: "done" in server.heard("a"))
        assert server.heard("a") == ["one", "done"]


class TestQuiet:
    async def test_the_streak_begins_anew_with_every_confirmation(self, server: Server, make_bot: Make) -> None:
        states: list[SessionState] = []
        bot = listening(make_bot(), server)
        bot.on_state(states.append)
        async with running(bot):
            for user in range(4):
                await hear(server, f"user-{user}")
            for round_ in range(3):
                server.confirms = True
                await bot.send("user-0", "yes", wait=10)
                server.confirms = False
                for user in range(4):
                    await bot.send(f"user-{user}", f"{round_}", wait=10)
            assert SessionState.SUSPENDED not in states
            await bot.send("user-1", "the fifth", wait=10)
            assert bot.state is SessionState.SUSPENDED
            server.confirms = True
            await bot.send("user-1", "yes", wait=10)
            assert bot.state is SessionState.ACTIVE

    async def test_a_server_that_never_confirms_is_just_of_that_kind(self, server: Server, make_bot: Make) -> None:
        server.confirms = False
        async with running(listening(make_bot(), server)) as bot:
            await hear(server)
            for number in range(8):
                await bot.send("a", str(number), wait=10)
            assert bot.state is SessionState.ACTIVE
