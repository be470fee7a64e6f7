"""Filters: what passes, what combinations capture, and what is refused."""

from __future__ import annotations

import re
from datetime import UTC, time
from enum import Enum
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing_house import dispatch, message, taken_by

from ilink import ConfigError, Filter, ImageMessage, Message, Router, TextMessage, VideoMessage, filters
from ilink.bot.routing.dispatch import Dispatch
from ilink.bot.routing.patterns import pattern_start
from ilink.bot.routing.rules import Probe
from ilink.messages.incoming import AnyMessage

NOON = 1_790_000_000_000 - 1_790_000_000_000 % 86_400_000 + 43_200_000


def passes(condition: Filter, said: AnyMessage) -> bool:
    return condition.rule.test(Probe(said)) is not None


@pytest.mark.parametrize(
    ("condition", "said", "expected"),
    [
        (filters.equals("hi", "你好"), "  HI ", True),
        (filters.equals("hi"), "hi there", False),
        (filters.equals("Hi", ignore_case=False), "hi", False),
        (filters.startswith("order ", "订购"), "Order tea", True),
        (filters.startswith("订购"), "我订购", False),
        (filters.startswith("Ab", ignore_case=False), "abc", False),
        (filters.contains("TEA"), "some tea please", True),
        (filters.contains("Tea", ignore_case=False), "some tea", False),
        (filters.contains("straße"), "STRASSE", True),
        (filters.matches(r"\d+"), "12", True),
        (filters.matches(r"\d+"), "12 a", False),
        (filters.matches(r"\d+", anywhere=True), "a 12", True),
        (filters.matches(re.compile("ab", re.IGNORECASE)), "AB", True),
        (filters.from_user("user:alice@im.wechat"), "x", True),
        (filters.from_user("Alice@im.wechat"), "x", False),
        (filters.contains("a") & filters.contains("b"), "b a", True),
        (filters.contains("a") & filters.contains("b"), "a", False),
        (filters.contains("a") | filters.contains("b"), "b", True),
        (~filters.contains("a"), "b", True),
        (~(filters.contains("a") | filters.contains("b")), "b", False),
        (filters.where(lambda one: len(one.text) == 3), "abc", True),
    ],
    ids=str,
)
def test_text_filters_decide(condition: Filter, said: str, expected: bool) -> None:
    assert passes(condition, message(said)) is expected


@pytest.mark.parametrize("kind", ["image", "voice", "file", "video", "other", "text"])
def test_kind_filters_take_their_kind_only(kind: str) -> None:
    said = message("x") if kind == "text" else message(kind=kind)
    passing = {
        name for name in ("image", "voice", "file", "video", "other", "text") if passes(getattr(filters, name), said)
    }
    assert passing == {kind}


def test_captions_are_texts_beside_something_else() -> None:
    assert passes(filters.captioned, message("my cat", kind="image"))
    assert not passes(filters.captioned, message(kind="image"))
    assert not passes(filters.captioned, message("a text"))


def test_quoting_messages_refer_to_another_one() -> None:
    assert passes(filters.quoting, message("yes", quote="are you there?"))
    assert not passes(filters.quoting, message("yes"))


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        ("9:00", "17:30", True),
        ("12:00", "12:01", True),
        ("9:00", "12:00", False),
        ("22:00", "12:30", True),
        ("13:00", "9", False),
    ],
)
def test_hours_may_go_past_midnight(begin: str, end: str, expected: bool) -> None:
    said = message("x", create_time_ms=NOON)
    condition = filters.between(begin, end if ":" in end else time(int(end)), zone=UTC)
    assert passes(condition, said) is expected


def test_a_message_without_time_was_sent_now() -> None:
    assert passes(filters.between("0:00", time.max), message("x"))


class Colour(Enum):
    RED = "红"
    BLUE = "blue"


