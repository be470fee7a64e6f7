"""Whoever may use the data folder may say something: other tasks, other threads, other processes."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from bot_house import running
from outbox_house import House, house, quiet_bot

from ilink import (
    Accepted,
    ConfigError,
    Deferred,
    DeferredWhy,
    Message,
    Receipt,
    SessionState,
    StoreError,
    StoreLockedError,
)
from ilink.bot.clock import WallClock
from ilink.bot.parts.sending import Sending
from ilink.storage.accounts_sqlite import SqliteAccounts, local_database
from ilink.storage.journal import Draft
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.storage.sqlite import Database

OTHER = Path(__file__).parent / "other_process.py"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path / "data") as home:
        yield home


async def other_process(home: House, text: str, *, wait: float = 20.0) -> str:
    """Say something from another process, and return the name of its receipt."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, OTHER, home.folder, home.alice.user_id, text, str(wait), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().strip()


class TestThreads:
    async def test_a_thread_without_a_loop_sends_through_the_loop_of_the_bot(self, home: House) -> None:
        async with quiet_bot(home) as bot:
            receipt = await asyncio.to_thread(bot.send_from_thread, home.alice.user_id, "from a thread", wait=20)
            assert isinstance(receipt, Accepted)
            assert await home.shown() == ["from a thread"]

    async def test_a_thread_with_a_loop_of_its_own_awaits(self, home: House) -> None:
        receipts: list[Receipt] = []
        async with quiet_bot(home) as bot:

            def work() -> None:
                async def speak() -> None:
                    receipts.append(await bot.send(home.alice.user_id, "from another loop", wait=20))
                    assert (await bot.can_send(home.alice.user_id)).can_send
                    assert await bot.outbox.asked() == []

                asyncio.run(speak())

            thread = threading.Thread(target=work)
            thread.start()
            await asyncio.to_thread(thread.join)
            assert isinstance(receipts[0], Accepted)

    async def test_many_threads_at_once_lose_nothing(self, home: House) -> None:
        await home.gateway.rules.configure(knobs={"quota.per_inbound": 1000})
        async with quiet_bot(home) as bot:
            # Ten, because the bot holds back what it thinks the window does not let through.
            sending = [
                asyncio.to_thread(bot.send_from_thread, home.alice.user_id, str(number), wait=20)
                for number in range(10)
            ]
            receipts = await asyncio.gather(*sending)
            assert all(isinstance(receipt, Accepted) for receipt in receipts)
        assert sorted(await home.shown()) == [str(number) for number in range(10)]

    async def test_blocking_an_event_loop_is_refused(self, home: House) -> None:
        bot = home.bot()
        with pytest.raises(ConfigError, match="await"):
            bot.send_from_thread(home.alice.user_id, "hi")

    async def test_a_thread_sends_without_a_running_bot(self, home: House) -> None:
        bot = home.bot()
        assert isinstance(await asyncio.to_thread(bot.send_from_thread, home.alice.user_id, "alone", wait=20), Accepted)


