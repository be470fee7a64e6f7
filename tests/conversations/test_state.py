"""State of a conversation: typed, kept with the success of the handler, refused as early as possible."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from bot_house import HastyClock, Server, running
from hypothesis import given
from hypothesis import strategies as st

from ilink import ConfigError, Context, ConversationPolicy, State, StateError, TextMessage
from ilink.bot import Bot
from ilink.bot.conversation import Kept, KeptState, read_kept
from ilink.bot.conversation_state import check_state_type, keep_state, read_state, state_name

ALICE, BOB = "alice@im.wechat", "bob@im.wechat"
Make = Callable[..., Bot]


@dataclass
class Count:
    number: int = 0
    words: list[str] = field(default_factory=list)


class Mood(msgspec.Struct):
    good: bool = True
    since: date = date(2026, 1, 1)


@dataclass
class Brief:
    state_expire: ClassVar[float] = 60.0
    text: str = ""


async def heard(server: Server, user: str, text: str) -> str:
    server.says(user, text)
    count = len(server.texts[user]) + 1
    await server.until(lambda: len(server.texts[user]) >= count)
    return server.texts[user][-1]


def counting(bot: Bot) -> Bot:
    @bot.on_text()
    async def count(message: TextMessage, state: State[Count]) -> None:
        state.value.number += 1
        state.value.words.append(message.text)
        if message.text == "twice" and message.attempt == 1:
            raise ValueError("a bad moment")
        await message.reply(f"{state.value.number} {' '.join(state.value.words)}")

    return bot


async def test_state_is_kept_per_conversation_and_over_restarts(make_bot: Make, server: Server) -> None:
    async with running(counting(make_bot())):
        assert await heard(server, ALICE, "a") == "1 a"
        assert await heard(server, BOB, "b") == "1 b"
    async with running(counting(make_bot())):
        assert await heard(server, ALICE, "c") == "2 a c"


async def test_a_handler_that_fails_changes_nothing(make_bot: Make, server: Server) -> None:
    async with running(counting(make_bot())):
        assert await heard(server, ALICE, "twice") == "1 twice"


async def test_messages_in_one_batch_see_each_others_state(make_bot: Make, server: Server) -> None:
    async with running(counting(make_bot())):
        for text in "abcdefgh":
            server.says(ALICE, text)
        await server.until(lambda: len(server.texts[ALICE]) == 8)
    assert server.texts[ALICE][-1] == "8 a b c d e f g h"


async def test_several_states_live_side_by_side_and_may_be_replaced(make_bot: Make, server: Server) -> None:
    bot = make_bot()

    @bot.on_text()
    async def both(message: TextMessage, ctx: Context, count: State[Count]) -> None:
        mood = await ctx.state(Mood)
        assert (await ctx.state(Count)) is count
        count.value = dataclasses.replace(count.value, number=count.value.number + 10)
        if message.text == "bad":
            mood.value.good = False
        if message.text == "clear":
            mood.clear()
        await message.reply(f"{count.value.number} {mood.value.good}")

    async with running(bot):
        assert await heard(server, ALICE, "x") == "10 True"
        assert await heard(server, ALICE, "bad") == "20 False"
        assert await heard(server, ALICE, "x") == "30 False"
        assert await heard(server, ALICE, "clear") == "40 True"


async def test_a_state_expires(make_bot: Make, server: Server, clock: HastyClock) -> None:
    bot = make_bot()

    @bot.on_text()
    async def note(message: TextMessage, brief: State[Brief]) -> None:
        before, brief.value.text = brief.value.text, message.text
        await message.reply(f"before: {before}")

    async with running(bot):
        assert await heard(server, ALICE, "one") == "before: "
        clock.ahead_ms += 59_000
        assert await heard(server, ALICE, "two") == "before: one"
        clock.ahead_ms += 61_000
        assert await heard(server, ALICE, "three") == "before: "


async def test_a_run_that_stops_at_a_question_changes_nothing(make_bot: Make, server: Server) -> None:
    bot = make_bot()

    @bot.on_command("add")
    async def add(message: TextMessage, ctx: Context, state: State[Count]) -> None:
        state.value.number += 1
        state.value.words.append(await ctx.ask("What?"))
        await message.reply(f"{state.value.number} {' '.join(state.value.words)}")

    async with running(bot):
        for number, word in enumerate(["x", "y"], start=1):
            assert await heard(server, ALICE, "/add") == "What?"
            assert (await heard(server, ALICE, word)).startswith(str(number))
    assert server.texts[ALICE][-1] == "2 x y"


async def test_a_value_that_cannot_be_kept_fails_the_handler_and_names_the_field(
    make_bot: Make, server: Server
) -> None:
    bot = make_bot()
    errors: list[BaseException | None] = []

    @bot.on_text()
    async def bad(message: TextMessage, state: State[Count]) -> None:
        state.value.words.append(3 if message.text == "type" else object())  # type: ignore[arg-type]
        await message.reply("said")

    @bot.on_dead_letter
    def note(letter: object, error: BaseException | None) -> None:
        errors.append(error)
        server.change()

    async with running(bot):
        server.says(ALICE, "type")
        server.says(ALICE, "object")
        await server.until(lambda: len(errors) == 2)
    causes = [error.__cause__ for error in errors if error is not None]
    assert [type(cause) for cause in causes] == [StateError, StateError]
    assert [cause.field for cause in causes if isinstance(cause, StateError)] == ["$.words[0]", "$.words[0]"]
    assert server.texts[ALICE] == []


async def test_a_state_that_grows_too_large_fails_the_handler(make_bot: Make, server: Server) -> None:
    bot = counting(make_bot(conversations=ConversationPolicy(state_bytes=200)))
    dead: list[str] = []
    bot.on_dead_letter(lambda letter, error: (dead.append(letter.error or ""), server.change())[0])
    async with running(bot):
        server.says(ALICE, "x" * 300)
        await server.until(lambda: bool(dead))
        assert await heard(server, ALICE, "short") == "1 short"
    assert "keep less in Count" in dead[0]


async def test_state_is_json_in_the_store(make_bot: Make, server: Server, tmp_path: Path) -> None:
    async with running(counting(make_bot())):
        await heard(server, ALICE, "a")
    with sqlite3.connect(next((tmp_path / "data").glob("*.db"))) as connection:
        (stored,) = connection.execute("SELECT state FROM conversations").fetchone()
    connection.close()
    assert msgspec.json.decode(stored)["states"] == {"Count": {"value": {"number": 1, "words": ["a"]}}}


@dataclass
class NoDefault:
    name: str


@dataclass
class Socket:
    connection: sqlite3.Connection | None = None


@dataclass
class Deep:
    inner: list[dict[str, Socket]] = field(default_factory=list)


class Plain:
    pass


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (NoDefault, "name has no default"),
        (Socket, "$.connection is a Connection"),
        (Deep, "$.inner[...][...].connection is a Connection"),
        (Plain, "use a dataclass or a msgspec Struct"),
        (int, "use a dataclass or a msgspec Struct"),
    ],
)
async def test_a_type_that_cannot_be_kept_is_refused_before_any_message(
    make_bot: Make, kind: type[Any], words: str
) -> None:
    bot = make_bot()

    async def handler(message: TextMessage, state: State[kind]) -> None: ...  # type: ignore[valid-type]

    handler.__annotations__ = {"message": TextMessage, "state": State[kind]}
    bot.on_text()(handler)
    with pytest.raises(ConfigError, match=r"test_state.py:\d+ .*handler") as caught:
        await bot.serve()
    assert words in str(caught.value)


async def test_two_types_of_one_name_are_refused(make_bot: Make, server: Server) -> None:
    other = dataclasses.make_dataclass("Count", [("number", int, 0)])
    bot = make_bot()
    refused: list[str] = []

    @bot.on_text()
    async def odd(message: TextMessage, ctx: Context, state: State[Count]) -> None:
        with pytest.raises(StateError) as caught:
            await ctx.state(other)
        refused.append(str(caught.value))
        await message.reply("ok")

    async with running(bot):
        await heard(server, ALICE, "x")
    assert "give one of the types a `state_name`" in refused[0]


def kept(value: object, **more: Any) -> KeptState:
    return KeptState(value=msgspec.Raw(msgspec.json.encode(value)), **more)


class TestChangedTypes:
    def test_fields_that_are_gone_and_new_ones_do_no_harm(self) -> None:
        state = read_state(Count, kept({"number": 3, "gone": 1}), now_ms=0, expire=None)
        assert state.value == Count(3, [])

    def test_a_field_of_another_type_is_named(self) -> None:
        with pytest.raises(
            StateError, match=r"cannot read the state Count, \$.number: Expected `int`, got `str`"
        ) as caught:
            read_state(Count, kept({"number": "three"}), now_ms=0, expire=None)
        assert (caught.value.state, caught.value.field) == ("Count", "$.number")

    def test_an_older_version_is_upgraded(self) -> None:
        @dataclass
        class Named:
            state_version: ClassVar[int] = 3
            state_name: ClassVar[str] = "Person"
            full: str = ""

            @classmethod
            def upgrade_state(cls, fields: dict[str, Any], version: int) -> dict[str, Any]:
                return {"full": f"{fields['first']} {fields['last']} of {version}"}

        state = read_state(Named, kept({"first": "A", "last": "B"}, version=2), now_ms=0, expire=None)
        assert state.value.full == "A B of 2"
        assert state_name(Named) == "Person"
        assert keep_state(state, now_ms=0).version == 3
        with pytest.raises(StateError, match="could not be upgraded"):
            read_state(Named, kept({}, version=1), now_ms=0, expire=None)

    def test_what_is_over_is_fresh(self) -> None:
        assert read_state(Count, kept({"number": 3}, expires_ms=10), now_ms=10, expire=None).value == Count()
        assert read_state(Count, kept({"number": 3}, expires_ms=11), now_ms=10, expire=None).value == Count(3)

    def test_another_type_in_its_place_is_refused(self) -> None:
        state: State[Any] = State(Count, Count(), expire=None)
        state.value = {"number": 1}
        with pytest.raises(StateError, match="replaced by a dict"):
            keep_state(state, now_ms=0)

    def test_what_is_damaged_is_told(self) -> None:
        with pytest.raises(StateError, match="cannot be read"):
            read_kept(b"\x80\x04pickle")


@dataclass
class Everything:
    text: str = ""
    number: int | None = None
    floats: list[float] = field(default_factory=list)
    when: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    pairs: dict[str, tuple[int, bool]] = field(default_factory=dict)
    data: bytes = b""


@given(
    st.builds(
        Everything,
        text=st.text(),
        number=st.none() | st.integers(-(2**63), 2**63 - 1),
        floats=st.lists(st.floats(allow_nan=False, allow_infinity=False)),
        when=st.datetimes(timezones=st.just(UTC)),
        pairs=st.dictionaries(st.text(), st.tuples(st.integers(0, 9), st.booleans())),
        data=st.binary(),
    )
)
def test_whatever_can_be_kept_comes_back(value: Everything) -> None:
    check_state_type(Everything)
    state = State(Everything, value, expire=None)
    stored = Kept(states={"Everything": keep_state(state, now_ms=0)}).to_stored(now_ms=0, limit=1 << 30)
    again = read_kept(stored.data).states["Everything"]
    assert read_state(Everything, again, now_ms=0, expire=None).value == value


def test_what_is_kept_knows_its_end() -> None:
    assert Kept().to_stored(now_ms=0, limit=10).data == b""
    both = Kept(states={"A": kept(1, expires_ms=5), "B": kept(1, expires_ms=9)})
    assert both.expires_ms == 9
    assert msgspec.json.decode(both.to_stored(now_ms=5, limit=1_000).data)["states"].keys() == {"B"}
    assert Kept(states={"A": kept(1, expires_ms=5), "B": kept(1)}).expires_ms is None
