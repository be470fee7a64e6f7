"""Raw sockets that no client would open: whatever comes, nothing fails, nothing is leaked, and others are served."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import random
import re
import resource
import signal
import socket
import struct
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from gateway_house import BotClient, House, open_house

from ilink.gateway.bounds import HEAD_BYTES, BoundedProtocol
from ilink.gateway.cdn import CdnApp
from ilink.gateway.http import ProtocolApp
from ilink.gateway.http.bodies import BodyTooLargeError, read_body
from ilink.gateway.listeners import Listener

HEAD_SECONDS = 0.4
BODY_SECONDS = 0.3
CONNECTIONS = int(os.environ.get("ILINK_TEST_CONNECTIONS", "10000"))
HOSTILE_REQUESTS = 2_000
PING = b"GET /ilink/bot/get_qrcode_status?qrcode= HTTP/1.1\r\nHost: x\r\n\r\n"
DESCRIPTORS = Path("/proc/self/fd")

pytestmark = pytest.mark.skipif(not DESCRIPTORS.exists(), reason="descriptors are counted as Linux shows them")


POOL = 10
"""How many connections to a database a gateway opens at most."""


def descriptors() -> int:
    """Count what is open, but for the store's own files: how many of its readers have begun is up to the machine."""
    links = [os.path.realpath(one) for one in DESCRIPTORS.iterdir()]
    return sum(".sqlite" not in link for link in links)


