"""Ten thousand connections at a time to a gateway in a process of its own, and what is left of them in it."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import pytest

from ilink.gateway.server import Info

CONNECTIONS: Final = 10_000
FEWER: Final = 3_000
"""How many come in each of three crowds before that, of which the last two are compared by the memory they leave."""
SPARE: Final = 300
"""Files that each side has open besides."""
A_LEAK: Final = 500
"""Bytes of each connection that would be one: a lost connection is seven thousand."""

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="descriptors and memory are read from /proc"),
    pytest.mark.timeout(300),
]

PING = b"GET /ilink/bot/get_qrcode_status?qrcode=x HTTP/1.1\r\nHost: x\r\n\r\n"
KINDS: Final = (
    b"",  # silent
    b"POST /ilink/bot/sendmessage HTTP/1.1\r\nHost: x\r\nX-Slow: ",  # within its headers
    b"POST /ilink/bot/sendmessage HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",  # within its body
    PING * 15,  # pipelined
    PING[:20],  # half-closed in the middle of a request
)

LAUNCHER = """
import resource, sys
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, most), most))  # as a shell gives it
from ilink.gateway.server import ServerOptions, run
sys.exit(run(ServerOptions(ready_json=True, synchronous="OFF", knobs={"qr.hold_ms": 0})))
"""


@dataclass
class Running:
    """A gateway in a process of its own."""

    pid: int
    port: int
    control_url: str

    @property
    def descriptors(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    @property
    def memory(self) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

    async def is_alive(self) -> bool:
        async with aiohttp.ClientSession() as http, http.get(f"{self.control_url}/_sim/health") as answer:
            return answer.status == 200

    async def is_served(self) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(PING)
        line = await reader.readline()
        writer.close()
        return line.startswith(b"HTTP/1.1 200")


@pytest.fixture
def many_files() -> Iterator[int]:
    """As many files as the system allows this process, for the test; what it yields is how many connections fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield min(CONNECTIONS, hard - SPARE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LAUNCHER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    info = msgspec.json.decode(await process.stdout.readline(), type=Info)
    yield Running(process.pid, int(info.api_url.rpartition(":")[2]), info.control_url)
    process.terminate()
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")


async def crowd(running: Running, count: int) -> list[socket.socket]:
    """Open connections of every kind; none is turned away."""
    loop = asyncio.get_running_loop()
    opened: list[socket.socket] = []
    for number in range(count):
        connection = socket.socket()
        connection.setblocking(False)
        opened.append(connection)
        await loop.sock_connect(connection, ("127.0.0.1", running.port))
        kind = KINDS[number % len(KINDS)]
        if kind:
            await loop.sock_sendall(connection, kind)
        if kind == PING[:20]:
            connection.shutdown(socket.SHUT_WR)
        if number % 1000 == 0:
            assert await running.is_served()
    return opened


async def settled(running: Running, descriptors: int) -> None:
    """Wait until the gateway has let go of a crowd."""
    while running.descriptors > descriptors:
        assert await running.is_served()


async def test_ten_thousand_connections_are_held_and_leave_nothing_behind(running: Running, many_files: int) -> None:
    if many_files < CONNECTIONS:
        pytest.skip(f"the system allows a process {many_files + SPARE:,} files, fewer than 10,000 connections need")
    assert await running.is_served()
    assert await running.is_alive()
    before = running.descriptors
    memory: list[int] = []
    for count in (FEWER, FEWER, FEWER, many_files):
        connections = await crowd(running, count)
        try:
            # The half-closed ones are let go, and so are those whose head or body is late on a slow machine.
            assert await running.is_served()
            assert await running.is_alive()
        finally:
            for connection in connections:
                connection.close()
        await settled(running, before + 5)
        memory.append(running.memory)
    # The first crowd fills what is kept on purpose, the wire log and the events, and the allocator's pools; and before
    # the large one, which leaves pools that would hide a leak.
    assert memory[2] - memory[1] < A_LEAK * FEWER, memory


async def test_a_gateway_takes_as_many_connections_as_the_system_allows(running: Running) -> None:
    limits = Path(f"/proc/{running.pid}/limits").read_text().splitlines()
    (files,) = (line.split()[3:5] for line in limits if line.startswith("Max open files"))
    assert files[0] == files[1]
    with contextlib.suppress(ValueError):
        assert int(files[0]) >= 1024
