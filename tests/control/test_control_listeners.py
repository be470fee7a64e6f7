from __future__ import annotations

import asyncio
from contextlib import suppress

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


async def talk(listener: Listener, *pieces: bytes) -> bytes:
    """Send bytes and return everything that comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(45):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_headers_without_end_are_refused() -> None:
    listener = Listener.bind("127.0.0.1:0")
    await listener.start(hello)
    line = b"x-filler: " + b"a" * 1000 + b"\r\n"
    answer = await talk(listener, b"GET / HTTP/1.1\r\nhost: localhost\r\n", *[line] * 100)
    # The refusal may be lost, since the caller was still writing when the connection was closed.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    await listener.aclose(grace=1)


async def test_a_connection_that_says_nothing_is_closed() -> None:
    listener = Listener.bind("127.0.0.1:0")
    await listener.start(hello, head_seconds=0.05)
    assert await talk(listener) == b""
    assert await talk(listener, b"GET / HTTP/1.1\r\nhost: loc") == b""
    await listener.aclose(grace=1)


async def test_a_request_that_is_answered_slowly_is_not_cut() -> None:
    async def slow(scope, receive, send) -> None:
        await asyncio.sleep(0.1)
        await hello(scope, receive, send)

    listener = Listener.bind("127.0.0.1:0")
    await listener.start(slow, head_seconds=0.05)
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.get(listener.url) as answer:
                assert await answer.text() == "hello"
    await listener.aclose(grace=1)


async def test_requests_in_one_piece_are_answered_in_order() -> None:
    listener = Listener.bind("127.0.0.1:0")
    await listener.start(hello)
    request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    assert (await talk(listener, request * 20 + last)).count(b"hello") == 21
    await listener.aclose(grace=1)


@pytest.mark.parametrize("request_line", [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET \xff HTTP/1.1\r\n\r\n"])
async def test_what_is_no_http_is_refused(request_line: bytes) -> None:
    listener = Listener.bind("127.0.0.1:0")
    await listener.start(hello)
    assert (await talk(listener, request_line)).startswith(b"HTTP/1.1 400 ")
    await listener.aclose(grace=1)
