"""Requests that a program made up, at every endpoint of the protocol, the login and the CDN.

The same ones in every run; `ILINK_FUZZ_EXAMPLES` says how many for each test, and then they are new ones.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from gateway_house import BotClient, House
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_must_accept import upload

from ilink.gateway.http import CdnDoor
from ilink.wire.endpoints import ENDPOINTS

EXAMPLES = int(os.environ.get("ILINK_FUZZ_EXAMPLES", "0"))
fuzzed = settings(
    max_examples=EXAMPLES or 80,
    derandomize=not EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
if EXAMPLES:
    pytestmark = pytest.mark.timeout(EXAMPLES)

NUMBERS = (0, -1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63), 10**40, 1e308, -0.0)
TEXTS = (
    "",
    " ",
    "0",
    "\x00",
    "a" * 70_000,
    "\ud800",
    "\u202e",
    "'; DROP TABLE bots; --",
    "../../etc/passwd",
    "%00",
    "²",
)
NESTED = ([], {}, [[[[]]]], [None], {"": {}})
NASTY = st.sampled_from([None, True, False, *NUMBERS, *TEXTS, *NESTED])
ANY = st.recursive(
    NASTY | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
TEXT = st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1"))
PATHS = [endpoint.path.removeprefix("ilink/bot/") for endpoint in ENDPOINTS.values()]


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def places(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    """Yield the way to every value in a JSON value."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from places(inner, (*path, number))


def replaced(value: Any, path: tuple[Any, ...], new: object) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


async def well_formed(house: House, bot: BotClient, alice: str) -> dict[str, Any]:
    """Return a body for each endpoint that it would accept."""
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    ticket = (await bot.call("getconfig", {"ilink_user_id": alice})).get("typing_ticket")
    media = {
        "encrypt_query_param": "x" * 40,
        "aes_key": "MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmY=",
        "encrypt_type": 1,
    }
    items = [
        {"type": 1, "text_item": {"text": "hi"}, "ref_msg": {"svr_id": 7, "partial_text": {"start": "a", "end": "b"}}},
        {"type": 2, "image_item": {"media": media, "mid_size": 16}},
        {"type": 3, "voice_item": {"media": media, "playtime": 1000, "encode_type": 6}},
        {"type": 4, "file_item": {"media": media, "file_name": "a.txt", "md5": "0" * 32, "len": "14"}},
        {"type": 5, "video_item": {"media": media, "video_size": 16, "play_length": 3}},
    ]
    base = {"base_info": {"channel_version": "2.4.9", "bot_agent": "OpenClaw"}}
    return {
        "get_bot_qrcode": {"local_token_list": [bot.token, "x"]},
        "get_qrcode_status": {},
        "getupdates": {"get_updates_buf": bot.cursor, **base},
        "sendmessage": bot.message(alice, item_list=items, context_token="x", run_id="r"),
        "getconfig": {"ilink_user_id": alice, "context_token": "x", **base},
        "sendtyping": {"ilink_user_id": alice, "typing_ticket": ticket, "status": 1, **base},
        "getuploadurl": {**upload(alice), **base},
        "msg/notifystart": base,
        "msg/notifystop": base,
    }


@fuzzed
@given(data=st.data())
async def test_a_body_with_odd_values_gets_an_answer(
    house: House, bot: BotClient, alice: str, data: st.DataObject
) -> None:
    await house.knobs(poll__error_delay_ms=0, poll__hold_ms=0, qr__hold_ms=0)
    endpoint = data.draw(st.sampled_from(PATHS))
    body = (await well_formed(house, bot, alice))[endpoint]
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(body))))
        body = replaced(body, path, data.draw(ANY))
    answer = await bot.begin(endpoint, raw=json.dumps(body).encode()).answer()
    assert answer.status in (200, 405, 413)
    assert type(answer.json.get("ret", 0)) is int


