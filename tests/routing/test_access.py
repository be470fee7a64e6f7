"""Who gets as far as a handler: pairing, rates, and which files go out."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bot_house import FAST, OWNER, HastyClock, Server, running
from hypothesis import given
from hypothesis import strategies as st

from ilink import Bot, ConfigError, ForbiddenFileError, Message, Pairing, Rate, StoreError, UserId
from ilink.bot.access import new_pairing_code
from ilink.bot.file_roots import check_source
from ilink.bot.rates import RateLimiter
from ilink.storage.pairings_sqlite import SqlitePairings
from ilink.wire.ids import AccountId

Make = Callable[..., Bot]
BOT = AccountId("bot@im.bot")


def echo(bot: Bot) -> Bot:
    @bot.on_any()
    async def say_it_again(message: Message) -> None:
        await message.reply(f"You said: {message.text}")

    return bot


async def said(server: Server, user: str, text: str) -> str:
    """What a person hears for what they say."""
    before = len(server.heard(user))
    server.says(user, text)
    await server.until(lambda: len(server.heard(user)) > before)
    return server.heard(user)[-1]


def code_in(text: str) -> str:
    (code,) = set(re.findall(r"[0-9A-Z]{4}-[0-9A-Z]{4}", text))
    return code


class TestPairing:
    async def test_a_stranger_is_let_in_by_the_owner_and_stays_after_a_restart(
        self, server: Server, make_bot: Make
    ) -> None:
        async with running(echo(make_bot(allow=Pairing()))):
            told = await said(server, "bob", "hello there")
            assert told.startswith("I do not know you yet. Your code is ")
            assert await said(server, OWNER, "hi") == "You said: hi"
            assert await said(server, OWNER, f"/pair {code_in(told).lower()}") == "bob is heard from now on."
            assert await said(server, "bob", "again") == "You said: again"
        async with running(echo(make_bot(allow=Pairing()))):
            assert await said(server, "bob", "still") == "You said: still"
        assert server.heard("bob") == [told, "You said: again", "You said: still"]

    async def test_it_is_done_in_the_persons_language(self, server: Server, make_bot: Make) -> None:
        async with running(echo(make_bot(allow=Pairing()))):
            told = await said(server, "bob", "你好")
            assert f"/配对 {code_in(told)}" in told
            assert await said(server, OWNER, f"／配对 {code_in(told)}") == "从现在起我会回应 bob。"

    async def test_a_stranger_is_told_once_until_the_code_is_over(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        async with running(echo(make_bot(allow=Pairing()))):
            first = await said(server, "bob", "one")
            server.says("bob", "two")
            await said(server, OWNER, "wait")
            clock.ahead_ms += 3_600_000
            second = await said(server, "bob", "three")
            assert code_in(first) != code_in(second)
            assert (await said(server, OWNER, f"/pair {code_in(first)}")).startswith("Nobody waits with the code")
        assert server.heard("bob") == [first, second]

    async def test_nobody_but_the_owner_lets_people_in(self, server: Server, make_bot: Make) -> None:
        async with running(echo(make_bot(allow=Pairing(users=["user:friend"])))):
            told = await said(server, "bob", "hi")
            server.says("bob", f"/pair {code_in(told)}")
            assert await said(server, "friend", f"/pair {code_in(told)}") == f"You said: /pair {code_in(told)}"
            assert await said(server, OWNER, "/pair") == "Write it like this: /pair CODE"
        assert server.heard("bob") == [told]

    async def test_wrong_codes_are_limited_also_across_a_restart(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        pairing = Pairing(wrong_codes=2, lock_seconds=600)
        async with running(echo(make_bot(allow=pairing))):
            told = await said(server, "bob", "hi")
            await said(server, OWNER, "/pair AAAA-AAAA")
            await said(server, OWNER, "/pair BBBB-BBBB")
        async with running(echo(make_bot(allow=pairing))):
            locked = await said(server, OWNER, f"/pair {code_in(told)}")
            assert locked == "Too many wrong codes. Try again in 10 minutes."
            clock.ahead_ms += 601_000
            assert await said(server, OWNER, f"/pair {code_in(told)}") == "bob is heard from now on."

    async def test_only_so_many_strangers_wait_at_a_time(self, server: Server, make_bot: Make) -> None:
        async with running(echo(make_bot(allow=Pairing(most_waiting=2)))):
            for user in ("a", "b"):
                await said(server, user, "hi")
            server.says("c", "hi")
            await said(server, OWNER, "done")
        assert server.heard("c") == []

    @pytest.mark.parametrize(
        "wrong", [{"code_seconds": 0}, {"most_waiting": 0}, {"wrong_codes": 0}, {"lock_seconds": -1}, {"commands": ()}]
    )
    def test_pairings_that_let_nobody_in_are_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigError):
            Pairing(**wrong)

    def test_codes_are_long_and_different(self) -> None:
        codes = {new_pairing_code() for _ in range(200)}
        assert len(codes) == 200
        assert all(re.fullmatch(r"[2-9A-HJ-NP-Z]{8}", code) for code in codes)


def ilink(*arguments: str, data: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "ILINK_DATA": str(data), "ILINK_LANG": "en", "COLUMNS": "200"}
    command = [sys.executable, "-m", "ilink", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ, timeout=30)


async def test_the_command_line_lets_people_in_and_out_beside_a_running_bot(
    server: Server, make_bot: Make, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    async with running(echo(make_bot(allow=Pairing()))):
        told = await said(server, "bob", "hi")
        listed = await asyncio.to_thread(ilink, "accounts", "people", data=data)
        wrong = await asyncio.to_thread(ilink, "accounts", "pair", "AAAA-AAAA", data=data)
        done = await asyncio.to_thread(ilink, "accounts", "pair", code_in(told), data=data)
        assert "waits for you" in listed.stdout
        assert code_in(told).replace("-", "") in listed.stdout
        assert (wrong.returncode, done.returncode, done.stdout) == (2, 0, "bob is let in.\n")
        assert await said(server, "bob", "again") == "You said: again"
        out = await asyncio.to_thread(ilink, "accounts", "unpair", "bob", data=data)
        assert (out.returncode, out.stdout) == (0, "bob is let in no more.\n")
        assert (await said(server, "bob", "and now?")).startswith("I do not know you")


class TestRates:
    async def test_who_says_too_much_is_told_once_and_others_go_on(self, server: Server, make_bot: Make) -> None:
        policies = replace(FAST, rate=Rate(messages=2, seconds=1000))
        async with running(echo(make_bot(policies=policies))):
            for number in range(5):
                server.says("alice", f"m {number}")
            assert await said(server, "bob", "hi") == "You said: hi"
            await server.until(lambda: len(server.heard("alice")) >= 3)
        assert len(server.heard("alice")) == 3
        slow = server.heard("alice")[2]
        assert server.heard("alice")[:2] == ["You said: m 0", "You said: m 1"]
        assert re.fullmatch(r"That was a lot at once. I go on reading in \d+ seconds.", slow)

    async def test_a_message_that_is_handled_again_counts_once(self, server: Server, make_bot: Make) -> None:
        bot = make_bot(policies=replace(FAST, rate=Rate(messages=1, seconds=1000)))

        @bot.on_text()
        async def handle(message: Message) -> None:
            if message.attempt < 3:
                raise ValueError
            await message.reply("at last")

        async with running(bot):
            assert await said(server, "alice", "hi") == "at last"

    def test_tokens_come_back_evenly(self) -> None:
        limiter = RateLimiter(Rate(messages=2, seconds=10))
        alice = UserId("alice")
        moments = (0.0, 0.0, 0.0, 4.0, 5.0, 5.0, 100.0, 100.0, 100.0)
        waits = [(round(seconds, 6), told) for seconds, told in (limiter.wait_for(alice, now) for now in moments)]
        assert waits == [
            (0.0, False), (0.0, False), (5.0, True), (1.0, False), (0.0, False), (5.0, True),
            (0.0, False), (0.0, False), (5.0, True),
        ]  # fmt: skip

    @given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 5)), max_size=60))
    def test_nobody_gets_more_than_the_rate_over_any_time(self, steps: list[tuple[str, float]]) -> None:
        rate = Rate(messages=3, seconds=6)
        limiter = RateLimiter(rate)
        now, passed = 0.0, list[float]()
        for user, pause in steps:
            now += pause
            if limiter.wait_for(UserId(user), now)[0] == 0 and user == "a":
                passed.append(now)
        for first, begin in enumerate(passed):
            for last in range(first, len(passed)):
                most = rate.messages + (passed[last] - begin) * rate.messages / rate.seconds
                assert last - first + 1 <= most + 1e-6

    def test_memory_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ilink.bot.rates._MOST_PEOPLE", 10)
        limiter = RateLimiter(Rate(messages=1, seconds=1))
        for number in range(100):
            limiter.wait_for(UserId(str(number)), 0.0)
        assert len(limiter._buckets) == 10

    @pytest.mark.parametrize("wrong", [{"messages": 0, "seconds": 1.0}, {"messages": 1, "seconds": 0.0}])
    def test_a_rate_that_lets_nobody_speak_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="lets nobody speak"):
            Rate(**wrong)


class TestFileRoots:
    @pytest.fixture
    def outbox(self, tmp_path: Path) -> Path:
        folder = tmp_path / "outbox"
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "a.txt").write_text("ours")
        (tmp_path / "secret.txt").write_text("secret")
        (tmp_path / "outbox-too").mkdir()
        (tmp_path / "outbox-too" / "b.txt").write_text("not ours")
        (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
        (folder / "folder").symlink_to(tmp_path)
        (folder / "good.txt").symlink_to(folder / "inner" / "a.txt")
        return folder

    @pytest.mark.parametrize("name", ["inner/a.txt", "inner/../inner/a.txt", "good.txt"])
    def test_files_inside_go_out_by_their_real_path(self, outbox: Path, name: str) -> None:
        assert check_source(str(outbox / name), [outbox]) == (outbox / "inner" / "a.txt").resolve()

    @pytest.mark.parametrize(
        "name",
        [
            "../secret.txt",
            "link.txt",
            "folder/secret.txt",
            "../outbox-too/b.txt",
            "/etc/passwd",
            "inner/../../secret.txt",
        ],
    )
    def test_files_outside_are_refused_by_any_way(self, outbox: Path, name: str) -> None:
        with pytest.raises(ForbiddenFileError, match="is not sent"):
            check_source(outbox / name, [outbox])

    def test_roots_that_are_links_are_followed(self, outbox: Path, tmp_path: Path) -> None:
        (tmp_path / "alias").symlink_to(outbox)
        assert check_source(outbox / "inner" / "a.txt", [tmp_path / "alias"])

    def test_no_roots_let_no_path_out_and_no_setting_any(self, outbox: Path) -> None:
        path = outbox / "inner" / "a.txt"
        with pytest.raises(ForbiddenFileError, match="no folder at all"):
            check_source(path, [])
        assert check_source(path, None) == path

    def test_what_is_no_path_is_the_programs_own_business(self) -> None:
        assert check_source(b"bytes", []) == b"bytes"

    async def test_a_handler_cannot_send_what_lies_outside(self, server: Server, make_bot: Make, outbox: Path) -> None:
        bot = make_bot(policies=replace(FAST, file_roots=[outbox]))

        @bot.on_text()
        async def send(message: Message) -> None:
            try:
                await message.reply_media(message.text)
            except ForbiddenFileError as error:
                await message.reply(f"{type(error).__name__}")

        async with running(bot):
            assert await said(server, "alice", str(outbox / "link.txt")) == "ForbiddenFileError"


async def test_a_store_that_fails_lets_nobody_in_and_loses_no_message(
    server: Server, make_bot: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([True, True, False])
    real = SqlitePairings.is_paired

    async def failing(self: SqlitePairings, user: UserId) -> bool:
        if next(failures, False):
            problem = "disk"
            raise StoreError(problem)
        return await real(self, user)

    monkeypatch.setattr(SqlitePairings, "is_paired", failing)
    async with running(echo(make_bot(allow=Pairing()))):
        assert (await said(server, "bob", "hi")).startswith("I do not know you")
    assert len(server.heard("bob")) == 1
