from __future__ import annotations

import asyncio

import aiohttp
import pytest

from ilink.errors import ConfigError
from ilink.gateway.listeners import Listener, parse_address


async def hello(scope, receive, send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("localhost:8080", ("localhost", 8080)),
        ("[::1]:65535", ("::1", 65535)),
        (" 0.0.0.0:1 ", ("0.0.0.0", 1)),
    ],
)
def test_addresses_are_read(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "8080", ":8080", "host", "host:", "host:65536", "host:-1", "::1:80", "a b:1", "h:٣"]
)
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        parse_address(text)


async def test_the_port_is_known_before_anything_is_served() -> None:
    listener = Listener.bind("127.0.0.1:0")
    try:
        assert listener.port > 0
        assert listener.url == f"http://127.0.0.1:{listener.port}"
    finally:
        listener.release()


async def test_a_taken_address_is_refused_by_name() -> None:
    first = Listener.bind("127.0.0.1:0")
    try:
        with pytest.raises(ConfigError, match=rf"cannot listen on 127.0.0.1:{first.port}"):
            Listener.bind(f"127.0.0.1:{first.port}")
    finally:
        first.release()


async def test_a_name_that_is_no_host_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot listen on"):
        Listener.bind("no-such-host.invalid:0")


async def test_answers_tell_neither_server_nor_date() -> None:
    listener = Listener.bind("127.0.0.1:0")
    await listener.start(hello)
    async with aiohttp.ClientSession() as session, session.get(listener.url) as answer:
        assert await answer.text() == "hello"
        assert {"server", "date"} & {name.lower() for name in answer.headers} == set()
    await listener.aclose(grace=1)


async def test_a_request_that_runs_is_answered_when_the_listener_stops() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(scope, receive, send) -> None:
        asked.set()
        await go_on.wait()
        await hello(scope, receive, send)

    listener = Listener.bind("127.0.0.1:0")
    await listener.start(slow)
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:

        async def ask() -> tuple[str, str]:
            async with session.get(listener.url) as answer:
                return await answer.text(), answer.headers["connection"]

        asking = group.create_task(ask())
        await asked.wait()
        listener.stop_accepting()
        go_on.set()
        await listener.aclose(grace=5)
        # Told to close, the caller does not send its next request into a connection that nobody reads any more.
        assert await asking == ("hello", "close")


async def test_a_request_that_never_ends_is_cut_after_the_grace() -> None:
    asked = asyncio.Event()

    async def forever(scope, receive, send) -> None:
        asked.set()
        await asyncio.Event().wait()

    listener = Listener.bind("127.0.0.1:0")
    await listener.start(forever)
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:

        async def ask() -> None:
            with pytest.raises(aiohttp.ClientError):
                await session.get(listener.url)

        group.create_task(ask())
        await asked.wait()
        await listener.aclose(grace=0.01)


async def test_a_closed_listener_takes_no_connection() -> None:
    listener = Listener.bind("127.0.0.1:0")
    await listener.start(hello)
    await listener.aclose(grace=1)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(listener.url)
