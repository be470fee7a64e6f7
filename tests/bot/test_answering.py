"""What a bot promises while everything works."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from bot_house import ACCOUNT, FAST, OWNER, Connection, HastyClock, Server, running, sign_in, text_update, words

from ilink import (
    Accepted,
    AcceptedUnconfirmed,
    Bot,
    ConfigError,
    Deferred,
    DeferredWhy,
    ImageMessage,
    Message,
    StoreError,
    TextMessage,
)
from ilink.messages.incoming import read_message, read_update
from ilink.messages.outgoing import OutgoingMessage, SendReceipt
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.storage.sqlite import Database

Make = Callable[..., Bot]


def echo(bot: Bot) -> Bot:
    @bot.on_text()
    async def say_it_again(message: Message) -> None:
        await message.reply(f"You said: {message.text}")

    return bot


async def test_text_is_answered_with_the_newest_context_token(server: Server, make_bot: Make) -> None:
    async with running(echo(make_bot())):
        server.says("alice", "hi")
        await server.until(lambda: server.heard("alice") == ["You said: hi"])
    (message,) = server.sent
    assert message.context_token is not None
    assert message.context_token.reveal() == "token-1"
    assert server.notified == ["start", "stop"]


async def test_many_conversations_are_answered_in_order_each(server: Server, make_bot: Make) -> None:
    async with running(echo(make_bot())):
        for number in range(300):
            server.says(f"user-{number % 7}", str(number))
        await server.until(lambda: len(server.sent) == 300)
    for user in range(7):
        assert server.heard(f"user-{user}") == [f"You said: {number}" for number in range(300) if number % 7 == user]
    assert set(server.by_client_id.values()) == {1}


async def test_only_the_owner_is_listened_to_by_default(server: Server, make_bot: Make) -> None:
    async with running(echo(make_bot(allow="owner"))):
        server.says("mallory", "let me in")
        server.says(OWNER, "hi")
        await server.until(lambda: len(server.sent) == 1)
    assert words(server.sent) == ["You said: hi"]


@pytest.mark.parametrize(
    ("allow", "heard"),
    [("anyone", {"alice", "bob"}), (["wechat:bob"], {"bob"}), (lambda user: user == "alice", {"alice"}), ([], set())],
)
async def test_allow_says_who_is_listened_to(server: Server, make_bot: Make, allow: Any, heard: set[str]) -> None:
    async with running(echo(make_bot(allow=allow))):
        for user in ("alice", "bob"):
            server.says(user, "hi")
        await server.until(lambda: len(server.sent) == len(heard) and not server.mail)
    assert {message.to for message in server.sent} == heard


def test_an_unknown_word_for_allow_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="everybody"):
        Bot(allow="everybody", environ={})  # type: ignore[arg-type]


async def test_a_bot_without_handlers_does_not_start(make_bot: Make) -> None:
    with pytest.raises(ConfigError, match="on_text"):
        await make_bot().serve(login=sign_in)


async def test_without_login_a_bot_says_how_to_get_one(make_bot: Make) -> None:
    with pytest.raises(ConfigError, match="ilink login"):
        await echo(make_bot()).serve()


def test_a_handler_that_is_no_coroutine_is_refused(make_bot: Make) -> None:
    bot = make_bot()
    with pytest.raises(ConfigError, match="async def"):
        bot.on_text()(lambda message: None)  # type: ignore[arg-type, return-value]


def test_a_handler_with_other_arguments_is_refused(make_bot: Make) -> None:
    async def nothing() -> None:
        return

    with pytest.raises(ConfigError, match="has to take the message first"):
        make_bot().on_text()(nothing)  # type: ignore[arg-type]


async def test_kinds_go_to_their_handlers(server: Server, make_bot: Make) -> None:
    bot = make_bot()

    @bot.on_text()
    async def text(message: TextMessage) -> None:
        await message.reply("text")

    @bot.on_image()
    async def image(message: ImageMessage) -> None:
        await message.reply(f"image: {message.text}")

    @bot.on_any()
    async def anything(message: Message) -> None:
        await message.reply(type(message).__name__)

    async with running(bot):
        picture = {"type": 2, "image_item": {"aeskey": "00"}}
        server.says("a", "", item_list=[picture])
        server.says("a", "", item_list=[{"type": 1, "text_item": {"text": "look"}}, picture])
        server.says("a", "plain")
        server.says("a", "", item_list=[{"type": 99, "new_item": {"x": 1}}])
        server.says("a", "", item_list=None)
        await server.until(lambda: len(server.sent) == 5)
    assert server.heard("a") == ["image: ", "image: look", "text", "OtherMessage", "OtherMessage"]


async def test_what_nobody_handles_is_done(server: Server, make_bot: Make) -> None:
    async with running(echo(make_bot())):
        server.says("a", "", item_list=[])
        server.says("a", "hi")
        await server.until(lambda: len(server.sent) == 1)
    async with running(echo(make_bot())):
        server.says("a", "there")
        await server.until(lambda: len(server.sent) == 2)
    assert server.heard("a") == ["You said: hi", "You said: there"]


async def test_the_bots_own_messages_are_no_questions(server: Server, make_bot: Make) -> None:
    async with running(echo(make_bot())):
        server.says("a", "echo of mine", message_type=2)
        server.says("a", "hi")
        await server.until(lambda: len(server.sent) == 1)
    assert server.heard("a") == ["You said: hi"]


async def test_a_reply_waits_for_its_handler_and_says_so(server: Server, make_bot: Make) -> None:
    bot = make_bot()
    receipts = []

    @bot.on_text()
    async def answer(message: Message) -> None:
        receipts.append(await message.reply("later"))
        assert server.sent == []

    async with running(bot):
        server.says("a", "hi")
        await server.until(lambda: len(server.sent) == 1)
    (receipt,) = receipts
    assert isinstance(receipt, Deferred)
    assert receipt.why is DeferredWhy.HANDLER
    assert not receipt.is_final
    assert receipt.client_id == server.sent[0].client_id


async def test_a_reply_that_waits_is_sent_at_once_after_what_was_said_before(server: Server, make_bot: Make) -> None:
    bot = make_bot()
    receipts = []

    @bot.on_text()
    async def answer(message: Message) -> None:
        await message.reply("first")
        receipts.append(await message.reply("second", wait=5))
        await message.reply("third")

    async with running(bot):
        server.says("a", "hi")
        await server.until(lambda: len(server.sent) == 3)
    assert words(server.sent) == ["first", "second", "third"]
    (receipt,) = receipts
    assert isinstance(receipt, Accepted)
    assert receipt.message_id == "9002"


async def test_an_acceptance_without_id_is_no_confirmation(server: Server, make_bot: Make) -> None:
    server.confirms = False
    async with running(echo(make_bot())) as bot:
        server.says("a", "hi")
        await server.until(lambda: len(server.sent) == 1)
        receipt = await bot.send("a", "and more", wait=5)
    assert isinstance(receipt, AcceptedUnconfirmed)
    assert receipt.raise_for_status() is receipt


async def test_a_long_reply_goes_out_in_parts_in_order(server: Server, make_bot: Make) -> None:
    bot = make_bot()
    text = "\n\n".join(f"Paragraph {number}. " + "word " * 200 for number in range(40))

    @bot.on_text()
    async def answer(message: Message) -> None:
        await message.reply(text)

    async with running(bot):
        server.says("a", "hi")
        await server.until(lambda: len(server.sent) == 4)
    assert " ".join(server.heard("a")).split() == text.split()
    assert max(len(part.encode()) for part in server.heard("a")) <= 12_000


async def test_an_empty_reply_is_a_mistake_of_the_handler(server: Server, make_bot: Make, clock: Any) -> None:
    bot = make_bot()
    dead = []
    bot.on_dead_letter(lambda letter, error: dead.append((letter.error, error)) or server.change())

    @bot.on_text()
    async def answer(message: Message) -> None:
        await message.reply(" \n")

    async with running(bot):
        server.says("a", "hi")
        await server.until(lambda: len(dead) == 1)
    assert "blank" in dead[0][0]


async def test_send_needs_an_account(make_bot: Make) -> None:
    with pytest.raises(ConfigError, match="ilink login"):
        await make_bot().send("a", "hi")


async def test_a_message_made_by_hand_has_nowhere_to_reply() -> None:
    raw = text_update(1, "a", "hi")
    wire = read_update(raw)
    assert wire is not None
    message = read_message(raw, wire, account=ACCOUNT.account_id)
    with pytest.raises(ConfigError, match="nowhere"):
        await message.reply("hi")
    with pytest.raises(ConfigError, match="typing"):
        message.typing()


async def test_typing_ends_with_its_block_even_when_the_handler_fails(server: Server, make_bot: Make) -> None:
    bot = make_bot()

    @bot.on_text()
    async def answer(message: Message) -> None:
        async with message.typing():
            await server.until(lambda: ("a", True) in server.typing)
            if message.attempt == 1:
                raise ValueError("no")
        await message.reply("done")

    async with running(bot):
        server.says("a", "hi")
        await server.until(lambda: len(server.sent) == 1)
    assert server.typing[-1] == ("a", False)
    assert server.typing.count(("a", False)) == 2


async def test_a_thousand_conversations_are_served_side_by_side(server: Server, make_bot: Make) -> None:
    bot = make_bot()
    gate = asyncio.Event()
    running_now = 0

    @bot.on_text()
    async def answer(message: Message) -> None:
        nonlocal running_now
        running_now += 1
        if running_now == 1000:
            gate.set()
        await gate.wait()
        await message.reply("ok")

    async with running(bot):
        for number in range(1000):
            server.says(f"user-{number}", "hi")
        await server.until(lambda: len(server.sent) == 1000)


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was committed so far."""
    seen: list[str] = []
    true_commit = Database._commit

    def count(self: Database, connection: Any, group: Any) -> None:
        seen.append("commit")
        true_commit(self, connection, group)

    monkeypatch.setattr(Database, "_commit", count)
    return seen


