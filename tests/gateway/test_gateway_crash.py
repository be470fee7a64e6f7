"""A gateway that is killed at a random moment keeps everything that it answered with success."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

import aiohttp
import pytest
from gateway_house import open_house

SERVER = Path(__file__).with_name("crashing_server.py")


class Accepted:
    """What the gateway answered with success, and whether it is enough to kill it."""

    def __init__(self, enough: int) -> None:
        self.ids: dict[str, str] = {}
        self.enough = asyncio.Event()
        self._enough = enough

    def add(self, client_id: str, message_id: str) -> None:
        self.ids[client_id] = message_id
        if len(self.ids) >= self._enough:
            self.enough.set()


async def send_until_killed(url: str, token: str, person: str, accepted: Accepted, worker: int) -> None:
    async with aiohttp.ClientSession() as http:
        for number in range(10**6):
            client_id = f"{worker}-{number}"
            message = {
                "to_user_id": person,
                "client_id": client_id,
                "message_type": 2,
                "message_state": 2,
                "item_list": [{"type": 1, "text_item": {"text": client_id}}],
            }
            headers = {"Authorization": f"Bearer {token}"}
            try:
                async with http.post(f"{url}/ilink/bot/sendmessage", json={"msg": message}, headers=headers) as answer:
                    body = await answer.json()
            except aiohttp.ClientError:
                return
            assert body["ret"] == 0
            accepted.add(client_id, str(body["message_id"]))


@pytest.mark.crash
@pytest.mark.parametrize("seed", range(8))
async def test_a_killed_gateway_keeps_what_it_answered(tmp_path: Path, database_of, seed: int) -> None:
    database = database_of(tmp_path)
    arguments = [SERVER, tmp_path, *([database] if database else [])]
    server = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        assert server.stdout is not None
        ready = json.loads(await server.stdout.readline())
        status = f"{ready['url']}/ilink/bot/get_qrcode_status?qrcode={ready['qrcode']}"
        async with aiohttp.ClientSession() as http, http.get(status) as answer:
            token = (await answer.json())["bot_token"]
        accepted = Accepted(random.Random(seed).randrange(1, 300))
        senders = [
            asyncio.create_task(send_until_killed(ready["url"], token, ready["person"], accepted, worker))
            for worker in range(4)
        ]
        await accepted.enough.wait()
        server.kill()
        await asyncio.gather(*senders)
    finally:
        if server.returncode is None:
            server.kill()
        await server.wait()

    async with open_house(tmp_path, seed=None) as house:
        entries = await house.gateway.transcript(ready["bot"], ready["person"], limit=10**6)
        stored = {entry.client_id: entry.message_id for entry in entries if entry.direction == "out"}
        assert {client_id: stored.get(client_id) for client_id in accepted.ids} == accepted.ids
        assert [entry.items[0].text for entry in entries if entry.direction == "in"] == ["hello"]
        assert len(await house.gateway.people()) == 1
