"""Our client and our gateway, which share no code above the wire: every login status, and talk with every quirk."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.servers import serving

from ilink.client.client import Client
from ilink.client.login import log_in
from ilink.errors import (
    ApiError,
    QrCodeExpiredError,
    RateLimitedError,
    RequestRejectedError,
    StaleTokenError,
    WindowClosedError,
)
from ilink.flows.login import AlreadyBound, LoginCode
from ilink.gateway.knob_table import KNOBS, PROFILES
from ilink.messages.outgoing import OutgoingMessage, text_item
from ilink.testing import LocalGateway, Person
from ilink.transport.http import HttpTransport
from ilink.wire.accounts import Account
from ilink.wire.codec import decode
from ilink.wire.ids import ClientId, Cursor, Secret, UserId
from ilink.wire.models import UploadUrlRequest, WeixinMessage, given

QUICK = {"poll.error_delay_ms": 0, "poll.hold_ms": 200, "qr.hold_ms": 200}


class HastyClock:
    """Real time without the pauses."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Prompt:
    """A person at the bot's terminal, whose next move waits for the test."""

    def __init__(self) -> None:
        self.codes: asyncio.Queue[LoginCode] = asyncio.Queue()
        self.statuses: asyncio.Queue[str] = asyncio.Queue()
        self.questions: asyncio.Queue[bool] = asyncio.Queue()
        self.digits: asyncio.Queue[str] = asyncio.Queue()

    async def show_code(self, code: LoginCode) -> None:
        self.codes.put_nowait(code)

    async def show_status(self, status: str, code: LoginCode) -> None:
        self.statuses.put_nowait(status)

    async def ask_verify_code(self, *, was_wrong: bool) -> str:
        self.questions.put_nowait(was_wrong)
        return await self.digits.get()

    async def code(self) -> str:
        return (await asyncio.wait_for(self.codes.get(), 45)).qrcode

    async def sees(self, *statuses: str) -> None:
        for status in statuses:
            while await asyncio.wait_for(self.statuses.get(), 45) != status:
                pass


@asynccontextmanager
async def logging_in(
    gateway: LocalGateway, *known: Secret, transport: HttpTransport | None = None, allow: str | None = None
) -> AsyncIterator[tuple[Prompt, asyncio.Task[Account | AlreadyBound]]]:
    prompt = Prompt()
    allowed = [allow] if allow else []
    async with Client(base_url=gateway.api_url, transport=transport, allow_hosts=allowed, environ={}) as client:
        login = asyncio.create_task(log_in(client, prompt, known_tokens=known, clock=HastyClock()))
        try:
            yield prompt, login
        finally:
            login.cancel()
            await asyncio.wait([login])


async def signed_in(gateway: LocalGateway, person: Person, *known: Secret) -> Account:
    async with logging_in(gateway, *known) as (prompt, login):
        await person.befriend(await prompt.code())
        account = await login
    assert isinstance(account, Account)
    return account


@pytest.fixture
async def gateway() -> AsyncIterator[LocalGateway]:
    async with LocalGateway(seed=7, knobs=QUICK) as gateway:
        yield gateway