class TestBeginning:
    """What the bot's own program says before its bot has begun to send."""

    @staticmethod
    async def say_while_it_begins(home: House, monkeypatch: pytest.MonkeyPatch, *, wait: float) -> list[Receipt]:
        """Say something that is handed in before the bot has begun and stored afterwards, and one thing more."""
        handed_in, begun = asyncio.Event(), asyncio.Event()
        true_learn, true_enqueue = Sending.learn, SqliteJournal.enqueue

        async def learn(self: Sending) -> None:
            await handed_in.wait()
            await true_learn(self)

        def enqueue(self: SqliteJournal, drafts: Sequence[Draft], **options: Any) -> Any:
            if handed_in.is_set():
                return true_enqueue(self, drafts, **options)
            handed_in.set()

            async def later() -> Any:
                await begun.wait()
                return await true_enqueue(self, drafts, **options)

            return later()

        monkeypatch.setattr(Sending, "learn", learn)
        monkeypatch.setattr(SqliteJournal, "enqueue", enqueue)
        bot = home.bot(clock=WallClock())  # no hasty clock: it is told, not found by and by
        first: list[asyncio.Task[Receipt]] = []

        @bot.on_any()
        async def listen(_message: Message) -> None:
            begun.set()

        @bot.on_state
        def speak(_state: SessionState) -> None:
            if not first:
                first.append(asyncio.create_task(bot.send(home.alice.user_id, "one", wait=wait)))

        async with running(bot, login=None):
            one = await first[0]
            return [one, await bot.send(home.alice.user_id, "two", wait=20)]

    async def test_it_is_sent_before_what_is_said_afterwards(
        self, home: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, two = await self.say_while_it_begins(home, monkeypatch, wait=0)
        assert isinstance(two, Accepted)
        assert await home.shown() == ["one", "two"]

    async def test_who_waits_for_it_learns_what_became_of_it(
        self, home: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, _ = await self.say_while_it_begins(home, monkeypatch, wait=20)
        assert isinstance(one, Accepted)
        assert await home.shown() == ["one", "two"]


class TestProcesses:
    async def test_the_process_that_runs_the_bot_sends_what_another_one_says(self, home: House) -> None:
        async with quiet_bot(home, clock=WallClock()) as bot:  # no hasty clock: it is noticed, not found by and by
            assert await other_process(home, "from outside") == "Accepted"
            assert isinstance(await bot.send(home.alice.user_id, "from inside", wait=20), Accepted)
        assert await home.shown() == ["from outside", "from inside"]

    async def test_what_is_said_elsewhere_between_our_own_messages_is_not_overlooked(self, home: House) -> None:
        closed = home.gateway.fault("sendmessage", ret=-2, errmsg="prepare failed")
        async with quiet_bot(home) as bot:
            await bot.send(home.alice.user_id, "one")
            await home.until(lambda: _is(closed.hits == 1))
            await home.bot().send(home.alice.user_id, "two")
            await bot.send(home.alice.user_id, "three")
            closed.remove()
            await home.alice.says("well?")
            await home.until_shown("one", "two", "three")

    async def test_without_a_running_bot_it_is_sent_from_there(self, home: House) -> None:
        assert await other_process(home, "alone") == "Accepted"
        assert await home.shown() == ["alone"]

    async def test_without_time_to_wait_it_is_left_to_the_next_who_runs_the_bot(self, home: House) -> None:
        assert await other_process(home, "later", wait=0) == "Deferred"
        assert await home.shown() == []
        async with quiet_bot(home):
            await home.until_shown("later")

    async def test_several_processes_at_once_each_learn_what_became_of_theirs(self, home: House) -> None:
        told = await asyncio.gather(*(other_process(home, str(number)) for number in range(4)))
        assert told == ["Accepted"] * 4
        assert sorted(await home.shown()) == ["0", "1", "2", "3"]

    async def test_a_process_that_goes_leaves_the_rest_to_who_waits_for_it(self, home: House) -> None:
        async with SqliteAccounts(home.folder) as accounts:
            with accounts.lock(home.account):
                waiting = asyncio.create_task(home.bot().send(home.alice.user_id, "do not forget me", wait=20))

                async def is_stored() -> bool:
                    return bool((await home.counts()).outgoing)

                await home.until(is_stored)
                assert not waiting.done()
            assert isinstance(await waiting, Accepted)

    async def test_a_closed_window_is_told_without_waiting_for_it(self, home: House) -> None:
        closed = home.gateway.fault("sendmessage", ret=-2, errmsg="prepare failed")
        async with quiet_bot(home) as bot:
            sent = await bot.send(home.alice.user_id, "one")
            await home.until(lambda: _is(closed.hits == 1))
            receipt = await home.bot().send(home.alice.user_id, "two", wait=600)
            assert isinstance(receipt, Deferred)
            assert receipt.why is DeferredWhy.WINDOW
            assert isinstance(await home.bot().outbox.receipt(sent.client_id, wait=600), Deferred)

    async def test_who_only_sends_tries_a_window_that_nobody_watched(self, home: House) -> None:
        bot = home.bot()
        await home.gateway.clock.advance(hours=25)
        receipt = await bot.send(home.alice.user_id, "one", wait=20)
        assert isinstance(receipt, Deferred)
        assert receipt.why is DeferredWhy.WINDOW
        await home.alice.says("here I am")
        assert isinstance(await bot.send(home.alice.user_id, "two", wait=20), Accepted)
        assert await home.shown() == ["one", "two"]

    async def test_the_lock_is_free_again_afterwards(self, home: House) -> None:
        await home.bot().send(home.alice.user_id, "one", wait=20)
        async with SqliteAccounts(home.folder) as accounts:
            with accounts.lock(home.account), pytest.raises(StoreLockedError), accounts.lock(home.account):
                pass

    async def test_the_journal_is_given_back_afterwards(self, home: House) -> None:
        await home.bot().send(home.alice.user_id, "one", wait=20)
        async with SqliteAccounts(home.folder) as accounts, SqliteJournal(accounts.database, home.account) as journal:
            adopted = await journal.adopt()
        assert (adopted.epoch, adopted.was_open) == (2, False)

    async def test_files_go_through_the_process_that_runs_the_bot(self, home: House) -> None:
        async with quiet_bot(home):
            receipt = await home.bot().send_media(home.alice.user_id, b"plan", name="plan.txt", caption="look", wait=20)
            assert isinstance(receipt, Accepted)
            await home.until(lambda: _is(not home.spooled()))
        assert await home.shown() == ["look", "[4]"]

    async def test_a_process_that_dies_after_it_said_something_has_said_it(self, home: House) -> None:
        stuck = home.gateway.fault("sendmessage", hang=True)
        process = await asyncio.create_subprocess_exec(
            sys.executable, OTHER, home.folder, home.alice.user_id, "famous last words", "60"
        )
        await home.until(lambda: _is(stuck.hits == 1))
        process.send_signal(signal.SIGKILL)
        await process.wait()
        stuck.remove()
        async with quiet_bot(home):
            await home.until_shown("famous last words")


class TestNoticing:
    async def test_a_write_of_another_connection_is_noticed_and_ones_own_is_not(self, tmp_path: Path) -> None:
        async with local_database(tmp_path, synchronous="OFF") as ours, local_database(tmp_path) as theirs:
            waiting = asyncio.ensure_future(ours.wait_changed(0))
            await ours.write(_write)
            done, _ = await asyncio.wait([waiting], timeout=0.6)
            assert not done
            await theirs.write(_write)
            assert await asyncio.wait_for(waiting, 45) == 1
            await theirs.write(_write)
            assert await asyncio.wait_for(ours.wait_changed(1), 45) == 2
            assert await asyncio.wait_for(ours.wait_changed(1), 45) == 2

    async def test_waiting_for_others_commits_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        commits: list[Any] = []
        async with local_database(tmp_path, synchronous="OFF") as database:
            monkeypatch.setattr(Database, "_commit", lambda *arguments: commits.append(arguments))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.7):
                    await database.wait_changed(0)
        assert commits == []

    async def test_closing_ends_the_wait(self, tmp_path: Path) -> None:
        async with local_database(tmp_path, synchronous="OFF") as database:
            waiting = asyncio.ensure_future(database.wait_changed(0))
            await asyncio.sleep(0)
        with pytest.raises(StoreError, match="closed"):
            await waiting
        with pytest.raises(StoreError, match="closed"):
            await database.wait_changed(0)


def _write(connection: Any) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS notes (note TEXT)")
    connection.execute("INSERT INTO notes VALUES ('x')")


async def _is(value: object) -> bool:
    return bool(value)