@dataclass
class Served:
    house: House
    bot: BotClient
    port: int

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def answer(self, *pieces: bytes, half_close: bool = False) -> bytes:
        """Send bytes and return everything that comes until the server hangs up or has answered a ping after them."""
        reader, writer = await self.connect()
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if half_close:
                writer.write_eof()
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def is_alive(self) -> bool:
        answer = await self.answer(PING.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        return answer.startswith(b"HTTP/1.1 200 ")


@pytest.fixture
async def served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, database_of: Callable[[Path], str | None]
) -> AsyncIterator[Served]:
    """A gateway with short patience; afterwards no task, descriptor or error of it may be left."""
    async with open_house(tmp_path) as house:
        bot = await house.login(await house.person())
        # Whatever is made once and kept is there before anything is counted.
        await house.gateway.post_message(bot.user_id, bot.bot_id, text="hello")
        await bot.poll()
        listener = Listener.bind("127.0.0.1:0")
        app = ProtocolApp(house.gateway, cdn=CdnApp(house.gateway.media))
        await listener.start(
            app, head_seconds=HEAD_SECONDS, body_seconds=BODY_SECONDS, admission=house.gateway.admission
        )
        tasks, opened = len(asyncio.all_tasks()), descriptors()
        if database_of(tmp_path) is not None:
            opened += POOL  # it may open as many connections more, and keep them
        served = Served(house, bot, listener.port)
        try:
            yield served
            assert await served.is_alive()
            async with asyncio.timeout(30):
                await house.until(lambda: len(asyncio.all_tasks()) <= tasks and descriptors() <= opened)
        finally:  # a listener that stays open would be found in another test, and fail that one
            listener.stop_accepting()
            house.gateway.stop_waiting()
            await listener.aclose(grace=1)
        statuses = {entry.status for entry in house.gateway.wire_log()}
        assert {status for status in statuses if status >= 500} == set()
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def request(path: str, body: bytes = b"", *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


SEND = "/ilink/bot/sendmessage"
GARBAGE = {
    "a TLS hello": bytes.fromhex("16030100c6010000c20303") + bytes(200),
    "zeros": bytes(5000),
    "noise": random.Random(1).randbytes(5000),
    "empty lines": b"\r\n" * 2000,
    "no method": b" / HTTP/1.1\r\n\r\n",
    "a strange version": b"GET / HTTP/9.9\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a SOCKS greeting": b"\x05\x01\x00" * 100,
    "a header without a colon": b"GET / HTTP/1.1\r\nnonsense\r\n\r\n",
    "a NUL in a header": b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    "a negative length": request(SEND, b"{}", "Content-Length: -1"),
    "a length in words": request(SEND, b"{}", "Content-Length: two"),
    "two lengths": request(SEND, b"{}", "Content-Length: 2", "Content-Length: 3"),
    "a length beyond 64 bits": request(SEND, b"{}", "Content-Length: " + "9" * 40),
    "a length and chunks": request(SEND, b"0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked"),
    "a chunk size that is none": request(SEND, b"zz\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "a chunk size beyond 64 bits": request(SEND, b"F" * 20 + b"\r\n", "Transfer-Encoding: chunked"),
    "an unknown coding": request(SEND, b"{}", "Transfer-Encoding: gzip, identity"),
    "a folded header": b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_refused_or_hung_up_on(served: Served, garbage: bytes) -> None:
    async with asyncio.timeout(10):
        answer = await served.answer(garbage, half_close=True)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "OPTIONS", "PROPFIND", "HEAD", "PATCH"])
@pytest.mark.parametrize(
    "target", ["*", "http://other.example/ilink/bot/getupdates", "/%00", "/%ff%fe", "//", "/" + "a/" * 9000]
)
async def test_strange_methods_and_targets_are_refused(served: Served, method: str, target: str) -> None:
    answer = await served.answer(request(target, b"", "Connection: close", method=method))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


async def test_a_head_that_never_ends_is_hung_up_on(served: Served) -> None:
    assert await served.answer(b"POST /ilink/bot/getupdates HTTP/1.1\r\nHost: x\r\n") == b""


async def test_drops_of_a_head_win_no_time(served: Served) -> None:
    started = asyncio.get_running_loop().time()
    reader, writer = await served.connect()
    ended = asyncio.create_task(reader.read())
    for letter in b"GET / HTTP/1.1\r\nA: " + b"a" * 200:
        if ended.done() or writer.is_closing():
            break
        writer.write(bytes([letter]))
        await asyncio.wait({ended}, timeout=0.02)
    with contextlib.suppress(ConnectionResetError):  # a drop was under way when it hung up
        assert await ended == b""
    assert asyncio.get_running_loop().time() - started < HEAD_SECONDS + 2
    writer.close()


async def test_a_head_without_measure_is_refused(served: Served) -> None:
    answer = await served.answer(b"GET / HTTP/1.1\r\nA: " + b"a" * (2 * HEAD_BYTES))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize(
    ("path", "head", "body"),
    [
        (SEND, "Content-Length: 1000", b"{"),
        (SEND, "Transfer-Encoding: chunked", b"5\r\n{"),
        ("/c2c/upload?encrypted_query_param=x&filekey=y", "Content-Length: 1000", b"x"),
    ],
)
async def test_a_body_that_stops_coming_is_hung_up_on(served: Served, path: str, head: str, body: bytes) -> None:
    answer = await served.answer(request(path, body, head))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


async def test_a_slow_body_that_keeps_coming_is_read_to_its_end(served: Served) -> None:
    body = json.dumps({"ilink_user_id": served.bot.user_id}).encode()
    head = request(
        "/ilink/bot/getconfig",
        b"",
        f"Content-Length: {len(body)}",
        f"Authorization: Bearer {served.bot.token}",
        "Connection: close",
    )
    reader, writer = await served.connect()
    writer.write(head)
    ended = asyncio.create_task(reader.read())
    for start in range(0, len(body), 8):
        writer.write(body[start : start + 8])
        await asyncio.wait({ended}, timeout=BODY_SECONDS / 4)
    assert b'"typing_ticket"' in await ended
    writer.close()


@pytest.mark.parametrize("framing", ["declared", "chunked"])
async def test_a_huge_body_is_refused_before_it_is_read(served: Served, framing: str) -> None:
    await served.house.knobs(limits__body_bytes=65_536)
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    if framing == "declared":
        answer = await served.answer(request(SEND, b" " * 1000, "Content-Length: 9999999999"))
    else:
        authorization = f"Authorization: Bearer {served.bot.token}"
        answer = await served.answer(request(SEND, b"", "Transfer-Encoding: chunked", authorization), *[chunk] * 64)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413")  # a reset takes along what was not read
    await served.house.until(lambda: bool(served.house.gateway.wire_log(endpoint="sendmessage")))
    assert [entry.status for entry in served.house.gateway.wire_log(endpoint="sendmessage")] == [413]


async def test_a_body_that_comes_at_once_and_says_no_length_is_measured_too(served: Served) -> None:
    await served.house.knobs(limits__body_bytes=1024)
    authorization = f"Authorization: Bearer {served.bot.token}"
    body = b"401\r\n" + b" " * 1025 + b"\r\n0\r\n\r\n"
    answer = await served.answer(request(SEND, body, "Transfer-Encoding: chunked", authorization))
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(("length", "is_refused"), [("9" * 5000, True), ("11", True), ("²", False), ("", False)])
async def test_a_length_that_no_server_lets_pass_raises_nothing_else(length: str, is_refused: bool) -> None:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    with pytest.raises(BodyTooLargeError) if is_refused else contextlib.nullcontext():
        assert await read_body(receive, {"content-length": length}, most=10) == b"{}"  # type: ignore[arg-type]


async def test_a_body_in_small_pieces_is_measured_as_a_whole() -> None:
    left = [b"123456"] * 3

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": left.pop(), "more_body": True}

    with pytest.raises(BodyTooLargeError):
        await read_body(receive, {}, most=10)  # type: ignore[arg-type]
    assert len(left) == 1


@pytest.mark.parametrize("sent", ["nothing", "half a head", "half a body", "a whole poll"])
async def test_a_half_closed_connection_is_let_go_and_loses_no_mail(served: Served, sent: str) -> None:
    authorization = f"Authorization: Bearer {served.bot.token}"
    body = json.dumps({"get_updates_buf": served.bot.cursor}).encode()
    whole = request("/ilink/bot/getupdates", body, f"Content-Length: {len(body)}", authorization)
    pieces = {"nothing": b"", "half a head": whole[:40], "half a body": whole[:-9], "a whole poll": whole}
    assert await served.answer(pieces[sent], half_close=True) == b""
    await served.house.gateway.post_message(served.bot.user_id, served.bot.bot_id, text="kept")
    assert len((await served.bot.poll())["msgs"]) == 1


@pytest.mark.parametrize("end", ["half", "whole"])
async def test_a_send_whose_end_did_not_come_is_none(served: Served, end: str) -> None:
    """What came may well be readable: here a blank is missing behind it."""
    body = json.dumps(served.bot.message(served.bot.user_id)).encode()
    length = f"Content-Length: {len(body) + 1}"
    whole = request(SEND, body, length, f"Authorization: Bearer {served.bot.token}", "Connection: close")
    reader, writer = await served.connect()
    writer.write(whole if end == "half" else whole + b" ")
    if end == "whole":
        assert b'"ret":0' in await reader.read()
    writer.close()
    await served.house.until(lambda: bool(served.house.gateway.wire_log(endpoint="sendmessage")))
    entries = await served.house.gateway.transcript(served.bot.bot_id, served.bot.user_id)
    assert [entry.direction for entry in entries if entry.direction == "out"] == ([] if end == "half" else ["out"])


async def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    bodies = [json.dumps({"ilink_user_id": f"nobody-{n}"}).encode() for n in range(40)]
    authorization = f"Authorization: Bearer {served.bot.token}"
    paths = ["/ilink/bot/getconfig", "/nowhere"]
    many = b"".join(
        request(paths[n % 2], body, f"Content-Length: {len(body)}", authorization) for n, body in enumerate(bodies)
    )
    reader, writer = await served.connect()
    writer.write(many)
    for n in range(len(bodies)):
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(size)
        assert int(head.split(b" ")[1]) == (404 if n % 2 else 200)
    writer.close()


async def test_a_reset_in_the_middle_of_anything_leaves_nothing(served: Served) -> None:
    authorization = f"Authorization: Bearer {served.bot.token}"
    whole = request("/ilink/bot/getupdates", b'{"get_updates_buf":""}', "Content-Length: 22", authorization)
    for end in range(1, len(whole) + 1, 7):
        connection = socket.create_connection(("127.0.0.1", served.port))
        connection.send(whole[:end])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        connection.close()
        await asyncio.sleep(0)


async def test_random_damage_to_a_request_is_survived(served: Served) -> None:
    chance = random.Random(20260322)
    authorization = f"Authorization: Bearer {served.bot.token}"
    body = json.dumps(served.bot.message(served.bot.user_id)).encode()
    whole = request(SEND, body, f"Content-Length: {len(body)}", authorization, "Connection: close")
    for _ in range(int(os.environ.get("ILINK_FUZZ_EXAMPLES", "120"))):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(damaged))
            match chance.randrange(3):
                case 0:
                    damaged[place] = chance.randrange(256)
                case 1:
                    del damaged[place : place + chance.randint(1, 20)]
                case _:
                    damaged[place:place] = chance.randbytes(chance.randint(1, 20))
        answer = await served.answer(bytes(damaged), half_close=True)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 4"))


