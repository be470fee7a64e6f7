"""Crowds: their script follows from the seed, and the report from what the bot did."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest

from ilink.cli.app import run as run_command
from ilink.errors import ConfigError
from ilink.testing import LocalGateway
from ilink.testing.load import LoadPlan, LoadReport, run_load
from ilink.transport.http import HttpTransport


class Echo:
    """A bot that answers everything, or all but every n-th message."""

    def __init__(self, gateway: LocalGateway, http: aiohttp.ClientSession, *, skip: int = 0) -> None:
        self._url = f"{gateway.api_url}/ilink/bot"
        self._http = http
        self._skip = skip
        self._heard = 0
        self.kinds: Counter[int] = Counter()

    async def sign_in(self, gateway: LocalGateway) -> None:
        owner = await gateway.person("owner")
        code = (await self._call("get_bot_qrcode?bot_type=3", {}))["qrcode"]
        await owner.befriend(code)
        async with self._http.get(f"{self._url}/get_qrcode_status", params={"qrcode": code}) as answer:
            token = (await answer.json(content_type=None))["bot_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    async def serve(self) -> None:
        cursor = ""
        while True:
            batch = await self._call("getupdates", {"get_updates_buf": cursor})
            cursor = batch.get("get_updates_buf") or cursor
            for message in batch.get("msgs") or []:
                await self._answer(message)

    async def _answer(self, message: dict) -> None:
        self._heard += 1
        self.kinds[message["item_list"][0]["type"]] += 1
        if self._skip and self._heard % self._skip == 0:
            return
        item = {"type": 1, "text_item": {"text": "yes"}}
        fields = {"client_id": f"c-{self._heard}", "message_type": 2, "message_state": 2, "item_list": [item]}
        await self._call("sendmessage", {"msg": {"to_user_id": message["from_user_id"], **fields}})

    async def _call(self, call: str, body: dict) -> dict:
        async with self._http.post(f"{self._url}/{call}", json=body) as answer:
            return await answer.json(content_type=None)


async def loaded(gateway: LocalGateway, plan: LoadPlan, *, skip: int = 0) -> tuple[LoadReport, Echo]:
    async with aiohttp.ClientSession() as http, HttpTransport() as transport:
        echo = Echo(gateway, http, skip=skip)
        await echo.sign_in(gateway)
        serving = asyncio.create_task(echo.serve())
        try:
            return await run_load(gateway.control_url, plan, transport=transport), echo
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


@pytest.fixture
async def gateway() -> AsyncIterator[LocalGateway]:
    # Where the machine is slow, a person's messages are all there before the first is answered: more than ten answers.
    async with LocalGateway(knobs={"quota.per_inbound": 1000}) as gateway:
        yield gateway


@pytest.mark.parametrize("pattern", ["normal", "burst", "spam", "media"])
async def test_every_message_of_a_crowd_is_sent_and_answered(gateway: LocalGateway, pattern: str) -> None:
    plan = LoadPlan(pattern=pattern, people=5, rate=100, seconds=0.4, patience=50.0)  # type: ignore[arg-type]
    report, echo = await loaded(gateway, plan)
    assert (report.sent, report.answered, report.failed, report.refused) == (40, 40, 0, 0)
    assert len(report.latencies) == 40
    assert echo.kinds[2] == (20 if pattern == "media" else 0)


async def test_what_is_not_answered_is_told_after_the_patience(gateway: LocalGateway) -> None:
    plan = LoadPlan(people=1, rate=100, seconds=0.1, patience=0.5)
    report, _ = await loaded(gateway, plan, skip=5)
    assert (report.sent, report.answered) == (10, 8)


async def test_refused_sends_are_told_apart(gateway: LocalGateway) -> None:
    await gateway.rules.configure(knobs={"limits.text_bytes": 1})
    report, _ = await loaded(gateway, LoadPlan(people=2, rate=100, seconds=0.1, patience=0.3))
    assert (report.sent, report.answered, report.refused) == (10, 0, 10)
    assert report.percentile(0.5) is None


async def test_a_crowd_that_may_not_write_fails(gateway: LocalGateway) -> None:
    await gateway.rules.configure(knobs={"bind.owner_only": True})
    report, _ = await loaded(gateway, LoadPlan(people=1, rate=50, seconds=0.1, patience=0.1))
    assert (report.sent, report.failed) == (0, 5)


async def test_without_a_bot_it_says_so(gateway: LocalGateway) -> None:
    async with HttpTransport() as transport:
        with pytest.raises(ConfigError, match="no bot is signed in"):
            await run_load(gateway.control_url, LoadPlan(), transport=transport)


async def test_something_else_than_a_gateway_is_told(gateway: LocalGateway) -> None:
    async with HttpTransport() as transport:
        with pytest.raises(ConfigError, match="HTTP 404"):
            await run_load(gateway.api_url, LoadPlan(), transport=transport)


@pytest.mark.parametrize("pattern", ["normal", "burst", "spam", "media"])
def test_a_script_follows_from_its_seed(pattern: str) -> None:
    plan = LoadPlan(pattern=pattern, people=20, rate=10, seconds=20, seed=7)  # type: ignore[arg-type]
    again = LoadPlan(pattern=pattern, people=20, rate=10, seconds=20, seed=7)  # type: ignore[arg-type]
    script = plan.script()
    assert script == again.script()
    assert len(script) == 200
    moments = [one.at for one in script]
    assert moments == sorted(moments)
    assert 0 <= moments[0] <= moments[-1] <= 20


def test_another_seed_gives_another_script() -> None:
    assert LoadPlan(seed=1).script() != LoadPlan(seed=2).script()


def test_bursts_come_all_at_once() -> None:
    script = LoadPlan(pattern="burst", people=5, rate=4, seconds=15).script()
    assert Counter(one.at for one in script) == {0.0: 20, 5.0: 20, 10.0: 20}


def test_one_person_spams() -> None:
    assert {one.person for one in LoadPlan(pattern="spam", people=9).script()} == {0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"people": 0},
        {"people": 10_001},
        {"rate": 0},
        {"rate": float("nan")},
        {"rate": 1e6},
        {"seconds": 0},
        {"seconds": 3601},
        {"patience": -1},
    ],
)
def test_a_load_is_bounded(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        LoadPlan(**wrong)


def test_percentiles_are_of_what_came() -> None:
    report = LoadReport(sent=4, failed=0, answered=4, refused=0, seconds=1, latencies=(0.1, 0.2, 0.3, 0.4))
    assert [report.percentile(share) for share in (0.5, 0.95, 1.0)] == [0.2, 0.4, 0.4]


async def test_the_command_reports_and_its_exit_code_tells(
    gateway: LocalGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["load", "--control-url", gateway.control_url, "--people", "2", "--rate", "50", "--seconds", "0.2"]
    async with aiohttp.ClientSession() as http:
        echo = Echo(gateway, http)
        await echo.sign_in(gateway)
        serving = asyncio.create_task(echo.serve())
        assert await asyncio.to_thread(run_command, [*arguments, "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert (facts["sent"], facts["answered"]) == (10, 10)
        assert facts["latency_s"]["p50"] <= facts["latency_s"]["max"]
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    assert await asyncio.to_thread(run_command, [*arguments, "--patience", "0"]) == 1
