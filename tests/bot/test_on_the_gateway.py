"""A bot and the gateway over real sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from bot_house import running

from ilink import Accepted, Account, AccountId, Bot, Client, Message, Secret, UserId
from ilink.bot import Incident, PollsShared
from ilink.storage.accounts import Accounts, StoredAccount
from ilink.testing.gateway import LocalGateway
from ilink.testing.person import Person


def login_of(gateway: LocalGateway, person: Person, signed_in: asyncio.Event):
    """Sign in as the QR login does, the person scanning at once."""

    async def login(accounts: Accounts) -> StoredAccount:
        async with Client(base_url=gateway.api_url) as client:
            code = await client.get_qr_code()
            await person.befriend(code.qrcode)
            report = await client.get_login_status(code.qrcode)
        assert report.token is not None
        assert report.account_id is not None
        assert report.owner_id is not None
        signed_in.set()
        return await accounts.put(
            Account(
                account_id=AccountId(report.account_id),
                token=Secret(report.token),
                base_url=report.base_url or gateway.api_url,
                owner_id=UserId(report.owner_id),
            )
        )

    return login


async def test_a_bot_answers_its_owner_and_shows_typing(tmp_path: Path) -> None:
    async with LocalGateway() as gateway:
        alice, bob = await gateway.person("alice"), await gateway.person("bob")
        bot = Bot(data=tmp_path, base_url=gateway.api_url)
        signed_in = asyncio.Event()
        seen_typing = asyncio.Event()
        may_answer = asyncio.Event()

        @bot.on_text()
        async def echo(message: Message) -> None:
            async with message.typing():
                seen_typing.set()
                await may_answer.wait()
            await message.reply(f"You said: {message.text}")

        async with running(bot, login=login_of(gateway, alice, signed_in)):
            await signed_in.wait()
            await bob.says("may I?", bot_id=alice.bot_id)
            await alice.says("hi")
            await seen_typing.wait()
            async with asyncio.timeout(45):
                while not alice.sees_typing():  # noqa: ASYNC110  # the phone shows it without telling anybody
                    await asyncio.sleep(0.01)
            may_answer.set()
            assert await alice.hears() == "You said: hi"
            assert not alice.sees_typing()
            assert alice.bot_id is not None
            assert len(await gateway.rules.transcript(alice.bot_id, bob.user_id)) == 1


async def test_a_closed_window_keeps_a_message_until_the_user_writes(tmp_path: Path) -> None:
    async with LocalGateway() as gateway:
        alice = await gateway.person("alice")
        bot = Bot(data=tmp_path, base_url=gateway.api_url)
        signed_in = asyncio.Event()

        @bot.on_text()
        async def count(message: Message) -> None:
            if message.text == "count":
                for number in range(12):
                    await message.reply(str(number))

        async with running(bot, login=login_of(gateway, alice, signed_in)):
            await signed_in.wait()
            await alice.says("count")
            assert [await alice.hears() for _ in range(10)] == [str(number) for number in range(10)]
            await alice.says("go on")
            heard = [await alice.hears() for _ in range(2)]
            receipt = await bot.send(alice.user_id, "that was all", wait=5)
            forecast = await bot.can_send(alice.user_id)
        assert heard == ["10", "11"]
        assert isinstance(receipt, Accepted)
        assert (forecast.left, forecast.can_send) == (7, True)


@pytest.mark.timeout(180)
async def test_two_programs_with_one_token_are_told_of_each_other(tmp_path: Path) -> None:
    async with LocalGateway() as gateway:
        alice = await gateway.person("alice")
        signed_in: asyncio.Future[StoredAccount] = asyncio.get_running_loop().create_future()
        login = login_of(gateway, alice, asyncio.Event())

        async def first_login(accounts: Accounts) -> StoredAccount:
            stored = await login(accounts)
            signed_in.set_result(stored)
            return stored

        async def same_login(accounts: Accounts) -> StoredAccount:
            return await accounts.put((await signed_in).account)

        bots = [Bot(data=tmp_path / name, base_url=gateway.api_url) for name in ("one", "other")]
        told = [asyncio.Event(), asyncio.Event()]
        for bot, event in zip(bots, told, strict=True):

            @bot.on_incident
            def note(incident: Incident, event: asyncio.Event = event) -> None:
                if isinstance(incident, PollsShared):
                    event.set()

            @bot.on_text()
            async def hear(_: Message) -> None:
                raise AssertionError("nobody writes")

        async with running(bots[0], login=first_login), running(bots[1], login=same_login), asyncio.timeout(150):
            await asyncio.gather(*(event.wait() for event in told))