class TestLogin:
    async def test_wait_scanned_confirmed(self, gateway: LocalGateway) -> None:
        alice = await gateway.person("alice")
        async with logging_in(gateway) as (prompt, login):
            code = await prompt.code()
            await prompt.sees("wait")
            await alice.scans(code)
            await prompt.sees("scaned")
            bot_id = await alice.befriend(code)
            account = await login
            await prompt.sees("confirmed")
        assert isinstance(account, Account)
        assert (account.account_id, account.owner_id) == (bot_id, alice.user_id)
        assert account.base_url == gateway.api_url

    async def test_right_digits_let_the_login_go_on(self, gateway: LocalGateway) -> None:
        alice = await gateway.person("alice")
        async with logging_in(gateway) as (prompt, login):
            code = await prompt.code()
            await alice.scans(code)
            await gateway.rules.require_code(code, "424242")
            assert await prompt.questions.get() is False
            prompt.digits.put_nowait("424242")
            await prompt.sees("need_verifycode", "scaned")
            await alice.befriend(code)
            assert isinstance(await login, Account)

    async def test_three_wrong_digits_block_the_code_and_the_next_one_works(self, gateway: LocalGateway) -> None:
        alice = await gateway.person("alice")
        async with logging_in(gateway) as (prompt, login):
            code = await prompt.code()
            await alice.scans(code)
            await gateway.rules.require_code(code, "424242")
            for was_wrong in (False, True, True):
                assert await prompt.questions.get() is was_wrong
                prompt.digits.put_nowait("000000")
            await prompt.sees("verify_code_blocked")
            second = await prompt.code()
            assert second != code
            await alice.befriend(second)
            assert isinstance(await login, Account)

    async def test_expired_codes_are_renewed_twice(self, gateway: LocalGateway) -> None:
        async with logging_in(gateway) as (prompt, login):
            for _ in range(3):
                await gateway.rules.expire_code(await prompt.code())
            with pytest.raises(QrCodeExpiredError, match="3 codes"):
                await login

    async def test_code_expires_with_the_gateways_time(self, gateway: LocalGateway) -> None:
        alice = await gateway.person("alice")
        async with logging_in(gateway) as (prompt, login):
            first = await prompt.code()
            await gateway.clock.advance(minutes=3)
            second = await prompt.code()
            assert second != first
            await alice.befriend(second)
            assert isinstance(await login, Account)

    async def test_redirect_is_followed_by_https(self, gateway: LocalGateway, tmp_path: Path) -> None:
        alice = await gateway.person("alice")
        server_side, client_side = certificates(tmp_path)
        async with (
            tls_relay(gateway.api_url, server_side) as (host, relayed),
            HttpTransport(tls=client_side, environ={}) as transport,
            logging_in(gateway, transport=transport, allow=host) as (prompt, login),
        ):
            # allowed as a host of its own port, as a user would have to
            code = await prompt.code()
            await alice.scans(code)
            await gateway.rules.redirect(code, host.removeprefix("https://"))
            await prompt.sees("scaned_but_redirect")
            await asyncio.wait_for(relayed.wait(), 45)
            await alice.befriend(code)
            assert isinstance(await login, Account)

    async def test_bot_that_is_bound_here_is_a_success_and_goes_on_working(self, gateway: LocalGateway) -> None:
        alice = await gateway.person("alice")
        account = await signed_in(gateway, alice)
        async with logging_in(gateway, account.token) as (prompt, login):
            await alice.scans(await prompt.code())
            assert await login == AlreadyBound()
        async with Client(account, environ={}) as client:
            await client.notify_start()

    async def test_login_without_known_tokens_replaces_the_older_one(self, gateway: LocalGateway) -> None:
        alice = await gateway.person("alice")
        old = await signed_in(gateway, alice)
        new = await signed_in(gateway, alice)
        assert new.token != old.token
        async with Client(old, environ={}) as client:
            with pytest.raises(StaleTokenError):
                await client.get_updates(Cursor(""))
        async with Client(new, environ={}) as client:
            await client.notify_start()
            assert (await client.get_updates(Cursor(""))).updates == ()

    async def test_unknown_tokens_that_are_refused_are_left_out(self, gateway: LocalGateway) -> None:
        await gateway.rules.configure(knobs={"qr.stale_token": "-3"})
        alice = await gateway.person("alice")
        assert await signed_in(gateway, alice, Secret("gone@im.bot:long-dead"))


def quirks() -> list[Any]:
    """Every profile, and every value of every knob that is a choice or a flag."""
    cases = [pytest.param({"profile": name}, id=name) for name in PROFILES]
    for knob in KNOBS.values():
        values = knob.choices if knob.kind == "choice" else (True, False) if knob.kind == "flag" else ()
        cases += [
            pytest.param({"knobs": {knob.name: value}}, id=f"{knob.name}={value}")
            for value in values
            if value != knob.default
        ]
    edge = {"poll.suggest_ms": 0, "poll.duplicate_rate": 1.0, "poll.hold_ms": 0, "limits.batch_messages": 1}
    return [*cases, *(pytest.param({"knobs": {name: value}}, id=f"{name}={value}") for name, value in edge.items())]


@pytest.mark.parametrize("quirk", quirks())
async def test_client_talks_to_a_gateway_with_a_quirk(gateway: LocalGateway, quirk: dict[str, Any]) -> None:
    knobs = {**QUICK, "cdn.verify": "none", **quirk.get("knobs", {})}
    await gateway.rules.configure(profile=quirk.get("profile"), knobs=knobs)
    alice = await gateway.person("alice")
    account = await signed_in_with_digits(gateway, alice)
    async with Client(account, environ={}) as client:
        await client.notify_start()
        await alice.says("hi", bot_id=account.account_id)
        message, cursor = await first_message(client)
        assert given(message.item_list, [])[0].text_item is not None
        token = Secret(given(message.context_token, ""))
        config = await client.get_config(alice.user_id, context_token=token)
        assert config.typing_ticket is not None
        await client.send_typing(alice.user_id, config.typing_ticket)
        receipt = await client.send_message(reply(alice.user_id, "hello", token))
        loses_ids = quirk in ({"knobs": {"ids.send_as": "omit"}}, {"knobs": {"deliver.drop_silently": True}})
        assert receipt.is_confirmed is not (loses_ids or quirk == {"profile": "suppressed"})
        upload = UploadUrlRequest(
            filekey="00" * 16,
            media_type=1,
            to_user_id=alice.user_id,
            rawsize=1,
            rawfilemd5="0cc175b9c0f1b6a831c399e269772661",
            filesize=16,
            no_need_thumb=True,
            aeskey="11" * 16,
        )
        permission = await client.get_upload_url(upload)
        assert permission.full_url or permission.param
        assert (await client.get_updates(cursor)).cursor
        await client.notify_stop()