@pytest.mark.parametrize(
    ("pattern", "said", "annotation", "expected"),
    [
        (r"n (?P<value>\S+)", "n 12", int, 12),
        (r"n (?P<value>\S+)", "n 1.5", float, 1.5),
        (r"n (?P<value>\S+)", "n red", Colour, Colour.RED),
        (r"n (?P<value>\S+)", "n 红", Colour, Colour.RED),
        (r"n (?P<value>\S+)", "n B", Literal["a", "b"], "b"),
        (r"n (?P<value>\S+)", f"n {UUID(int=7)}", UUID, UUID(int=7)),
        (r"n (?P<value>\S+)", "n x", str, "x"),
        (r"n(?P<value>x)?", "n", str | None, None),
        (r"n (?P<value>\S+)", "n x", int, "nobody"),
        (r"n (?P<value>\S+)", "n green", Colour, "nobody"),
        (r"n(?P<value>x)?", "n", str, "nobody"),
    ],
)
async def test_captures_come_as_what_the_handler_asks_for(
    pattern: str, said: str, annotation: Any, expected: object
) -> None:
    router = Router()
    got: list[object] = []

    async def take(message: TextMessage, value: Any) -> None:
        got.append(value)

    take.__annotations__["value"] = annotation
    router.on_text(filters.matches(pattern))(take)

    @router.on_any()
    async def nobody(message: Message) -> None:
        got.append("nobody")

    await dispatch(router, said)
    assert got == [expected]


async def test_a_capture_that_is_not_there_gets_its_default() -> None:
    router = Router()
    got: list[int] = []

    @router.on_text(filters.matches(r"more(?: (?P<count>\d+))?"))
    async def more(message: TextMessage, count: int = 1) -> None:
        got.append(count)

    await dispatch(router, "more")
    await dispatch(router, "more 7")
    assert got == [1, 7]


async def test_both_sides_of_an_and_capture() -> None:
    router = Router()
    got: list[object] = []

    @router.on_text(
        filters.matches(r"(?P<first>\w+) .*") & filters.matches(r".* (?P<last>\w+)"), filters.matches("(?P<all>.*)")
    )
    async def take(message: TextMessage, first: str, last: str, all: str) -> None:  # noqa: A002
        got.append((first, last, all))

    await dispatch(router, "a b c")
    assert got == [("a", "c", "a b c")]


def test_what_one_side_of_an_or_captures_needs_a_default() -> None:
    router = Router()
    either = filters.matches(r"a(?P<count>\d)") | filters.equals("b")

    @router.on_text(either)
    async def sure(message: TextMessage, count: int) -> None: ...

    with pytest.raises(
        ConfigError, match=r"test_filters.py:\d+ .*sure: .*`count`, which only one side of a | captures"
    ):
        router.check()


async def test_what_one_side_of_an_or_captures_may_have_one() -> None:
    router = Router()
    got: list[object] = []

    @router.on_text(filters.matches(r"a(?P<count>\d)") | filters.equals("b"))
    async def take(message: TextMessage, count: int | None) -> None:
        got.append(count)

    await dispatch(router, "a3")
    await dispatch(router, "b")
    assert got == [3, None]


async def test_an_asynchronous_filter_is_awaited_alone_and_combined() -> None:
    async def is_long(one: Message) -> bool:
        return len(one.text) > 3

    class IsLoud:
        async def __call__(self, one: Message) -> bool:
            return one.text.isupper()

    router = Router()

    @router.on_text(filters.where(is_long) & ~filters.where(IsLoud()) & filters.matches("(?P<word>.*)"))
    async def quiet(message: TextMessage, word: str) -> None:
        await message.reply(f"quiet {word}")

    @router.on_text(is_long)
    async def loud(message: TextMessage) -> None:
        await message.reply("loud")

    @router.on_text(filters.where(is_long) | filters.equals("no"))
    async def no(message: TextMessage) -> None:
        await message.reply("no")

    answers = [await dispatch(router, said) for said in ("hello", "HELLO", "no", "yes")]
    assert answers == [["quiet hello"], ["loud"], ["no"], []]


async def test_a_function_may_answer_with_anything_that_is_true_or_false() -> None:
    router = Router()

    @router.on_text(lambda one: one.text.partition("!")[1])  # type: ignore[arg-type, return-value]
    async def loud(message: TextMessage) -> None: ...

    assert [await taken_by(router, said) is not None for said in ("a!", "a")] == [True, False]


