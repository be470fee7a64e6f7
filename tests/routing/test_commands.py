"""Commands: how they are called, what they read, what people are told, and the help."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing_house import dispatch, message, taken_by

from ilink import ConfigError, Message, Router, TextMessage, filters
from ilink.bot.routing.commands import read_call


def shop() -> Router:
    router = Router()

    @router.on_command("order", "订购")
    async def order(
        message: TextMessage, count: int, colour: Literal["red", "blue"] = "red", *, what: str = "tea"
    ) -> None:
        """Order something.

        It comes within the hour.
        """
        await message.reply(f"{count} {colour} {what}")

    @router.on_command("weather", "天气")
    async def weather(message: TextMessage, place: str | None) -> None:
        await message.reply(f"sunny in {place}")

    return router


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("/order 2", "2 red tea"),
        ("  /ORDER 2 blue", "2 blue tea"),
        ("／order 2 Blue a  large “pot”", "2 blue a  large “pot”"),
        ("/order@shopbot 2", "2 red tea"),
        ("/订购 ２", "2 red tea"),
        ("/订购 两个", "2 red tea"),
        ("/订购2", "2 red tea"),
        ("/天气北京", "sunny in 北京"),
        ("/weather", "sunny in None"),
        ("/weather\n“New York”", "sunny in New York"),
        ("/weather 「上海」", "sunny in 上海"),
        ("/weather don't", "sunny in don't"),
    ],
)
async def test_commands_are_read(said: str, answer: str) -> None:
    assert await dispatch(shop(), said) == [answer]


@pytest.mark.parametrize("said", ["order 2", "/ order 2", "/", "/@bot", "//order", "/orders 2", "x /order 2"])
async def test_what_calls_no_command_goes_on(said: str) -> None:
    assert await taken_by(shop(), said) is None


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("/order", "/order needs count: a whole number.\nWrite it like this: /order <count> [red|blue] [what…]"),
        ("/order x", "“x” will not do for count: /order takes a whole number."),
        ("/order 1 green", "“green” will not do for colour: /order takes one of red, blue."),
        ("/weather a b c", "“b c” is more than /weather takes."),
        ("/订购", "/订购 还需要 count:整数。\n请这样写:/订购 <count> [red|blue] [what…]"),
        ("/订购 很多", "“很多”不能作为 count:/订购 需要整数。"),
        ("/天气 a b", "/天气 不需要“b”。"),
    ],
)
async def test_wrong_arguments_are_answered_in_the_persons_language(said: str, told: str) -> None:
    (answer,) = await dispatch(shop(), said)
    assert answer.startswith(told)


async def test_a_set_language_is_spoken_to_everybody() -> None:
    (answer,) = await dispatch(shop(), "/order", language="zh-CN")
    assert answer.startswith("/订购 还需要 count")


async def test_help_lists_commands_with_their_first_line() -> None:
    (listed,) = await dispatch(shop(), "/help")
    assert listed.splitlines() == [
        "Commands:",
        "/order <count> [red|blue] [what…] – Order something.",
        "/weather [place]",
        "/help [command] – Show the commands, or what one of them does.",
    ]
    (chinese,) = await dispatch(shop(), "/帮助")
    assert chinese.startswith("命令:\n/订购 <count>")
    assert chinese.endswith("/帮助 [command] – 列出命令,或说明其中一个。")


async def test_help_tells_all_about_one_command_and_guesses() -> None:
    (manual,) = await dispatch(shop(), "/help /order")
    assert manual == "/order <count> [red|blue] [what…]\n/订购\nOrder something.\n\nIt comes within the hour."
    assert await dispatch(shop(), "/help odrer") == ["I do not know /odrer. Did you mean /order?"]
    assert await dispatch(shop(), "/help zzz") == ["There is no command /zzz. /help lists them."]
    assert await dispatch(shop(), "/帮助 什么") == ["没有 /什么 这个命令。发送 /帮助 查看全部。"]


async def test_help_shows_what_the_person_may_use() -> None:
    router = shop()

    @router.on_command("fire", filters.from_user("boss@im.wechat"))
    async def fire(message: TextMessage) -> None: ...

    (for_alice,) = await dispatch(router, "/help")
    (for_boss,) = await dispatch(router, message("/help", user="boss@im.wechat"))
    assert ("/fire" in for_alice, "/fire" in for_boss) == (False, True)


async def test_there_is_no_help_without_commands_or_when_it_is_not_wanted() -> None:
    assert await taken_by(Router(), "/help") is None
    assert await dispatch(shop(), "/help", has_help=False) == []


async def test_an_own_help_replaces_ours() -> None:
    router = shop()

    @router.on_command("HELP")
    async def own(message: TextMessage) -> None:
        await message.reply("mine")

    assert await dispatch(router, "/help") == ["mine"]
    assert await dispatch(router, "/帮助") == []


class Size(Enum):
    SMALL = 1
    LARGE = 2


@pytest.mark.parametrize(
    ("annotation", "written", "expected"),
    [
        (int, "-3", -3),
        (int, "１２", 12),
        (int, "十二", 12),
        (float, "2.5", 2.5),
        (float, "２．５", 2.5),
        (Decimal, "0.10", Decimal("0.10")),
        (bool, "yes", True),
        (bool, "关", False),
        (bool, "好的", True),
        (bool, "0", False),
        (date, "2026-01-31", date(2026, 1, 31)),
        (date, "2026年1月31日", date(2026, 1, 31)),
        (date, "2026/1/31", date(2026, 1, 31)),
        (time, "9:30", time(9, 30)),
        (time, "9：30", time(9, 30)),
        (time, "9点", time(9, 0)),
        (datetime, "2026-01-31T09:30", datetime(2026, 1, 31, 9, 30)),  # noqa: DTZ001
        (UUID, str(UUID(int=1)), UUID(int=1)),
        (Size, "small", Size.SMALL),
        (Size, "2", Size.LARGE),
        (Literal[1, 2], "2", 2),
        (str, '"two words"', "two words"),
        (int | None, "4", 4),
    ],
)
async def test_arguments_are_read_as_their_type(annotation: Any, written: str, expected: object) -> None:
    assert await _read(annotation, written) == [expected]


@pytest.mark.parametrize(
    ("annotation", "written"),
    [
        (int, "1_000"),
        (int, "1.5"),
        (float, "nan"),
        (float, "1e999"),
        (float, "1_0"),
        (bool, "maybe"),
        (date, "2026-02-30"),
        (date, "31.1.2026"),
        (time, "25:00"),
        (datetime, "soon"),
        (UUID, "7"),
        (Size, "medium"),
        (Literal[1, 2], "3"),
    ],
)
async def test_what_is_no_value_of_a_type_is_told(annotation: Any, written: str) -> None:
    ((told, _),) = [answer.split("\n") for answer in await _read(annotation, written)]
    assert told.startswith(f"“{written}” will not do for value: /x takes ")


async def _read(annotation: Any, written: str) -> list[Any]:
    router = Router()
    got: list[Any] = []

    async def take(message: TextMessage, value: Any) -> None:
        got.append(value)

    take.__annotations__["value"] = annotation
    router.on_command("x")(take)
    return await dispatch(router, f"/x {written}") + got


async def test_rest_takes_all_words_each_read() -> None:
    router = Router()
    got: list[tuple[int, ...]] = []

    @router.on_command("sum")
    async def add(message: TextMessage, *numbers: int) -> None:
        got.append(numbers)

    await dispatch(router, "/sum 1 “2” 3")
    await dispatch(router, "/sum")
    (told,) = await dispatch(router, "/sum 1 x")
    assert got == [(1, 2, 3), ()]
    assert told.endswith("/sum [numbers…]")


async def test_a_text_that_is_needed_is_asked_for() -> None:
    router = Router()

    @router.on_command("say")
    async def say(message: TextMessage, *, words: str) -> None:
        await message.reply(words)

    assert await dispatch(router, "/say a\nb  c") == ["a\nb  c"]
    assert await dispatch(router, "/say  ") == ["/say needs words: a text.\nWrite it like this: /say <words…>"]


async def test_commands_come_before_what_stands_before_them() -> None:
    router = Router()

    @router.on_any()
    async def anything(message: Message) -> None: ...

    @router.on_command("ping", filters.from_user("boss@im.wechat"))
    async def ping(message: TextMessage) -> None: ...

    assert (
        await taken_by(router, message("/ping", user="boss@im.wechat"))
        == "test_commands_come_before_what_stands_before_them.ping"
    )
    assert str(await taken_by(router, "/ping")).endswith("anything")


def test_two_handlers_of_one_command_are_refused_with_both_places() -> None:
    router, inner = Router(), Router()

    @router.on_command("Help", "帮助")
    async def first(message: TextMessage) -> None: ...

    @inner.on_command("x", "help")
    async def second(message: TextMessage) -> None: ...

    router.include(inner)
    places = r"test_commands.py:\d+ .*second handles the command /help, as .*test_commands.py:\d+ .*first does"
    with pytest.raises(ConfigError, match=places):
        router.check()


@pytest.mark.parametrize("names", [(), ("",), ("two words",), ("a@b",), ("/",)])
def test_names_that_nobody_can_call_are_refused_where_they_stand(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"test_commands.py:\d+: this command"):
        Router().on_command(*names)


def _after_rest(message: TextMessage, *words: str, more: str) -> None: ...
def _two_texts(message: TextMessage, *, words: str, more: str) -> None: ...
def _number_as_text(message: TextMessage, *, count: int) -> None: ...
def _needed_behind_optional(message: TextMessage, first: int | None, second: int) -> None: ...


@pytest.mark.parametrize("shape", [_after_rest, _two_texts, _number_as_text, _needed_behind_optional])
def test_arguments_that_cannot_be_told_apart_are_refused(shape: Any) -> None:
    router = Router()

    async def handle(*args: Any, **kwargs: Any) -> None: ...

    handle.__signature__ = __import__("inspect").signature(shape, eval_str=True)  # type: ignore[attr-defined]
    router.on_command("x")(handle)
    with pytest.raises(ConfigError, match="handle: this handler"):
        router.check()


@given(st.text(max_size=30))
def test_reading_a_call_never_fails(text: str) -> None:
    call = read_call(text)
    assert call is None or (text[0] in "/／" and call.name)


@given(st.text(max_size=30))
async def test_whatever_is_written_is_read_or_answered(text: str) -> None:
    answers = await dispatch(shop(), message(f"/order {text}"))
    assert len(answers) == 1
