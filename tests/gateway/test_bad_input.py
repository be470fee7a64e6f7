"""Whatever arrives, the answer is clear, nothing is stored, and nothing fails."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from gateway_house import BotClient, House
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BOT_ENDPOINTS = [
    "getupdates",
    "sendmessage",
    "getconfig",
    "sendtyping",
    "getuploadurl",
    "msg/notifystart",
    "msg/notifystop",
]
NO_JSON = [b"{", b"[]", b'"text"', b"null", b"7", b"\xff\xfe", b"\x00", b"{'a': 1}", b"[" * 5000, b"<xml/>"]


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Any:
    yield
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def entries(house: House, bot: BotClient, alice: str) -> int:
    return len(await house.gateway.transcript(bot.bot_id, alice))


@pytest.mark.parametrize("endpoint", BOT_ENDPOINTS)
@pytest.mark.parametrize("raw", NO_JSON)
async def test_a_body_that_is_no_json_object(house: House, bot: BotClient, endpoint: str, raw: bytes) -> None:
    await house.knobs(poll__error_delay_ms=0)
    answer = await bot.begin(endpoint, raw=raw).answer()
    assert (answer.status, answer.json) == (200, {"ret": -2, "errmsg": "the body is no JSON object"})


@pytest.mark.parametrize("raw", NO_JSON)
async def test_a_login_body_that_is_no_json_object(house: House, raw: bytes) -> None:
    answer = await house.caller.call("POST", "/ilink/bot/get_bot_qrcode", raw=raw)
    assert (answer.status, answer.json["ret"]) == (200, -2)
    assert await house.gateway.codes() == []


@pytest.mark.parametrize(
    ("endpoint", "body", "errmsg"),
    [
        ("getupdates", {"get_updates_buf": ["x"]}, "get_updates_buf invalid"),
        ("getupdates", {"get_updates_buf": {}}, "get_updates_buf invalid"),
        ("sendmessage", {}, "msg required"),
        ("sendmessage", {"msg": None}, "msg required"),
        ("sendmessage", {"msg": "text"}, "msg invalid"),
        ("sendmessage", {"msg": {}}, "to_user_id required"),
        ("sendmessage", {"msg": {"to_user_id": ["x"]}}, "msg.to_user_id invalid"),
        ("sendmessage", {"msg": {"to_user_id": "x", "item_list": "x"}}, "msg.item_list invalid"),
        ("sendmessage", {"msg": {"to_user_id": "x", "item_list": [7]}}, "msg.item_list[0] invalid"),
        ("sendmessage", {"msg": {"to_user_id": "x", "item_list": [{"type": "x"}]}}, "msg.item_list[0].type invalid"),
        ("getconfig", {}, "ilink_user_id required"),
        ("getconfig", {"user_id": "x"}, "ilink_user_id required"),
        ("getconfig", {"ilink_user_id": {}}, "ilink_user_id invalid"),
        ("sendtyping", {}, "ilink_user_id required"),
        ("sendtyping", {"ilink_user_id": "x"}, "typing_ticket required"),
        ("sendtyping", {"ilink_user_id": "x", "typing_ticket": "y"}, "typing_ticket invalid"),
        ("sendtyping", {"ilink_user_id": "x", "typing_ticket": "y", "status": 9}, "status invalid"),
        ("getuploadurl", {}, "filekey required"),
        ("getuploadurl", {"filekey": "x"}, "to_user_id required"),
        ("getuploadurl", {"filekey": "x", "rawsize": "many"}, "rawsize invalid"),
    ],
)
async def test_wrong_types_and_missing_fields_are_named(
    house: House, bot: BotClient, alice: str, endpoint: str, body: object, errmsg: str
) -> None:
    await house.knobs(poll__error_delay_ms=0)
    assert await bot.call(endpoint, body) == {"ret": -2, "errmsg": errmsg}
    assert await entries(house, bot, alice) == 0


async def test_a_gigabyte_that_is_only_declared_is_refused_unread(house: House, bot: BotClient) -> None:
    headers = {**bot.headers, "Authorization": f"Bearer {bot.token}", "Content-Length": str(2**30)}
    exchange = bot.begin("sendmessage", raw=b"{", headers=headers)
    answer = await exchange.answer()
    assert (answer.status, answer.json["ret"], answer.headers["connection"]) == (413, -1, "close")
    await house.knobs(limits__body_bytes=5000)
    answer = await bot.begin("sendmessage", raw=b"{", headers=headers).answer()
    assert answer.json["errmsg"] == "a body has at most 5000 bytes (limits.body_bytes)"


@pytest.mark.parametrize("length", ["9" * 5000, "99999999999999999999"])
async def test_an_absurd_declared_length_is_refused(house: House, bot: BotClient, length: str) -> None:
    headers = {**bot.headers, "Authorization": f"Bearer {bot.token}", "Content-Length": length}
    assert (await bot.begin("sendmessage", raw=b"{", headers=headers).answer()).status == 413


async def test_a_length_in_other_digits_than_ascii_is_none(house: House, bot: BotClient, alice: str) -> None:
    headers = {**bot.headers, "Authorization": f"Bearer {bot.token}", "Content-Length": "²"}
    assert (await bot.call("getconfig", {"ilink_user_id": alice}, headers=headers))["ret"] == -4


async def test_a_body_may_be_as_large_as_the_limit_and_no_larger(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(limits__body_bytes=4096)
    body = b'{"ilink_user_id": "' + alice.encode() + b'"}'
    for size, status in ((4096, 200), (4097, 413)):
        whole = body.ljust(size)
        assert (await bot.begin("getconfig", raw=whole).answer()).status == status
        assert (await bot.begin("getconfig", chunks=[whole[:2000], whole[2000:]]).answer()).status == status


async def test_an_undeclared_body_is_read_up_to_the_limit(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(limits__body_bytes=4096)
    exchange = bot.begin("sendmessage", chunks=[b" " * 1024] * 8)
    assert (await exchange.answer()).status == 413
    exchange = bot.begin("getconfig", chunks=[b'{"ilink_', b'user_id": "', alice.encode(), b'"}'])
    assert (await exchange.answer()).json["ret"] == -4


async def test_a_caller_that_leaves_before_its_body_is_complete_is_forgotten(house: House, bot: BotClient) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/ilink/bot/sendmessage", "query_string": b"", "headers": []}
    await house.caller.app(scope, receive, send)
    assert sent == []
    assert house.gateway.wire_log()[-1].status == 0


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        ":",
        "{bot}:",
        "{bot}:x",
        "{bot}",
        "{other}:{secret}",
        "{token}x",
        " ",
        "{token}\x00",
        "é:ü",
    ],
)
async def test_a_token_that_is_none_is_stale(house: House, bot: BotClient, alice: str, token: str) -> None:
    other = await house.login(await house.person("bob"))
    secret = bot.token.split(":")[1]
    bot.token = token.format(bot=bot.bot_id, other=other.bot_id, secret=secret, token=bot.token)
    assert await bot.send(alice) == {"ret": -14, "errcode": -14, "errmsg": "session timeout"}


@pytest.mark.parametrize("value", ["", "Basic x", "Bearer", "bearer {token}", "Bearer  {token} "])
async def test_authorization_is_read_as_http_has_it(house: House, bot: BotClient, value: str) -> None:
    headers = {**bot.headers, "Authorization": value.format(token=bot.token)}
    ret = (await bot.call("msg/notifystart", {}, headers=headers))["ret"]
    assert ret == (0 if "{token}" in value else -14)


@pytest.mark.parametrize(
    "path",
    ["/", "/ilink", "/ilink/bot", "/ilink/bot/getUpdates", "/ilink/bot/recall", "/ilink/bot/msg", "/_sim/people"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_an_unknown_path(house: House, path: str, method: str) -> None:
    answer = await house.caller.call(method, path, {})
    assert (answer.status, answer.json["ret"]) == (404, -1)


@pytest.mark.parametrize(
    ("method", "endpoint", "allowed"),
    [
        ("GET", "getupdates", "POST"),
        ("PUT", "sendmessage", "POST"),
        ("POST", "get_qrcode_status", "GET"),
        ("DELETE", "get_bot_qrcode", "GET, POST"),
        ("HEAD", "getconfig", "POST"),
    ],
)
async def test_a_wrong_method(house: House, method: str, endpoint: str, allowed: str) -> None:
    answer = await house.caller.call(method, f"/ilink/bot/{endpoint}", {})
    assert (answer.status, answer.headers["allow"], answer.json["ret"]) == (405, allowed, -1)


async def test_a_bot_cannot_use_anothers_ticket_or_reach_its_mail(house: House, bot: BotClient, alice: str) -> None:
    other = await house.login(await house.person("bob"))
    await house.gateway.post_message(alice, bot.bot_id, text="for one bot only")
    await house.gateway.post_message(alice, other.bot_id, text="for the other")
    ticket = (await bot.call("getconfig", {"ilink_user_id": alice}))["typing_ticket"]
    answer = await other.call("sendtyping", {"ilink_user_id": alice, "typing_ticket": ticket, "status": 1})
    assert answer == {"ret": -2, "errmsg": "typing_ticket invalid"}
    cursor = (await bot.poll())["get_updates_buf"]
    (message,) = (await other.poll(cursor))["msgs"]
    assert message["item_list"][0]["text_item"]["text"] == "for the other"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "msg",
        "to_user_id",
        "item_list",
        "type",
        "text_item",
        "get_updates_buf",
        "ilink_user_id",
        "typing_ticket",
        "filekey",
    ]
)
SHAPED = st.dictionaries(FIELDS, JSON | st.dictionaries(FIELDS, JSON, max_size=3), max_size=5)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(endpoint=st.sampled_from(BOT_ENDPOINTS), body=SHAPED | st.dictionaries(st.text(max_size=5), JSON, max_size=3))
async def test_no_json_makes_an_endpoint_fail(house: House, bot: BotClient, endpoint: str, body: object) -> None:
    await house.knobs(poll__error_delay_ms=0, poll__hold_ms=0)
    answer = await bot.begin(endpoint, body).answer()
    assert answer.status == 200
    assert type(answer.json["ret"]) is int


@pytest.mark.parametrize("field", ["rawsize", "filesize", "thumb_rawsize", "thumb_filesize"])
@pytest.mark.parametrize("size", [2**63, 10**30])
async def test_an_announced_size_beyond_64_bits_is_refused(
    house: House, bot: BotClient, alice: str, field: str, size: int
) -> None:
    body = {
        "filekey": "k",
        "media_type": 1,
        "to_user_id": alice,
        "rawsize": 14,
        "rawfilemd5": "0" * 32,
        "filesize": 16,
        "no_need_thumb": False,
        "aeskey": "0" * 32,
    }
    assert await bot.call("getuploadurl", {**body, field: size}) == {"ret": -2, "errmsg": f"{field} invalid"}
