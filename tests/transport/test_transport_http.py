"""The HTTP transport against servers that misbehave on the socket, and its proxies, certificates and connections."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest
from raw_servers import OK, Handler, answering, post, raw_server, reset

from ilink.errors import ConfigError, ConnectError, OutcomeUnknownError, RemoteProtocolError
from ilink.transport.http import HttpTransport
from ilink.transport.pool import KEEP_ALIVE
from ilink.transport.proxied import ProxiedTransport
from ilink.transport.proxies import ProxyMap
from ilink.transport.seam import Request, StreamedBody, Transport


class Way(Protocol):
    """How a transport is made."""

    def __call__(self, *, keep_alive: float = KEEP_ALIVE) -> Transport: ...


def straight(*, keep_alive: float = KEEP_ALIVE) -> Transport:
    return HttpTransport(environ={}, keep_alive=keep_alive)


def by_aiohttp(*, keep_alive: float = KEEP_ALIVE) -> Transport:
    return ProxiedTransport(ProxyMap({}), keep_alive=keep_alive)


@pytest.fixture(params=[straight, by_aiohttp], ids=["straight", "aiohttp"])
def way(request: pytest.FixtureRequest) -> Way:
    """The two ways to the network, which keep the same promises on the same broken sockets."""
    return request.param


@pytest.fixture
async def http(way: Way) -> AsyncIterator[Transport]:
    async with way() as transport:
        yield transport


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(answering(), id="closed-before-an-answer"),
        pytest.param(answering(then_reset=True), id="reset-before-an-answer"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\nContent-"), id="cut-in-the-head"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\nContent-Le", then_reset=True), id="reset-in-the-head"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), id="closed-after-the-head"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), id="cut-in-the-body"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", then_reset=True), id="reset-in-body"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"), id="cut-in-a-chunk"),
    ],
)
async def test_loss_after_writing_leaves_the_outcome_unknown(http: Transport, handler: Handler) -> None:
    async with raw_server(handler) as (raw, url):
        with pytest.raises(OutcomeUnknownError) as caught:
            await http.send(post(url), timeout=5)
        assert not caught.value.timed_out
        assert raw.connections == 1
    assert "hush" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "answer",
    [
        b"\x16\x03\x01\x02\x00garbage\r\n\r\n",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
    ids=["tls", "smtp", "status", "length", "huge-header"],
)
async def test_garbage_is_a_remote_protocol_error_without_the_garbage(http: Transport, answer: bytes) -> None:
    async with raw_server(answering(answer)) as (_, url):
        with pytest.raises(RemoteProtocolError, match="no HTTP") as caught:
            await http.send(post(url), timeout=5)
    shown = "".join(traceback.format_exception(caught.value))
    assert "hush" not in shown
    assert "yyyy" not in shown


async def test_body_that_is_larger_than_its_limit_is_not_read(http: Transport) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with raw_server(endless) as (_, url):
        with pytest.raises(RemoteProtocolError, match="larger than 100000 bytes"):
            await http.send(post(url), timeout=5, max_bytes=100_000)


async def test_compressed_bomb_is_stopped_at_the_limit(http: Transport) -> None:
    import gzip

    bomb = gzip.compress(b"\0" * (200 << 20))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    async with raw_server(answering(head, bomb)) as (_, url):
        with pytest.raises(RemoteProtocolError, match="larger than"):
            await http.send(post(url), timeout=20, max_bytes=1 << 20)


async def test_refused_connection_is_a_connect_error(http: Transport) -> None:
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1.*nothing was sent"):
        await http.send(post("http://127.0.0.1:1"), timeout=5)


async def test_unknown_host_is_a_connect_error(http: Transport) -> None:
    with pytest.raises(ConnectError, match="nothing was sent"):
        await http.send(post("http://no-such-host.invalid"), timeout=10)


async def test_handshake_that_hangs_is_a_connect_error(http: Transport) -> None:
    """TLS is still being negotiated when the time is over: nothing of the request was written."""

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_server(hang) as (_, url):
        with pytest.raises(ConnectError, match=r"no connection within 0\.1 s"):
            await http.send(post(url.replace("http:", "https:")), timeout=0.1)


async def test_answer_that_drips_is_cut_at_the_time_limit(http: Transport) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with raw_server(drip) as (_, url):
        with pytest.raises(OutcomeUnknownError) as caught:
            await http.send(post(url), timeout=0.2)
        assert caught.value.timed_out


async def test_header_that_http_forbids_is_our_error_and_not_shown(http: Transport) -> None:
    request = Request(method="POST", url="http://127.0.0.1:1/", headers={"Authorization": "Bearer hu\nsh"}, body=b"")
    with pytest.raises((ConfigError, ConnectError)) as caught:
        await http.send(request, timeout=5)
    assert "sh" not in str(caught.value.__cause__ or "")
    async with raw_server(answering(OK)) as (raw, url):
        request = Request(method="POST", url=url, headers={"Authorization": "Bearer hu\nsh"}, body=b"{}")
        with pytest.raises(ConfigError, match="does not allow"):
            await http.send(request, timeout=5)
        assert raw.heads == []


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://host/x", "http://", "http://host:99999/"])
async def test_wrong_url_is_a_config_error(http: Transport, url: str) -> None:
    with pytest.raises(ConfigError):
        await http.send(Request(method="GET", url=url), timeout=5)


async def test_connection_is_reused(http: Transport) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await raw.read_request(reader)
            writer.write(OK)

    async with raw_server(serve) as (raw, url):
        for _ in range(5):
            await http.send(post(url), timeout=5)
        assert raw.connections == 1


async def test_connection_the_server_closed_meanwhile_is_not_written_on(http: Transport) -> None:
    """The end of a pooled connection waits unread in the socket when the next request starts: another one is opened."""

    def serve_one(listener: socket.socket) -> socket.socket:
        listener.settimeout(5)
        connection, _ = listener.accept()
        received = b""
        while not received.endswith(b"{}"):
            received += connection.recv(65536)
        connection.sendall(OK)
        return connection

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for _ in range(5):
            serving = asyncio.create_task(asyncio.to_thread(serve_one, listener))
            await http.send(post(url), timeout=5)
            (await serving).close()  # and the client's loop has no turn before it writes again
            serving = asyncio.create_task(asyncio.to_thread(serve_one, listener))
            assert (await http.send(post(url), timeout=5)).status == 200
            (await serving).close()


async def test_idle_connection_is_closed_after_its_time(way: Way) -> None:
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.read_request(reader)
        writer.write(OK)
        assert await reader.read() == b""
        closed.set()

    async with raw_server(serve) as (raw, url), way(keep_alive=0.01) as http:
        await http.send(post(url), timeout=5)
        await asyncio.wait_for(closed.wait(), 45)


def test_connections_are_kept_for_less_than_a_server_keeps_them() -> None:
    assert KEEP_ALIVE < 5


async def test_cancelled_request_returns_no_connection_to_the_pool(http: Transport) -> None:
    asked = asyncio.Event()
    answered = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        await raw.read_request(reader)
        if raw.connections == 1:
            asked.set()
            await reader.read()
            return
        writer.write(OK)
        answered += 1

    async with raw_server(serve) as (raw, url):
        call = asyncio.create_task(http.send(post(url), timeout=60))
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await http.send(post(url), timeout=5)
        assert (raw.connections, answered) == (2, 1)


async def test_cancelling_at_any_step_leaks_nothing(http: Transport) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await raw.read_request(reader)
            for byte in OK:
                writer.write(bytes([byte]))
                await asyncio.sleep(0)

    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("counts descriptors by /proc")

    def sockets() -> int:
        links = [entry.readlink() for entry in descriptors.iterdir() if entry.is_symlink()]
        return sum("socket" in str(link) for link in links)

    async with raw_server(serve) as (raw, url):
        await http.send(post(url), timeout=5)
        before_tasks = len(asyncio.all_tasks())
        for steps in range(60):
            call = asyncio.create_task(http.send(post(url), timeout=5))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        await http.send(post(url), timeout=5)
        for _ in range(200):
            await asyncio.sleep(0)
            if len(asyncio.all_tasks()) <= before_tasks + 1 and sockets() <= 8:
                break
        assert len(asyncio.all_tasks()) <= before_tasks + 1
        assert sockets() <= 8


async def test_streamed_upload_that_is_cut_is_an_unknown_outcome(http: Transport) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(100_000)
        reset(writer)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 65536
            await asyncio.sleep(0)

    async with raw_server(cut) as (_, url):
        request = post(url, StreamedBody(body(), 65_536_000))
        with pytest.raises(OutcomeUnknownError):
            async with http.open_stream(request, timeout=5):
                pass


async def test_server_that_stops_reading_stalls_the_upload_into_its_time_limit(http: Transport) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 65536

    async with raw_server(deaf) as (_, url):
        with pytest.raises(OutcomeUnknownError) as caught:
            async with http.open_stream(post(url, StreamedBody(body(), 65_536_000)), timeout=0.3):
                pass
        assert caught.value.timed_out


class TestProxies:
    def test_most_exact_entry_wins(self) -> None:
        proxies = ProxyMap(
            {
                "*": "http://everywhere:1",
                "*.wechat.com": "http://abroad:1",
                "ilinkai.wechat.com": "http://exact:1",
                "*.weixin.qq.com": "direct",
            }
        )
        found = [
            proxies.find(f"https://{host}/x")
            for host in ("ilinkai.wechat.com", "cdn.WeChat.com", "ilinkai.weixin.qq.com", "wechat.com", "example.org")
        ]
        assert found == ["http://exact:1", "http://abroad:1", None, "http://everywhere:1", "http://everywhere:1"]

    def test_without_entries_everything_goes_straight(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("https_proxy", "http://trap:1")
        assert ProxyMap({}).find("https://ilinkai.weixin.qq.com/") is None

    def test_environment_is_used_where_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("https_proxy", "http://outside:1")
        monkeypatch.setenv("no_proxy", "localhost,*.qq.com,.qq.com")
        proxies = ProxyMap({"*": "env"})
        assert proxies.find("https://ilinkai.wechat.com/") == "http://outside:1"
        assert proxies.find("https://ilinkai.weixin.qq.com/") is None

    @pytest.mark.parametrize("way", ["socks5://127.0.0.1:1080", "127.0.0.1:7890", "http://", "none", "http://[::1"])
    def test_wrong_way_is_a_config_error_without_its_password(self, way: str) -> None:
        with pytest.raises(ConfigError, match=r"the proxy for \*"):
            ProxyMap({"*": way})

    async def test_request_goes_through_the_proxy_of_its_host_only(self) -> None:
        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await through.read_request(reader)
            writer.write(OK)

        async def straight(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await beside.read_request(reader)
            writer.write(OK)

        async with (
            raw_server(proxy) as (through, proxy_url),
            raw_server(straight) as (beside, url),
            HttpTransport(proxies={"far.example": proxy_url}) as http,
        ):
            await http.send(post("http://far.example"), timeout=5)
            await http.send(post(url), timeout=5)
        assert through.heads[0].startswith(b"POST http://far.example/ilink/bot/sendmessage?secret=hush HTTP/1.1\r\n")
        assert len(beside.heads) == len(through.heads) == 1

    async def test_environment_variable_gives_the_way_for_all_hosts(self) -> None:
        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await through.read_request(reader)
            writer.write(OK)

        async with raw_server(proxy) as (through, proxy_url), HttpTransport(environ={"ILINK_PROXY": proxy_url}) as http:
            await http.send(post("http://far.example"), timeout=5)
        assert len(through.heads) == 1

    async def test_proxy_that_refuses_the_tunnel_is_a_connect_error(self) -> None:
        refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
        async with raw_server(answering(refusal)) as (_, proxy_url), HttpTransport(proxies={"*": proxy_url}) as http:
            with pytest.raises(ConnectError, match="proxy refused to connect, HTTP 407"):
                await http.send(post("https://far.example"), timeout=5)

    async def test_proxy_that_is_down_is_a_connect_error(self) -> None:
        async with HttpTransport(proxies={"*": "http://127.0.0.1:1"}) as http:
            with pytest.raises(ConnectError):
                await http.send(post("http://far.example"), timeout=5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 and its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the openssl command to make a certificate")
    (folder / "both").write_bytes((folder / "key").read_bytes() + (folder / "cert").read_bytes())
    return folder / "both"


class TestCertificates:
    async def test_untrusted_certificate_is_refused_before_anything_is_written(self, certificate: Path) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        async with raw_server(answering(OK), tls=tls) as (raw, url), HttpTransport(environ={}) as http:
            with pytest.raises(ConnectError, match="certificate is not trusted"):
                await http.send(post(url), timeout=5)
            assert raw.heads == []

    async def test_given_authority_is_trusted_and_connections_are_reused(self, certificate: Path) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await raw.read_request(reader)
                writer.write(OK)

        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        trusting = ssl.create_default_context(cafile=certificate)
        async with raw_server(serve, tls=tls) as (raw, url), HttpTransport(tls=trusting, environ={}) as http:
            for _ in range(5):
                assert (await http.send(post(url), timeout=5)).status == 200
            assert raw.connections == 1

    async def test_request_travels_encrypted_through_the_tunnel_of_a_proxy(self, certificate: Path) -> None:
        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await through.read_request(reader)
            host, _, port = head.split()[1].decode().partition(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(reader, far_writer))
                group.create_task(pump(far_reader, writer))

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while chunk := await reader.read(65536):
                carried.append(chunk)
                writer.write(chunk)
            writer.close()

        carried: list[bytes] = []
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        trusting = ssl.create_default_context(cafile=certificate)
        async with (
            raw_server(answering(OK), tls=tls) as (raw, url),
            raw_server(proxy) as (through, proxy_url),
            HttpTransport(proxies={"*": proxy_url}, tls=trusting) as http,
        ):
            assert (await http.send(post(url), timeout=5)).status == 200
        assert through.heads[0].startswith(b"CONNECT 127.0.0.1:")
        assert raw.connections == 1
        assert not any(b"hush" in chunk for chunk in carried)
