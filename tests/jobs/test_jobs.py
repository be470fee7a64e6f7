"""What is done by the clock: once, whatever happens, and with the window in mind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bot_house import OWNER, HastyClock, Server, running

from ilink import ConfigError, Job, Message, StoreError
from ilink.bot import Bot
from ilink.storage.agenda_sqlite import SqliteAgenda

Make = Callable[..., Bot]
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def now(clock: HastyClock) -> datetime:
    return datetime.fromtimestamp(clock.now_ms() / 1000, UTC)


async def heard(server: Server, count: int) -> list[str]:
    """What the owner heard, as soon as there is so much of it."""
    await server.until(lambda: len(server.texts[OWNER]) >= count)
    return list(server.texts[OWNER])


def ticking(bot: Bot, **options: Any) -> Bot:
    """A bot that says the time every hour."""

    @bot.every(hours=1, **options)
    async def tick(job: Job) -> None:
        await job.send(f"tick {job.moment:%H:%M}")

    return bot


async def test_every_interval_is_done_once(make_bot: Make, server: Server, clock: HastyClock) -> None:
    start = now(clock)
    async with running(ticking(make_bot())):
        for number in (1, 2):
            clock.ahead_ms += HOUR
            await heard(server, number)
    expected = [f"tick {start + timedelta(hours=number):%H:%M}" for number in (1, 2)]
    late = [f"tick {start + timedelta(hours=number, seconds=2):%H:%M}" for number in (1, 2)]
    assert server.texts[OWNER] in (expected, late)  # the first interval begins when the bot has started


async def test_what_was_due_while_the_bot_was_down_is_done_once(
    make_bot: Make, server: Server, clock: HastyClock
) -> None:
    async with running(ticking(make_bot())):
        pass
    clock.ahead_ms += 5 * HOUR
    async with running(ticking(make_bot())):
        await heard(server, 1)
    async with running(ticking(make_bot())):
        clock.ahead_ms += HOUR
        await heard(server, 2)
    assert len(server.texts[OWNER]) == 2


async def test_a_missed_time_is_skipped_where_that_is_wanted(make_bot: Make, server: Server, clock: HastyClock) -> None:
    async with running(ticking(make_bot(), missed="skip")):
        pass
    clock.ahead_ms += 5 * HOUR + 10 * MINUTE
    clock.slept.clear()
    async with running(ticking(make_bot(), missed="skip")):
        await server.until_slept(clock, 30.0, below=30.1)  # that is how long it waits when nothing is due soon
        clock.ahead_ms += 50 * MINUTE
        await heard(server, 1)
    assert len(server.texts[OWNER]) == 1


async def test_starting_again_does_not_move_the_times(make_bot: Make, server: Server, clock: HastyClock) -> None:
    for _ in range(4):
        async with running(ticking(make_bot())):
            pass
        clock.ahead_ms += 20 * MINUTE
    async with running(ticking(make_bot())):
        await heard(server, 1)


async def test_a_changed_interval_is_planned_anew(make_bot: Make, server: Server, clock: HastyClock) -> None:
    async with running(ticking(make_bot())):
        pass
    bot = make_bot()

    @bot.every(minutes=10)
    async def tick(job: Job) -> None:
        await job.send("quick tick")

    async with running(bot):
        clock.ahead_ms += 10 * MINUTE
        assert await heard(server, 1) == ["quick tick"]


async def test_daily_is_done_at_its_time_of_day(make_bot: Make, server: Server, clock: HastyClock) -> None:
    bot = make_bot()
    moments: list[datetime] = []

    @bot.daily("08:00", tz="Asia/Shanghai")
    async def digest(job: Job) -> None:
        moments.append(job.moment)
        await job.send("Good morning.")

    async with running(bot):
        for number in (1, 2):
            clock.ahead_ms += DAY
            server.says(OWNER, "hi")
            await server.until(lambda number=number: len(moments) == number)
    assert [f"{moment:%H:%M}" for moment in moments] == ["00:00", "00:00"]
    assert moments[1] - moments[0] == timedelta(days=1)


async def test_a_moment_comes_once(make_bot: Make, server: Server, clock: HastyClock) -> None:
    moment = now(clock) + timedelta(hours=1)

    def birthday(bot: Bot) -> Bot:
        @bot.at(moment)
        async def congratulate(job: Job) -> None:
            await job.send("Happy birthday!")

        return bot

    async with running(birthday(make_bot())):
        clock.ahead_ms += HOUR
        await heard(server, 1)
    clock.ahead_ms += 3 * DAY  # longer than finished updates are remembered
    async with running(ticking(birthday(make_bot()))):
        server.says(OWNER, "hi")
        clock.ahead_ms += HOUR
        await heard(server, 2)
    assert [text for text in server.texts[OWNER] if text.startswith("Happy")] == ["Happy birthday!"]


async def test_a_moment_that_is_over_at_the_first_start_is_left_out(
    make_bot: Make, server: Server, clock: HastyClock, caplog: pytest.LogCaptureFixture
) -> None:
    bot = make_bot()

    @bot.at(now(clock) - timedelta(minutes=5))
    async def congratulate(job: Job) -> None:
        await job.send("Happy birthday!")

    async with running(bot):
        await server.until_logged(caplog, "congratulate")
    assert server.texts[OWNER] == []


def reminding(bot: Bot) -> Bot:
    @bot.job()
    async def remind(job: Job) -> None:
        await job.send(f"Do not forget {job.data}")

    @bot.on_text()
    async def plan(message: Message) -> None:
        planned = await bot.schedule("remind", in_=timedelta(hours=2), data=message.text, key=message.key)
        await message.reply(f"planned {planned}")
        if message.attempt == 1 and message.text == "twice":
            raise ValueError("run me again")

    return bot


async def test_what_a_handler_plans_is_done_later_in_another_run(
    make_bot: Make, server: Server, clock: HastyClock
) -> None:
    async with running(reminding(make_bot())):
        server.says(OWNER, "the tea")
        await heard(server, 1)
    async with running(reminding(make_bot())):
        clock.ahead_ms += 2 * HOUR
        assert await heard(server, 2) == ["planned True", "Do not forget the tea"]


async def test_a_handler_that_runs_again_plans_once(make_bot: Make, server: Server, clock: HastyClock) -> None:
    async with running(reminding(make_bot())):
        server.says(OWNER, "twice")
        assert await heard(server, 1) == ["planned False"]
        clock.ahead_ms += 2 * HOUR
        await heard(server, 2)
        clock.ahead_ms += 2 * HOUR
        server.says(OWNER, "x")
        await heard(server, 3)
    assert server.texts[OWNER] == ["planned False", "Do not forget twice", "planned True"]


async def test_what_was_planned_can_be_replaced_and_taken_back(
    make_bot: Make, server: Server, clock: HastyClock
) -> None:
    bot = reminding(make_bot())
    async with running(bot):
        at = now(clock) + timedelta(hours=1)
        assert await bot.schedule("remind", at=at, data="one", key="a")
        assert not await bot.schedule("remind", at=at, data="two", key="a")
        assert await bot.schedule("remind", at=at, data="three", key="a", replace=True)
        assert await bot.schedule("remind", at=at, data="four", key="b")
        assert await bot.unschedule("remind", key="b")
        assert not await bot.unschedule("remind", key="b")
        clock.ahead_ms += HOUR
        assert await heard(server, 1) == ["Do not forget three"]
        assert await bot.schedule("remind", in_=0, data="five")
        assert await heard(server, 2) == ["Do not forget three", "Do not forget five"]


async def test_a_failing_job_is_run_again_and_says_nothing_twice(
    make_bot: Make, server: Server, clock: HastyClock
) -> None:
    bot = make_bot()
    attempts: list[int] = []
    done: list[str] = []

    @bot.every(hours=1)
    async def flaky(job: Job) -> None:
        await job.send("now", wait=5)
        await job.once("effect", lambda: done.append("done"))
        await job.send("later")
        attempts.append(job.attempt)
        if job.attempt < 3:
            raise ValueError("a bad moment")

    async with running(bot):
        clock.ahead_ms += HOUR
        assert await heard(server, 2) == ["now", "later"]
    assert attempts == [1, 2, 3]
    assert done == ["done"]


async def test_a_job_that_never_works_is_a_dead_letter_and_its_next_time_comes(
    make_bot: Make, server: Server, clock: HastyClock
) -> None:
    bot = make_bot()
    dead: list[str] = []

    @bot.every(hours=1)
    async def broken(job: Job) -> None:
        raise ValueError("never")

    @bot.on_dead_letter
    def note(letter: object, error: BaseException | None) -> None:
        dead.append(str(error))
        server.change()

    async with running(bot):
        for number in (1, 2):
            clock.ahead_ms += HOUR
            await server.until(lambda number=number: len(dead) == number)
    assert dead[0].startswith("the job broken of ")
    assert dead[0].endswith("failed: ValueError: never")


async def test_a_closed_window_calls_the_hook_instead(make_bot: Make, server: Server, clock: HastyClock) -> None:
    bot = make_bot()
    mailed: list[str] = []

    async def mail(job: Job) -> None:
        mailed.append(f"{job.name} {job.user}")
        server.change()

    @bot.every(hours=30, if_closed=mail)
    async def digest(job: Job) -> None:
        await job.send("News.")

    @bot.on_text()
    async def read(message: Message) -> None:
        await message.reply("read")

    async with running(bot):
        server.says(OWNER, "hi")
        await heard(server, 1)
        clock.ahead_ms += 30 * HOUR
        await server.until(lambda: bool(mailed))
        clock.ahead_ms += 29 * HOUR
        server.says(OWNER, "hi")
        await heard(server, 2)
        clock.ahead_ms += HOUR
        assert await heard(server, 3) == ["read", "read", "News."]
    assert mailed == [f"digest {OWNER}"]


async def test_a_closed_window_skips_the_job_or_lets_it_wait(
    make_bot: Make, server: Server, clock: HastyClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ilink.bot.job_keeper")
    bot = make_bot()
    runs: list[str] = []

    @bot.every(hours=30, if_closed="skip")
    async def skipped(job: Job) -> None:
        await job.send("skipped")

    @bot.every(hours=30, name="kept")
    async def waiting(job: Job) -> None:
        runs.append("kept")
        await job.send("kept")

    @bot.on_text()
    async def read(message: Message) -> None:
        await message.reply("read")

    async with running(bot):
        server.says(OWNER, "hi")
        await heard(server, 1)
        clock.ahead_ms += 30 * HOUR
        async with asyncio.timeout(45):
            while not (runs and "skipped finds the window closed" in caplog.text):  # noqa: ASYNC110  # a log tells nobody
                await asyncio.sleep(0.001)
        server.says(OWNER, "hi")
        assert sorted(await heard(server, 3)) == ["kept", "read", "read"]


async def test_a_job_for_somebody_else_writes_to_them(make_bot: Make, server: Server, clock: HastyClock) -> None:
    bot = make_bot()

    @bot.every(hours=1, to="alice@im.wechat")
    async def greet(job: Job) -> None:
        assert (await job.can_send()).can_send
        await job.send("hi alice")
        await job.send("hi owner", to=OWNER)

    async with running(bot):
        clock.ahead_ms += HOUR
        assert await heard(server, 1) == ["hi owner"]
        await server.until(lambda: server.texts["alice@im.wechat"] == ["hi alice"])


async def test_a_job_that_is_not_declared_any_more_is_not_done(
    make_bot: Make, server: Server, clock: HastyClock
) -> None:
    async with running(ticking(make_bot())):
        pass
    clock.ahead_ms += 2 * HOUR
    async with running(reminding(make_bot())):
        server.says(OWNER, "x")
        await heard(server, 1)
    async with running(ticking(make_bot())):
        clock.ahead_ms += HOUR
        assert len(await heard(server, 2)) == 2
    assert [text[:4] for text in server.texts[OWNER]] == ["plan", "tick"]


async def test_a_planned_job_whose_function_is_gone_waits_for_it(
    make_bot: Make, server: Server, clock: HastyClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(reminding(make_bot())) as bot:
        await bot.schedule("remind", in_=3600, data="the tea")
    clock.ahead_ms += HOUR
    with caplog.at_level(logging.ERROR):
        async with running(ticking(make_bot())):
            await server.until_logged(caplog, "function remind is gone")
    async with running(reminding(make_bot())):
        assert await heard(server, 1) == ["Do not forget the tea"]


async def test_a_store_that_fails_delays_a_job(
    make_bot: Make, server: Server, clock: HastyClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_fire, failures = SqliteAgenda.fire, [1, 2]

    async def fire(self: SqliteAgenda, *arguments: Any, **options: Any) -> Any:
        if failures:
            failures.pop()
            raise StoreError("the disk is full")
        return await true_fire(self, *arguments, **options)

    monkeypatch.setattr(SqliteAgenda, "fire", fire)
    async with running(ticking(make_bot())):
        clock.ahead_ms += HOUR
        assert len(await heard(server, 1)) == 1


class TestRefusals:
    def test_two_jobs_of_one_name(self, make_bot: Make) -> None:
        bot = ticking(make_bot())
        with pytest.raises(ConfigError, match=r"test_jobs.py:\d+ .*as .*test_jobs.py:\d+"):
            ticking(bot)

    @pytest.mark.parametrize(
        "options",
        [{"missed": "later"}, {"if_closed": "mail"}, {"if_closed": print}, {"run_seconds": 0}, {"name": "a/b"}],
    )
    def test_settings_without_sense(self, make_bot: Make, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigError):
            ticking(make_bot(), **options)

    def test_a_function_that_is_no_job(self, make_bot: Make) -> None:
        bot = make_bot()
        with pytest.raises(ConfigError, match="async def"):
            bot.job()(lambda job: None)  # type: ignore[arg-type, return-value]

    @pytest.mark.parametrize("on", ["someday", "mon-someday", "1"])
    def test_days_that_are_none(self, make_bot: Make, on: str) -> None:
        with pytest.raises(ConfigError, match="weekdays"):
            make_bot().daily("08:00", on=on)

    async def test_planning_what_makes_no_sense(self, make_bot: Make, clock: HastyClock) -> None:
        bot = reminding(make_bot())
        with pytest.raises(ConfigError, match="not running"):
            await bot.schedule("remind", in_=5)
        async with running(bot):
            with pytest.raises(ConfigError, match="no job called 'dance'"):
                await bot.schedule("dance", in_=5)
            with pytest.raises(ConfigError, match="JSON"):
                await bot.schedule("remind", in_=5, data=object())
            for when in ({}, {"at": now(clock), "in_": 5}):
                with pytest.raises(ConfigError, match="say when"):
                    await bot.schedule("remind", **when)  # type: ignore[arg-type]


def test_days_are_read(make_bot: Make) -> None:
    bot = make_bot()
    for number, (on, days) in enumerate(
        [("", ()), ("mon,fri", (0, 4)), ("Mon-Fri", range(5)), ("sat-mon", (5, 6, 0)), ("sun", (6,))]
    ):

        @bot.daily("08:00", on=on, name=f"job {number}")
        async def job(job: Job) -> None: ...

        found = bot._jobs.find(f"job {number}")
        assert found is not None
        assert found.plan is not None
        assert found.plan.weekdays == frozenset(days)  # type: ignore[union-attr]
