"""Routing in a bot that runs: on the gateway over sockets, and through failing handlers and restarts."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bot_house import FAST, Server, running, sign_in

from ilink import (
    Account,
    AccountId,
    Bot,
    Client,
    ConfigError,
    Invocation,
    Message,
    Next,
    Pairing,
    Router,
    Secret,
    TextMessage,
    UserId,
    filters,
)
from ilink.storage.accounts import Accounts, StoredAccount
from ilink.testing.gateway import LocalGateway
from ilink.testing.person import Person

Make = Callable[..., Bot]


def login_of(gateway: LocalGateway, person: Person):
    """Sign in as the QR login does, the person scanning at once."""

    async def login(accounts: Accounts) -> StoredAccount:
        async with Client(base_url=gateway.api_url) as client:
            code = await client.get_qr_code()
            await person.befriend(code.qrcode)
            report = await client.get_login_status(code.qrcode)
        assert report.token
        assert report.account_id
        assert report.owner_id
        account = Account(
            account_id=AccountId(report.account_id),
            token=Secret(report.token),
            base_url=report.base_url or gateway.api_url,
            owner_id=UserId(report.owner_id),
        )
        return await accounts.put(account)

    return login


async def signed_in(person: Person) -> None:
    async with asyncio.timeout(45):
        while person.bot_id is None:  # noqa: ASYNC110  # the login tells nobody
            await asyncio.sleep(0.01)


async def test_a_whole_shop_on_the_gateway(tmp_path: Path) -> None:
    events: list[str] = []
    bot = Bot(data=tmp_path, base_url="http://x", policies=FAST, environ={})
    shop = Router(name="shop")

    class Stock:
        def __init__(self) -> None:
            self.cups = 3

    @shop.provide(scope="app")
    async def stock() -> AsyncIterator[Stock]:
        events.append("opened")
        yield Stock()
        events.append("closed")

    @shop.middleware
    async def noting(invocation: Invocation, call_next: Next) -> None:
        events.append(invocation.message.text)
        await call_next()

    @shop.on_command("order", "订购")
    async def order(message: TextMessage, stock: Stock, count: int) -> None:
        """Order cups."""
        if count > stock.cups:
            await message.reply("this is dropped with the failure")
            raise LookupError(count)
        stock.cups -= count
        await message.reply(f"{stock.cups} left")

    @shop.on_error(LookupError)
    async def sold_out(error: LookupError, message: Message) -> None:
        await message.reply(f"sold out: {error}")

    @bot.outgoing
    def sign(text: str, message: Message) -> str:
        return f"{text} *"

    @bot.on_text(filters.matches(r"(?P<left>\d+)\s*\+\s*(?P<right>\d+)"))
    async def add(message: TextMessage, left: int, right: int) -> None:
        await message.reply(str(left + right))

    bot.include(shop)
    async with LocalGateway() as gateway:
        bot._blueprint = replace(bot._blueprint, base_url=gateway.api_url)
        alice = await gateway.person("alice")
        async with running(bot, login=login_of(gateway, alice)):
            await signed_in(alice)
            heard: list[str] = []
            for said in ("1 + 2", "/order 2", "／订购 两个", "/order", "/help"):
                await alice.says(said)
                heard.append(await alice.hears())
    assert heard[:4] == [
        "3 *",
        "1 left *",
        "sold out: 2 *",
        "/order needs count: a whole number.\nWrite it like this: /order <count> *",
    ]
    assert heard[4].splitlines()[:2] == ["Commands:", "/order <count> – Order cups."]
    assert events == ["opened", "/order 2", "／订购 两个", "closed"]


async def test_a_stranger_is_let_in_on_the_gateway(tmp_path: Path) -> None:
    async with LocalGateway() as gateway:
        alice, bob = await gateway.person("alice"), await gateway.person("bob")
        bot = Bot(data=tmp_path, base_url=gateway.api_url, allow=Pairing(), environ={})

        @bot.on_text()
        async def echo(message: Message) -> None:
            await message.reply(f"You said: {message.text}")

        async with running(bot, login=login_of(gateway, alice)):
            await signed_in(alice)
            await bob.says("may I?", bot_id=alice.bot_id)
            told = await bob.hears(bot_id=alice.bot_id)
            (command, *_) = re.findall(r"/pair \S+", told)
            await alice.says(command)
            assert "is heard from now on" in await alice.hears()
            await bob.says("thanks", bot_id=alice.bot_id)
            assert await bob.hears(bot_id=alice.bot_id) == "You said: thanks"


async def test_what_an_error_handler_says_is_stored_with_the_end_of_the_message(server: Server, make_bot: Make) -> None:
    bot = make_bot()
    runs: list[int] = []

    @bot.on_text()
    async def fail(message: TextMessage) -> None:
        runs.append(message.attempt)
        await message.reply("never said")
        raise ValueError(message.text)

    @bot.on_error(ValueError)
    async def sorry(error: ValueError, message: Message) -> None:
        await message.reply(f"sorry about {error}")

    async with running(bot):
        server.says("alice", "one")
        await server.until(lambda: len(server.heard("alice")) == 1)
        counts = await bot.counts()
    assert (server.heard("alice"), runs, counts.waiting, counts.dead) == (["sorry about one"], [1], 0, 0)


async def test_an_error_handler_that_fails_leaves_the_message_to_be_tried_again(server: Server, make_bot: Make) -> None:
    bot = make_bot()

    @bot.on_text()
    async def fail(message: TextMessage) -> None:
        if message.attempt == 1:
            raise ValueError
        await message.reply("second time")

    @bot.on_error(ValueError)
    async def worse(error: ValueError, message: Message) -> None:
        await message.reply("never said")
        raise OSError

    async with running(bot):
        server.says("alice", "one")
        await server.until(lambda: bool(server.heard("alice")))
    assert server.heard("alice") == ["second time"]


async def test_an_error_that_no_error_handler_is_for_is_tried_again(server: Server, make_bot: Make) -> None:
    bot = make_bot()

    @bot.on_text()
    async def fail(message: TextMessage) -> None:
        if message.attempt == 1:
            raise ValueError
        await message.reply("second time")

    @bot.on_error(KeyError)
    async def other(error: KeyError, message: Message) -> None: ...

    async with running(bot):
        server.says("alice", "one")
        await server.until(lambda: bool(server.heard("alice")))
    assert server.heard("alice") == ["second time"]


async def test_a_handler_out_of_time_can_be_apologised_for(server: Server, make_bot: Make) -> None:

    bot = make_bot(policies=replace(FAST, handler_seconds=0.05))

    @bot.on_text()
    async def slow(message: TextMessage) -> None:
        await asyncio.Event().wait()

    @bot.on_error(TimeoutError)
    async def sorry(error: TimeoutError, message: Message) -> None:
        await message.reply("that took too long")

    async with running(bot):
        server.says("alice", "one")
        await server.until(lambda: bool(server.heard("alice")))
    assert server.heard("alice") == ["that took too long"]


async def test_the_log_names_the_nearest_handler(
    server: Server, make_bot: Make, caplog: pytest.LogCaptureFixture
) -> None:
    bot = make_bot()

    @bot.on_command("help")
    async def manual(message: TextMessage) -> None:
        await message.reply("manual")

    with caplog.at_level(logging.INFO, "ilink.bot.handling"):
        async with running(bot):
            server.says("alice", "help!")
            server.says("alice", "/help")
            await server.until(lambda: bool(server.heard("alice")))
    (line,) = [text for text in caplog.messages if "nobody handles" in text]
    assert re.search(
        r"nearest: \S+\.py:\d+ .*manual on_command\('help'\): the text does not begin with a command", line
    )


async def test_a_bot_with_a_missing_dependency_does_not_start(make_bot: Make) -> None:
    bot = make_bot()

    @bot.on_text()
    async def handle(message: TextMessage, count: complex) -> None: ...

    with pytest.raises(ConfigError, match=r"handle: this handler asks for `count: complex`, and nothing makes that"):
        await bot.serve()


async def test_a_hook_that_fails_ends_the_bot_before_it_polls(server: Server, make_bot: Make) -> None:

    bot = make_bot()
    bot.on_text()(_nothing)

    @bot.on_startup
    async def fail() -> None:
        raise RuntimeError("no database")

    with pytest.raises(RuntimeError, match="no database"):
        await bot.serve(login=sign_in)
    assert server.polls == []


async def _nothing(message: Message) -> None: ...
