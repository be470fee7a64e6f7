"""Two gateways on one database, each as another process would be, and a bot that asks either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from ilink.gateway.server import GatewayServer, ServerOptions
from ilink.gateway.service import Gateway


@dataclass
class Bot:
    """A bot that may call any gateway."""

    session: aiohttp.ClientSession
    token: str
    bot_id: str
    user_id: str
    cursor: str = ""
    sent: int = 0

    async def call(self, server: GatewayServer, endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
        url = f"{server.info.api_url}/ilink/bot/{endpoint}"
        headers = {"Authorization": f"Bearer {self.token}", "AuthorizationType": "ilink_bot_token"}
        async with self.session.post(url, json=body, headers=headers) as response:
            return {"status": response.status, **await response.json(content_type=None)}

    async def poll(self, server: GatewayServer) -> dict[str, Any]:
        answer = await self.call(server, "getupdates", {"get_updates_buf": self.cursor})
        self.cursor = answer.get("get_updates_buf") or self.cursor
        return answer

    async def send(self, server: GatewayServer, text: str, client_id: str = "") -> dict[str, Any]:
        self.sent += 1
        item = {"type": 1, "text_item": {"text": text}}
        message = {"to_user_id": self.user_id, "client_id": client_id or f"c-{self.sent}", "item_list": [item]}
        return await self.call(server, "sendmessage", {"msg": {**message, "message_type": 2, "message_state": 2}})


@dataclass
class Pair:
    """Two gateways on one database, named one and other."""

    one: GatewayServer
    other: GatewayServer
    session: aiohttp.ClientSession
    polls: list[asyncio.Task[dict[str, Any]]] = field(default_factory=list)

    async def person(self, name: str = "alice") -> str:
        return (await self.one.gateway.add_person(name)).user_id

    async def ask_code(self, server: GatewayServer) -> str:
        async with self.session.post(f"{server.info.api_url}/ilink/bot/get_bot_qrcode?bot_type=3", json={}) as response:
            return (await response.json(content_type=None))["qrcode"]

    async def status(self, server: GatewayServer, qrcode: str, **query: str) -> dict[str, Any]:
        url = f"{server.info.api_url}/ilink/bot/get_qrcode_status"
        async with self.session.get(url, params={"qrcode": qrcode, **query}) as response:
            return await response.json(content_type=None)

    async def bot(self, user_id: str = "") -> Bot:
        """A bot whose code was made at one gateway, confirmed at the other, and asked for at the first."""
        user_id = user_id or await self.person()
        qrcode = await self.ask_code(self.one)
        await self.other.gateway.confirm(qrcode, user_id=user_id)
        answer = await self.status(self.one, qrcode)
        return Bot(self.session, answer["bot_token"], answer["ilink_bot_id"], user_id)

    async def held(self, bot: Bot, server: GatewayServer) -> asyncio.Task[dict[str, Any]]:
        """A poll that is held at a gateway by now."""
        before = waiting(server.gateway)
        task = asyncio.create_task(bot.poll(server))
        self.polls.append(task)
        await until(lambda: task.done() or waiting(server.gateway) > before)
        return task


def waiting(gateway: Gateway) -> int:
    """How many calls a gateway holds."""
    return len(gateway.state.waiting)


async def until(condition: Any) -> None:
    """Wait for something that a few turns of the loop bring."""
    async with asyncio.timeout(45):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.005)


def texts(answer: dict[str, Any]) -> list[str]:
    return [message["item_list"][0]["text_item"]["text"] for message in answer["msgs"]]


@asynccontextmanager
async def open_pair(url: str, files: Path, **options: Any) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(GatewayServer(ServerOptions(database_url=url, data=files, **options)))
            for _ in range(2)
        ]
        session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        pair = Pair(*servers, session)
        try:
            yield pair
        finally:
            for poll in pair.polls:
                poll.cancel()
            await asyncio.gather(*pair.polls, return_exceptions=True)