async def test_an_address_has_its_number_of_connections_and_gets_others_for_those_it_closes(served: Served) -> None:
    await served.house.gateway.configure(knobs={"limits.connections": 3})
    kept = [await served.connect() for _ in range(3)]
    refused = await served.answer(PING)
    assert refused == b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    for _, writer in kept:
        writer.close()

    async def is_served() -> bool:
        return await served.is_alive()

    await served.house.until(is_served)


async def test_an_address_that_asks_too_often_is_told_when_to_come_again(served: Served) -> None:
    await served.house.gateway.configure(knobs={"limits.requests": "2/1000"})
    answers = await served.answer(PING, PING, PING.replace(b"Host: x", b"Host: x\r\nConnection: close"))
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"200", b"429"]
    assert b"retry-after: 500\r\n" in answers
    assert answers.endswith(b'{"ret":-1,"errmsg":"too many requests from this address (limits.requests)"}')
    upload = request("/c2c/upload?encrypted_query_param=x&filekey=y", b"body", "Content-Length: 4", "Connection: close")
    assert (await served.answer(upload)).startswith(b"HTTP/1.1 429 ")
    await served.house.gateway.configure(knobs={"limits.requests": "none"})


async def test_a_connection_that_is_reset_between_two_requests_is_forgotten(served: Served) -> None:
    def remembered() -> int:
        gc.collect()
        return sum(isinstance(thing, BoundedProtocol) for thing in gc.get_objects())

    before = remembered()
    for _ in range(20):
        reader, writer = await served.connect()
        writer.write(PING)
        await reader.readuntil(b"\r\n\r\n")
        own = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    await served.house.until(lambda: remembered() <= before)


