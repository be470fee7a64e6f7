"""Each endpoint as a coroutine: what it sends, what it makes of the answer."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from stub_server import URL, Answer, StubServer

from ilink.client.answers import Batch, TypingConfig, UploadPermission
from ilink.client.client import Client
from ilink.errors import (
    ApiError,
    ConfigError,
    ConnectError,
    LoginError,
    OutcomeUnknownError,
    RateLimitedError,
    RemoteProtocolError,
    RequestRejectedError,
    ServerError,
    StaleTokenError,
    WindowClosedError,
)
from ilink.flows.login import LoginReport
from ilink.messages.outgoing import OutgoingMessage, SendReceipt, text_item
from ilink.transport.memory import MemoryTransport
from ilink.transport.seam import Request
from ilink.wire.accounts import Account
from ilink.wire.endpoints import ENDPOINTS
from ilink.wire.ids import AccountId, ClientId, Cursor, MessageId, Secret, UserId
from ilink.wire.models import UploadUrlRequest

ACCOUNT = Account(
    account_id=AccountId("0badc0ffee42@im.bot"), token=Secret("0badc0ffee42@im.bot:hush"), base_url=URL + "/prefix"
)
ALICE = UserId("o9cq80AbCdEf@im.wechat")
CURSOR = Cursor("Y3Vyc29yOjQx")
MESSAGE = OutgoingMessage(to=ALICE, item=text_item("早上好"), client_id=ClientId("c-1"), context_token=Secret("AARz"))


class FakeClock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@asynccontextmanager
async def opened(server: StubServer, account: Account | None = ACCOUNT, **options: Any) -> AsyncIterator[Client]:
    if account is None:
        options.setdefault("base_url", URL)
    async with (
        server.transport() as transport,
        Client(account, transport=transport, random=Random(7), environ={}, **options) as client,
    ):
        yield client


CALLS: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "getupdates": lambda client: client.get_updates(CURSOR),
    "sendmessage": lambda client: client.send_message(MESSAGE),
    "getconfig": lambda client: client.get_config(ALICE),
    "sendtyping": lambda client: client.send_typing(ALICE, Secret("AART")),
    "getuploadurl": lambda client: client.get_upload_url(UploadUrlRequest(filekey="00")),
    "notifystart": lambda client: client.notify_start(),
    "notifystop": lambda client: client.notify_stop(),
    "get_bot_qrcode": lambda client: client.get_qr_code([Secret("t")]),
    "get_qrcode_status": lambda client: client.get_login_status("code"),
}


def test_every_endpoint_has_a_coroutine() -> None:
    assert set(CALLS) == set(ENDPOINTS)


class TestRequests:
    async def test_account_call_carries_headers_token_and_base_info(self) -> None:
        server = StubServer(notifystart={"ret": 0})
        async with opened(server, bot_agent="shop/1.2 (spring)") as client:
            await client.notify_start()
            await client.notify_start()
        first, second = server.asked
        assert (first.method, first.path) == ("POST", "/prefix/ilink/bot/msg/notifystart")
        assert first.headers["authorization"] == "Bearer 0badc0ffee42@im.bot:hush"
        assert first.headers["authorizationtype"] == "ilink_bot_token"
        assert first.headers["content-type"] == "application/json"
        assert (first.headers["ilink-app-id"], first.headers["ilink-app-clientversion"]) == ("bot", "132105")
        assert "skroutetag" not in first.headers
        assert first.body["base_info"]["channel_version"] == "2.4.9"
        assert first.body["base_info"]["bot_agent"].startswith("shop/1.2 (spring) ilink/")
        uins = [int(base64.b64decode(asked.headers["x-wechat-uin"])) for asked in (first, second)]
        assert uins[0] != uins[1]
        assert all(0 <= uin < 1 << 32 for uin in uins)

    async def test_route_tag_goes_with_get_and_post(self) -> None:
        server = StubServer(notifystart={}, get_qrcode_status={"status": "wait"})
        async with opened(server, route_tag="7") as client:
            await client.notify_start()
            await client.get_login_status("code")
        assert [asked.headers["skroutetag"] for asked in server.asked] == ["7", "7"]

    async def test_login_calls_carry_no_token(self) -> None:
        server = StubServer(
            get_bot_qrcode={"qrcode": "q", "qrcode_img_content": "https://l"}, get_qrcode_status={"status": "wait"}
        )
        async with opened(server) as client:
            await client.get_qr_code()
            await client.get_login_status("a/b+c=", verify_code=Secret("123456"))
        code, status = server.asked
        assert "authorization" not in code.headers | status.headers
        assert code.headers["authorizationtype"] == "ilink_bot_token"
        assert (code.query, code.body) == ({"bot_type": "3"}, {"local_token_list": []})
        assert (status.method, status.query) == ("GET", {"qrcode": "a/b+c=", "verify_code": "123456"})
        assert {"content-type", "x-wechat-uin", "authorizationtype"} & status.headers.keys() == set()

    async def test_message_is_sent_as_the_protocol_wants_it(self) -> None:
        server = StubServer(sendmessage={"ret": 0, "message_id": 7512000000000000124})
        async with opened(server) as client:
            receipt = await client.send_message(MESSAGE)
        assert receipt == SendReceipt(client_id=ClientId("c-1"), message_id=MessageId("7512000000000000124"))
        assert server.asked[0].body["msg"] == {
            "from_user_id": "",
            "to_user_id": ALICE,
            "client_id": "c-1",
            "message_type": 2,
            "message_state": 2,
            "item_list": [{"type": 1, "text_item": {"text": "早上好"}}],
            "context_token": "AARz",
        }

    async def test_typing_is_shown_and_cancelled(self) -> None:
        server = StubServer(sendtyping=b"")
        async with opened(server) as client:
            await client.send_typing(ALICE, Secret("AART"))
            await client.send_typing(ALICE, Secret("AART"), is_typing=False)
        sent = [{**asked.body, "base_info": None} for asked in server.asked]
        expected = {"ilink_user_id": ALICE, "typing_ticket": "AART", "base_info": None}
        assert sent == [{**expected, "status": 1}, {**expected, "status": 2}]

    async def test_raw_door_adds_base_info_and_keeps_what_is_given(self) -> None:
        server = StubServer(newthing={"ret": 0, "answer": 42}, sendtyping={"ret": 0})
        async with opened(server) as client:
            assert await client.call("ilink/bot/newthing", {"a": 1}) == {"ret": 0, "answer": 42}
            await client.call("sendtyping", {"base_info": {"channel_version": "1"}})
        assert server.asked[0].body["a"] == 1
        assert server.asked[0].body["base_info"]["channel_version"] == "2.4.9"
        assert server.asked[1].body == {"base_info": {"channel_version": "1"}}

    @pytest.mark.parametrize("endpoint", ["https://elsewhere.example/x", "//elsewhere.example/x", "nonsense"])
    async def test_raw_door_leads_nowhere_else(self, endpoint: str) -> None:
        server = StubServer()
        async with opened(server) as client:
            with pytest.raises(ConfigError):
                await client.call(endpoint, {})
        assert server.asked == []

    async def test_call_that_needs_an_account_says_so(self) -> None:
        async with opened(StubServer(), None) as client:
            with pytest.raises(ConfigError, match="sign in first"):
                await client.get_updates(CURSOR)

    async def test_client_that_is_not_open_says_so(self) -> None:
        with pytest.raises(ConfigError, match="async with"):
            await Client(ACCOUNT, environ={}).notify_start()

    def test_token_is_in_no_representation(self) -> None:
        assert "hush" not in repr(ACCOUNT)


GOOD_CODE = {"ret": 0, "qrcode": "q", "qrcode_img_content": "https://liteapp.weixin.qq.com/q/x"}


class TestQrCode:
    async def test_known_tokens_are_sent_ten_at_most_without_empty_ones(self) -> None:
        server = StubServer(get_bot_qrcode=GOOD_CODE)
        async with opened(server, None) as client:
            await client.get_qr_code([Secret(" "), *(Secret(f" t{number} ") for number in range(12))])
        assert server.asked[0].body == {"local_token_list": [f"t{number}" for number in range(10)]}

    @pytest.mark.parametrize("status", [404, 405])
    async def test_server_without_post_is_asked_by_get(self, status: int) -> None:
        server = StubServer(get_bot_qrcode=[Answer(status=status), GOOD_CODE])
        async with opened(server, None) as client:
            assert (await client.get_qr_code()).qrcode == "q"
        assert [(asked.method, asked.query) for asked in server.asked] == [
            ("POST", {"bot_type": "3"}),
            ("GET", {"bot_type": "3"}),
        ]

    @pytest.mark.parametrize("slot", ["ret", "errcode"])
    async def test_refused_tokens_are_left_out(self, slot: str) -> None:
        server = StubServer(get_bot_qrcode=[{slot: -3, "errmsg": "invalid arguments"}, GOOD_CODE])
        async with opened(server, None) as client:
            assert (await client.get_qr_code([Secret("stale")])).qrcode == "q"
        assert [asked.body["local_token_list"] for asked in server.asked] == [["stale"], []]

    async def test_refusal_without_tokens_is_final(self) -> None:
        server = StubServer(get_bot_qrcode={"ret": -3})
        async with opened(server, None) as client:
            with pytest.raises(RequestRejectedError):
                await client.get_qr_code()
        assert len(server.asked) == 1

    @pytest.mark.parametrize("answer", [{"ret": 0}, {"qrcode": "q"}, {"qrcode_img_content": "l"}, b""])
    async def test_answer_without_a_code_cannot_be_read(self, answer: Any) -> None:
        async with opened(StubServer(get_bot_qrcode=answer), None) as client:
            with pytest.raises(RemoteProtocolError, match="without a code"):
                await client.get_qr_code()


class TestLoginStatus:
    async def test_confirmed_report_carries_everything(self) -> None:
        answer = {
            "ret": 0,
            "status": "confirmed",
            "bot_token": "t",
            "ilink_bot_id": "a@im.bot",
            "ilink_user_id": "oW@im.wechat",
            "baseurl": "https://ilinkai.wechat.com",
        }
        async with opened(StubServer(get_qrcode_status=answer), None) as client:
            report = await client.get_login_status("code")
        assert report == LoginReport(
            status="confirmed",
            token="t",
            account_id="a@im.bot",
            owner_id="oW@im.wechat",
            base_url="https://ilinkai.wechat.com",
        )

    @pytest.mark.parametrize("answer", [b"", {"ret": 0}, {"status": None}, {"status": {}}])
    async def test_answer_without_a_status_is_wait(self, answer: Any) -> None:
        async with opened(StubServer(get_qrcode_status=answer), None) as client:
            assert await client.get_login_status("code") == LoginReport(status="wait")

    async def test_status_is_asked_where_the_redirect_says(self) -> None:
        server = StubServer(get_qrcode_status={"status": "scaned"})
        origins = ("https://idc7.weixin.qq.com", "http://127.0.0.1:41443")
        async with (
            server.transport(URL, *origins) as transport,
            Client(base_url=URL, allow_hosts=["http://127.0.0.1:41443"], transport=transport, environ={}) as client,
        ):
            await client.get_login_status("code", host="idc7.weixin.qq.com")
            await client.get_login_status("code", host="https://idc7.weixin.qq.com/")
            await client.get_login_status("code", host="http://127.0.0.1:41443")
        assert [asked.host for asked in server.asked] == ["idc7.weixin.qq.com", "idc7.weixin.qq.com", "127.0.0.1:41443"]

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "weixin.qq.com.evil.example",
            "evil.example/weixin.qq.com",
            "evil.example#.weixin.qq.com",
            "x@evil.example",
            "ilinkai.weixin.qq.com@evil.example",
            "evil.example\\.weixin.qq.com",
            "http://ilinkai.weixin.qq.com",
            "ilinkai.weixin.qq.com:8443",
            "127.0.0.1:6379",
            "file:///etc/passwd",
            "https://[::1",
            "ilink.test.",
        ],
    )
    async def test_redirect_elsewhere_is_refused_with_the_way_to_allow_it(self, host: str) -> None:
        server = StubServer(get_qrcode_status={"status": "wait"})
        async with opened(server, None) as client:
            with pytest.raises(LoginError, match=r"redirect_host names .*allow_hosts.*ILINK_ALLOW_HOSTS"):
                await client.get_login_status("code", host=host)
        assert server.asked == []


class TestUpdates:
    @pytest.mark.parametrize("named", [0, -1, 300_001, 10**20])
    async def test_a_time_limit_that_nobody_can_mean_leaves_the_one_before(self, named: int) -> None:
        async with opened(StubServer(getupdates={"ret": 0, "longpolling_timeout_ms": named})) as client:
            batch = await client.get_updates(CURSOR, hint_ms=20_000)
        assert batch.hint_ms == 20_000

    async def test_batch_keeps_the_messages_as_they_came(self) -> None:
        raw = b'{"ret":0,"msgs":[{"message_id":18446744073709551615, "new_field":{"x":[1,2]}},\n{"seq":"2"}],'
        raw += b'"get_updates_buf":"next","longpolling_timeout_ms":20000}'
        server = StubServer(getupdates=raw)
        async with opened(server) as client:
            batch = await client.get_updates(CURSOR)
        assert batch == Batch(
            updates=(b'{"message_id":18446744073709551615, "new_field":{"x":[1,2]}}', b'{"seq":"2"}'),
            cursor=Cursor("next"),
            hint_ms=20000,
        )
        assert server.asked[0].body["get_updates_buf"] == CURSOR

    @pytest.mark.parametrize(
        "answer", [{"ret": 0, "msgs": []}, {"get_updates_buf": ""}, {"msgs": None, "get_updates_buf": None}, b"", {}]
    )
    async def test_answer_without_a_cursor_keeps_the_old_one_and_the_hint(self, answer: Any) -> None:
        async with opened(StubServer(getupdates=answer)) as client:
            batch = await client.get_updates(CURSOR, hint_ms=9000)
        assert batch == Batch(updates=(), cursor=CURSOR, hint_ms=9000)

    @pytest.mark.parametrize("status", [504, 524])
    async def test_poll_cut_by_the_edge_is_an_empty_batch(self, status: int) -> None:
        async with opened(StubServer(getupdates=Answer(b"<html>", status=status))) as client:
            assert await client.get_updates(CURSOR) == Batch(updates=(), cursor=CURSOR, is_cut=True)

    async def test_poll_that_times_out_is_an_empty_batch(self) -> None:
        async with opened(StubServer(getupdates=lambda _: None)) as client:
            assert await client.get_updates(CURSOR, timeout=0.02) == Batch(updates=(), cursor=CURSOR, is_cut=True)

    @pytest.mark.parametrize(
        ("hint_ms", "base_url", "low", "high"),
        [(None, URL, 40, 45), (20_000, URL, 25, 30), (None, "https://ilinkai.wechat.com", 12, 12)],
    )
    async def test_time_limit_follows_the_hint(self, hint_ms: int | None, base_url: str, low: int, high: int) -> None:
        seen: list[float] = []

        class Watching(MemoryTransport):
            async def send(self, request: Any, *, timeout: float, max_bytes: int = 0) -> Any:
                seen.append(timeout)
                return await super().send(request, timeout=timeout)

        server = StubServer(getupdates={"ret": 0})
        async with (
            Watching({base_url: server}) as transport,
            Client(ACCOUNT, base_url=base_url, transport=transport, environ={}) as client,
        ):
            await client.get_updates(CURSOR, hint_ms=hint_ms)
        assert low <= seen[0] <= high

    async def test_refused_connection_is_not_tried_again_here(self) -> None:
        clock = FakeClock()
        async with MemoryTransport({}) as transport, Client(ACCOUNT, transport=transport, clock=clock) as client:
            with pytest.raises(ConnectError):
                await client.get_updates(CURSOR)
        assert clock.now == 0.0


class TestAnswers:
    @pytest.mark.parametrize("answer", [{"ret": 0}, {"ret": 0, "message_id": ""}, {"message_id": None}, b"", {}])
    async def test_accepted_without_an_id_is_not_confirmed(self, answer: Any) -> None:
        async with opened(StubServer(sendmessage=answer)) as client:
            receipt = await client.send_message(MESSAGE)
        assert not receipt.is_confirmed

    async def test_id_may_come_as_text(self) -> None:
        async with opened(StubServer(sendmessage={"message_id": "18446744073709551615"})) as client:
            assert (await client.send_message(MESSAGE)).message_id == "18446744073709551615"

    async def test_ticket_and_fresh_context_token_are_read(self) -> None:
        answer = {"ret": 0, "typing_ticket": "AART", "context_token": "AARz2"}
        async with opened(StubServer(getconfig=answer)) as client:
            config = await client.get_config(ALICE, context_token=Secret("AARz"))
        assert config == TypingConfig(typing_ticket=Secret("AART"), context_token=Secret("AARz2"))

    async def test_upload_permission_is_read(self) -> None:
        answer = {"upload_full_url": f" {URL}/c2c/upload?x=1\n", "upload_param": "p", "thumb_upload_param": ""}
        server = StubServer(getuploadurl=answer)
        async with opened(server) as client:
            permission = await client.get_upload_url(UploadUrlRequest(filekey="00ff", media_type=1, rawsize=3))
        assert permission == UploadPermission(full_url=f"{URL}/c2c/upload?x=1", param="p", thumb_param=None)
        body = server.asked[0].body
        assert (body["filekey"], body["media_type"], body["rawsize"]) == ("00ff", 1, 3)
        assert body["base_info"]["channel_version"] == "2.4.9"

    async def test_upload_address_elsewhere_is_refused_with_the_way_to_allow_it(self) -> None:
        async with opened(StubServer(getuploadurl={"upload_full_url": "https://evil.example/up?secret=1"})) as client:
            with pytest.raises(RemoteProtocolError, match=r"https://evil\.example, .*allow_hosts") as caught:
                await client.get_upload_url(UploadUrlRequest(filekey="00"))
        assert "secret" not in str(caught.value)

    async def test_upload_answer_without_an_address_cannot_be_read(self) -> None:
        async with opened(StubServer(getuploadurl={"ret": 0, "upload_param": ""})) as client:
            with pytest.raises(RemoteProtocolError, match="without an address"):
                await client.get_upload_url(UploadUrlRequest(filekey="00"))

    @pytest.mark.parametrize("name", sorted(CALLS))
    @pytest.mark.parametrize("slot", ["ret", "errcode"])
    async def test_both_numbers_are_looked_at_on_every_endpoint(self, name: str, slot: str) -> None:
        server = StubServer(**{name: {"ret": 0, slot: -14, "errmsg": "session timeout"}})
        async with opened(server) as client:
            with pytest.raises(StaleTokenError) as caught:
                await CALLS[name](client)
        assert (caught.value.endpoint, caught.value.code, caught.value.errmsg) == (name, -14, "session timeout")

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            ({"ret": -2}, WindowClosedError),
            ({"ret": -2, "errmsg": "prepare failed"}, WindowClosedError),
            ({"ret": -2, "errmsg": "rate limited"}, RateLimitedError),
            ({"ret": -2, "errmsg": "to_user_id required"}, RequestRejectedError),
            ({"ret": -3, "errmsg": "invalid arguments"}, RequestRejectedError),
            ({"ret": -1}, ServerError),
            ({"ret": -999}, ApiError),
            ({"ret": None}, ApiError),
            ({"ret": "0"}, ApiError),
            ({"errcode": None}, ApiError),
        ],
    )
    async def test_refusals_are_told_apart(self, answer: Any, kind: type[ApiError]) -> None:
        async with opened(StubServer(sendmessage=answer)) as client:
            with pytest.raises(kind) as caught:
                await client.send_message(MESSAGE)
        assert type(caught.value) is kind

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (301, RequestRejectedError),
            (400, RequestRejectedError),
            (401, StaleTokenError),
            (403, RequestRejectedError),
            (404, RequestRejectedError),
            (429, RateLimitedError),
            (500, ServerError),
            (502, ServerError),
            (524, ServerError),
        ],
    )
    async def test_http_statuses_are_errors_of_their_own(self, status: int, kind: type[ApiError]) -> None:
        async with opened(StubServer(sendmessage=Answer(b"<html>down</html>", status=status))) as client:
            with pytest.raises(kind) as caught:
                await client.send_message(MESSAGE)
        assert (caught.value.http_status, caught.value.ret) == (status, None)

    async def test_number_in_the_body_of_a_http_error_wins(self) -> None:
        async with opened(StubServer(sendmessage=Answer({"errcode": -14}, status=403))) as client:
            with pytest.raises(StaleTokenError) as caught:
                await client.send_message(MESSAGE)
        assert caught.value.http_status == 403

    @pytest.mark.parametrize(("header", "seconds"), [("120", 120.0), ("soon", None), ("Wed, 21 Oct 2026", None)])
    async def test_retry_after_is_read_in_seconds(self, header: str, seconds: float | None) -> None:
        answer = Answer(status=429, headers={"retry-after": header})
        async with opened(StubServer(sendmessage=answer)) as client:
            with pytest.raises(RateLimitedError) as caught:
                await client.send_message(MESSAGE)
        assert caught.value.retry_after == seconds

    @pytest.mark.parametrize("answer", [b"<html>sign in</html>", b"[]", b"42", b'{"ret":0,"mess', b"\xff\xfe{}"])
    async def test_answer_that_is_no_object_cannot_be_read(self, answer: bytes) -> None:
        async with opened(StubServer(sendmessage=answer)) as client:
            with pytest.raises(RemoteProtocolError, match="sendmessage was answered with something"):
                await client.send_message(MESSAGE)

    async def test_unreadable_answer_is_kept_without_its_secrets(self) -> None:
        answer = b'{"bot_token":"very-secret-token", "context_token":"AARzhidden", "oops'
        async with opened(StubServer(sendmessage=answer)) as client:
            with pytest.raises(RemoteProtocolError) as caught:
                await client.send_message(MESSAGE)
        assert "oops" in caught.value.excerpt
        assert not any(secret in caught.value.excerpt for secret in ("very-secret", "hidden"))


class TestRepeats:
    async def test_call_is_tried_again_while_nothing_could_be_written(self) -> None:
        clock, tries = FakeClock(), []

        class Flaky(MemoryTransport):
            async def send(self, request: Any, *, timeout: float, max_bytes: int = 0) -> Any:
                tries.append(timeout)
                if len(tries) < 3:
                    message = "refused"
                    raise ConnectError(message)
                return await super().send(request, timeout=timeout)

        server = StubServer(sendmessage={"message_id": 1})
        async with (
            Flaky({URL: server}) as transport,
            Client(ACCOUNT, transport=transport, clock=clock, random=Random(1), environ={}) as client,
        ):
            await client.send_message(MESSAGE)
        assert len(server.asked) == 1
        assert tries[0] == 15.0
        assert tries[0] > tries[1] > tries[2] > 14.0
        assert 0 < clock.now < 1.0

    async def test_call_gives_up_after_three_tries(self) -> None:
        async with (
            MemoryTransport({}) as transport,
            Client(ACCOUNT, transport=transport, clock=FakeClock(), environ={}) as client,
        ):
            with pytest.raises(ConnectError):
                await client.send_message(MESSAGE)

    async def test_call_that_was_written_is_never_repeated(self) -> None:
        server = StubServer(sendmessage=lambda _: None)
        async with opened(server) as client:
            with pytest.raises(OutcomeUnknownError):
                await client.send_message(MESSAGE, timeout=0.02)
        assert len(server.asked) == 1

    @pytest.mark.parametrize("name", sorted(CALLS))
    async def test_cancelling_ends_a_call_at_once(self, name: str) -> None:
        entered = asyncio.Event()

        def hang(_: Any) -> None:
            entered.set()

        async with opened(StubServer(**{name: hang})) as client:
            call = asyncio.ensure_future(CALLS[name](client))
            await entered.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call


class TestAddresses:
    def test_argument_beats_account_beats_environment_beats_tencent(self) -> None:
        environ = {"ILINK_BASE_URL": "http://env.example", "ILINK_CDN_URL": "http://cdn.example/c2c/"}
        assert Client(ACCOUNT, base_url="http://arg.example/", environ=environ).base_url == "http://arg.example"
        assert Client(ACCOUNT, environ=environ).base_url == URL + "/prefix"
        assert Client(environ=environ).base_url == "http://env.example"
        assert Client(environ=environ).cdn_url == "http://cdn.example/c2c"
        assert Client(cdn_url="http://arg.example", environ=environ).cdn_url == "http://arg.example"
        assert Client(environ={}).base_url == "https://ilinkai.weixin.qq.com"
        assert Client(environ={}).cdn_url == "https://novac2c.cdn.weixin.qq.com/c2c"

    def test_media_of_another_server_is_looked_for_below_it(self) -> None:
        assert Client(base_url="http://127.0.0.1:4100", environ={}).cdn_url == "http://127.0.0.1:4100/c2c"

    def test_empty_variable_counts_as_unset(self) -> None:
        assert Client(environ={"ILINK_BASE_URL": ""}).base_url == "https://ilinkai.weixin.qq.com"

    def test_configured_hosts_are_allowed_and_others_not(self) -> None:
        client = Client(
            base_url="http://127.0.0.1:4100",
            cdn_url="http://cdn.example/c2c",
            allow_hosts=["media.example"],
            environ={"ILINK_ALLOW_HOSTS": "a.example, http://b.example:81"},
        )
        allowed = [
            "http://127.0.0.1:4100/ilink/x",
            "http://cdn.example/c2c/upload",
            "https://media.example/x",
            "https://a.example/",
            "http://b.example:81/x",
            "https://novac2c.cdn.weixin.qq.com/c2c",
        ]
        refused = ["http://127.0.0.1:4101/", "http://media.example/x", "https://b.example/", "https://c.example/"]
        assert [url for url in allowed if not client.hosts.allows(url)] == []
        assert [url for url in refused if client.hosts.allows(url)] == []

    @pytest.mark.parametrize("url", ["nonsense", "ftp://x", "http://", "http://x:99999", "//x"])
    def test_wrong_address_is_a_config_error_that_names_the_setting(self, url: str) -> None:
        with pytest.raises(ConfigError, match="ILINK_BASE_URL"):
            Client(base_url=url, environ={})
        with pytest.raises(ConfigError, match="ILINK_CDN_URL"):
            Client(environ={"ILINK_CDN_URL": url})

    async def test_client_opens_and_closes_a_transport_of_its_own(self) -> None:
        async with Client(ACCOUNT, base_url="http://127.0.0.1:1", environ={}) as client:
            with pytest.raises(ConnectError):
                await client.notify_stop()
            transport = client.transport
        with pytest.raises(ConfigError):
            await transport.send(Request(method="GET", url="http://127.0.0.1:1/"), timeout=1)

    async def test_given_transport_stays_open(self) -> None:
        server = StubServer(notifystart={"ret": 0})
        async with server.transport() as transport:
            for _ in range(2):
                async with Client(ACCOUNT, transport=transport, environ={}) as client:
                    await client.notify_start()
        assert len(server.asked) == 2