def test_a_filter_that_returns_something_to_wait_for_by_surprise_is_told() -> None:
    async def later() -> bool:
        return True

    waiting: list[Any] = []

    def sneaky(one: Message) -> Any:
        waiting.append(later())
        return waiting[-1]

    with pytest.raises(ConfigError, match=r"sneaky.* `async def`"):
        passes(filters.where(sneaky), message("x"))
    waiting[0].close()


def test_filters_are_neither_true_nor_false() -> None:
    with pytest.raises(ConfigError, match="combine filters with &"):
        _ = filters.image and filters.video


@pytest.mark.parametrize(
    "make",
    [
        filters.equals,
        lambda: filters.contains(""),
        lambda: filters.startswith(" "),
        lambda: filters.matches("("),
        filters.from_user,
        lambda: filters.between("25:00", "9:00"),
        lambda: filters.between("noon", "9:00"),
    ],
)
def test_filters_that_mean_nothing_are_refused(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()


def test_a_handler_that_no_message_can_reach_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"never_called: this handler can never be called"):

        @Router().on_text(filters.image)
        async def never_called(message: TextMessage) -> None: ...


async def test_narrowed_handlers_get_these_kinds_only() -> None:
    router = Router()

    @router.on_any(filters.image | filters.video)
    async def moving(message: ImageMessage | VideoMessage) -> None: ...

    taken = {kind: await taken_by(router, message(kind=kind)) for kind in ("image", "voice", "file", "video")}
    assert {kind for kind, name in taken.items() if name} == {"image", "video"}


_TEXTS = st.text("aAbBiIıİſsSkK\u212a/订 1", max_size=4)


@given(_TEXTS, st.sampled_from(["equals", "startswith", "contains"]), _TEXTS.filter(str.strip), st.booleans())
async def test_the_index_by_first_character_hides_no_handler(said: str, name: str, word: str, ignore: bool) -> None:
    condition = getattr(filters, name)(word, ignore_case=ignore)
    await _same_with_and_without_index(condition, said)


@given(
    _TEXTS,
    st.sampled_from(
        [
            "a.*",
            "a?b",
            "a*b",
            "a+",
            "^a",
            "a|b",
            "(?i)i.*",
            "(?i)k",
            "订.*",
            "(?i)订?",
            "ab?i",
            "1订k*",
            "s{0,1}i",
            "/.*",
            "[ab]",
            "",
        ]
    ),
)
async def test_the_index_of_patterns_hides_no_handler(said: str, pattern: str) -> None:
    await _same_with_and_without_index(filters.matches(pattern), said)


@given(_TEXTS, st.sampled_from(["i.*", "k.*", "订ı?.*", "s.*", "1i.*", "/K*"]))
async def test_the_index_of_patterns_without_case_hides_no_handler(said: str, pattern: str) -> None:
    await _same_with_and_without_index(filters.matches(re.compile(pattern, re.IGNORECASE)), said)


def test_patterns_without_case_begin_with_what_has_no_case() -> None:
    starts = [pattern_start(re.compile(pattern, re.IGNORECASE)) for pattern in ("iab", "12a", "订a")]
    assert starts == [None, {"12"}, {"订"}]


async def _same_with_and_without_index(condition: Filter, said: str) -> None:
    router = Router()

    @router.on_text(condition)
    async def take(message: TextMessage) -> None: ...

    one = message(said)
    assert (await Dispatch(router.registered).find(one) is not None) is passes(condition, one)


@pytest.mark.parametrize(
    ("pattern", "start"),
    [
        ("order", {"order"}),
        ("^Order", {"order"}),
        ("a+", None),
        ("a?", None),
        ("a*", None),
        ("a{0,1}", None),
        ("a|b", None),
        (".", None),
        ("(a)", None),
        ("", None),
        ("(?i)a", None),
        ("/x", {"/x"}),
        (r"ab\d", {"ab"}),
        ("ab*", {"a"}),
        ("ab+", {"a"}),
        ("(?i)订a", None),
        ("x" * 40, {"x" * 16}),
    ],
)
def test_patterns_tell_their_beginning_only_when_it_is_sure(pattern: str, start: set[str] | None) -> None:
    assert pattern_start(re.compile(pattern)) == (None if start is None else frozenset(start))
