"""Failures on purpose, asked for over the control API."""

from __future__ import annotations

import aiohttp
import pytest


async def test_a_fault_is_set_listed_counted_and_removed(api, friend, alice: str) -> None:
    await api.post(f"/_sim/people/{alice}/messages", {"bot_id": friend.bot_id, "text": "hi"})
    asked = {"endpoint": "sendmessage", "times": 1, "action": {"ret": -2, "errmsg": "prepare failed"}}
    added = await api.post("/_sim/faults", asked)
    assert (added.status, added.body["hits"]) == (201, 0)
    assert (await friend.send(alice, "hi")) == {"ret": -2, "errmsg": "prepare failed"}
    assert (await friend.send(alice, "hi", "c-2"))["ret"] == 0
    (listed,) = (await api.get("/_sim/faults")).body["faults"]
    assert listed == {**added.body, "hits": 1, "matched": 2}
    assert {name: listed[name] for name in asked} == asked
    assert (await api("DELETE", f"/_sim/faults/{listed['id']}")).status == 204
    assert (await api("DELETE", f"/_sim/faults/{listed['id']}")).status == 404


async def test_all_faults_are_removed_at_once_and_by_a_reset(api) -> None:
    for end in (lambda: api("DELETE", "/_sim/faults"), lambda: api.post("/_sim/reset", {"seed": 7})):
        await api.post("/_sim/faults", {"endpoint": "*", "action": {"hang": True}})
        assert (await end()).status == 204
        assert (await api.get("/_sim/faults")).body == {"faults": []}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"action": {"rat": 1}}, "`rat`"),
        ({"action": {"ret": "-2"}}, "`$.action.ret`"),
        ({"action": {"reset": "later"}}, "`$.action.reset`"),
        ({"action": {"http_status": 99}}, "`$.action.http_status`"),
        ({"action": {"ret": -2}, "nth": 0}, "`$.nth`"),
        ({"action": {"ret": -2}, "probability": 1.5}, "`$.probability`"),
        ({"action": {"ret": -2}, "when": "now"}, "`when`"),
        ({"action": {"ret": -2}, "endpoint": "cdn_upload"}, "cdn_upload"),
        ({"action": {"ret": -2}, "endpoint": "nowhere"}, "nowhere"),
        ({"action": {}}, "action"),
        ({}, "`action`"),
    ],
)
async def test_a_wrong_fault_is_refused_and_what_is_wrong_named(api, body: dict, named: str) -> None:
    answer = await api.post("/_sim/faults", body)
    assert (answer.status, answer.body["error"]["code"]) == (422, "invalid")
    assert named in answer.body["error"]["message"]


async def test_a_struck_request_is_marked_on_the_wire_and_told_as_an_event(
    api, friend, server, session: aiohttp.ClientSession
) -> None:
    fault = (await api.post("/_sim/faults", {"endpoint": "getupdates", "action": {"http_status": 524}})).body
    headers = {"Authorization": f"Bearer {friend.token}"}
    async with session.post(f"{friend.url}/ilink/bot/getupdates", json={}, headers=headers) as response:
        assert (response.status, response.content_type) == (524, "text/plain")
    (entry,) = (await api.get("/_sim/wire?endpoint=getupdates")).body["entries"]
    assert (entry["status"], entry["faults"]) == (524, [{"id": fault["id"], "action": "http_status"}])
    kinds = [event.data["change"] for event in server.gateway.events.after(0) if event.kind == "fault"]
    assert kinds == ["added", "hit"]