async def begun(server: Server, clock: HastyClock, commits: list[str]) -> None:
    """Wait until a bot polls and writes nothing more by itself."""
    await server.until(lambda: len(server.polls) == 1)
    await server.until_slept(clock, 60.0)  # the house is kept, which is the last that starting costs
    commits.clear()


async def test_an_idle_poll_writes_nothing(
    server: Server, make_bot: Make, clock: HastyClock, commits: list[str]
) -> None:
    async with running(echo(make_bot(policies=replace(FAST, keep_seconds=1e9)))):
        await begun(server, clock, commits)
        server.empties = 50
        server.change()
        await server.until(lambda: not server.empties)
        assert commits == []


async def test_a_cursor_that_comes_without_updates_is_stored_when_the_bot_stops(
    server: Server, make_bot: Make, clock: HastyClock, commits: list[str]
) -> None:
    server.moves_while_empty = True
    async with running(echo(make_bot(policies=replace(FAST, keep_seconds=1e9)))):
        await begun(server, clock, commits)
        server.empties = 50
        server.change()
        await server.until(lambda: len(server.polls) == 51)
        assert commits == []
    async with running(echo(make_bot())):
        await server.until(lambda: len(server.polls) == 52)
    assert server.polls[-1] == "cursor-50"


async def test_a_cursor_that_comes_without_updates_is_in_memory_only_for_so_long(
    server: Server, make_bot: Make, clock: HastyClock, commits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.moves_while_empty = True
    async with running(echo(make_bot(policies=replace(FAST, keep_seconds=1e9)))):
        await begun(server, clock, commits)
        monkeypatch.setattr("ilink.bot.poller._KEEP_CURSOR", 0.0)
        server.empties = 1
        server.change()
        await server.until(lambda: len(server.polls) == 2)
        assert commits == ["commit"]


async def test_a_cursor_that_cannot_be_stored_is_stored_later_and_ends_nothing(
    server: Server, make_bot: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_ingest, failures = SqliteJournal.ingest, [StoreError("the disk is full")] * 3

    async def ingest(self: SqliteJournal, arrivals: Any, **options: Any) -> Any:
        if not arrivals and failures:
            raise failures.pop()
        return await true_ingest(self, arrivals, **options)

    monkeypatch.setattr(SqliteJournal, "ingest", ingest)
    monkeypatch.setattr("ilink.bot.poller._KEEP_CURSOR", 0.0)
    server.moves_while_empty = True
    async with running(echo(make_bot())):
        server.empties = 6
        await server.until(lambda: len(server.polls) == 7)
        assert failures == []
        server.says("a", "hi")
        await server.until(lambda: len(server.sent) == 1)


async def test_a_batch_costs_one_commit_and_messages_that_are_ready_together_share_theirs(
    server: Server, make_bot: Make, clock: HastyClock, commits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = make_bot(policies=replace(FAST, keep_seconds=1e9))
    handling, sending = asyncio.Barrier(21), asyncio.Barrier(20)
    true_send = Connection.send_message

    @bot.on_text()
    async def answer(message: Message) -> None:
        await handling.wait()
        await message.reply(message.text)

    async def send_together(self: Connection, message: OutgoingMessage) -> SendReceipt:
        await sending.wait()
        return await true_send(self, message)

    monkeypatch.setattr(Connection, "send_message", send_together)
    async with running(bot):
        await begun(server, clock, commits)
        for number in range(20):
            server.says(f"user-{number}", "hi")
        await server.until(lambda: len(server.polls) == 2)  # the batch is on the disk, and acknowledged
        assert len(commits) <= 2, "the batch, and that it outlives a power cut"
        await handling.wait()
        await server.until(lambda: len(server.sent) == 20)
    # The completions, the outcomes and the end; a slow machine may have begun with some when the others came.
    assert len(commits) < 10
