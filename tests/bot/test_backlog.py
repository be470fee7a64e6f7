"""Messages that were sent while the bot was down are handled, skipped or summarised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from bot_house import FAST, HastyClock, Server, running, sign_in

from ilink import Bot, ConfigError, Message, Policies
from ilink.bot.backlog import Backlog
from ilink.flows.polling import FAST as POLL_FAST

Make = Callable[..., Bot]
SUMMARISE = replace(FAST, backlog="summarise")
HOUR_MS = 3_600_000


def summarising(make_bot: Make) -> tuple[Bot, list[list[str]]]:
    bot = make_bot(policies=SUMMARISE)
    seen: list[list[str]] = []

    @bot.on_text()
    async def answer(message: Message) -> None:
        await message.reply(message.text)

    @bot.on_backlog
    async def sum_up(messages: Sequence[Message]) -> None:
        seen.append([message.text for message in messages])
        await messages[-1].reply(f"{len(messages)} while I was away")

    return bot, seen


async def test_the_backlog_of_each_conversation_is_handled_at_once_and_completed_together(
    server: Server, make_bot: Make, clock: HastyClock
) -> None:
    bot, seen = summarising(make_bot)
    long_ago = clock.now_ms() - HOUR_MS
    for number in range(45):
        server.says("a", f"a{number}", create_time_ms=long_ago + number)
        server.says("b", f"b{number}", create_time_ms=long_ago + number)
    async with running(bot):
        await server.until(lambda: len(server.sent) == 2)
        server.says("a", "now", create_time_ms=clock.now_ms())
        await server.until(lambda: "now" in server.heard("a"))
        assert (await bot.counts()).waiting == 0
    assert server.heard("a") == ["45 while I was away", "now"]
    assert server.heard("b") == ["45 while I was away"]
    assert sorted(seen) == [[f"{user}{number}" for number in range(45)] for user in ("a", "b")]


async def test_a_summary_that_fails_is_tried_again_with_all_of_them(
    server: Server, make_bot: Make, clock: HastyClock
) -> None:
    bot = make_bot(policies=SUMMARISE)
    runs: list[int] = []

    @bot.on_text()
    async def answer(message: Message) -> None:
        await message.reply(message.text)

    @bot.on_backlog
    async def sum_up(messages: Sequence[Message]) -> None:
        runs.append(len(messages))
        await messages[-1].reply("summed up")
        if len(runs) == 1:
            raise ValueError("not yet")

    for number in range(3):
        server.says("a", str(number), create_time_ms=clock.now_ms() - HOUR_MS + number)
    async with running(bot):
        await server.until(lambda: len(server.sent) == 1)
    assert runs == [3, 3]
    assert server.heard("a") == ["summed up"]


async def test_a_message_in_time_ends_the_backlog_before_it(server: Server, make_bot: Make, clock: HastyClock) -> None:
    bot, seen = summarising(make_bot)
    now = clock.now_ms()
    server.says("a", "old", create_time_ms=now - HOUR_MS)
    server.says("a", "new", create_time_ms=now)
    async with running(bot):
        await server.until(lambda: len(server.sent) == 2)
    assert seen == [["old"]]
    assert server.heard("a") == ["1 while I was away", "new"]


async def test_a_summary_needs_its_handler_and_its_handler_the_policy(make_bot: Make) -> None:
    lonely = make_bot(policies=SUMMARISE)
    lonely.on_text()(nothing)
    with pytest.raises(ConfigError, match="on_backlog"):
        await lonely.serve(login=sign_in)
    idle = make_bot()
    idle.on_text()(nothing)
    idle.on_backlog(nothing_at_all)
    with pytest.raises(ConfigError, match="on_backlog"):
        await idle.serve(login=sign_in)
    with pytest.raises(ConfigError, match="there is one for a bot"):
        idle.on_backlog(nothing_at_all)
    with pytest.raises(ConfigError, match="async def"):
        make_bot().on_backlog(lambda messages: None)  # type: ignore[arg-type, return-value]


async def nothing(message: Message) -> None:
    """Say nothing."""


async def nothing_at_all(messages: Sequence[Message]) -> None:
    """Say nothing."""


async def test_what_a_poll_waited_for_is_new_whatever_the_clocks_say(
    server: Server, make_bot: Make, clock: HastyClock
) -> None:
    bot = make_bot(policies=replace(FAST, backlog="skip"))

    @bot.on_text()
    async def answer(message: Message) -> None:
        await message.reply(message.text)

    async with running(bot):
        await server.until(lambda: len(server.polls) == 1)
        clock.late += POLL_FAST  # so long did the poll wait
        server.says("a", "from a slow clock", create_time_ms=clock.now_ms() - HOUR_MS)
        await server.until(lambda: len(server.sent) == 1)
    assert server.heard("a") == ["from a slow clock"]


async def test_what_a_poll_finds_at_once_tells_nothing_about_clocks(
    server: Server, make_bot: Make, clock: HastyClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HastyClock, "monotonic", lambda self: self.late)  # at once, however busy the machine is
    bot = make_bot(policies=replace(FAST, backlog="skip"))

    @bot.on_text()
    async def answer(message: Message) -> None:
        await message.reply(message.text)

    server.says("a", "long ago", create_time_ms=clock.now_ms() - HOUR_MS)
    async with running(bot):
        await server.until(lambda: len(server.polls) == 2)
        server.says("a", "now", create_time_ms=clock.now_ms())
        await server.until(lambda: len(server.sent) == 1)
    assert server.heard("a") == ["now"]


class TestSkew:
    NOW = 1_790_000_000_000

    @pytest.mark.parametrize("skew_ms", [-HOUR_MS, HOUR_MS, 30_000])
    def test_a_clock_that_differs_from_the_servers_makes_nothing_old(self, skew_ms: int) -> None:
        backlog = Backlog(Policies(backlog="skip"), None)
        now = self.NOW + skew_ms
        backlog.learn(self.NOW, now, is_live=True)
        assert backlog.refusal(self.NOW, now) is None
        assert backlog.refusal(self.NOW - HOUR_MS, now) is not None
        assert backlog.refusal(self.NOW - 599_000, now) is None or skew_ms == 30_000

    def test_an_old_message_alone_shows_no_difference(self) -> None:
        backlog = Backlog(Policies(backlog="skip"), None)
        backlog.learn(self.NOW - HOUR_MS, self.NOW, is_live=False)
        assert backlog.refusal(self.NOW - HOUR_MS, self.NOW) == "it was sent 3600 s before it came"

    def test_a_message_from_the_future_shows_that_our_clock_is_late(self) -> None:
        backlog = Backlog(Policies(backlog="skip"), None)
        backlog.learn(self.NOW + HOUR_MS, self.NOW, is_live=False)
        assert backlog.refusal(self.NOW, self.NOW) is not None
        assert backlog.refusal(self.NOW + HOUR_MS, self.NOW) is None

    def test_a_clock_that_was_put_right_is_believed_again(self) -> None:
        backlog = Backlog(Policies(backlog="skip"), None)
        backlog.learn(self.NOW, self.NOW + HOUR_MS, is_live=True)
        backlog.learn(self.NOW, self.NOW + 10, is_live=True)
        assert backlog.refusal(self.NOW - HOUR_MS, self.NOW) is not None
