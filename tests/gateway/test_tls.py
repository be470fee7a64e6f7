"""HTTPS with a test authority, and the proxy that leads Tencent's names to the gateway."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from ilink.errors import ConfigError, StoreError
from ilink.gateway.authority import VENDOR_NAMES, Authority, open_authority
from ilink.gateway.server import GatewayServer, ServerOptions
from ilink.gateway.tunnels import TunnelProxy

NOW = datetime(2026, 3, 22, tzinfo=UTC)
QRCODE = "/ilink/bot/get_bot_qrcode"


@pytest.fixture
async def server() -> AsyncIterator[GatewayServer]:
    options = ServerOptions(tls=True, vendor_urls=True, proxy_listen="127.0.0.1:0", synchronous="OFF")
    async with GatewayServer(options) as server:
        yield server


@pytest.fixture
async def http(server: GatewayServer) -> AsyncIterator[aiohttp.ClientSession]:
    trusting = ssl.create_default_context(cafile=server.info.authority)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as http:
        yield http


def shake_hands(authority: Authority, context: ssl.SSLContext, name: str) -> None:
    """Do a whole handshake in memory, checking chain and name as a client does."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    trusting = ssl.create_default_context(cafile=authority.certificate)
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert client.version() is not None


async def test_the_protocol_is_served_by_https(server: GatewayServer, http: aiohttp.ClientSession) -> None:
    assert server.info.api_url.startswith("https://127.0.0.1:")
    async with http.get(server.info.api_url + QRCODE) as answer:
        assert (await answer.json())["ret"] == 0


async def test_whoever_does_not_trust_the_authority_gets_no_answer(server: GatewayServer) -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await http.get(server.info.api_url + QRCODE)


@pytest.mark.parametrize("name", VENDOR_NAMES)
async def test_the_proxy_leads_each_of_tencents_names_here(
    server: GatewayServer, http: aiohttp.ClientSession, name: str
) -> None:
    async with http.get(f"https://{name}{QRCODE}", proxy=str(server.info.proxy_url)) as answer:
        assert (await answer.json())["ret"] == 0


async def test_the_proxy_leads_to_the_gateways_own_address_too(
    server: GatewayServer, http: aiohttp.ClientSession
) -> None:
    async with http.get(server.info.api_url + QRCODE, proxy=str(server.info.proxy_url)) as answer:
        assert (await answer.json())["ret"] == 0


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("CONNECT example.org:443 HTTP/1.1", 403),
        ("CONNECT ilinkai.weixin.qq.com:22 HTTP/1.1", 403),
        ("CONNECT ilinkai.weixin.qq.com HTTP/1.1", 400),
        ("CONNECT", 400),
        ("GET http://ilinkai.weixin.qq.com/ HTTP/1.1", 405),
    ],
)
async def test_the_proxy_leads_nowhere_else(server: GatewayServer, request_line: str, status: int) -> None:
    port = int(str(server.info.proxy_url).rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{request_line}\r\n\r\n".encode())
    assert (await reader.read()).startswith(f"HTTP/1.1 {status} ".encode())
    writer.close()
    await writer.wait_closed()


async def test_the_proxy_hangs_up_on_who_sends_no_end_of_a_head(server: GatewayServer) -> None:
    port = int(str(server.info.proxy_url).rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"CONNECT " + b"x" * 20_000)
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_closing_the_proxy_ends_open_tunnels(server: GatewayServer) -> None:
    port = int(server.info.api_url.rpartition(":")[2])
    before = len(asyncio.all_tasks())
    async with TunnelProxy("127.0.0.1:0", ("127.0.0.1", port)) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rpartition(":")[2]))
        writer.write(b"CONNECT ilinkai.wechat.com:443 HTTP/1.1\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 200 Connection established\r\n\r\n"
    assert await reader.read() == b""
    assert len(asyncio.all_tasks()) == before
    writer.close()
    await writer.wait_closed()


async def test_answers_name_tencents_addresses_only_when_told_to(tmp_path: Path) -> None:
    for vendor_urls, begins in ((True, "https://ilinkai.weixin.qq.com"), (False, "https://127.0.0.1:")):
        options = ServerOptions(tls=True, vendor_urls=vendor_urls, data=tmp_path, synchronous="OFF")
        async with GatewayServer(options) as server:
            assert server.gateway.state.api_url.startswith(begins)
            assert server.info.api_url.startswith("https://127.0.0.1:")


@pytest.mark.parametrize("options", [{"vendor_urls": True}, {"proxy_listen": "127.0.0.1:0"}])
async def test_tencents_names_without_tls_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError, match="turn TLS on"):
        await GatewayServer(ServerOptions(**options)).__aenter__()


async def test_the_authority_is_kept_with_the_data_and_replaced_when_its_time_is_over(tmp_path: Path) -> None:
    first = open_authority(tmp_path, now=NOW).certificate.read_bytes()
    assert open_authority(tmp_path, now=NOW + timedelta(days=365)).certificate.read_bytes() == first
    assert open_authority(tmp_path, now=NOW + timedelta(days=3600)).certificate.read_bytes() != first


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_keys_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    open_authority(tmp_path / "tls", now=NOW).server_context([], now=NOW)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "tls").iterdir()}
    assert modes == {"authority.pem": 0o600, "authority.key": 0o600, "server.pem": 0o600}


@pytest.mark.parametrize("name", [*VENDOR_NAMES, "localhost", "127.0.0.1", "::1", "192.0.2.7"])
def test_a_strict_client_accepts_each_name(tmp_path: Path, name: str) -> None:
    now = datetime.now(UTC)
    authority = open_authority(tmp_path, now=now)
    shake_hands(authority, authority.server_context(["192.0.2.7"], now=now), name)


def test_the_authority_is_good_for_no_other_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    authority = open_authority(tmp_path, now=now)
    with pytest.raises(ConfigError, match="signs for no name like example\\.org"):
        authority.server_context(["example.org"], now=now)
    monkeypatch.setattr("ilink.gateway.authority._DOMAINS", ("example.org", "weixin.qq.com", "wechat.com", "localhost"))
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        shake_hands(authority, authority.server_context(["example.org"], now=now), "example.org")


@pytest.mark.parametrize("spoilt", ["authority.pem", "authority.key"])
def test_a_spoilt_authority_is_told_of_and_not_replaced_unasked(tmp_path: Path, spoilt: str) -> None:
    open_authority(tmp_path, now=NOW)
    (tmp_path / spoilt).write_bytes(b"nothing")
    with pytest.raises(StoreError, match="remove both"):
        open_authority(tmp_path, now=NOW)


def test_a_key_of_another_authority_is_told_of(tmp_path: Path) -> None:
    open_authority(tmp_path / "one", now=NOW)
    open_authority(tmp_path / "two", now=NOW)
    (tmp_path / "one" / "authority.key").write_bytes((tmp_path / "two" / "authority.key").read_bytes())
    with pytest.raises(StoreError, match="is not the key of"):
        open_authority(tmp_path / "one", now=NOW)


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigError, match=r"install ilink\[tls\]"):
        open_authority(tmp_path, now=NOW)