@fuzzed
@given(endpoint=st.sampled_from(PATHS), raw=st.binary(max_size=300), cut=st.integers(0, 300))
async def test_bytes_that_are_no_body_get_an_answer(
    house: House, bot: BotClient, alice: str, endpoint: str, raw: bytes, cut: int
) -> None:
    await house.knobs(poll__error_delay_ms=0, poll__hold_ms=0, qr__hold_ms=0)
    whole = json.dumps(bot.message(alice)).encode()
    answer = await bot.begin(endpoint, raw=whole[:cut] + raw + whole[cut:]).answer()
    assert answer.status in (200, 405)
    assert type(answer.json.get("ret", 0)) is int


@fuzzed
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "", "\x00"]),
    path=st.sampled_from(["/", "/ilink/bot/", "//ilink/bot//"]).flatmap(
        lambda start: st.one_of(st.sampled_from(PATHS), st.text(max_size=40)).map(lambda end: start + end)
    ),
    query=st.text(max_size=60).map(lambda text: quote(text, safe="&=?+%/:")),
    names=st.dictionaries(
        st.sampled_from(["authorization", "authorizationtype", "content-length", "host", "skroutetag", "x-wechat-uin"]),
        TEXT.map(lambda text: text.encode("latin-1", "replace").decode("latin-1")),
        max_size=4,
    ),
)
async def test_any_request_line_and_headers_get_an_answer(
    house: House, method: str, path: str, query: str, names: dict[str, str]
) -> None:
    await house.knobs(poll__error_delay_ms=0, poll__hold_ms=0, qr__hold_ms=0)
    answer = await house.caller.call(method, path, headers=names, query=query, raw=b"{}")
    assert answer.status < 500


@fuzzed
@given(qrcode=st.text(max_size=80), digits=st.text(max_size=20), extra=st.text(max_size=20))
async def test_any_question_about_a_login_gets_an_answer(house: House, qrcode: str, digits: str, extra: str) -> None:
    await house.knobs(qr__hold_ms=0)
    mine = await house.qrcode()
    await house.gateway.scan(mine, await house.person())
    await house.gateway.require_code(mine, "123456")
    for code in (qrcode, mine, mine + qrcode):
        query = f"qrcode={quote(code)}&verify_code={quote(digits)}&{quote(extra)}"
        answer = await house.caller.call("GET", "/ilink/bot/get_qrcode_status", query=query)
        assert answer.status == 200
        assert answer.json.get("status") != "confirmed"


async def at_cdn(house: House, method: str, path: str, query: bytes, headers: dict[str, str], body: bytes) -> int:
    """Send one request to the CDN and return its status."""
    sent: list[dict[str, Any]] = []
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return pending.pop() if pending else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()],
    }
    await CdnDoor(house.gateway)(scope, receive, send)
    return sent[0]["status"] if sent else 0


@fuzzed
@given(data=st.data())
async def test_any_request_to_the_cdn_gets_an_answer(
    house: House, bot: BotClient, alice: str, data: st.DataObject
) -> None:
    permission = (await bot.call("getuploadurl", upload(alice)))["upload_param"]
    filekey = str(upload(alice)["filekey"])
    fields = {
        "encrypted_query_param": data.draw(st.sampled_from([permission, permission[:-1], ""]) | st.text(max_size=60)),
        "filekey": data.draw(st.just(filekey) | st.text(max_size=40)),
        "taskid": data.draw(st.text(max_size=20)),
    }
    query = "&".join(f"{name}={quote(value)}" for name, value in fields.items()).encode()
    headers = data.draw(
        st.dictionaries(
            st.sampled_from(["content-length", "range", "content-type", "transfer-encoding", "if-range"]),
            st.sampled_from(["0", "16", "-1", "9" * 30, "x", "bytes=0-", "bytes=-5", "bytes=9-1", "bytes=0-0,2-3", "²"])
            | TEXT,
            max_size=3,
        )
    )
    status = await at_cdn(
        house,
        data.draw(st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE"])),
        data.draw(st.sampled_from(["/c2c/upload", "/c2c/download", "/c2c//upload/", "/c2c", "/c2c/../x"])),
        data.draw(st.just(query) | st.binary(max_size=60)),
        headers,
        data.draw(st.sampled_from([b"", b"x", bytes(16), bytes(17)]) | st.binary(max_size=40)),
    )
    assert status < 500
