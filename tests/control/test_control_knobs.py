"""Knobs for one bot or person, over the control API."""

from __future__ import annotations

from io import BytesIO

import aiohttp
import pytest


async def test_a_knob_of_one_bot_is_set_seen_on_the_wire_and_taken_away(api, friend, alice: str) -> None:
    await api("PUT", "/_sim/config", json={"knobs": {"poll.hold_ms": 0}})
    asked = {"bot_id": friend.bot_id, "knobs": {"poll.suggest_ms": 0}}
    answer = await api("PUT", "/_sim/config", json=asked)
    assert (answer.status, answer.body["knobs"]["poll.suggest_ms"]) == (200, 0)
    override = {"bot_id": friend.bot_id, "user_id": None, "profile": None, "knobs": {"poll.suggest_ms": 0}}
    assert (await api.get("/_sim/config")).body["overrides"] == [override]
    assert "longpolling_timeout_ms" not in await friend.poll()
    both = await api.get("/_sim/config", params={"bot_id": friend.bot_id, "user_id": alice})
    assert both.body["knobs"]["poll.suggest_ms"] == 0
    assert (await api("DELETE", "/_sim/config", params={"bot_id": friend.bot_id})).status == 204
    assert (await friend.poll())["longpolling_timeout_ms"] == 35_000
    assert (await api.get("/_sim/config")).body["overrides"] == []


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({"bot_id": "{bot}", "knobs": {"qr.ttl_s": 5}}, 422, "before anybody has scanned it: set it per gateway"),
        ({"bot_id": "{bot}", "knobs": {"bind.single": False}}, 422, "per gateway or per person"),
        ({"user_id": "{alice}", "knobs": {"limits.body_bytes": 5000}}, 422, "before it is known whose it is"),
        ({"user_id": "{alice}", "knobs": {"poll.hold": 5}}, 422, "did you mean poll.hold_ms"),
        ({"user_id": "{alice}", "knobs": {"poll.hold_ms": -5}}, 422, "allowed is a whole number"),
        ({"user_id": "{alice}", "profile": "wild"}, 422, "allowed are observed"),
        ({"user_id": "{alice}", "bot_id": "{bot}", "knobs": {}}, 422, "not both"),
        ({"bot_id": "nobody@im.bot", "knobs": {}}, 404, "no bot"),
        ({"user_id": "nobody@im.wechat", "knobs": {}}, 404, "no person"),
        ({"person": "alice"}, 422, "`person`"),
    ],
)
async def test_a_wrong_scope_name_or_value_is_refused_with_what_is_allowed(
    api, friend, alice: str, body: dict, status: int, named: str
) -> None:
    names = {"{bot}": friend.bot_id, "{alice}": alice}
    before = (await api.get("/_sim/config")).body
    body = {key: names.get(value, value) if isinstance(value, str) else value for key, value in body.items()}
    answer = await api("PUT", "/_sim/config", json=body)
    assert (answer.status, named in answer.body["error"]["message"]) == (status, True), answer.body
    assert (await api.get("/_sim/config")).body == before


async def test_a_larger_file_may_be_sent_to_the_one_bot_that_may_have_it(api, friend, alice: str) -> None:
    await api("PUT", "/_sim/config", json={"knobs": {"cdn.max_bytes": 100}})

    async def send(size: int) -> tuple[int, str]:
        form = aiohttp.FormData({"bot_id": friend.bot_id, "kind": "file"})
        form.add_field("file", BytesIO(b"x" * size), filename="a.bin")
        answer = await api("POST", f"/_sim/people/{alice}/messages", data=form)
        return answer.status, answer.body.get("error", {}).get("message", "")

    status, words = await send(1_000)
    assert (status, "cdn.max_bytes" in words) == (422, True), words
    status, words = await send(1_500_000)  # more than the form itself may have: refused unread
    assert (status, words) == (413, f"the body is larger than {100 + 1024 * 1024} bytes")
    await api("PUT", "/_sim/config", json={"bot_id": friend.bot_id, "knobs": {"cdn.max_bytes": 5_000_000}})
    assert (await send(1_500_000))[0] == 201
