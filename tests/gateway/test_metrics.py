"""What Prometheus is told: everything that happened, and nobody by name."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
from tenants import PLAIN, Tenant, move_in

from ilink.gateway.control.metrics import CONTENT_TYPE
from ilink.gateway.fault_actions import ACTIONS
from ilink.gateway.findings import FINDINGS
from ilink.gateway.http.calls import CALLS
from ilink.testing import LocalGateway
from ilink.wire.cipher import ciphertext_size

CODES = {"0", "-1", "-2", "-3", "-4", "-12", "-14", "none", "other"}


@pytest.fixture
async def tenant() -> AsyncIterator[Tenant]:
    knobs = {"poll.hold_ms": 0, "poll.error_delay_ms": 0}
    async with LocalGateway(knobs=knobs) as gateway, aiohttp.ClientSession() as http:
        yield await move_in(gateway, http, "alice")


async def scrape(tenant: Tenant) -> dict[str, float]:
    async with tenant.http.get(f"{tenant.gateway.control_url}/metrics") as answer:
        assert answer.headers["content-type"] == CONTENT_TYPE
        lines = (await answer.text()).splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


async def grown(tenant: Tenant, before: dict[str, float]) -> dict[str, float]:
    """What differs now, without when counters began and calls of the control API."""
    after = await scrape(tenant)
    names = {name for name in after if after[name] != before.get(name, 0) and "_created" not in name}
    return {name: after[name] - before.get(name, 0) for name in names if "ilink_control_calls" not in name}


async def test_answers_are_counted_by_endpoint_class_and_code(tenant: Tenant) -> None:
    before = await scrape(tenant)
    await tenant.call("getconfig", {"ilink_user_id": tenant.owner.user_id})
    await tenant.call("getconfig", {})
    await tenant.call("getconfig", {}, token="wrong")
    async with tenant.http.put(f"{tenant.gateway.api_url}/ilink/bot/getconfig") as answer:
        assert answer.status == 405
    counted = await grown(tenant, before)
    answers = {
        'ilink_answers_total{code="0",endpoint="getconfig",status="2xx"}': 1,
        'ilink_answers_total{code="-2",endpoint="getconfig",status="2xx"}': 1,
        'ilink_answers_total{code="-14",endpoint="getconfig",status="2xx"}': 1,
        'ilink_answers_total{code="-1",endpoint="getconfig",status="4xx"}': 1,
    }
    assert {name: value for name, value in counted.items() if "answers" in name} == answers
    refusals = {name: value for name, value in counted.items() if "refusals" in name}
    assert refusals == {
        'ilink_refusals_total{code="-2",endpoint="getconfig"}': 1,
        'ilink_refusals_total{code="-14",endpoint="getconfig"}': 1,
        'ilink_refusals_total{code="-1",endpoint="getconfig"}': 1,
    }


async def test_faults_are_counted_by_action(tenant: Tenant) -> None:
    before = await scrape(tenant)
    for ret in (-77, -14):
        tenant.gateway.fault("getconfig", ret=ret, times=1)
        assert (await tenant.call("getconfig", {"ilink_user_id": "x"}))["ret"] == ret
    counted = await grown(tenant, before)
    assert counted['ilink_faults_total{action="ret"}'] == 2
    assert counted['ilink_answers_total{code="other",endpoint="getconfig",status="2xx"}'] == 1
    assert counted['ilink_answers_total{code="-14",endpoint="getconfig",status="2xx"}'] == 1


async def test_bytes_of_media_are_counted_both_ways(tenant: Tenant) -> None:
    before = await scrape(tenant)
    filekey = "0" * 32
    permission = await tenant.permission(filekey)
    _, reference = await tenant.upload(permission["upload_param"], filekey)
    await tenant.download(reference)
    await tenant.download(reference)
    counted = await grown(tenant, before)
    size = ciphertext_size(len(PLAIN))
    assert counted['ilink_media_bytes_total{direction="up"}'] == size
    assert counted['ilink_media_bytes_total{direction="down"}'] == 2 * size
    assert counted['ilink_answers_total{code="none",endpoint="cdn_download",status="2xx"}'] == 2


async def test_a_request_that_is_turned_away_unread_is_counted(tenant: Tenant) -> None:
    before = await scrape(tenant)
    await tenant.gateway.rules.configure(knobs={"limits.requests": "1/1000"})
    statuses = []
    for _ in range(3):
        async with tenant.http.get(f"{tenant.gateway.api_url}/nowhere") as answer:
            statuses.append(answer.status)
    counted = await grown(tenant, before)
    assert counted['ilink_answers_total{code="-1",endpoint="?",status="4xx"}'] == 3
    assert 429 in statuses


async def test_counters_go_on_through_a_reset(tenant: Tenant) -> None:
    before = await scrape(tenant)
    await tenant.gateway.rules.reset()
    after = await scrape(tenant)
    name = 'ilink_answers_total{code="0",endpoint="sendmessage",status="2xx"}'
    assert after[name] == before[name] > 0
    assert after["ilink_people"] == 0


async def test_labels_come_from_short_lists_whatever_callers_send(tenant: Tenant) -> None:
    for n in range(30):
        async with tenant.http.request("BREW", f"{tenant.gateway.api_url}/ilink/bot/odd-{n}?x={n}"):
            pass
        async with tenant.http.get(f"{tenant.gateway.cdn_url}/odd-{n}"):
            pass
        await tenant.call("getconfig", {f"odd-{n}": n}, token=f"odd-{n}")
    names = {name for name in await scrape(tenant) if "ilink_control_calls" not in name}
    assert not [name for name in names if "odd" in name or "BREW" in name]
    found = [label for name in names for label in re.findall(r'(\w+)="([^"]*)"', name)]
    assert {value for label, value in found if label == "endpoint"} <= {
        "?", "cdn_upload", "cdn_download", *(call.name for call in CALLS.values())
    }  # fmt: skip
    assert {value for label, value in found if label == "code"} <= CODES | set(FINDINGS)
    assert {value for label, value in found if label == "action"} <= set(ACTIONS)
    assert {value for label, value in found if label == "status"} <= {"2xx", "3xx", "4xx", "5xx", "gone"}
