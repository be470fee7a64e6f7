"""The testing kit's faults, findings and reports, as a user's tests meet them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ilink import Account, AccountId, Bot, Client, Message, Secret, StaleTokenError, UserId, WindowClosedError
from ilink.errors import (
    ApiError,
    ConfigError,
    IlinkError,
    MediaError,
    OutcomeUnknownError,
    RateLimitedError,
    RemoteProtocolError,
    RequestRejectedError,
    ServerError,
)
from ilink.messages.outgoing import OutgoingMessage, text_item
from ilink.storage.accounts import Accounts, StoredAccount
from ilink.testing import LocalGateway, Person
from ilink.wire.ids import Cursor

pytest_plugins = ["pytester"]


async def sign_in(gateway: LocalGateway, person: Person) -> Account:
    async with Client(base_url=gateway.api_url) as client:
        code = await client.get_qr_code()
        await person.befriend(code.qrcode)
        report = await client.get_login_status(code.qrcode)
    assert report.token is not None
    return Account(
        account_id=AccountId(report.account_id or ""),
        token=Secret(report.token),
        base_url=gateway.api_url,
        owner_id=UserId(report.owner_id or ""),
    )


def hello(person: Person) -> OutgoingMessage:
    return OutgoingMessage(to=person.user_id, client_id="c-1", item=text_item("hello"))


ERRORS: list[tuple[dict[str, Any], type[IlinkError]]] = [
    ({"ret": -2, "errmsg": "prepare failed"}, WindowClosedError),
    ({"ret": -2, "errmsg": "rate limited"}, RateLimitedError),
    ({"ret": -2, "errmsg": "to_user_id required"}, RequestRejectedError),
    ({"ret": -3, "errmsg": "invalid arguments"}, RequestRejectedError),
    ({"ret": -1}, ServerError),
    ({"errcode": -14}, StaleTokenError),
    ({"ret": -99}, ApiError),
    ({"http_status": 503}, ServerError),
    ({"http_status": 429}, RateLimitedError),
    ({"reset": "before"}, OutcomeUnknownError),
    ({"reset": "after_effect"}, OutcomeUnknownError),
    ({"reset": "after_headers"}, OutcomeUnknownError),
    ({"reset": "mid_body"}, OutcomeUnknownError),
    ({"hang": True}, OutcomeUnknownError),
    ({"truncate_json": True}, RemoteProtocolError),
]


@pytest.mark.parametrize(("words", "error"), ERRORS, ids=[str(words) for words, _ in ERRORS])
async def test_the_client_raises_what_a_fault_means(
    ilink_gateway: LocalGateway, words: dict[str, Any], error: type[IlinkError]
) -> None:
    alice = await ilink_gateway.person("alice")
    account = await sign_in(ilink_gateway, alice)
    await alice.says("hi")
    fault = ilink_gateway.fault("sendmessage", times=1, **words)
    async with Client(account) as client:
        with pytest.raises(IlinkError) as caught:
            await client.send_message(hello(alice), timeout=0.3 if "hang" in words else 15)
        assert type(caught.value) is error
        assert (await client.send_message(hello(alice))).client_id == "c-1"
    assert fault.hits == 1


async def test_the_client_takes_the_rest_as_they_are_meant(ilink_gateway: LocalGateway) -> None:
    alice = await ilink_gateway.person("alice")
    account = await sign_in(ilink_gateway, alice)
    await alice.says("hi")
    async with Client(account) as client:
        ilink_gateway.fault("sendmessage", drop_silently=True, times=1)
        assert (await client.send_message(hello(alice))).message_id is None
        ilink_gateway.fault("getupdates", lose_cursor=True, times=1)
        lost = await client.get_updates(Cursor(""))
        assert (lost.cursor, len(lost.updates)) == ("", 1)
        ilink_gateway.fault("getupdates", http_status=524, times=1)
        cut = await client.get_updates(lost.cursor)
        assert (cut.is_cut, cut.updates) == (True, ())
        ilink_gateway.fault("getconfig", omit=["typing_ticket"], times=1)
        assert (await client.get_config(alice.user_id)).typing_ticket is None


async def test_a_corrupted_upload_cannot_be_read_again(ilink_gateway: LocalGateway) -> None:
    alice = await ilink_gateway.person("alice")
    account = await sign_in(ilink_gateway, alice)
    ilink_gateway.fault("cdn_upload", corrupt=True)
    async with Client(account) as client:
        uploaded = await client.media.upload(b"some bytes that matter" * 100, to=alice.user_id, name="a.bin")
        with pytest.raises(MediaError):
            await client.media.read(uploaded.reference)


async def test_a_fault_counts_and_is_removed(ilink_gateway: LocalGateway) -> None:
    fault = ilink_gateway.fault(delay_ms=0)
    async with Client(base_url=ilink_gateway.api_url) as client:
        await client.get_qr_code()
        assert (fault.hits, fault.matched) == (1, 1)
        fault.remove()
        fault.remove()
        await client.get_qr_code()
    assert (fault.hits, fault.matched) == (0, 0)


@pytest.mark.parametrize(
    ("endpoint", "words", "named"),
    [
        ("sendmassage", {"ret": -2}, "sendmassage"),
        ("sendmessage", {}, "action"),
        ("sendmessage", {"ret": -2, "hang": True}, "hang and ret"),
        ("sendmessage", {"ret": -2, "nth": 0}, "nth"),
        ("sendmessage", {"retz": -2}, "retz"),
    ],
)
async def test_a_fault_that_will_not_do_is_refused(
    ilink_gateway: LocalGateway, endpoint: str, words: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        ilink_gateway.fault(endpoint, **words)


async def test_our_own_bot_is_found_to_do_nothing_wrong(ilink_gateway: LocalGateway, tmp_path) -> None:
    alice = await ilink_gateway.person("alice")
    bot = Bot(data=tmp_path, base_url=ilink_gateway.api_url)

    @bot.on_text()
    async def answer(message: Message) -> None:
        async with message.typing():
            await message.reply(f"You said: {message.text}")
            await message.reply_media(b"\x89PNG\r\n\x1a\n" + bytes(64), name="picture.png")

    async def login(accounts: Accounts) -> StoredAccount:
        return await accounts.put(await sign_in(ilink_gateway, alice))

    begun = asyncio.Event()
    bot.on_state(lambda _: begun.set())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bot.serve(login=login))
        await begun.wait()
        for text in ("one", "two"):
            await alice.says(text)
            assert [await alice.hears(), await alice.hears()] == [f"You said: {text}", "[2]"]
        bot.stop()
    ilink_gateway.assert_no_findings()


async def test_findings_fail_with_what_should_have_been_done(ilink_gateway: LocalGateway) -> None:
    alice = await ilink_gateway.person("alice")
    account = await sign_in(ilink_gateway, alice)
    await alice.says("hi")
    async with Client(account) as client:
        await client.send_message(hello(alice))
    with pytest.raises(AssertionError, match=r"1 findings .*\n.*sendmessage of .*: context_token_missing: .* echo"):
        ilink_gateway.assert_no_findings()
    ilink_gateway.assert_no_findings(ignore=["context_token_missing"])


def test_a_failed_tests_report_shows_chats_and_wire(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from ilink import Client

        async def test_it(ilink_gateway):
            alice = await ilink_gateway.person("alice")
            async with Client(base_url=ilink_gateway.api_url) as client:
                code = await client.get_qr_code()
                await alice.befriend(code.qrcode)
            await alice.says("is anybody there?")
            assert False

        async def test_nothing_to_show(ilink_gateway):
            pass
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-o", "asyncio_mode=auto")
    result.assert_outcomes(passed=1, failed=1)
    shown = result.stdout.str()
    assert "alice: 'is anybody there?' (stored)" in shown
    assert "POST get_bot_qrcode" in shown
    assert shown.count("ilink wire") == 1
