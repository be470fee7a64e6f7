"""Over real sockets: the rows of protocol §8 that only a server can show, and the CDN's."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from gateway_house import OFFICIAL_HEADERS, BotClient, House, open_house
from test_must_accept import upload

from ilink.gateway.cdn import CdnApp
from ilink.gateway.http import ProtocolApp
from ilink.gateway.listeners import Listener

KEY = "00112233445566778899aabbccddeeff"
PLAIN = b"iLink probe 01"
CIPHER = bytes.fromhex("d2690b7c85f1f3f1d9b314763fa55fa1")


@dataclass
class Served:
    """A gateway behind a socket, a bot that logged in, and an HTTP client."""

    house: House
    bot: BotClient
    alice: str
    url: str
    port: int
    http: aiohttp.ClientSession

    async def post(self, endpoint: str, body: object) -> dict[str, object]:
        headers = {**OFFICIAL_HEADERS, "Authorization": f"Bearer {self.bot.token}"}
        async with self.http.post(f"{self.url}/ilink/bot/{endpoint}", json=body, headers=headers) as response:
            assert response.status == 200
            return await response.json()

    async def permission(self, **fields: object) -> tuple[str, str]:
        answer = await self.post("getuploadurl", upload(self.alice, **fields))
        return str(answer["upload_param"]), str(answer["upload_full_url"])


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    listener = Listener.bind("127.0.0.1:0")
    url = f"http://127.0.0.1:{listener.port}"
    async with open_house(tmp_path) as house, aiohttp.ClientSession() as http:
        house.gateway.set_urls(api_url=url, cdn_url=f"{url}/c2c")
        await listener.start(ProtocolApp(house.gateway, cdn=CdnApp(house.gateway.media)))
        alice = await house.person()
        yield Served(house, await house.login(alice), alice, url, listener.port, http)
        listener.stop_accepting()
        house.gateway.stop_waiting()
        await listener.aclose(grace=1)


async def test_a_person_and_a_bot_talk_over_sockets(served: Served) -> None:
    poll = asyncio.create_task(served.post("getupdates", {"get_updates_buf": ""}))
    await served.house.held(served.bot)
    await served.house.gateway.post_message(served.alice, served.bot.bot_id, text="hello")
    assert len((await poll)["msgs"]) == 1  # type: ignore[arg-type]
    assert (await served.post("sendmessage", served.bot.message(served.alice)))["ret"] == 0


async def test_a14_a_connection_that_drops_mid_hold_ends_the_poll_and_keeps_the_batch(served: Served) -> None:
    poll = asyncio.create_task(served.post("getupdates", {"get_updates_buf": ""}))
    await served.house.held(served.bot)
    poll.cancel()
    await asyncio.gather(poll, return_exceptions=True)

    async def is_gone() -> bool:
        return (await served.house.gateway.bot(served.bot.bot_id)).waiting_polls == 0

    await served.house.until(is_gone)
    await served.house.gateway.post_message(served.alice, served.bot.bot_id, text="hello")
    assert len((await served.post("getupdates", {"get_updates_buf": ""}))["msgs"]) == 1  # type: ignore[arg-type]


async def test_a13_one_connection_serves_many_calls(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    for path in ("/ilink/bot/get_bot_qrcode", "//ilink/bot/get_bot_qrcode/", "/nowhere"):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        assert json.loads(await reader.readexactly(size))["ret"] in (0, -1)
    writer.close()
    await writer.wait_closed()


async def test_a_gigabyte_that_is_only_declared_is_answered_at_once_and_hung_up_on(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"POST /ilink/bot/sendmessage HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n{")
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 413")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("safe", ["", "/", "+/="])
async def test_a12_uploads_chunked_or_not_and_with_raw_characters_in_the_query(
    served: Served, chunked: bool, safe: str
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield CIPHER[:5]
        yield CIPHER[5:]

    param, _ = await served.permission()
    url = f"{served.url}/c2c/upload?encrypted_query_param={quote(param, safe=safe)}&filekey={KEY}"
    from yarl import URL

    data = pieces() if chunked else CIPHER
    async with served.http.post(URL(url, encoded=True), data=data, headers={"SKRouteTag": "7"}) as response:
        assert response.status == 200
        assert response.headers["x-encrypted-param"]


@pytest.mark.parametrize("form", ["param", "full"])
async def test_r12_an_upload_returns_its_download_reference(served: Served, form: str) -> None:
    param, full = await served.permission()
    url = full if form == "full" else f"{served.url}/c2c/upload?encrypted_query_param={quote(param)}&filekey={KEY}"
    async with served.http.post(url, data=CIPHER) as response:
        assert (response.status, bool(response.headers["x-encrypted-param"])) == (200, True)


async def test_r13_a_download_works_by_the_parameter_alone_and_inbound_media_has_its_url(served: Served) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield PLAIN

    await served.house.gateway.post_media(served.alice, served.bot.bot_id, "file", chunks(), name="probe.txt")
    (message,) = (await served.post("getupdates", {"get_updates_buf": ""}))["msgs"]  # type: ignore[misc]
    media = message["item_list"][0]["file_item"]["media"]
    param = quote(media["encrypt_query_param"], safe="")
    bodies = []
    for url in (media["full_url"], f"{served.url}/c2c/download?encrypted_query_param={param}"):
        async with served.http.get(url) as response:
            assert response.status == 200
            bodies.append(await response.read())
    assert bodies[0] == bodies[1]
    assert len(bodies[0]) == 16
    assert len(base64.b64decode(media["aes_key"])) == 32


async def test_r14_a_cdn_error_says_what_is_wrong_in_a_header(served: Served) -> None:
    for method, url in (
        ("GET", "/c2c/download?encrypted_query_param=nothing"),
        ("POST", "/c2c/upload?encrypted_query_param=nothing&filekey=x"),
        ("PUT", "/c2c/upload?encrypted_query_param=nothing&filekey=x"),
    ):
        async with served.http.request(method, served.url + url, data=b"x" if method != "GET" else None) as response:
            assert 400 <= response.status < 500
            assert response.headers["x-error-message"]


async def test_stopping_answers_open_polls_over_the_socket(served: Served) -> None:
    poll = asyncio.create_task(served.post("getupdates", {"get_updates_buf": ""}))
    await served.house.held(served.bot)
    served.house.gateway.stop_waiting()
    assert (await poll)["msgs"] == []
