"""A gateway whose answers are looked at byte by byte: over a socket, and through the transport in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from gateway_house import OFFICIAL_HEADERS, BotClient, House, open_house
from test_must_accept import upload

from ilink.errors import OutcomeUnknownError
from ilink.gateway.fault_actions import FaultAction, FaultSpec
from ilink.gateway.http import CdnDoor, ProtocolApp
from ilink.gateway.listeners import Listener
from ilink.transport.memory import MemoryTransport
from ilink.transport.seam import Request

CIPHER = bytes.fromhex("d2690b7c85f1f3f1d9b314763fa55fa1")
MEMORY = "http://gateway.test"


@dataclass
class Outcome:
    """What a caller saw: the head if it came, the bytes that came, and whether they were all."""

    status: int | None
    headers: dict[str, str]
    body: bytes
    is_whole: bool
    is_reset: bool = False

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


Call = Callable[[str, str, bytes | None, dict[str, str]], Awaitable[Outcome]]


@dataclass
class FaultHouse:
    """A gateway, a bot that alice talks to, and one way to call it."""

    house: House
    alice: str
    bot: BotClient
    call: Call
    way: Literal["socket", "memory"]
    _count: int = field(default=0)

    def fault(self, **fields: Any) -> str:
        rest = {name: fields.pop(name) for name in FaultSpec.__struct_fields__ if name in fields}
        return self.house.gateway.faults.add(FaultSpec(action=FaultAction(**fields), **rest)).id

    def hits(self) -> list[int]:
        return [fault.hits for fault in self.house.gateway.faults.views()]

    async def post(self, endpoint: str, body: object) -> Outcome:
        headers = {**OFFICIAL_HEADERS, "Authorization": f"Bearer {self.bot.token}"}
        return await self.call("POST", f"/ilink/bot/{endpoint}", json.dumps(body).encode(), headers)

    async def says(self, text: str, user_id: str | None = None) -> None:
        await self.house.gateway.post_message(user_id or self.alice, self.bot.bot_id, text=text)

    async def poll(self, cursor: str | None = None) -> Outcome:
        return await self.post("getupdates", {"get_updates_buf": self.bot.cursor if cursor is None else cursor})

    async def permission(self) -> str:
        self._count += 1
        answer = await self.bot.call("getuploadurl", upload(self.alice, filekey=f"{self._count:032x}"))
        return f"encrypted_query_param={quote(answer['upload_param'], safe='')}&filekey={self._count:032x}"

    async def upload(self, permission: str | None = None, data: bytes = CIPHER) -> Outcome:
        permission = permission or await self.permission()
        return await self.call("POST", f"/c2c/upload?{permission}", data, {})

    async def download(self, reference: str) -> Outcome:
        return await self.call("GET", f"/c2c/download?encrypted_query_param={quote(reference, safe='')}", None, {})

    async def request(self, endpoint: str) -> Outcome:
        """Make a call of an endpoint that succeeds where nothing fails."""
        match endpoint:
            case "get_bot_qrcode":
                return await self.call("GET", "/ilink/bot/get_bot_qrcode?bot_type=3", None, {})
            case "get_qrcode_status":
                qrcode = (await self.house.gateway.codes())[0].qrcode
                return await self.call("GET", f"/ilink/bot/get_qrcode_status?qrcode={qrcode}", None, {})
            case "getupdates":
                await self.says("hi")
                return await self.poll()
            case "sendmessage":
                return await self.post("sendmessage", self.bot.message(self.alice))
            case "getconfig":
                return await self.post("getconfig", {"ilink_user_id": self.alice})
            case "sendtyping":
                ticket = (await self.bot.call("getconfig", {"ilink_user_id": self.alice}))["typing_ticket"]
                return await self.post(
                    "sendtyping", {"ilink_user_id": self.alice, "typing_ticket": ticket, "status": 1}
                )
            case "getuploadurl":
                return await self.post("getuploadurl", upload(self.alice))
            case "notifystart" | "notifystop":
                return await self.post(f"msg/{endpoint}", {})
            case "cdn_upload":
                return await self.upload()
            case _:
                reference = (await self.bot_upload()).headers["x-encrypted-param"]
                return await self.download(reference)

    async def bot_upload(self) -> Outcome:
        faults, self.house.gateway.faults._faults = self.house.gateway.faults._faults, {}
        try:
            return await self.upload()
        finally:
            self.house.gateway.faults._faults = faults

    async def effect(self, endpoint: str) -> object:
        """Return what a call of the endpoint changes, or None where it changes nothing that can be seen."""
        gateway = self.house.gateway
        match endpoint:
            case "get_bot_qrcode":
                return len(await gateway.codes())
            case "getupdates":
                return (await gateway.bot(self.bot.bot_id)).handed_seq
            case "sendmessage":
                entries = await gateway.transcript(self.bot.bot_id, self.alice)
                return [entry.state for entry in entries if entry.direction == "out"]
            case "sendtyping":
                return gateway.typing(self.bot.bot_id, self.alice).typing
            case "notifystart" | "notifystop":
                return (await gateway.bot(self.bot.bot_id)).is_notified
            case "cdn_upload":
                return len(list(gateway._folder.glob("blobs/**/*")))
            case _:
                return None


@asynccontextmanager
async def open_fault_house(folder: Path, way: Literal["socket", "memory"], **options: Any) -> AsyncIterator[FaultHouse]:
    async with open_house(folder, **options) as house:
        alice = await house.person()
        bot = await house.login(alice)
        await house.gateway.post_message(alice, bot.bot_id, text="hello")
        await bot.poll()
        app = ProtocolApp(house.gateway, cdn=CdnDoor(house.gateway))
        house.caller.app = app
        opening = _over_sockets(house, app) if way == "socket" else _in_memory(app)
        async with opening as call:
            yield FaultHouse(house, alice, bot, call, way)


@asynccontextmanager
async def _in_memory(app: ProtocolApp) -> AsyncIterator[Call]:
    async with MemoryTransport({MEMORY: app}) as transport:

        async def call(method: Any, target: str, body: bytes | None, headers: dict[str, str]) -> Outcome:
            seen = Outcome(None, {}, b"", is_whole=False)
            request = Request(method=method, url=MEMORY + target, headers=headers, body=body)
            try:
                async with transport.open_stream(request, timeout=5) as answer:
                    seen.status, seen.headers = answer.status, dict(answer.headers)
                    async for chunk in answer.chunks():
                        seen.body += chunk
                    seen.is_whole = True
            except OutcomeUnknownError:
                seen.is_reset = True
            return seen

        yield call


@asynccontextmanager
async def _over_sockets(house: House, app: ProtocolApp) -> AsyncIterator[Call]:
    listener = Listener.bind("127.0.0.1:0")
    await listener.start(app)

    async def call(method: str, target: str, body: bytes | None, headers: dict[str, str]) -> Outcome:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        lines = [f"{method} {target} HTTP/1.1", "Host: gateway.test", *(f"{n}: {v}" for n, v in headers.items())]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b""))
        try:
            return await _read(reader)
        finally:
            writer.transport.abort()

    try:
        yield call
    finally:
        listener.stop_accepting()
        house.gateway.stop_waiting()
        await listener.aclose(grace=1)


async def _read(reader: asyncio.StreamReader) -> Outcome:
    seen = Outcome(None, {}, b"", is_whole=False)
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        seen.status = int(head[0].split()[1])
        seen.headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in head[1:] if line)}
        size = int(seen.headers.get("content-length", "0"))
        while len(seen.body) < size:
            chunk = await reader.read(size - len(seen.body))
            if not chunk:
                return seen
            seen.body += chunk
        seen.is_whole = True
    except ConnectionResetError:
        seen.is_reset = True
    except asyncio.IncompleteReadError:
        pass
    return seen
