"""What the control API says to wrong requests: one shape, a fitting status, no traceback."""

from __future__ import annotations

import asyncio

import pytest

from ilink.gateway.control.bodies import MAX_JSON


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/_sim/people", {"name": "a", "nick": "b"}),
        ("POST", "/_sim/reset", {"nick": 1}),
        ("PUT", "/_sim/config", {"nick": 1}),
        ("POST", "/_sim/clock", {"freeze": True, "nick": 1}),
        ("POST", "/_sim/qr/x/scan", {"user_id": "u", "nick": 1}),
        ("POST", "/_sim/qr/x/confirm", {"nick": 1}),
        ("POST", "/_sim/qr/x/require-code", {"code": "123456", "nick": 1}),
        ("POST", "/_sim/qr/x/redirect", {"host": "h", "nick": 1}),
        ("POST", "/_sim/qr/x/expire", {"nick": 1}),
        ("POST", "/_sim/qr/x/cancel", {"nick": 1}),
        ("POST", "/_sim/bots/x/expire", {"nick": 1}),
        ("POST", "/_sim/people/x/messages", {"bot_id": "b", "text": "t", "nick": 1}),
    ],
)
async def test_an_unknown_field_is_refused_by_name(api, method, path, body) -> None:
    answer = await api(method, path, json=body)
    assert answer.status == 422
    assert answer.body["error"]["code"] == "invalid"
    assert "`nick`" in answer.body["error"]["message"]
    assert answer.body["error"]["hint"]


@pytest.mark.parametrize(
    "path", ["/_sim/health", "/_sim/people", "/_sim/wire", "/_sim/wait", "/_sim/events", "/_sim/chats/b/u/transcript"]
)
async def test_an_unknown_query_field_is_refused_by_name(api, path) -> None:
    answer = await api.get(path, params={"nick": "1"})
    assert answer.status == 422
    assert "`nick`" in answer.body["error"]["message"]


async def test_a_query_field_that_is_given_twice_is_refused(api) -> None:
    answer = await api.get("/_sim/wire?since=1&since=2")
    assert (answer.status, "`since`" in answer.body["error"]["message"]) == (422, True)


@pytest.mark.parametrize("body", [b"{", b"nothing", b'{"name": "\xff"}', b'{"name": "\\ud800"}', b"[" * 20000])
async def test_what_is_no_json_is_refused(api, body) -> None:
    answer = await api("POST", "/_sim/people", data=body, headers={"content-type": "application/json"})
    assert (answer.status, answer.body["error"]["code"]) in [(400, "bad_request"), (422, "invalid")]


@pytest.mark.parametrize("body", ["[]", "null", "1", '"name"', '{"name": 1}', '{"name": null}', "{}", '{"name": ""}'])
async def test_what_is_of_another_shape_is_refused(api, body) -> None:
    answer = await api("POST", "/_sim/people", data=body, headers={"content-type": "application/json"})
    assert (answer.status, answer.body["error"]["code"]) == (422, "invalid")
    assert (await api.get("/_sim/people")).body == {"people": []}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_what_a_foreign_page_could_send_unasked_is_refused(api, kind) -> None:
    answer = await api("POST", "/_sim/people", data=b'{"name": "alice"}', headers={"content-type": kind})
    assert (answer.status, answer.body["error"]["code"]) == (415, "unsupported_media_type")
    assert (await api.get("/_sim/people")).body == {"people": []}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/_sim/qr/none/scan", {"user_id": "u"}),
        ("/_sim/qr/none/confirm", {}),
        ("/_sim/qr/none/require-code", {"code": "123456"}),
        ("/_sim/qr/none/redirect", {"host": "h"}),
        ("/_sim/qr/none/expire", {}),
        ("/_sim/bots/none/expire", {}),
        ("/_sim/people/none/messages", {"bot_id": "none", "text": "t"}),
    ],
)
async def test_what_is_not_there_is_not_found(api, path, body) -> None:
    answer = await api.post(path, body)
    assert (answer.status, answer.body["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/_sim/bots/none/mailbox", "/_sim/chats/b/u/transcript", "/_sim/chats/b/u/typing"])
async def test_looking_at_what_is_not_there_is_not_found(api, path) -> None:
    assert (await api.get(path)).status == 404


async def test_an_unknown_call_is_not_found_with_a_pointer(api) -> None:
    answer = await api.get("/_sim/nothing")
    assert answer.status == 404
    assert "/_sim/openapi.json" in answer.body["error"]["hint"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("DELETE", "/_sim/people", "GET, POST"), ("GET", "/_sim/reset", "POST"), ("POST", "/", "GET, HEAD")],
)
async def test_a_wrong_method_is_told_the_right_ones(api, method, path, allowed) -> None:
    answer = await api(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)


async def test_a_body_that_announces_a_gigabyte_is_refused_unread(server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.info.control_url.rpartition(":")[2]))
    writer.write(
        b"POST /_sim/people HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1000000000\r\n\r\n{"
    )
    async with asyncio.timeout(45):
        assert b" 413 " in await reader.readline()
        await reader.read()  # the server closes, since the rest of the body is not wanted
    writer.close()
    await writer.wait_closed()


async def test_a_body_that_grows_too_large_is_refused(api) -> None:
    async def pieces():
        for _ in range(40):
            yield b" " * (MAX_JSON // 32)

    answer = await api("POST", "/_sim/people", data=pieces(), headers={"content-type": "application/json"})
    assert (answer.status, answer.body["error"]["code"]) == (413, "too_large")


async def test_a_failure_inside_is_an_answer_and_no_traceback(api, server, monkeypatch, caplog) -> None:
    async def fail() -> None:
        raise RuntimeError("the words of the failure")

    monkeypatch.setattr(server.gateway, "people", fail, raising=True)
    answer = await api.get("/_sim/people")
    assert (answer.status, answer.body["error"]["code"]) == (500, "internal")
    assert b"the words" not in answer.raw
    assert "the words of the failure" in caplog.text


async def test_head_answers_like_get_without_a_body(api) -> None:
    answer = await api("HEAD", "/_sim/health")
    assert (answer.status, answer.raw) == (200, b"")


async def test_a_text_with_nul_and_emoji_survives(api) -> None:
    answer = await api.post("/_sim/people", {"name": "a\u0000b 🐼"})
    assert answer.status in (201, 422)
