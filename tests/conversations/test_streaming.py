"""Answers that come in pieces, and notes on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from bot_house import HastyClock, Server, running

from ilink import ConfigError, Context, Message, TextMessage
from ilink.bot import Bot
from ilink.wire.models import given

ALICE = "alice@im.wechat"
Make = Callable[..., Bot]
LONG = "A sentence of some length that says one thing. " * 8


async def written(*pieces: str, clock: HastyClock | None = None, pause: float = 0.0) -> AsyncIterator[str]:
    """What a model writes, a piece at a time."""
    for piece in pieces:
        await asyncio.sleep(0)
        if clock is not None:
            clock.late += pause
        yield piece


def answering(bot: Bot, pieces: Callable[[], AsyncIterator[str]], **options: object) -> Bot:
    @bot.on_text()
    async def answer(message: TextMessage) -> None:
        await message.reply_stream(pieces(), **options)  # type: ignore[arg-type]

    return bot


async def test_a_quick_answer_is_one_message(make_bot: Make, server: Server) -> None:
    async with running(answering(make_bot(), lambda: written("Hello", " ", "world.\n\n", "How are you?"))):
        server.says(ALICE, "hi")
        await server.until(lambda: bool(server.heard(ALICE)))
    assert server.heard(ALICE) == ["Hello world.\n\nHow are you?"]


async def test_a_slow_answer_goes_out_in_parts(make_bot: Make, server: Server, clock: HastyClock) -> None:
    texts = [f"{number} {LONG}\n\n" for number in range(4)]
    async with running(answering(make_bot(), lambda: written(*texts, clock=clock, pause=60.0))):
        server.says(ALICE, "hi")
        await server.until(lambda: len(server.heard(ALICE)) == 4)
    assert [text.strip() for text in server.heard(ALICE)] == [text.strip() for text in texts]
    assert server.typing[0] == (ALICE, True)
    assert server.typing[-1] == (ALICE, False)


async def test_a_part_goes_out_while_the_model_thinks(make_bot: Make, server: Server, clock: HastyClock) -> None:
    thinks, go_on = asyncio.Event(), asyncio.Event()

    async def thinking() -> AsyncIterator[str]:
        yield f"First. {LONG}\n\nThen"
        thinks.set()
        await go_on.wait()
        yield " the end."

    async with running(answering(make_bot(), thinking)):
        server.says(ALICE, "hi")
        await thinks.wait()
        clock.late += 10
        await server.until(lambda: len(server.heard(ALICE)) == 1)
        go_on.set()
        await server.until(lambda: len(server.heard(ALICE)) == 2)
    assert server.heard(ALICE)[1] == "Then the end."


async def test_never_more_than_the_allowance_has_left(make_bot: Make, server: Server, clock: HastyClock) -> None:
    bot = make_bot()

    @bot.on_text()
    async def answer(message: TextMessage) -> None:
        for number in range(7):
            await message.reply(str(number))
        await message.reply_stream(
            written(*[f"{number} {LONG}\n\n" for number in range(9)], clock=clock, pause=60.0), parts=8
        )

    async with running(bot):
        server.says(ALICE, "hi")
        await server.until(lambda: len(server.heard(ALICE)) == 10)
    assert server.heard(ALICE)[9].count("A sentence") == 7 * 8  # all that is left is in the last one


async def test_a_run_that_is_repeated_says_only_what_differs(make_bot: Make, server: Server, clock: HastyClock) -> None:
    bot = make_bot()
    ends = ["odd", "good"]

    @bot.on_text()
    async def answer(message: TextMessage) -> None:
        end = ends.pop(0)
        await message.reply_stream(written(f"Same. {LONG}\n\n", f"{end} {LONG}\n\n", "End.", clock=clock, pause=90.0))
        if end == "odd":
            raise ValueError("a bad moment")

    async with running(bot):
        server.says(ALICE, "hi")
        await server.until(lambda: len(server.heard(ALICE)) == 4)
    assert [text.split()[0] for text in server.heard(ALICE)] == ["Same.", "odd", "good", "End."]


async def test_a_stream_is_not_read_again_behind_a_question(make_bot: Make, server: Server) -> None:
    bot = make_bot()
    reads: list[int] = []

    def model() -> AsyncIterator[str]:
        reads.append(1)
        return written("Long answer.")

    @bot.on_command("ask")
    async def answer(message: TextMessage, ctx: Context) -> None:
        async def pieces() -> AsyncIterator[str]:
            async for piece in model():
                yield piece

        await message.reply_stream(pieces())
        await message.reply("You said " + await ctx.ask("And?"))

    async with running(bot):
        server.says(ALICE, "/ask")
        await server.until(lambda: len(server.heard(ALICE)) == 2)
        server.says(ALICE, "yes")
        await server.until(lambda: len(server.heard(ALICE)) == 3)
    assert server.heard(ALICE) == ["Long answer.", "And?", "You said yes"]
    assert reads == [1]


async def test_a_source_that_fails_fails_the_handler(make_bot: Make, server: Server) -> None:
    bot = make_bot()
    dead: list[str] = []

    async def failing() -> AsyncIterator[str]:
        yield "Some text"
        raise RuntimeError("the model is gone")

    bot.on_dead_letter(lambda letter, error: (dead.append(letter.error or ""), server.change())[0])
    async with running(answering(bot, failing)):
        server.says(ALICE, "hi")
        await server.until(lambda: bool(dead))
    assert "the model is gone" in dead[0]
    assert server.heard(ALICE) == []


async def test_an_empty_stream_is_refused(make_bot: Make, server: Server) -> None:
    bot = make_bot()
    refused: list[str] = []

    @bot.on_text()
    async def answer(message: TextMessage) -> None:
        with pytest.raises(ConfigError) as caught:
            await message.reply_stream(written(" ", "\n"))
        refused.append(str(caught.value))
        await message.reply("nothing")

    async with running(bot):
        server.says(ALICE, "hi")
        await server.until(lambda: bool(server.heard(ALICE)))
    assert "brought no text" in refused[0]


@pytest.mark.parametrize(("markdown", "heard"), [(True, "Five a ＜ b"), (False, "##### Five a < b")])
async def test_markdown_is_tamed_unless_it_is_none(make_bot: Make, server: Server, markdown: bool, heard: str) -> None:
    async with running(answering(make_bot(), lambda: written("##### Five ", "a < b"), markdown=markdown)):
        server.says(ALICE, "hi")
        await server.until(lambda: bool(server.heard(ALICE)))
    assert server.heard(ALICE) == [heard]


async def test_progress_is_shown_and_ends_with_what_became_of_it(make_bot: Make, server: Server) -> None:
    bot = make_bot()

    @bot.on_any()
    async def search(message: Message) -> None:
        async with message.progress("search"):
            pass
        try:
            async with message.progress("fetch"):
                raise ValueError("nothing there")
        except ValueError:
            await message.reply("done")

    async with running(bot):
        server.says(ALICE, "hi")
        await server.until(lambda: "done" in server.heard(ALICE))
    items = [message.item for message in server.sent]
    assert [item.type for item in items] == [11, 12, 11, 12, 1]
    results = [given(item.tool_call_result_item, None) for item in items]
    assert [result.status for result in results if result is not None] == ["completed", "failed"]


def test_a_message_from_nowhere_streams_nowhere() -> None:
    from ilink.messages.incoming import read_message, read_update

    raw = b'{"from_user_id":"a","item_list":[{"type":1,"text_item":{"text":"x"}}]}'
    wire = read_update(raw)
    assert wire is not None
    message = read_message(raw, wire, account="bot")  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        message.progress("x")
