"""Gateways restart one after the other behind a balancer, and nobody who calls notices."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from balancer import balanced

PROGRAM = Path(__file__).with_name("gateway_program.py")
BOTS = 6


class Program:
    """A gateway in a process."""

    def __init__(self, process: asyncio.subprocess.Process, ready: dict) -> None:
        self.process = process
        self.ready = ready
        self.address = (urlsplit(ready["api_url"]).hostname, urlsplit(ready["api_url"]).port)

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            return await self.process.wait()


async def start(url: str, files: Path, **options) -> Program:
    given = json.dumps({"database_url": url, "data": str(files), **options})
    process = await asyncio.create_subprocess_exec(sys.executable, str(PROGRAM), given, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    return Program(process, json.loads(await process.stdout.readline()))


@asynccontextmanager
async def programs(url: str, files: Path, count: int, **options):
    running = [await start(url, files, **options) for _ in range(count)]
    try:
        yield running
    finally:
        for program in running:
            with suppress(ProcessLookupError):
                program.process.kill()
            await program.process.wait()


class Traffic:
    """Bots that poll, echo and never accept a failure."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url
        self.failures: list[str] = []
        self.got: dict[str, list[str]] = {}
        self.posted: dict[str, list[str]] = {}

    async def call(self, token: str, endpoint: str, body: dict) -> dict:
        headers = {"Authorization": f"Bearer {token}", "AuthorizationType": "ilink_bot_token"}
        try:
            async with self.session.post(f"{self.url}/ilink/bot/{endpoint}", json=body, headers=headers) as response:
                answer = await response.json(content_type=None)
                if response.status != 200 or answer.get("ret"):
                    self.failures.append(f"{endpoint}: {response.status} {answer}")
                return answer
        except aiohttp.ClientError as error:
            self.failures.append(f"{endpoint}: {error!r}")
            return {}

    async def bot(self, token: str, user_id: str) -> None:
        cursor, sent = "", 0
        while True:
            answer = await self.call(token, "getupdates", {"get_updates_buf": cursor})
            cursor = answer.get("get_updates_buf") or cursor
            for message in answer.get("msgs", []):
                text = message["item_list"][0]["text_item"]["text"]
                self.got[user_id].append(text)
                sent += 1
                item = {"type": 1, "text_item": {"text": text}}
                body = {"to_user_id": user_id, "client_id": f"{user_id}-{sent}", "message_type": 2, "message_state": 2}
                await self.call(token, "sendmessage", {"msg": {**body, "item_list": [item]}})


async def login(session: aiohttp.ClientSession, url: str, control: str) -> tuple[str, str, str]:
    async with session.post(f"{control}/_sim/people", json={"name": "somebody"}) as response:
        user_id = (await response.json())["user_id"]
    async with session.post(f"{url}/ilink/bot/get_bot_qrcode?bot_type=3", json={}) as response:
        qrcode = (await response.json(content_type=None))["qrcode"]
    async with session.post(f"{control}/_sim/qr/{qrcode}/confirm", json={"user_id": user_id}) as response:
        assert response.status == 200
    async with session.get(f"{url}/ilink/bot/get_qrcode_status", params={"qrcode": qrcode}) as response:
        answer = await response.json(content_type=None)
    return answer["bot_token"], answer["ilink_bot_id"], user_id


async def test_a_gateway_that_leaves_says_so_and_ends_connections_with_its_answers(postgres_url, tmp_path):
    async with (
        programs(postgres_url, tmp_path / "files", 1, drain=30.0) as running,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        ready = running[0].ready
        code = f"{ready['api_url']}/ilink/bot/get_bot_qrcode?bot_type=3"
        async with session.post(code, json={}) as response:
            assert "close" not in response.headers.get("connection", "")
        running[0].process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(45):
            status = 200
            while status == 200:
                async with session.get(f"{ready['control_url']}/readyz") as response:
                    status = response.status
        assert status == 503
        async with session.post(code, json={}) as response:
            assert response.status == 200
            assert response.headers["connection"] == "close"


async def test_gateways_restart_one_after_the_other_without_a_failed_request(postgres_url, tmp_path):
    files = tmp_path / "files"
    async with (
        programs(postgres_url, files, 2, drain=1.0) as running,
        balanced() as balancer,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        asyncio.TaskGroup() as group,
    ):
        balancer.backends = [program.address for program in running]
        traffic = Traffic(session, balancer.url)
        bots = [await login(session, balancer.url, running[0].ready["control_url"]) for _ in range(BOTS)]
        for _, _, user_id in bots:
            traffic.got[user_id], traffic.posted[user_id] = [], []
        pollers = [group.create_task(traffic.bot(token, user_id)) for token, _, user_id in bots]

        async def write(count: int) -> None:
            control = running[-1].ready["control_url"]
            for _ in range(count):
                for _, bot_id, user_id in bots:
                    text = str(len(traffic.posted[user_id]) + 1)
                    body = {"bot_id": bot_id, "text": text}
                    async with session.post(f"{control}/_sim/people/{user_id}/messages", json=body) as response:
                        assert response.status == 201
                    traffic.posted[user_id].append(text)
                await asyncio.sleep(0.02)

        await write(5)
        for _ in range(2):
            successor = await start(postgres_url, files, drain=1.0)
            running.append(successor)
            leaving = running.pop(0)
            balancer.backends = [program.address for program in running]
            stopping = group.create_task(leaving.stop())
            while not stopping.done():
                await write(2)
            assert stopping.result() == 0
        await write(5)
        async with asyncio.timeout(45):
            while any(set(traffic.got[user]) != set(traffic.posted[user]) for user in traffic.posted):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        for poller in pollers:
            poller.cancel()

    assert traffic.failures == []
    for user_id, texts in traffic.got.items():
        once = list(dict.fromkeys(texts))
        assert once == traffic.posted[user_id]
