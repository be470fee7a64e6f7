"""What a bot does when its disk does not take or give what it asks for: it waits, and loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from bot_house import Server, running

from ilink import Bot, Message, StoreError
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.storage.sqlite import Database

Make = Callable[..., Bot]


class BadDisk:
    """Lets reads or writes of every database fail now and then, once it is switched on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
        self.random = Random(seed)
        self.share = {"read": 0.0, "write": 0.0}
        self.left = 0
        self.failures = 0
        for name in self.share:
            monkeypatch.setattr(Database, name, self._worse(getattr(Database, name), name))

    def break_down(self, *, share: float, which: str, failures: int = 10**9) -> None:
        self.share[which] = share
        self.left = failures

    def _worse(self, true_call: Callable[..., Any], name: str) -> Callable[..., Any]:
        async def call(database: Database, work: Callable[..., Any], **how: Any) -> Any:
            if self.left and self.random.random() < self.share[name]:
                self.left -= 1
                self.failures += 1
                raise StoreError("the disk is full")
            return await true_call(database, work, **how)

        return call


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("which", ["read", "write"])
async def test_a_bad_disk_delays_answers_and_loses_none(
    server: Server, make_bot: Make, monkeypatch: pytest.MonkeyPatch, which: str, seed: int
) -> None:
    disk = BadDisk(monkeypatch, seed)
    bot = make_bot()
    failed_before = set()

    @bot.on_text()
    async def answer(message: Message) -> None:
        if message.text.endswith("5") and message.id not in failed_before:
            failed_before.add(message.id)
            raise ValueError("not yet")
        if message.text.endswith("7"):
            await message.reply(f"got {message.text}", wait=0)
        await message.reply(f"re {message.text}")

    expected = [text for n in range(60) for text in ([f"got {n}"] if n % 10 == 7 else []) + [f"re {n}"]]
    async with running(bot):
        disk.break_down(share=0.5, which=which, failures=40)
        for number in range(60):
            server.says("a", str(number))
            server.says("b", str(number))
            if number % 10 == 0:
                await server.until(lambda: not server.mail)
        await server.until(lambda: all(set(server.heard(user)) == set(expected) for user in ("a", "b")))
        disk.left = 0
    assert disk.failures > 0
    assert server.heard("a") == server.heard("b") == expected
    assert set(server.by_client_id.values()) == {1}


async def test_a_store_that_never_works_again_ends_in_an_error_when_the_bot_is_stopped(
    server: Server, make_bot: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = BadDisk(monkeypatch, 1)
    bot = make_bot()

    @bot.on_text()
    async def answer(message: Message) -> None:
        raise AssertionError("what is not stored is not handled")

    async def serve_until_stopped() -> None:
        async with running(bot):
            disk.break_down(share=1.0, which="write")
            server.says("a", "hi")
            async with asyncio.timeout(45):
                while disk.failures < 3:  # noqa: ASYNC110  # the disk tells nobody
                    await asyncio.sleep(0.001)

    with pytest.raises(ExceptionGroup) as caught:
        await serve_until_stopped()
    assert caught.group_contains(StoreError)


async def test_a_batch_is_acknowledged_only_when_it_would_outlive_a_power_cut(
    server: Server, make_bot: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    reaches_the_disk = asyncio.Event()
    true_sync, asked = SqliteJournal.sync, []

    async def sync(journal: SqliteJournal) -> None:
        asked.append(journal)
        if not reaches_the_disk.is_set():
            raise StoreError("the disk does not answer")
        await true_sync(journal)

    monkeypatch.setattr(SqliteJournal, "sync", sync)
    bot = make_bot()

    @bot.on_text()
    async def answer(message: Message) -> None:
        await message.reply(f"re {message.text}")

    async with running(bot):
        server.says("a", "hi")
        await server.until(lambda: server.heard("a") == ["re hi"])
        acknowledged = f"cursor-{server.cursor}"
        async with asyncio.timeout(45):
            while len(asked) < 3:  # noqa: ASYNC110  # the disk tells nobody
                await asyncio.sleep(0.001)
        assert acknowledged not in server.polls
        reaches_the_disk.set()
        await server.until(lambda: acknowledged in server.polls)
