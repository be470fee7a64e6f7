"""A gateway, a tiny caller that drives its ASGI app in process, and a bot on the far side."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilink.gateway.http import ProtocolApp
from ilink.gateway.http.failures import CONNECTION
from ilink.gateway.service import Gateway

API_URL = "http://gateway.test"
CDN_URL = "http://gateway.test/c2c"
OFFICIAL_HEADERS = {
    "Content-Type": "application/json",
    "AuthorizationType": "ilink_bot_token",
    "X-WECHAT-UIN": "MzczNTkyODU1OQ==",
    "iLink-App-Id": "bot",
    "iLink-App-ClientVersion": "132105",
}


@dataclass
class Answer:
    """What came back: one HTTP answer, and how its bytes were sent."""

    status: int
    headers: dict[str, str]
    raw: bytes
    messages: list[dict[str, Any]]

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.raw)


class Line:
    """What carries a request: an HTTP server's connection, as far as the gateway asks for it."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self._on_gone: Callable[[], None] | None = None

    def watch(self, on_gone: Callable[[], None]) -> Callable[[], None]:
        self._on_gone = on_gone
        return self._unwatch

    def leave(self) -> None:
        self.gone.set()
        if self._on_gone is not None:
            self._on_gone()

    def _unwatch(self) -> None:
        self._on_gone = None


@dataclass
class Exchange:
    """A request that is under way; the caller may leave before it is answered."""

    task: asyncio.Task[Answer | None]
    line: Line

    async def answer(self) -> Answer:
        answer = await self.task
        assert answer is not None
        return answer

    async def leave(self) -> None:
        self.line.leave()
        assert await self.task is None


class Caller:
    """Calls an ASGI app as an HTTP server would."""

    def __init__(self, app: ProtocolApp) -> None:
        self.app = app

    def begin(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
        query: str = "",
        chunks: list[bytes] | None = None,
    ) -> Exchange:
        payload = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        line = Line()
        run = self._run(method, path, query, dict(headers or {}), chunks or [payload], line)
        return Exchange(asyncio.get_running_loop().create_task(run), line)

    async def call(self, method: str, path: str, body: object = None, **options: Any) -> Answer:
        return await self.begin(method, path, body, **options).answer()

    async def _run(
        self, method: str, path: str, query: str, headers: dict[str, str], chunks: list[bytes], line: Line
    ) -> Answer | None:
        headers = {name.lower(): value for name, value in headers.items()}
        if len(chunks) == 1:
            headers.setdefault("content-length", str(len(chunks[0])))
        headers.setdefault("host", "gateway.test")
        pending = [
            {"type": "http.request", "body": chunk, "more_body": n < len(chunks) - 1} for n, chunk in enumerate(chunks)
        ]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if pending:
                return pending.pop(0)
            await line.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
            CONNECTION: line,
        }
        await self.app(scope, receive, send)
        if not sent:
            return None
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        assert found["content-length"] == str(len(sent[1]["body"]))
        return Answer(sent[0]["status"], found, sent[1]["body"], sent)


@dataclass
class BotClient:
    """A bot that has logged in, and remembers its cursor."""

    caller: Caller
    token: str
    bot_id: str
    user_id: str
    headers: dict[str, str] = field(default_factory=lambda: dict(OFFICIAL_HEADERS))
    cursor: str = ""

    @property
    def _headers(self) -> dict[str, str]:
        return {**self.headers, "Authorization": f"Bearer {self.token}"}

    def begin(self, endpoint: str, body: object = None, **options: Any) -> Exchange:
        headers = options.pop("headers", self._headers)
        return self.caller.begin("POST", f"/ilink/bot/{endpoint}", body, headers=headers, **options)

    async def call(self, endpoint: str, body: object = None, **options: Any) -> dict[str, Any]:
        return (await self.begin(endpoint, body, **options).answer()).json

    def begin_poll(self, cursor: str | None = None) -> Exchange:
        return self.begin("getupdates", {"get_updates_buf": self.cursor if cursor is None else cursor, "base_info": {}})

    async def poll(self, cursor: str | None = None) -> dict[str, Any]:
        answer = (await self.begin_poll(cursor).answer()).json
        self.cursor = answer.get("get_updates_buf") or self.cursor
        return answer

    def message(self, to: str, text: str = "hello", **fields: object) -> dict[str, object]:
        message = {
            "from_user_id": "",
            "to_user_id": to,
            "client_id": base64.b16encode(text.encode()).decode()[:40] + str(next(COUNTER)),
            "message_type": 2,
            "message_state": 2,
            "item_list": [{"type": 1, "text_item": {"text": text}}],
        }
        message |= fields
        return {"msg": {key: value for key, value in message.items() if value is not ...}, "base_info": {}}

    async def send(self, to: str, text: str = "hello", **fields: object) -> dict[str, Any]:
        return await self.call("sendmessage", self.message(to, text, **fields))


COUNTER = iter(range(1, 10**9))


class House:
    """A gateway with its caller and the few steps that most tests begin with."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.caller = Caller(ProtocolApp(gateway))

    async def person(self, name: str = "alice") -> str:
        return (await self.gateway.add_person(name)).user_id

    async def qrcode(self, tokens: list[str] | None = None) -> str:
        answer = await self.caller.call("POST", "/ilink/bot/get_bot_qrcode", {"local_token_list": tokens or []})
        return answer.json["qrcode"]

    def begin_status(self, qrcode: str, verify_code: str = "", **options: Any) -> Exchange:
        query = f"qrcode={qrcode}" + (f"&verify_code={verify_code}" if verify_code else "")
        return self.caller.begin("GET", "/ilink/bot/get_qrcode_status", query=query, **options)

    async def status(self, qrcode: str, verify_code: str = "", **options: Any) -> dict[str, Any]:
        return (await self.begin_status(qrcode, verify_code, **options).answer()).json

    async def login(self, user_id: str) -> BotClient:
        qrcode = await self.qrcode()
        await self.gateway.confirm(qrcode, user_id=user_id)
        answer = await self.status(qrcode)
        assert answer["status"] == "confirmed", answer
        return BotClient(self.caller, answer["bot_token"], answer["ilink_bot_id"], answer["ilink_user_id"])

    async def knobs(self, **values: object) -> None:
        await self.gateway.configure(knobs={name.replace("__", "."): value for name, value in values.items()})

    async def until(self, condition: Callable[[], Awaitable[bool] | bool]) -> None:
        """Let the loop run until something is so; the test's own time limit is the limit."""
        while True:
            held = condition()
            if held is True or (not isinstance(held, bool) and await held):
                return
            await asyncio.sleep(0)

    async def held(self, bot: BotClient, count: int = 1) -> None:
        """Wait until so many polls of a bot are held."""

        async def is_so() -> bool:
            view = await self.gateway.bot(bot.bot_id)
            return view.waiting_polls == count and len(self.gateway.state.waiting) >= count

        await self.until(is_so)


@asynccontextmanager
async def open_house(folder: Path, **options: Any) -> AsyncIterator[House]:
    options.setdefault("seed", 7)
    async with Gateway(folder, api_url=API_URL, cdn_url=CDN_URL, synchronous="OFF", **options) as gateway:
        yield House(gateway)
