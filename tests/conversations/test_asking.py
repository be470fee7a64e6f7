"""Questions and answers: what a handler that asks can rely on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

import pytest
from bot_house import HastyClock, Server, running

from ilink import (
    AskCancelledError,
    AskExhaustedError,
    AskTimeoutError,
    ConfigError,
    Context,
    ConversationPolicy,
    ImageMessage,
    Message,
    TextMessage,
)
from ilink.bot import Bot
from ilink.bot.conversation import CHINESE, ENGLISH

ALICE = "alice@im.wechat"
BOB = "bob@im.wechat"
Make = Callable[..., Bot]


class Phone:
    """What a person hears of what they say."""

    def __init__(self, server: Server, user: str = ALICE) -> None:
        self.server = server
        self.user = user
        self.read = 0

    async def says(self, text: str, *, hears: int = 1, **more: object) -> list[str]:
        """Write, and return what is heard then."""
        self.server.says(self.user, text, **more)
        return await self.hears(hears)

    async def hears(self, count: int = 1) -> list[str]:
        wanted = self.read + count
        await self.server.until(lambda: len(self.server.texts[self.user]) >= wanted)
        heard = self.server.texts[self.user][self.read : wanted]
        self.read = wanted
        return heard

    @property
    def unread(self) -> list[str]:
        return self.server.texts[self.user][self.read :]


@pytest.fixture
def alice(server: Server) -> Phone:
    return Phone(server)


def ordering(bot: Bot) -> Bot:
    """A bot that takes orders, with everything around its questions."""

    @bot.on_command("order")
    async def order(message: TextMessage, ctx: Context) -> None:
        await message.reply("Welcome.")
        drink = await ctx.ask("What would you like?", ["tea", "coffee"])
        await message.reply(f"{drink}, good.")
        cups = await ctx.ask("How many?", int)
        if await ctx.confirm("All right?"):
            await message.reply(f"{cups} x {drink}")
        else:
            await message.reply("Another time.")

    @bot.on_text()
    async def other(message: TextMessage) -> None:
        await message.reply(f"echo {message.text}")

    return bot


WHOLE = [
    "Welcome.",
    "What would you like?\n1. tea\n2. coffee",
    "coffee, good.",
    "How many?",
    "All right?",
    "3 x coffee",
]


async def test_a_form_is_filled(make_bot: Make, alice: Phone) -> None:
    async with running(ordering(make_bot())):
        assert await alice.says("/order", hears=2) == WHOLE[:2]
        assert await alice.says("2", hears=2) == WHOLE[2:4]
        assert await alice.says("three of them, 3", hears=1) == WHOLE[4:5]
        assert await alice.says("好的", hears=1) == WHOLE[5:]
        assert await alice.says("hello") == ["echo hello"]
    assert max(alice.server.by_client_id.values()) == 1


async def test_a_form_goes_on_in_another_run_of_the_program(make_bot: Make, alice: Phone) -> None:
    heard: list[str] = []
    for text, count in (("/order", 2), ("coffee", 2), ("3", 1), ("yes", 1)):
        async with running(ordering(make_bot())):
            heard += await alice.says(text, hears=count)
    assert heard == WHOLE
    assert alice.unread == []


async def test_nothing_is_said_again_when_the_journal_has_forgotten(
    make_bot: Make, alice: Phone, clock: HastyClock
) -> None:
    heard: list[str] = []
    for text, count in (("/order", 2), ("coffee", 2), ("3", 1), ("yes", 1)):
        async with running(ordering(make_bot(conversations=ConversationPolicy(timeout=None)))):
            heard += await alice.says(text, hears=count)
        clock.ahead_ms += 3 * 86_400_000
    assert heard == WHOLE


async def test_people_are_asked_side_by_side(make_bot: Make, server: Server, alice: Phone) -> None:
    bob = Phone(server, BOB)
    async with running(ordering(make_bot())):
        await alice.says("/order", hears=2)
        await bob.says("/order", hears=2)
        assert await alice.says("1", hears=2) == ["tea, good.", "How many?"]
        assert await bob.says("2", hears=2) == ["coffee, good.", "How many?"]


async def test_nonsense_is_asked_again_with_a_hint(make_bot: Make, alice: Phone) -> None:
    async with running(ordering(make_bot())):
        await alice.says("/order", hears=2)
        assert await alice.says("beer") == [f"{ENGLISH.not_understood}\n{ENGLISH.choice_wanted}\n1. tea\n2. coffee"]
        assert await alice.says("tea", hears=2) == ["tea, good.", "How many?"]
        assert await alice.says("many") == [f"{ENGLISH.not_understood}\n{ENGLISH.whole_number_wanted}"]
        assert await alice.says("4") == ["All right?"]


async def test_too_much_nonsense_ends_the_form(make_bot: Make, alice: Phone) -> None:
    async with running(ordering(make_bot())):
        await alice.says("/order", hears=2)
        for text in ("beer", "wine"):
            await alice.says(text)
        assert await alice.says("gin") == [ENGLISH.exhausted]
        assert await alice.says("hello") == ["echo hello"]


@pytest.mark.parametrize("text", ["/cancel", "/取消", "取消", "Cancel", "／cancel", "算了。"])
async def test_a_form_is_cancelled_politely(make_bot: Make, alice: Phone, text: str) -> None:
    async with running(ordering(make_bot())):
        await alice.says("/order", hears=2)
        assert await alice.says(text) == [ENGLISH.cancelled]
        assert await alice.says("hello") == ["echo hello"]


async def test_an_approval_takes_cancel_as_no_but_not_the_command(make_bot: Make, alice: Phone) -> None:
    async with running(ordering(make_bot())):
        for text, answer in (("取消", "Another time."), ("/cancel", ENGLISH.cancelled)):
            await alice.says("/order", hears=2)
            await alice.says("tea", hears=2)
            await alice.says("1")
            assert await alice.says(text) == [answer]


async def test_a_command_overtakes_an_open_question(make_bot: Make, alice: Phone) -> None:
    bot = ordering(make_bot())

    @bot.on_command("time")
    async def time(message: TextMessage) -> None:
        await message.reply("late")

    async with running(bot):
        await alice.says("/order", hears=2)
        assert await alice.says("/time") == ["late"]
        assert await alice.says("1", hears=2) == ["tea, good.", "How many?"]


async def test_a_command_is_an_answer_where_the_policy_says_so(make_bot: Make, alice: Phone) -> None:
    bot = make_bot(conversations=ConversationPolicy(commands="answer"))

    @bot.on_command("note")
    async def note(message: TextMessage, ctx: Context) -> None:
        await message.reply("noted " + await ctx.ask("What?"))

    async with running(bot):
        await alice.says("/note")
        assert await alice.says("/note") == ["noted /note"]


async def test_a_form_within_a_form_comes_first(make_bot: Make, alice: Phone) -> None:
    bot = ordering(make_bot())

    @bot.on_command("name")
    async def name(message: TextMessage, ctx: Context) -> None:
        await message.reply("Hello " + await ctx.ask("Who are you?"))

    async with running(bot):
        await alice.says("/order", hears=2)
        await alice.says("/name")
        assert await alice.says("Alice") == ["Hello Alice"]
        assert await alice.says("1", hears=2) == ["tea, good.", "How many?"]


async def test_time_runs_out_politely(make_bot: Make, alice: Phone, clock: HastyClock) -> None:
    async with running(ordering(make_bot())):
        await alice.says("/order", hears=2)
        clock.ahead_ms += 82_800_000
        assert await alice.hears() == [ENGLISH.timed_out]
        assert await alice.says("1") == ["echo 1"]


async def test_time_runs_out_while_the_bot_is_down(make_bot: Make, alice: Phone, clock: HastyClock) -> None:
    async with running(ordering(make_bot())):
        await alice.says("/order", hears=2)
    clock.ahead_ms += 82_800_000
    async with running(ordering(make_bot())):
        assert await alice.hears() == [ENGLISH.timed_out]
    async with running(ordering(make_bot())):
        assert await alice.says("1") == ["echo 1"]
    assert alice.unread == []


async def test_a_handler_hears_of_the_end_and_goes_on(make_bot: Make, alice: Phone, clock: HastyClock) -> None:
    bot = make_bot()

    @bot.on_command("quiz")
    async def quiz(message: TextMessage, ctx: Context) -> None:
        for error in (AskTimeoutError, AskCancelledError, AskExhaustedError):
            with suppress(error):
                await ctx.ask("2 + 2?", int, timeout=60, tries=1)
                continue
            await message.reply(error.__name__)
        await message.reply(str(await ctx.ask("And now?", int, default=0, timeout=60)))

    async with running(bot):
        await alice.says("/quiz")
        clock.ahead_ms += 61_000
        assert await alice.hears(2) == ["AskTimeoutError", "2 + 2?"]
        assert await alice.says("/cancel", hears=2) == ["AskCancelledError", "2 + 2?"]
        assert await alice.says("five", hears=2) == ["AskExhaustedError", "And now?"]
        clock.ahead_ms += 61_000
        assert await alice.hears() == ["0"]


async def test_people_asked_in_chinese_are_answered_in_chinese(make_bot: Make, alice: Phone) -> None:
    bot = make_bot()

    @bot.on_command("点单")
    async def order(message: TextMessage, ctx: Context) -> None:
        cups = await ctx.ask("要几杯？", int)
        await message.reply(f"{cups} 杯")

    async with running(bot):
        await alice.says("/点单")
        assert await alice.says("很多") == [f"{CHINESE.not_understood}\n{CHINESE.whole_number_wanted}"]
        assert await alice.says("取消") == [CHINESE.cancelled]
        await alice.says("/点单")
        assert await alice.says("三杯") == ["3 杯"]


class Size(Enum):
    SMALL = 1
    LARGE = "Extra large"


def even(text: str) -> int:
    if not text.isdigit() or int(text) % 2:
        raise ValueError("An even number, please.")
    return int(text)


async def test_many_kinds_can_be_asked_for(make_bot: Make, alice: Phone) -> None:
    bot = make_bot()
    got: list[object] = []

    @bot.on_command("all")
    async def everything(message: TextMessage, ctx: Context) -> None:
        answers = [
            await ctx.ask("text"),
            await ctx.ask("float", float),
            await ctx.ask("enum", Size),
            await ctx.ask("map", {"one": 1, "two": 2}),
            await ctx.ask("check", even),
            (await ctx.ask("picture", ImageMessage)).id,
        ]
        got.append(answers)
        await message.reply("done")

    async with running(bot):
        await alice.says("/all")
        assert await alice.says(" some text ") == ["float"]
        assert await alice.says("2.5") == ["enum\n1. Small\n2. Extra large"]
        assert await alice.says("extra") == ["map\n1. one\n2. two"]
        assert await alice.says("two") == ["check"]
        assert await alice.says("3") == [f"{ENGLISH.not_understood}\nAn even number, please."]
        assert await alice.says("4") == ["picture"]
        assert await alice.says("none") == [f"{ENGLISH.not_understood}\nPlease send a picture."]
        assert await alice.says("", item_list=[{"type": 2, "image_item": {}}]) == ["done"]
    assert got == [["some text", 2.5, Size.LARGE, 2, 4, f"{7_500_000_000_000_000_000 + alice.server.number}"]]


async def test_what_is_done_once_is_done_once(make_bot: Make, alice: Phone) -> None:
    done: list[str] = []
    tries: list[int] = []

    def shop(bot: Bot) -> Bot:
        @bot.on_command("buy")
        async def buy(message: TextMessage, ctx: Context) -> None:
            def reserve() -> dict[str, int]:
                done.append("reserved")
                return {"number": len(done)}

            async def pay() -> int:
                done.append("paid")
                return 42

            reserved = await ctx.once("reserve", reserve)
            if not await ctx.confirm(f"Buy number {reserved['number']}?"):
                return
            paid = await ctx.once("pay", pay)
            tries.append(paid)
            if len(tries) < 3:
                raise ValueError("a bad moment")
            await message.reply(f"paid {paid}")

        return bot

    async with running(shop(make_bot())):
        assert await alice.says("/buy") == ["Buy number 1?"]
    async with running(shop(make_bot())):
        assert await alice.says("ok") == ["paid 42"]
    assert done == ["reserved", "paid"]
    assert tries == [42, 42, 42]


async def test_what_was_done_once_is_known_for_as_long_as_the_question_is_open(
    make_bot: Make, alice: Phone, clock: HastyClock
) -> None:
    done: list[str] = []

    def shop(bot: Bot) -> Bot:
        @bot.on_command("buy")
        async def buy(message: TextMessage, ctx: Context) -> None:
            await ctx.once("pay", lambda: done.append("paid"))
            await message.reply(await ctx.ask("Colour?", timeout=None))

        return bot

    async with running(shop(make_bot())):
        await alice.says("/buy")
    clock.ahead_ms += 5 * 86_400_000
    async with running(shop(make_bot())):
        assert await alice.says("red") == ["red"]
    assert done == ["paid"]


async def test_only_who_was_asked_answers_in_a_group(make_bot: Make, server: Server, alice: Phone) -> None:
    bob = Phone(server, BOB)
    async with running(ordering(make_bot())):
        await alice.says("/order", hears=2, group_id="g")
        assert await bob.says("1", group_id="g") == ["echo 1"]
        assert await alice.says("2", hears=2, group_id="g") == ["coffee, good.", "How many?"]


async def test_a_result_that_json_cannot_hold_is_refused(make_bot: Make, alice: Phone) -> None:
    bot = make_bot()
    refusals: list[str] = []

    @bot.on_command("go")
    async def go(message: TextMessage, ctx: Context) -> None:
        for number, result in enumerate([object(), (1, 2)]):
            try:
                await ctx.once(f"odd {number}", lambda result=result: result)
            except ConfigError as error:
                refusals.append(str(error))
        await message.reply("done")

    async with running(bot):
        await alice.says("/go")
    assert ["cannot be kept as JSON" in refusals[0], "does not come back" in refusals[1]] == [True, True]


async def test_another_way_than_before_ends_the_form(
    make_bot: Make, alice: Phone, caplog: pytest.LogCaptureFixture
) -> None:
    questions = ["First?", "Second?"]
    bot = make_bot()

    @bot.on_command("odd")
    async def odd(message: TextMessage, ctx: Context) -> None:
        await ctx.ask(questions[0])
        await ctx.ask("Last?")

    @bot.on_text()
    async def other(message: TextMessage) -> None:
        await message.reply("other")

    async with running(bot):
        await alice.says("/odd")
        await alice.says("fine")
        questions.reverse()
        with caplog.at_level(logging.ERROR):
            assert await alice.says("fine") == [ENGLISH.changed]
        assert "question 1 was 'First? (text)', and now it asks 'Second? (text)'" in caplog.text
        assert ".odd took another way" in caplog.text
        assert await alice.says("hello") == ["other"]


async def test_another_question_in_the_place_of_the_open_one_does_not_get_its_answer(
    make_bot: Make, alice: Phone, caplog: pytest.LogCaptureFixture
) -> None:
    questions = ["Your name?", "Your password?"]
    bot = make_bot()

    @bot.on_command("odd")
    async def odd(message: TextMessage, ctx: Context) -> None:
        await message.reply("got " + await ctx.ask(questions[0]))

    async with running(bot):
        await alice.says("/odd")
        questions.reverse()
        assert await alice.says("Alice") == [ENGLISH.changed]
    assert "its question 1 was 'Your name? (text)'" in caplog.text


async def test_a_named_question_may_be_worded_anew(make_bot: Make, alice: Phone) -> None:
    words = ["How many?", "How many cups?"]
    bot = make_bot()

    @bot.on_command("odd")
    async def odd(message: TextMessage, ctx: Context) -> None:
        cups = await ctx.ask(words[0], int, name="cups")
        await message.reply(str(cups))

    async with running(bot):
        await alice.says("/odd")
        words.reverse()
        assert await alice.says("3") == ["3"]


async def test_a_handler_that_ends_before_its_open_question_has_changed(make_bot: Make, alice: Phone) -> None:
    asks = [True]
    bot = make_bot()

    @bot.on_command("odd")
    async def odd(message: TextMessage, ctx: Context) -> None:
        if asks[0]:
            await ctx.ask("Really?")

    async with running(bot):
        await alice.says("/odd")
        asks[0] = False
        assert await alice.says("yes") == [ENGLISH.changed]


async def test_a_handler_that_is_gone_is_told_of(
    make_bot: Make, alice: Phone, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(ordering(make_bot())):
        await alice.says("/order", hears=2)
    later = make_bot()

    @later.on_text()
    async def other(message: TextMessage) -> None:
        await message.reply("other")

    async with running(later):
        with caplog.at_level(logging.ERROR):
            assert await alice.says("1") == [ENGLISH.changed]
        assert "order waits for an answer to 'What would you like? (choice tea|coffee)' and is gone" in caplog.text
        assert await alice.says("1") == ["other"]


async def test_what_is_said_while_a_run_stops_is_left_out(make_bot: Make, alice: Phone) -> None:
    bot = make_bot()

    @bot.on_command("finally")
    async def order(message: TextMessage, ctx: Context) -> None:
        try:
            await message.reply(await ctx.ask("What?"))
        finally:
            await message.reply("Bye.")

    async with running(bot):
        assert await alice.says("/finally") == ["What?"]
        assert await alice.says("This.", hears=2) == ["This.", "Bye."]
    assert alice.unread == []


@pytest.mark.parametrize("way", ["caught", "grouped"])
async def test_a_handler_that_does_not_stop_is_refused(make_bot: Make, alice: Phone, way: str) -> None:
    bot = make_bot()
    dead: list[str] = []

    @bot.on_command("stubborn")
    async def stubborn(message: TextMessage, ctx: Context) -> None:
        if way == "caught":
            with suppress(BaseException):
                await ctx.ask("What?")
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ctx.ask("What?"))  # type: ignore[arg-type]

    bot.on_dead_letter(lambda letter, error: (dead.append(letter.error or ""), alice.server.change())[0])
    async with running(bot):
        alice.server.says(ALICE, "/stubborn")
        await alice.server.until(lambda: bool(dead))
    assert ("went on behind a question" if way == "caught" else "unhandled errors") in dead[0]
    assert alice.unread == []


@pytest.mark.parametrize("kind", [5, [], ["a", "a"], [" "], object(), "text", None])
async def test_a_question_for_nothing_is_refused(make_bot: Make, alice: Phone, kind: object) -> None:
    bot = make_bot(policies=None)
    refused: list[str] = []

    @bot.on_any()
    async def odd(message: Message, ctx: Context) -> None:
        try:
            await ctx.ask("What?", kind)  # type: ignore[call-overload]
        except ConfigError as error:
            refused.append(type(error).__name__)
            await message.reply("refused")

    async with running(bot):
        assert await alice.says("go") == ["refused"]
    assert refused == ["ConfigError"]


@pytest.mark.parametrize("settings", [{"tries": 0}, {"timeout": 0}, {"most_forms": 0}, {"commands": "ignore"}])
def test_a_policy_without_sense_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(Exception, match=r"tries and|means nothing"):
        ConversationPolicy(**settings)  # type: ignore[arg-type]