@pytest.mark.parametrize("slot", ["ret", "errcode", "both"])
@pytest.mark.parametrize("style", ["named", "empty", "unknown_error"])
async def test_refusals_are_understood_in_every_spelling(gateway: LocalGateway, slot: str, style: str) -> None:
    await gateway.rules.configure(
        knobs={"errors.slot": slot, "errors.errmsg_style": style, "quota.per_inbound": 1, **QUICK}
    )
    alice = await gateway.person("alice")
    account = await signed_in(gateway, alice)
    async with Client(account, environ={}) as client:
        with pytest.raises(WindowClosedError):
            await client.send_message(reply(alice.user_id, "too early", None))
        await alice.says("hi")
        message, _ = await first_message(client)
        token = Secret(given(message.context_token, ""))
        await client.send_message(reply(alice.user_id, "one", token))
        with pytest.raises(WindowClosedError):
            await client.send_message(reply(alice.user_id, "two", token))
        await gateway.rules.configure(
            knobs={"quota.per_inbound": 99, "quota.rate": "1/300", "errors.errmsg_style": "named"}
        )
        with pytest.raises(RateLimitedError):
            await client.send_message(reply(alice.user_id, "three", token))
        with pytest.raises(RequestRejectedError):
            await client.send_message(reply(UserId(alice.user_id.lower()), "wrong case", token))
        await gateway.rules.expire_bot(account.account_id)
        with pytest.raises(StaleTokenError):
            await client.get_updates(Cursor(""))


async def test_second_poller_that_is_refused_by_http_is_told_so(gateway: LocalGateway) -> None:
    await gateway.rules.configure(knobs={**QUICK, "poll.conflict": "http403", "poll.hold_ms": 2000})
    account = await signed_in(gateway, await gateway.person("alice"))
    async with (
        Client(account, environ={}) as first,
        Client(account, environ={}) as second,
        asyncio.TaskGroup() as group,
    ):
        held = group.create_task(first.get_updates(Cursor("")))
        while not (await gateway.rules.bot(account.account_id)).waiting_polls:  # noqa: ASYNC110  # no event tells it
            await asyncio.sleep(0)
        with pytest.raises(ApiError) as caught:
            await second.get_updates(Cursor(""))
        assert caught.value.http_status == 403
        held.cancel()


def reply(user_id: UserId, text: str, token: Secret | None) -> OutgoingMessage:
    return OutgoingMessage(to=user_id, item=text_item(text), client_id=ClientId(f"c-{text}"), context_token=token)


async def first_message(client: Client) -> tuple[WeixinMessage, Cursor]:
    """Poll until a message is there."""
    cursor = Cursor("")
    while True:
        batch = await client.get_updates(cursor)
        if batch.updates:
            return decode(batch.updates[0], WeixinMessage).value, batch.cursor
        cursor = batch.cursor


async def signed_in_with_digits(gateway: LocalGateway, person: Person) -> Account:
    """Sign in on a gateway that may ask for digits."""
    async with logging_in(gateway) as (prompt, login):
        code = await prompt.code()
        if await person.scans(code) == "need_verifycode":
            await prompt.questions.get()
            prompt.digits.put_nowait((await gateway.rules.code(code)).verify_code or "")
            await prompt.sees("scaned")
        await person.befriend(code)
        account = await login
    assert isinstance(account, Account)
    return account


def certificates(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of a server at 127.0.0.1 and of a client that trusts it."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the openssl command to make a certificate")
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(folder / "cert", folder / "key")
    return server_side, ssl.create_default_context(cafile=folder / "cert")


@asynccontextmanager
async def tls_relay(url: str, tls: ssl.SSLContext) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Put TLS in front of a server, as a proxy in front of a gateway does."""
    port = int(url.rpartition(":")[2])
    relayed = asyncio.Event()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relayed.set()
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(reader, upstream_writer))
                group.create_task(pump(upstream_reader, writer))
        finally:
            upstream_writer.transport.abort()

    async with serving(relay, tls=tls) as own_port:
        yield f"https://127.0.0.1:{own_port}", relayed
