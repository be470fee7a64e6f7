"""Secrets of a whole session, and where they must not turn up.

Logs, the wire log, events, errors, metrics, scenes, tables, faults and findings; of cassettes tests/cassettes tells.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Self
from urllib.parse import quote

import aiohttp
import asyncpg
import pytest
from gateway_house import open_house
from tenants import PLAIN, Tenant, move_in

from ilink.gateway.control.app import CALLS
from ilink.gateway.server import GatewayServer, ServerOptions
from ilink.testing import LocalGateway
from ilink.testing.engines import PostgresEngine

CONTROL_KEY = "canary-of-the-control-key"
WORDS = "canary words that a person wrote"


class KeyedGateway(LocalGateway):
    """A gateway whose control API wants a key; its state is in a folder, or in a database."""

    def __init__(self, database_url: str | None = None) -> None:
        super().__init__()
        self._database_url = database_url

    async def __aenter__(self) -> Self:
        options = ServerOptions(
            control_key=CONTROL_KEY,
            synchronous="OFF",
            database_url=self._database_url,
            knobs={"poll.hold_ms": 0, "poll.error_delay_ms": 0},
        )
        self._server = await self._stack.enter_async_context(GatewayServer(options))
        return self


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


@pytest.fixture(params=["sqlite", "postgres"])
async def tenant(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture, http: aiohttp.ClientSession
) -> AsyncIterator[Tenant]:
    """A bot that has done everything once, and then everything wrong with real secrets."""
    caplog.set_level(logging.DEBUG)
    for name in ("aiohttp", "asyncio", "uvicorn"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    async with KeyedGateway(url) as gateway:
        tenant = await move_in(gateway, http, "alice")
        await tenant.owner.says(WORDS)
        await misuse(tenant)
        yield tenant


async def misuse(tenant: Tenant) -> None:
    """Put every secret where it does not belong: paths, queries, headers, bodies that cannot be read."""
    base, cdn = f"{tenant.gateway.api_url}/ilink/bot", tenant.gateway.cdn_url
    bearer = {"Authorization": f"Bearer {tenant.token}"}
    for what, secret in tenant.secrets.items():
        if what == "media key":  # outside its field, nothing tells it from the hash of a file
            continue
        text, raw = quote(secret, safe=""), json.dumps({"get_updates_buf": secret})[:-1].encode()
        for url in (f"{base}/{text}", f"{base}/getupdates?token={text}", f"{cdn}/{text}", f"{cdn}/upload?x={text}"):
            await read(tenant.http.get(url, headers={"Cookie": f"session={text}", "X-Odd": text}))
        for endpoint in ("getupdates", "sendmessage", "getconfig", "sendtyping", "getuploadurl"):
            await read(tenant.http.post(f"{base}/{endpoint}", data=raw, headers=bearer))
            await read(tenant.http.post(f"{base}/{endpoint}", json={secret: secret, "msg": secret}, headers=bearer))
        await read(tenant.http.get(f"{base}/get_qrcode_status", params={"qrcode": secret, "verify_code": secret}))
        await read(tenant.http.post(f"{cdn}/upload?encrypted_query_param={text}&filekey={text}", data=PLAIN))
        await read(tenant.http.get(f"{cdn}/download?encrypted_query_param={text}"))
        await read(tenant.http.get(f"{tenant.gateway.control_url}/_sim/{text}", headers={"Authorization": "Bearer x"}))
        await read(tenant.http.post(f"{tenant.gateway.control_url}/_sim/people", data=raw, headers=key()))


async def read(request: object) -> str:
    async with request as answer:  # type: ignore[attr-defined]
        return await answer.text(errors="replace")


def key() -> dict[str, str]:
    return {"Authorization": f"Bearer {CONTROL_KEY}"}


def spellings(secret: str) -> Iterator[str]:
    """How a secret could be written down."""
    yield secret
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    yield base64.b64encode(secret.encode()).decode()
    if ":" in secret:
        yield secret.partition(":")[2]


def found(tenant: Tenant, text: str) -> set[str]:
    secrets = {**tenant.secrets, "control key": CONTROL_KEY}
    assert all(len(secret) >= 20 for secret in secrets.values())
    return {what for what, secret in secrets.items() if any(one in text for one in spellings(secret))}


async def control(tenant: Tenant, path: str) -> str:
    return await read(tenant.http.get(tenant.gateway.control_url + path, headers=key()))


def ours(caplog: pytest.LogCaptureFixture) -> str:
    """What the gateway's side wrote; the test's own HTTP client is not judged."""
    formatter = logging.Formatter("%(name)s %(message)s")
    return "\n".join(formatter.format(record) for record in caplog.records if not record.name.startswith("aiohttp"))


async def test_logs_hold_no_secret_and_nobodys_words(tenant: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    assert found(tenant, ours(caplog)) == set()
    assert WORDS not in ours(caplog)


async def test_the_wire_log_shows_everything_but_secrets(tenant: Tenant) -> None:
    shown = await control(tenant, "/_sim/wire")
    assert len(json.loads(shown)["entries"]) > 50
    assert found(tenant, shown) == set()


async def test_events_hold_no_secret_and_nobodys_words(tenant: Tenant) -> None:
    lines = [json.dumps(event.data) for event in tenant.gateway.rules.events.after(0)]
    assert len(lines) > 50
    assert found(tenant, "\n".join(lines)) == set()
    assert WORDS not in "\n".join(lines)


async def test_metrics_hold_no_secret_and_no_id(tenant: Tenant) -> None:
    metrics = await control(tenant, "/metrics")
    assert "ilink_bots" in metrics
    assert found(tenant, metrics) == set()
    assert tenant.bot_id not in metrics
    assert tenant.owner.user_id not in metrics


@pytest.mark.parametrize("path", ["/_sim/bots", "/_sim/bots/{bot}/mailbox", "/_sim/config", "/_sim/qr", "/_sim/people"])
async def test_what_an_operator_sees_holds_no_secret_of_a_bot(tenant: Tenant, path: str) -> None:
    shown = await control(tenant, path.format(bot=tenant.bot_id))
    assert shown.startswith("{")
    assert found(tenant, shown) - {"context token"} == set()  # the mailbox shows messages as the bot gets them


@pytest.mark.parametrize(
    ("endpoint", "field"),
    [
        ("getupdates", "get_updates_buf"),
        ("sendmessage", "msg"),
        ("getconfig", "ilink_user_id"),
        ("sendtyping", "typing_ticket"),
        ("getuploadurl", "filekey"),
    ],
)
async def test_errors_do_not_repeat_secrets(tenant: Tenant, endpoint: str, field: str) -> None:
    for secret in tenant.secrets.values():
        answer = await tenant.call(endpoint, {field: [secret]})
        assert answer["ret"] == -2
        assert found(tenant, json.dumps(answer)) == set()


async def test_errors_of_the_control_api_do_not_repeat_secrets(tenant: Tenant) -> None:
    url = f"{tenant.gateway.control_url}/_sim/people"
    for secret in tenant.secrets.values():
        assert found(tenant, await read(tenant.http.post(url, json={"name": [secret]}, headers=key()))) == set()


async def test_a_wrong_key_is_not_repeated(tenant: Tenant) -> None:
    wrong = {"Authorization": "Bearer a-wrong-key-that-somebody-typed"}
    answer = await read(tenant.http.get(f"{tenant.gateway.control_url}/_sim/people", headers=wrong))
    assert "a-wrong-key" not in answer
    assert CONTROL_KEY not in answer


@pytest.mark.parametrize("path", ["/_sim/scene", "/_sim/tables", "/_sim/faults", "/_sim/chats", "/_sim/openapi.json"])
async def test_what_is_shared_or_explained_holds_no_secret(tenant: Tenant, path: str) -> None:
    shown = await control(tenant, path)
    assert "error" not in json.loads(shown)
    assert found(tenant, shown) == set()


async def test_findings_and_faults_hold_no_secret(tenant: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    secret = tenant.secrets["context token"]
    spec = {"endpoint": "getconfig", "bot_id": tenant.bot_id, "times": 1, "action": {"ret": -2, "errmsg": "on purpose"}}
    url = f"{tenant.gateway.control_url}/_sim/faults"
    await read(tenant.http.post(url, json=spec, headers=key()))
    await tenant.call("getconfig", {"ilink_user_id": secret, "context_token": secret})
    await tenant.call("getupdates", {"get_updates_buf": secret})
    wire = json.loads(await control(tenant, "/_sim/wire"))["entries"]
    noted = [entry for entry in wire if entry["findings"] or entry.get("faults")]
    assert noted
    assert found(tenant, json.dumps(noted)) == set()
    assert found(tenant, ours(caplog)) == set()


async def test_a_scene_that_is_refused_is_not_repeated_with_its_token(tenant: Tenant) -> None:
    bot = {"id": "other@im.bot", "owner": "alice", "token": tenant.token}
    scene = {"ilink_scene": 1, "people": [{"name": "alice"}], "bots": [bot]}
    async with tenant.http.put(f"{tenant.gateway.control_url}/_sim/scene", json=scene, headers=key()) as answer:
        assert answer.status == 422
        assert found(tenant, await answer.text()) == set()


async def test_a_scene_that_is_loaded_tells_nobody_its_secrets(
    tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    scene = json.loads(await control(tenant, "/_sim/scene"))
    for bot in scene["bots"]:
        del bot["token_hash"]
        bot["token"] = tenant.token
    url = f"{tenant.gateway.control_url}/_sim/scene"
    async with tenant.http.put(url, json=scene, headers=key()) as answer:
        assert answer.status == 204
    assert (await tenant.poll())["ret"] == 0
    for path in ("/_sim/scene", "/_sim/bots", "/_sim/wire", "/_sim/config", "/metrics"):
        assert found(tenant, await control(tenant, path)) == set(), path
    assert found(tenant, ours(caplog)) == set()


async def test_a_bots_token_opens_no_call_of_the_control_api(tenant: Tenant) -> None:
    bearer = {"Authorization": f"Bearer {tenant.token}"}
    calls = [call for call in CALLS.calls if not call.is_open]
    assert {"/_sim/scene", "/_sim/bots/{bot_id}/rotate"} <= {call.path for call in calls}
    for call in calls:
        url = tenant.gateway.control_url + call.path.replace("{bot_id}", tenant.bot_id)
        async with tenant.http.request(call.method, url, headers=bearer) as answer:
            assert answer.status == 401, call.path
        url = url.replace(tenant.gateway.control_url, tenant.gateway.api_url)
        async with tenant.http.request(call.method, url, headers=bearer) as answer:
            assert answer.status == 404, call.path


@pytest.mark.of_a_folder("reads its files")
async def test_tokens_are_stored_as_hashes(tmp_path: Path) -> None:
    async with open_house(tmp_path, seed=None) as house:
        bot = await house.login(await house.person())
        await bot.poll()
        stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert hashlib.sha256(bot.token.encode()).digest() in stored
        assert bot.token.partition(":")[2].encode() not in stored


async def test_tokens_and_keys_are_compared_in_constant_time(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    compare = hmac.compare_digest

    def noted(one: bytes, other: bytes) -> bool:
        compared.append(len(one))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    bot_id = tenant.token.partition(":")[0]
    for guess in ("a", "a" * 32, tenant.token.partition(":")[2][:-1] + "!"):
        assert (await tenant.call("getconfig", {}, token=f"{bot_id}:{guess}"))["ret"] == -14
    wrong = {"Authorization": "Bearer wrong"}
    await read(tenant.http.get(f"{tenant.gateway.control_url}/_sim/people", headers=wrong))
    assert len(compared) >= 4
    assert set(compared) == {hashlib.sha256().digest_size}  # hashes, so the size of a secret does not show either


async def test_what_a_database_logs_of_statements_holds_no_secret_and_nobodys_words(
    http: aiohttp.ClientSession, own_postgres: PostgresEngine
) -> None:
    """Every value travels beside its statement, so that an operator may log statements."""
    operator = await asyncpg.connect(own_postgres.url().partition("?")[0])
    for setting in ("log_min_messages = 'log'", "log_statement = 'all'", "log_parameter_max_length = 0"):
        await operator.execute(f"ALTER ROLE postgres SET {setting}")
    await operator.close()
    async with KeyedGateway(own_postgres.url()) as gateway:
        tenant = await move_in(gateway, http, "alice")
        await tenant.owner.says(WORDS)
        await misuse(tenant)
        assert (await tenant.poll())["msgs"]
    logged = own_postgres.log()
    assert logged.count("INSERT INTO") > 10
    assert found(tenant, logged) == set()
    assert WORDS not in logged
    assert hashlib.sha256(tenant.token.encode()).hexdigest() not in logged
