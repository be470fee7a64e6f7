"""A connection on which nothing comes is closed, and no other; a request that comes whole is timed by nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from ilink.gateway import listeners
from ilink.gateway.bounds import BoundedProtocol
from ilink.gateway.listeners import Listener

REQUEST = b"POST / HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Caller:
    """One connection to a server that answers when it may."""

    listener: Listener
    may_answer: asyncio.Event
    is_asked: asyncio.Event
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def served_by(self) -> BoundedProtocol:
        server = self.listener._server
        assert server is not None
        (protocol,) = server.server_state.connections
        assert isinstance(protocol, BoundedProtocol)
        return protocol

    async def ask(self) -> None:
        self.writer.write(REQUEST)
        await self.answered()

    async def answered(self) -> None:
        assert (await self.reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200")


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    may_answer, is_asked = asyncio.Event(), asyncio.Event()
    may_answer.set()

    async def app(_scope, receive, send) -> None:
        await receive()
        is_asked.set()
        await may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    listener = Listener.bind("127.0.0.1:0")
    await listener.start(app)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    yield Caller(listener, may_answer, is_asked, reader, writer)
    writer.close()
    await listener.aclose(grace=1)


async def test_a_connection_is_closed_when_nothing_came_for_so_long(caller: Caller) -> None:
    await caller.ask()
    protocol = caller.served_by
    assert protocol._idle_since is not None
    protocol._idle_since -= listeners.KEEP_ALIVE
    protocol.timeout_keep_alive_handler()
    assert await caller.reader.read() == b""


async def test_a_connection_on_which_something_came_is_kept_and_looked_at_again(caller: Caller) -> None:
    await caller.ask()
    await caller.ask()
    protocol = caller.served_by
    first = protocol.timeout_keep_alive_task
    protocol.timeout_keep_alive_handler()
    assert protocol.timeout_keep_alive_task not in (None, first)
    assert first is not None
    first.cancel()
    await caller.ask()


async def test_one_timer_serves_for_many_requests(caller: Caller) -> None:
    await caller.ask()
    first = caller.served_by.timeout_keep_alive_task
    assert first is not None
    for _ in range(3):
        await caller.ask()
    assert caller.served_by.timeout_keep_alive_task is first


async def test_a_connection_that_waits_for_its_answer_is_not_idle(caller: Caller) -> None:
    await caller.ask()
    caller.may_answer.clear()
    caller.is_asked.clear()
    caller.writer.write(REQUEST)
    await caller.is_asked.wait()
    protocol = caller.served_by
    protocol.timeout_keep_alive_handler()
    assert protocol.timeout_keep_alive_task is None
    caller.may_answer.set()
    await caller.answered()
    assert protocol.timeout_keep_alive_task is not None


async def test_the_timer_ends_with_its_connection(caller: Caller) -> None:
    await caller.ask()
    protocol = caller.served_by
    timer = protocol.timeout_keep_alive_task
    assert timer is not None
    caller.writer.close()
    while protocol in protocol.connections:  # noqa: ASYNC110  # a connection tells nobody
        await asyncio.sleep(0.005)
    assert timer.cancelled()


async def test_only_a_request_that_comes_in_pieces_is_timed(caller: Caller) -> None:
    await caller.ask()
    protocol = caller.served_by
    assert protocol._too_slow is None
    caller.writer.write(REQUEST[:30])
    while protocol._too_slow is None:  # noqa: ASYNC110  # a connection tells nobody
        await asyncio.sleep(0.005)
    caller.writer.write(REQUEST[30:])
    await caller.answered()
    assert protocol._too_slow is None


async def test_requests_that_were_written_at_once_are_answered_in_turn(caller: Caller) -> None:
    caller.writer.write(REQUEST * 3)
    for _ in range(3):
        await caller.answered()
    assert caller.served_by._idle_since is not None
