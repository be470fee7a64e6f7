from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from ilink.gateway.server import GatewayServer, ServerOptions

KEY = "the-key-of-these-tests"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    raw: bytes
    body: object = None


@dataclass
class Caller:
    """Calls the control API as a program outside would."""

    session: aiohttp.ClientSession
    url: str
    headers: dict[str, str] = field(default_factory=dict)

    async def __call__(self, method: str, path: str, **options) -> Answer:
        options["headers"] = self.headers | options.get("headers", {})
        async with self.session.request(method, self.url + path, allow_redirects=False, **options) as response:
            raw = await response.read()
            headers = {name.lower(): value for name, value in response.headers.items()}
            is_json = headers.get("content-type", "") == "application/json"
            return Answer(response.status, headers, raw, await response.json() if is_json else None)

    async def get(self, path: str, **options) -> Answer:
        return await self("GET", path, **options)

    async def post(self, path: str, body: object = None, **options) -> Answer:
        return await self("POST", path, json=body if body is not None else {}, **options)


@dataclass
class WireBot:
    """A bot that speaks the bare protocol."""

    session: aiohttp.ClientSession
    url: str
    qrcode: str = ""
    token: str = ""
    bot_id: str = ""
    cursor: str = ""

    async def ask_code(self, tokens: list[str] | None = None) -> str:
        answer = await self._post("get_bot_qrcode?bot_type=3", {"local_token_list": tokens or []})
        self.qrcode = answer["qrcode"]
        return self.qrcode

    async def status(self, **query: str) -> dict:
        query = {"qrcode": self.qrcode, **query}
        async with self.session.get(f"{self.url}/ilink/bot/get_qrcode_status", params=query) as response:
            answer = await response.json(content_type=None)
        if answer["status"] == "confirmed":
            self.token, self.bot_id = answer["bot_token"], answer["ilink_bot_id"]
        return answer

    async def poll(self) -> dict:
        answer = await self._post("getupdates", {"get_updates_buf": self.cursor})
        self.cursor = answer.get("get_updates_buf") or self.cursor
        return answer

    async def send(self, user_id: str, text: str, client_id: str = "c-1") -> dict:
        item = {"type": 1, "text_item": {"text": text}}
        message = {"to_user_id": user_id, "client_id": client_id, "message_type": 2, "message_state": 2}
        return await self._post("sendmessage", {"msg": {**message, "item_list": [item]}})

    async def type_to(self, user_id: str) -> dict:
        config = await self._post("getconfig", {"ilink_user_id": user_id})
        ticket = config["typing_ticket"]
        return await self._post("sendtyping", {"ilink_user_id": user_id, "typing_ticket": ticket, "status": 1})

    async def _post(self, call: str, body: dict) -> dict:
        headers = {"AuthorizationType": "ilink_bot_token"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        async with self.session.post(f"{self.url}/ilink/bot/{call}", json=body, headers=headers) as response:
            return await response.json(content_type=None)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def server() -> AsyncIterator[GatewayServer]:
    async with GatewayServer(ServerOptions(synchronous="OFF")) as server:
        yield server


@pytest.fixture
def api(server: GatewayServer, session: aiohttp.ClientSession) -> Caller:
    return Caller(session, server.info.control_url)


@pytest.fixture
async def keyed_server() -> AsyncIterator[GatewayServer]:
    options = ServerOptions(synchronous="OFF", control_key=KEY)
    async with GatewayServer(options) as server:
        yield server


@pytest.fixture
def keyed_api(keyed_server: GatewayServer, session: aiohttp.ClientSession) -> Caller:
    return Caller(session, keyed_server.info.control_url)


@pytest.fixture
def bot(server: GatewayServer, session: aiohttp.ClientSession) -> WireBot:
    return WireBot(session, server.info.api_url)


@pytest.fixture
async def alice(api: Caller) -> str:
    answer = await api.post("/_sim/people", {"name": "alice"})
    return answer.body["user_id"]


@pytest.fixture
async def friend(api: Caller, bot: WireBot, alice: str) -> WireBot:
    """A bot that alice has confirmed."""
    await bot.ask_code()
    await api.post(f"/_sim/qr/{bot.qrcode}/confirm", {"user_id": alice})
    assert (await bot.status())["status"] == "confirmed"
    return bot