async def test_thousands_of_silent_connections_keep_nobody_from_being_served(served: Served) -> None:
    """Each is held for as long as a head may take; as many as the descriptors allow, 10,000 at most."""
    free = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - descriptors() - 200
    silent: list[socket.socket] = []
    try:
        for _ in range(min(CONNECTIONS, free // 2)):
            connection = socket.socket()
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                connection.connect(("127.0.0.1", served.port))
            silent.append(connection)
            if len(silent) % 200 == 0:
                assert await served.is_alive()
        assert await served.is_alive()
    finally:
        for connection in silent:
            connection.close()


HOSTILE = (
    lambda n: request(SEND, b"[" * 900, "Content-Length: 900", f"Authorization: Bearer guess-{n}"),
    lambda n: request("/ilink/bot/getupdates", b"{}", "Content-Length: 2", f"Authorization: Bearer {n}@im.bot:{n}"),
    lambda n: request(f"/ilink/bot/{n}", b"x", "Content-Length: 1", f"X-Odd-{n}: {n}"),
    lambda n: request(f"/ilink/bot/get_qrcode_status?qrcode=guess{n}&verify_code={n}", method="GET"),
    lambda n: request(f"/c2c/upload?encrypted_query_param=guess{n}&filekey={n}", b"\0" * 600, "Content-Length: 600"),
    lambda n: request(f"/c2c/download?encrypted_query_param=guess{n}", b"", f"Range: bytes={n}-", method="GET"),
    lambda n: request("/ilink/bot/getuploadurl", b'{"filekey":1}', "Content-Length: 13"),
)
"""Requests that differ each time, by what could be remembered of them."""


async def attack(served: Served, numbers: range) -> None:
    """Send hostile requests over a few connections, with nonsense on others between them."""
    for first in range(numbers.start, numbers.stop, 100):
        many = [HOSTILE[n % len(HOSTILE)](n) for n in range(first, first + 100)]
        answers = await served.answer(*many, PING.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        assert answers.count(b"HTTP/1.1 ") == 101
        await served.answer(random.Random(first).randbytes(3000), half_close=True)


@pytest.mark.timeout(300)  # every allocation is traced, which takes a busy machine long
async def test_thousands_of_hostile_requests_leave_no_memory_behind(served: Served) -> None:
    """Fifteen bytes that stay behind for each would show; what is kept on purpose has bounds, and is left out."""
    await served.house.knobs(poll__error_delay_ms=0, qr__hold_ms=0)
    tracemalloc.start()
    try:
        held = []
        for round_ in range(5):
            await attack(served, range(round_ * HOSTILE_REQUESTS, (round_ + 1) * HOSTILE_REQUESTS))
            served.house.gateway.wire.clear()
            served.house.gateway.events.clear()
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # What is made once, or for a connection to the store, shows in a round or two, and a leak in every one.
    assert min(later - earlier for earlier, later in pairwise(held)) < 15 * HOSTILE_REQUESTS, held


LAUNCHER = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
from ilink.gateway.server import ServerOptions, run
sys.exit(run(ServerOptions(ready_json=True, synchronous="OFF")))
"""


async def test_a_gateway_without_a_descriptor_left_recovers() -> None:
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LAUNCHER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        assert gateway.stdout is not None
        port = int(json.loads(await gateway.stdout.readline())["api_url"].rpartition(":")[2])
        crowd = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
        for connection in crowd:
            connection.close()
        async with asyncio.timeout(20):
            while not await is_served(port):  # those who come while it lets the crowd go may be turned away
                pass
            gateway.send_signal(signal.SIGTERM)
            assert await gateway.wait() == 0
    finally:
        if gateway.returncode is None:
            gateway.kill()
            await gateway.wait()


async def is_served(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(PING)
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
    except ConnectionError:
        return False
    return line.startswith(b"HTTP/1.1 200 ")
