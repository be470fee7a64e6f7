"""The server hands messages out twice: under their own id, under another, without any; each is answered once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bot_house import FAST, HastyClock, Server, running, text_update
from test_on_the_gateway import login_of

from ilink import Bot, Duplicate, DuplicateKind, Message, OnSuspect
from ilink.testing.gateway import LocalGateway

Make = Callable[..., Bot]
HOUR_MS = 3_600_000


def echo(bot: Bot) -> list[Duplicate]:
    """Let a bot answer, and collect what it says came twice."""
    seen: list[Duplicate] = []
    bot.on_duplicate(seen.append)

    @bot.on_text()
    async def say_it_again(message: Message) -> None:
        await message.reply(f"{message.text}?" if message.suspect_duplicate else message.text)

    return seen


class TestNames:
    @pytest.mark.parametrize(
        "names",
        [
            {},
            {"message_id": None, "client_id": "c-1"},
            {"message_id": None, "seq": 17},
            {"message_id": None},
        ],
        ids=["message id", "client id", "number", "content"],
    )
    async def test_what_comes_again_is_known_by_the_first_name_it_has_also_after_a_restart(
        self, server: Server, make_bot: Make, names: dict[str, object]
    ) -> None:
        bot = make_bot()
        seen = echo(bot)
        async with running(bot):
            update = server.says("a", "hi", **names)
            await server.until(lambda: len(server.sent) == 1)
            server.hands_out(update)
            server.says("b", "one")
            await server.until(lambda: len(server.sent) == 2)
            assert (await bot.counts()).duplicates == 1
        again = make_bot()
        echo(again)
        async with running(again):
            server.hands_out(update)
            server.says("b", "two")
            await server.until(lambda: len(server.sent) == 3)
            assert (await again.counts()).duplicates == 2
        assert server.heard("a") == ["hi"]
        assert [(duplicate.kind, duplicate.user) for duplicate in seen] == [(DuplicateKind.KNOWN, "a")]

    async def test_names_are_remembered_for_48_hours(self, server: Server, make_bot: Make, clock: HastyClock) -> None:
        bot = make_bot()
        echo(bot)
        async with running(bot):
            update = server.says("a", "hi")
            await server.until(lambda: len(server.sent) == 1)
        for hours, answers in ((47, 1), (2, 2)):
            clock.ahead_ms += hours * HOUR_MS
            later = make_bot()
            echo(later)
            async with running(later):
                await server.until_slept(clock, 60.0)  # the house is kept: what is old was forgotten
                server.hands_out(update)
                server.says("b", f"{hours}")
                await server.until(lambda hours=hours: server.heard("b")[-1:] == [f"{hours}"])
            assert len(server.heard("a")) == answers
            clock.slept.clear()

    async def test_a_duplicate_brings_a_newer_token_and_never_an_older_one(
        self, server: Server, make_bot: Make
    ) -> None:
        bot = make_bot()
        echo(bot)
        async with running(bot):
            first = server.says("a", "one", context_token="T1")
            await server.until(lambda: len(server.sent) == 1)
            server.hands_out(text_update(server.number, "a", "one", context_token="T2"))
            await server.until(lambda: len(server.polls) == 3)
            await bot.send("a", "with the newer", wait=5)
            server.says("a", "two", context_token="T3")
            await server.until(lambda: len(server.sent) == 3)
            server.hands_out(first)
            await server.until(lambda: len(server.polls) == 5)
            await bot.send("a", "with the newest", wait=5)
        tokens = [None if message.context_token is None else message.context_token.reveal() for message in server.sent]
        assert tokens == ["T1", "T2", "T3", "T3"]


class TestSuspects:
    async def test_the_same_words_said_again_are_answered_and_marked(self, server: Server, make_bot: Make) -> None:
        bot = make_bot()
        seen = echo(bot)
        async with running(bot):
            server.says("a", "ok")
            server.says("a", "ok")
            server.says("b", "ok")
            await server.until(lambda: len(server.sent) == 3)
            assert (await bot.counts()).suspects == 1
        assert server.heard("a") == ["ok", "ok?"]
        assert server.heard("b") == ["ok"]
        assert [duplicate.kind for duplicate in seen] == [DuplicateKind.MARKED]
        assert seen[0].original == "m:7500000000000000001"

    @pytest.mark.parametrize(
        ("policy", "heard"),
        [
            (OnSuspect.JUDGE, ["ok", "fin"]),
            (OnSuspect.MARK, ["ok", "ok?", "fin"]),
            (OnSuspect.DROP, ["ok", "fin"]),
            (OnSuspect.IGNORE, ["ok", "ok", "fin"]),
        ],
    )
    async def test_one_sent_at_the_same_moment_is_treated_as_the_policy_says(
        self, server: Server, make_bot: Make, policy: OnSuspect, heard: list[str]
    ) -> None:
        bot = make_bot(policies=replace(FAST, on_suspect=policy))
        seen = echo(bot)
        async with running(bot):
            server.says("a", "ok", create_time_ms=1_790_000_000_000)
            await server.until(lambda: len(server.polls) == 2)
            server.says("a", "ok", create_time_ms=1_790_000_000_000)
            server.says("a", "fin")
            await server.until(lambda: "fin" in server.heard("a"))
            counts = await bot.counts()
        assert server.heard("a") == heard
        assert counts.suspects_dropped == (policy in (OnSuspect.JUDGE, OnSuspect.DROP))
        assert len(seen) == (policy is not OnSuspect.IGNORE)

    async def test_words_said_again_later_are_no_suspects(
        self, server: Server, make_bot: Make, clock: HastyClock
    ) -> None:
        bot = make_bot()
        echo(bot)
        async with running(bot):
            server.says("a", "ok")
            await server.until(lambda: len(server.sent) == 1)
            clock.ahead_ms += 10_000
            server.says("a", "ok")
            await server.until(lambda: len(server.sent) == 2)
        assert server.heard("a") == ["ok", "ok"]

    async def test_the_words_before_a_restart_are_remembered(self, server: Server, make_bot: Make) -> None:
        for _ in range(2):
            bot = make_bot()
            echo(bot)
            async with running(bot):
                server.says("a", "ok")
                await server.until(lambda: bool(server.sent) and not server.mail)
                await server.until(lambda: len(server.heard("a")) == server.number)
        assert server.heard("a") == ["ok", "ok?"]

    async def test_a_dropped_twin_opens_no_window_and_brings_its_token(self, server: Server, make_bot: Make) -> None:
        bot = make_bot()
        echo(bot)
        async with running(bot):
            server.says("a", "ok", create_time_ms=1_790_000_000_000, context_token="T1")
            await server.until(lambda: len(server.sent) == 1)
            before = await bot.can_send("a")
            server.says("a", "ok", create_time_ms=1_790_000_000_000, context_token="T2")
            await server.until(lambda: len(server.polls) == 3)
            assert (await bot.can_send("a")).left == before.left
            await bot.send("a", "hello", wait=5)
        assert server.sent[-1].context_token is not None
        assert server.sent[-1].context_token.reveal() == "T2"


async def test_a_batch_in_the_wrong_order_is_answered_in_the_order_it_was_said(server: Server, make_bot: Make) -> None:
    said = [
        text_update(2 * number + (user == "b"), user, f"{user}{number}") for number in range(5) for user in ("a", "b")
    ]
    server.hands_out(*reversed(said))
    bot = make_bot()
    echo(bot)
    async with running(bot):
        await server.until(lambda: len(server.sent) == 10)
    assert [server.heard(user) for user in ("a", "b")] == [[f"{user}{n}" for n in range(5)] for user in ("a", "b")]


class TestOnTheGateway:
    @pytest.mark.parametrize(
        ("kind", "omitted"),
        [
            ("same_id", []),
            ("new_id", []),
            ("same_id", ["msgs.message_id"]),
            ("same_id", ["msgs.message_id", "msgs.client_id", "msgs.seq"]),
        ],
    )
    async def test_every_message_comes_twice_and_is_answered_once(
        self, tmp_path: Path, kind: str, omitted: list[str]
    ) -> None:
        async with LocalGateway() as gateway:
            alice = await gateway.person("alice")
            bot = Bot(data=tmp_path, base_url=gateway.api_url)
            seen = echo(bot)
            signed_in = asyncio.Event()
            if omitted:
                gateway.fault("getupdates", omit=omitted)
                gateway.fault("getupdates", lose_cursor=True, nth=2)
            else:
                gateway.fault("getupdates", duplicate=kind)  # type: ignore[arg-type]
            async with running(bot, login=login_of(gateway, alice, signed_in)):
                await signed_in.wait()
                heard: list[str] = []
                for text in ("one", "two", "three", "three"):
                    await alice.says(text)
                    heard.append(await alice.hears())
                counts = await bot.counts()
                entries = await gateway.rules.transcript(alice.bot_id, alice.user_id)  # type: ignore[arg-type]
        assert heard == ["one", "two", "three", "three" if len(omitted) > 1 else "three?"]
        assert len([entry for entry in entries if entry.direction == "out"]) == 4
        assert seen
        if not omitted:
            assert counts.duplicates == (4 if kind == "same_id" else 0)
            assert counts.suspects_dropped == (4 if kind == "new_id" else 0)

    async def test_identical_texts_sent_on_purpose_are_all_answered(self, tmp_path: Path) -> None:
        async with LocalGateway(knobs={"poll.duplicate_rate": 0.5}, seed=5) as gateway:
            alice = await gateway.person("alice")
            bot = Bot(data=tmp_path, base_url=gateway.api_url)
            echo(bot)
            signed_in = asyncio.Event()
            await gateway.clock.freeze()
            async with running(bot, login=login_of(gateway, alice, signed_in)):
                await signed_in.wait()
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(6):
                        tasks.create_task(alice.says("ok"))
                heard = [await alice.hears() for _ in range(6)]
                assert (await bot.counts()).suspects_dropped == 0
        assert sorted(heard) == ["ok", *["ok?"] * 5]
