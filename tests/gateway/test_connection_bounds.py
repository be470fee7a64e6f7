"""What one connection may cost: its head, its body, how many there are; and that its caller is seen leaving."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from gateway_house import House

from ilink.gateway.bounds import HEAD_BYTES, BoundedProtocol
from ilink.gateway.listeners import Listener

LARGE = 1 << 20


def request(path: str = "/", body: bytes = b"", *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: gateway", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # a connection tells nobody
            await asyncio.sleep(0.005)


@dataclass
class Server:
    """A server whose app does as a test wants: `/` reads everything, `/unread` nothing; both wait until they may."""

    may_read: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    listener: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        await self.may_read.wait()
        if scope["path"] == "/":
            self.bodies.append(await self._read(receive))
        elif scope["path"] == "/waits":
            for _ in range(2):
                self.told.append((await receive())["type"])
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def _read(self, receive: Callable[[], Awaitable[Any]]) -> bytes:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                return body

    async def connect(self) -> Connection:
        known = set(self._connections)
        reader, writer = await self.open()
        await until(lambda: len(self._connections) > len(known))
        (protocol,) = set(self._connections) - known
        return Connection(reader, writer, protocol)

    async def open(self, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port, **options)
        self.writers.append(writer)
        return reader, writer

    @property
    def _connections(self) -> set[BoundedProtocol]:
        return self.listener._server.server_state.connections


@dataclass
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    protocol: BoundedProtocol

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def answered(self) -> None:
        async with asyncio.timeout(20):
            assert (await self.reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200")

    async def leaves(self) -> None:
        self.writer.transport.abort()
        await until(lambda: self.protocol not in self.protocol.connections)


@pytest.fixture
async def server(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Server]:
    server = Server(listener=Listener.bind("127.0.0.1:0"))
    server.may_read.set()
    await server.listener.start(server)
    yield server
    server.may_read.set()
    for writer in server.writers:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    await server.listener.aclose(grace=5)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_each_head_on_a_connection_is_measured_by_itself(server: Server) -> None:
    one = await server.connect()
    for _ in range(3):
        one.write(request("/", b"", "A: " + "a" * (HEAD_BYTES // 2)))
        await one.answered()
    one.write(request("/", bytes(4 * HEAD_BYTES)))
    await one.answered()
    one.write(request("/", b""))
    await one.answered()


async def test_a_later_head_on_a_connection_has_its_limit_too(server: Server) -> None:
    one = await server.connect()
    one.write(request())
    await one.answered()
    one.write(b"GET / HTTP/1.1\r\nA: " + b"a" * 2 * HEAD_BYTES)
    with contextlib.suppress(ConnectionResetError):  # it hung up with bytes unread, which may take the answer along
        assert (await one.reader.read()).startswith(b"HTTP/1.1 431 ")
    assert one.protocol._is_in_head
    assert server.asked == ["/"]


@pytest.mark.parametrize("comes", ["at once", "after the answer"])
async def test_a_body_that_nobody_reads_is_passed_over(server: Server, comes: str) -> None:
    one = await server.connect()
    whole = request("/unread", bytes(LARGE)) + request()
    head = whole.index(b"\r\n\r\n") + 4 if comes == "after the answer" else len(whole)
    one.write(whole[:head])
    await one.answered()
    one.write(whole[head:])
    await one.answered()
    assert server.asked == ["/unread", "/"]


async def test_a_body_that_comes_too_late_is_not_kept(server: Server) -> None:
    one = await server.connect()
    one.write(request("/unread", bytes(100_000))[:-100_000])
    await one.answered()
    one.protocol.data_received(bytes(100_000))
    assert not one.protocol.flow.read_paused
    assert not one.protocol.cycle.body


async def test_a_first_piece_that_is_large_is_enough(server: Server) -> None:
    server.may_read.clear()
    one = await server.connect()
    one.protocol.data_received(request("/", bytes(100_000)))
    assert one.protocol.flow.read_paused
    server.may_read.set()
    await one.answered()
    assert not one.protocol.flow.read_paused


async def test_a_connection_ends_with_its_next_answer_when_the_server_leaves(server: Server) -> None:
    one = await server.connect()
    one.write(request())
    await one.answered()
    server.listener.leave()
    one.write(request())
    assert b"connection: close" in (await one.reader.read()).lower()


async def test_what_waits_behind_the_last_answer_of_a_connection_does_not_begin(server: Server) -> None:
    server.may_read.clear()
    one = await server.connect()
    one.write(request() * 2)
    await until(lambda: server.asked == ["/"] and len(one.protocol.pipeline) == 1)
    server.listener.leave()
    one.protocol._running.keep_alive = False  # type: ignore[union-attr]
    server.may_read.set()
    with contextlib.suppress(ConnectionResetError):
        assert (await one.reader.read()).count(b"HTTP/1.1 200") == 1
    assert server.asked == ["/"]


async def test_no_more_of_a_body_is_taken_than_is_read(server: Server) -> None:
    server.may_read.clear()
    one = await server.connect()
    body = bytes(range(256)) * 64 * 1024
    one.write(request("/", body))
    await until(lambda: one.protocol.flow.read_paused)
    assert len(one.protocol.cycle.body) < len(body)
    server.may_read.set()
    await one.answered()
    assert server.bodies == [body]


async def test_pieces_of_a_body_that_come_before_it_is_read_are_kept(server: Server) -> None:
    server.may_read.clear()
    one = await server.connect()
    one.write(request("/", b"one two")[:-4])
    await until(lambda: bytes(one.protocol.cycle.body) == b"one" if one.protocol.cycle else False)
    one.write(b" two")
    await until(lambda: not one.protocol.cycle.more_body)
    server.may_read.set()
    await one.answered()
    assert server.bodies == [b"one two"]


async def test_a_body_that_the_server_does_not_want_yet_may_be_silent(server: Server) -> None:
    server.may_read.clear()
    one = await server.connect()
    one.write(request("/", bytes(8 * LARGE)))
    await until(lambda: one.protocol.flow.read_paused)
    protocol = one.protocol
    protocol._heard -= protocol.body_seconds
    protocol._look()
    assert protocol._too_slow is not None
    assert protocol._too_slow.when() > protocol.loop.time() + 1
    server.may_read.set()
    await one.answered()


async def test_a_body_is_looked_at_again_when_it_would_have_been_silent_for_too_long(server: Server) -> None:
    one = await server.connect()
    one.write(request("/", b"12")[:-1])
    await until(lambda: one.protocol._too_slow is not None and not one.protocol._is_in_head)
    protocol = one.protocol
    protocol._heard -= protocol.body_seconds - 10
    protocol._look()
    assert protocol._too_slow is not None
    assert protocol._too_slow.when() <= protocol.loop.time() + 10
    protocol._heard -= 10
    protocol._look()
    await until(protocol.transport.is_closing)


async def test_one_timer_watches_a_body_and_ends_with_it(server: Server) -> None:
    one = await server.connect()
    whole = request("/", b"123456")
    one.write(whole[:-5])
    await until(lambda: not one.protocol._is_in_head)
    timer = one.protocol._too_slow
    assert timer is not None
    heard = one.protocol._heard
    one.write(whole[-5:-2])
    await until(lambda: one.protocol._heard > heard)
    assert one.protocol._too_slow is timer
    one.write(whole[-2:])
    await one.answered()
    assert timer.cancelled()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", request("/", b"12")[:-1]])
async def test_what_times_a_request_ends_with_its_connection(server: Server, sent: bytes) -> None:
    one = await server.connect()
    one.write(sent)
    await until(lambda: one.protocol._heard > 0 or not sent)
    timer = one.protocol._too_slow
    assert timer is not None
    await one.leaves()
    assert timer.cancelled()


@pytest.mark.parametrize("how", ["reset", "cut"])
async def test_the_end_of_a_connection_is_told_to_the_request_that_runs_and_none_that_waits_begins(
    server: Server, how: str
) -> None:
    one = await server.connect()
    one.write(request("/waits", b"") + request("/waits", b""))
    await until(lambda: server.told == ["http.request"] and len(one.protocol.pipeline) == 1)
    if how == "reset":
        await one.protocol.reset()
    else:
        one.protocol.transport.abort()
    await until(lambda: server.told == ["http.request", "http.disconnect"])
    assert server.asked == ["/waits"]


async def test_a_connection_that_ended_is_let_go_without_the_collector(server: Server) -> None:
    one = await server.connect()
    one.write(request())
    await one.answered()
    known = weakref.ref(one.protocol)
    gc.collect()
    gc.disable()
    try:
        await one.leaves()
        del one
        await until(lambda: known() is None)
    finally:
        gc.enable()


async def test_leaving_is_told_once_to_who_watches_and_to_nobody_who_stopped(server: Server) -> None:
    told: list[str] = []
    one, two = await server.connect(), await server.connect()
    one.protocol.watch(lambda: told.append("one"))
    two.protocol.watch(lambda: told.append("two"))()
    await one.leaves()
    await two.leaves()
    assert told == ["one"]
    one.protocol.watch(lambda: told.append("late"))
    assert told == ["one", "late"]


async def test_an_answer_to_who_left_or_does_not_read_is_not_written_in_one_piece(server: Server) -> None:
    one = await server.connect()
    protocol = one.protocol
    cycle = SimpleNamespace(keep_alive=True, disconnected=False, response_complete=True)
    protocol._running = cycle  # type: ignore[assignment]
    protocol.flow.pause_writing()
    assert not protocol.answer_whole(200, [], b"x")
    protocol.flow.resume_writing()
    cycle.disconnected = True
    assert not protocol.answer_whole(200, [], b"x")


async def test_who_writes_waits_until_the_caller_reads_on(server: Server) -> None:
    one = await server.connect()
    flow = one.protocol.flow
    await flow.drain()
    flow.pause_writing()
    waits = [asyncio.create_task(flow.drain()) for _ in range(2)]
    await asyncio.sleep(0)
    flow.pause_writing()
    waits.append(asyncio.create_task(flow.drain()))
    await asyncio.sleep(0)
    assert not any(task.done() for task in waits)
    flow.resume_writing()
    async with asyncio.timeout(20):
        await asyncio.gather(*waits)


async def test_connections_are_counted_for_each_address(server: Server, house: House) -> None:
    if not _has_address("127.0.0.2"):
        pytest.skip("this machine has one loopback address")
    await house.knobs(limits__connections=1)
    type_ = server.listener._server.config.http_protocol_class
    type_.admission = house.gateway.admission
    await server.connect()
    refused, _ = await server.open()
    assert (await refused.read()).startswith(b"HTTP/1.1 503 ")
    reader, writer = await server.open(local_addr=("127.0.0.2", 0))
    writer.write(request())
    assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200")


def _has_address(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
