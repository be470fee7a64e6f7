"""Our own connections: what a hostile server may write on them, when they are used again, what they leave behind."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import random
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_servers import OK, answering, post, raw_server, reset

from ilink.errors import (
    ConfigError,
    ConnectError,
    IlinkError,
    LocalProtocolError,
    OutcomeUnknownError,
    RemoteProtocolError,
)
from ilink.transport.connection import Connection
from ilink.transport.direct import DirectTransport
from ilink.transport.exchange import Exchange
from ilink.transport.gzipped import Gunzip
from ilink.transport.heads import Origin, write_head
from ilink.transport.seam import Request, StreamedBody

KIB = 1 << 10
MIB = 1 << 20


@pytest.fixture
async def http() -> AsyncIterator[DirectTransport]:
    async with DirectTransport() as transport:
        yield transport


def answer(headers: bytes, body: bytes = b"{}", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\n" + headers + b"\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked\r\n"


class TestFraming:
    @pytest.mark.parametrize(
        "wrong",
        [
            pytest.param(answer(b"Content-Length: 2\r\n" + CHUNKED, b"0\r\n\r\n"), id="length-and-chunks"),
            pytest.param(answer(b"Content-Length: 2\r\nContent-Length: 3\r\n"), id="two-lengths"),
            pytest.param(answer(b"Content-Length: 2, 2\r\n"), id="length-list"),
            pytest.param(answer(b"Content-Length: +2\r\n"), id="signed-length"),
            pytest.param(answer(b"Content-Length : 2\r\n"), id="blank-before-colon"),
            pytest.param(answer(b"Content-Length: 99999999999999999999999\r\n"), id="length-overflow"),
            pytest.param(answer(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), id="unasked-coding"),
            pytest.param(answer(b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"), id="chunks-not-last"),
            pytest.param(answer(b"Transfer-Encoding: identity\r\n"), id="identity-coding"),
            pytest.param(answer(CHUNKED + CHUNKED, b"0\r\n\r\n"), id="chunked-twice"),
            pytest.param(answer(CHUNKED, b"xyz\r\n"), id="chunk-size-no-number"),
            pytest.param(answer(CHUNKED, b"-1\r\n"), id="chunk-size-negative"),
            pytest.param(answer(CHUNKED, b"FFFFFFFFFFFFFFFFF\r\n{}"), id="chunk-size-overflow"),
            pytest.param(answer(CHUNKED, b"2\r\n{}}}\r\n0\r\n\r\n"), id="chunk-longer-than-its-size"),
            pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", id="bare-line-feeds"),
            pytest.param(answer(b"X: a\r\n b\r\nContent-Length: 2\r\n"), id="folded-header"),
            pytest.param(answer(b"X: a\rY: b\r\nContent-Length: 2\r\n"), id="bare-carriage-return"),
            pytest.param(answer(b"X: a\0b\r\nContent-Length: 2\r\n"), id="null-in-header"),
            pytest.param(answer(b"Content-Length: 2\r\n", status=b"000 OK"), id="status-zero"),
            pytest.param(answer(b"Content-Length: 2\r\n", status=b"99 OK"), id="two-digits"),
            pytest.param(answer(b"Content-Length: 2\r\n", status=b"2000 OK"), id="four-digits"),
            pytest.param(answer(b"Upgrade: x\r\nConnection: upgrade\r\n", status=b"101 Now"), id="unasked-upgrade"),
            pytest.param(answer(b"", b"x", status=b"101 Now"), id="bare-101"),
            pytest.param(answer(b"X: y\r\n" * 12_000 + b"Content-Length: 2\r\n"), id="many-headers"),
            pytest.param(answer(b"X: " + b"y" * 70_000 + b"\r\nContent-Length: 2\r\n"), id="long-header"),
            pytest.param(answer(b"y" * 200_000 + b": x\r\n"), id="long-name"),
            pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, id="many-interim-answers"),
            pytest.param(answer(b"X: y\r\n" * 700, b"", b"103 Hints") * 20, id="large-interim-answers"),
            pytest.param(answer(CHUNKED, b"2;" + b"x" * 300_000), id="endless-chunk-extension"),
            pytest.param(answer(CHUNKED, b"2\r\n{}\r\n0\r\nX: " + b"y" * 600_000), id="endless-trailer"),
            pytest.param(b"<html>go away</html>", id="no-head-at-all"),
        ],
    )
    async def test_answer_that_can_be_read_in_two_ways_is_refused(self, http: DirectTransport, wrong: bytes) -> None:
        async def write(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await raw.read_request(reader)
            writer.write(wrong)
            await reader.read()

        async with raw_server(write) as (raw, url):
            with pytest.raises(RemoteProtocolError, match="no HTTP"):
                await http.send(post(url), timeout=5)
            with pytest.raises(RemoteProtocolError):
                async with http.open_stream(post(url), timeout=5) as stream:
                    await stream.read(MIB)
            assert raw.connections == 2

    @pytest.mark.parametrize(
        ("right", "body"),
        [
            pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"{}", id="after-100"),
            pytest.param(answer(b"Link: x\r\n", b"", b"103 Early Hints") + OK, b"{}", id="after-103"),
            pytest.param(answer(CHUNKED, b"1;a=b\r\n{\r\n1\r\n}\r\n0\r\nX-Kind: no\r\n\r\n"), b"{}", id="chunks"),
            pytest.param(answer(b"Content-Length: 2\r\nX:\r\n"), b"{}", id="empty-header"),
            pytest.param(b"\r\n" + OK, b"{}", id="leading-blank-line"),
            pytest.param(answer(b"", b"", b"204 No Content"), b"", id="204"),
            pytest.param(answer(b"Content-Length: 10\r\n", b"", b"304 Not Modified"), b"", id="304-with-a-length"),
            pytest.param(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}", b"{}", id="1.0"),
            pytest.param(answer(b"Content-Length: 0\r\n", b""), b"", id="empty"),
        ],
    )
    async def test_right_answer_leaves_a_connection_for_the_next(
        self, http: DirectTransport, right: bytes, body: bytes
    ) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await raw.read_request(reader)
                writer.write(right)

        async with raw_server(serve) as (raw, url):
            for _ in range(3):
                whole = await http.send(post(url), timeout=5)
                assert (whole.body, whole.headers.get("link"), whole.headers.get("x-kind")) == (body, None, None)
                async with http.open_stream(post(url), timeout=5) as stream:
                    assert await stream.read(100) == body
            assert raw.connections == 1

    @pytest.mark.parametrize(
        "last",
        [
            pytest.param(answer(b"Connection: close\r\nContent-Length: 2\r\n"), id="close"),
            pytest.param(answer(b"Connection: close\r\nContent-Length: 2\r\n", b"{}more"), id="close-and-more"),
            pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", id="1.0"),
            pytest.param(b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", id="2.0"),
            pytest.param(OK + b"garbage", id="garbage"),
            pytest.param(OK + b"H", id="one-byte"),
            pytest.param(OK + answer(b"Content-Length: 4\r\n", b"evil"), id="second-answer"),
            pytest.param(OK + b"HTTP/1.1 100 Continue\r\n\r\n", id="interim-after"),
            pytest.param(answer(b"Content-Length: 10\r\n", b"0123456789", b"304 Not Modified"), id="body-after-304"),
        ],
    )
    async def test_what_stands_behind_an_answer_never_answers_the_next_request(
        self, http: DirectTransport, last: bytes
    ) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await raw.read_request(reader)
            writer.write(last)
            await reader.read()

        async with raw_server(serve) as (raw, url):
            for number in range(1, 4):
                assert (await http.send(post(url), timeout=5)).body in (b"{}", b"")
                assert raw.connections == number

    async def test_answer_that_comes_unasked_closes_its_connection(self, http: DirectTransport) -> None:
        asked, closed = asyncio.Event(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await raw.read_request(reader)
            writer.write(OK)
            await asked.wait()
            writer.write(answer(b"Content-Length: 4\r\n", b"evil"))
            assert await reader.read() == b""
            closed.set()

        async with raw_server(serve) as (raw, url):
            await http.send(post(url), timeout=5)
            asked.set()
            await asyncio.wait_for(closed.wait(), 45)
            assert (await http.send(post(url), timeout=5)).body == b"{}"
            assert raw.connections == 2

    async def test_body_without_a_length_ends_with_its_connection(self, http: DirectTransport) -> None:
        async with raw_server(answering(answer(b"", b"all"), b" of it")) as (raw, url):
            assert (await http.send(post(url), timeout=5)).body == b"all of it"
            async with http.open_stream(post(url), timeout=5) as stream:
                assert await stream.read(100) == b"all of it"
            assert raw.connections == 2

    async def test_body_without_a_length_that_is_reset_is_not_whole(self, http: DirectTransport) -> None:
        async with raw_server(answering(answer(b"", b"all"), then_reset=True)) as (_, url):
            with pytest.raises(OutcomeUnknownError):
                await http.send(post(url), timeout=5)

    async def test_server_that_speaks_first_gets_no_request(self, http: DirectTransport) -> None:
        greeted = asyncio.Event()

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP\r\n")
            greeted.set()
            assert b"hush" not in await reader.read()

        async with raw_server(greet) as (_, url):
            with pytest.raises((ConnectError, RemoteProtocolError, OutcomeUnknownError)):
                await http.send(post(url), timeout=5)
            assert greeted.is_set()


class TestStreams:
    async def test_slow_reader_keeps_the_server_waiting(self, http: DirectTransport) -> None:
        written = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal written
            await raw.read_request(reader)
            writer.write(answer(b"Content-Length: %d\r\n" % (64 * MIB), b""))
            for _ in range(1024):
                writer.write(b"x" * 64 * KIB)
                await writer.drain()
                written += 64 * KIB

        async with raw_server(serve) as (raw, url), http.open_stream(post(url), timeout=5) as stream:
            before = -1
            while written != before:  # until the server has been kept waiting for a while
                before = written
                await asyncio.sleep(0.05)
            assert written < 32 * MIB
            size = 0
            async for chunk in stream.chunks():
                size += len(chunk)
            assert size == 64 * MIB

    async def test_body_of_single_bytes_takes_little_memory(self, http: DirectTransport) -> None:
        count = 200_000
        body = b"1\r\nx\r\n" * count + b"0\r\n\r\n"
        async with raw_server(answering(answer(CHUNKED, body))) as (_, url):
            assert (await http.send(post(url), timeout=20)).body == b"x" * count
            async with http.open_stream(post(url), timeout=20) as stream:
                assert await stream.read(count + 1) == b"x" * count

    async def test_answer_that_was_left_cannot_be_read_any_more(self, http: DirectTransport) -> None:
        async with raw_server(answering(OK)) as (_, url):
            async with http.open_stream(post(url), timeout=5) as stream:
                pass
            with pytest.raises(ConfigError, match="async with"):
                await stream.read(10)

    async def test_early_answer_ends_the_upload_and_its_connection(self, http: DirectTransport) -> None:
        closed = asyncio.Event()

        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(b"Content-Length: 3\r\n", b"no!", b"413 Too Large"))
            while await reader.read(64 * KIB):
                pass
            closed.set()

        async def endless() -> AsyncIterator[bytes]:
            try:
                yield b"x"
                await asyncio.Event().wait()
            finally:
                ended.set()

        ended = asyncio.Event()
        async with raw_server(refuse) as (_, url):
            body = StreamedBody(endless(), 10 * MIB)
            whole = await http.send(post(url, body), timeout=5)
            assert (whole.status, whole.body) == (413, b"no!")
            await asyncio.wait_for(closed.wait(), 45)
            assert ended.is_set()

    async def test_early_answer_to_a_large_whole_body_closes_its_connection(self, http: DirectTransport) -> None:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await asyncio.Event().wait()

        async with raw_server(refuse) as (raw, url):
            for number in range(1, 3):
                assert (await http.send(post(url, b"x" * 64 * MIB), timeout=45)).body == b"{}"
                assert raw.connections == number

    async def test_cancelled_body_does_not_hang_its_request(self, http: DirectTransport) -> None:
        async def body() -> AsyncIterator[bytes]:
            yield b"x"
            raise asyncio.CancelledError

        async with raw_server(answering(OK)) as (_, url):
            with pytest.raises(LocalProtocolError, match="cancelled"):
                await http.send(post(url, StreamedBody(body(), 10)), timeout=5)


class TestCompression:
    async def test_compressed_answer_is_opened(self, http: DirectTransport) -> None:
        body = b"a word " * 100_000
        packed = gzip.compress(body[:1000]) + gzip.compress(body[1000:])
        head = answer(b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(packed), b"")
        async with raw_server(answering(head, packed)) as (raw, url):
            assert (await http.send(post(url), timeout=5)).body == body
            async with http.open_stream(post(url), timeout=5) as stream:
                assert await stream.read(MIB) == body
            assert all(b"Accept-Encoding: gzip\r\n" in head for head in raw.heads)

    @pytest.mark.parametrize("packed", [gzip.compress(b"words" * 50)[:-9], b"no gzip"], ids=["cut", "none"])
    async def test_broken_compression_is_no_answer(self, http: DirectTransport, packed: bytes) -> None:
        head = answer(b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(packed), b"")
        async with raw_server(answering(head, packed)) as (_, url):
            with pytest.raises((RemoteProtocolError, OutcomeUnknownError)):
                await http.send(post(url), timeout=5)
            with pytest.raises((RemoteProtocolError, OutcomeUnknownError)):
                async with http.open_stream(post(url), timeout=5) as stream:
                    await stream.read(MIB)

    async def test_compressed_bomb_comes_in_small_pieces(self, http: DirectTransport) -> None:
        packed = gzip.compress(b"\0" * (64 * MIB))
        head = answer(b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(packed), b"")
        async with raw_server(answering(head, packed)) as (_, url):
            async with http.open_stream(post(url), timeout=5) as stream:
                sizes = [len(chunk) async for chunk in stream.chunks()]
            assert (sum(sizes), max(sizes) <= 256 * KIB) == (64 * MIB, True)

    @given(parts=st.lists(st.binary(max_size=300), max_size=4), cut=st.integers(1, 50), room=st.integers(1, 64))
    def test_any_cut_of_a_compressed_body_opens_the_same(self, parts: list[bytes], cut: int, room: int) -> None:
        packed = b"".join(gzip.compress(part) for part in parts)
        gunzip, plain = Gunzip(), bytearray()
        for start in range(0, len(packed), cut):
            gunzip.feed(packed[start : start + cut])
            while piece := gunzip.take(room):
                assert len(piece) <= room
                plain += piece
        assert (bytes(plain), gunzip.is_whole) == (b"".join(parts), True)

    def test_what_is_no_gzip_is_an_error(self) -> None:
        gunzip = Gunzip()
        gunzip.feed(b"plain words")
        with pytest.raises(zlib.error):
            gunzip.take(10)


class TestHeads:
    def test_head_has_what_http_needs_and_what_was_given(self) -> None:
        headers = {"Authorization": "Bearer a@im.bot:b", "user-agent": "me"}
        request = Request(method="POST", url="http://h.example:81/p//q?a=%2F#part", headers=headers, body=b"{}")
        text = b"POST /p//q?a=%2F HTTP/1.1\r\nHost: h.example:81\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n"
        text += b"Authorization: Bearer a@im.bot:b\r\nuser-agent: me\r\nContent-Length: 2\r\n\r\n"
        assert write_head(request) == (Origin("http", "h.example", 81), text)

    @pytest.mark.parametrize(
        ("url", "origin", "first"),
        [
            ("https://h.example", Origin("https", "h.example", 443), b"GET / HTTP/1.1\r\nHost: h.example\r\n"),
            ("http://[::1]:8/x", Origin("http", "::1", 8), b"GET /x HTTP/1.1\r\nHost: [::1]:8\r\n"),
            ("http://H.example?q", Origin("http", "h.example", 80), b"GET /?q HTTP/1.1\r\nHost: H.example\r\n"),
        ],
    )
    def test_place_follows_from_the_url(self, url: str, origin: Origin, first: bytes) -> None:
        head = write_head(Request(method="GET", url=url))
        assert head.origin == origin
        assert head.text.startswith(first)
        assert b"Content-Length" not in head.text

    @pytest.mark.parametrize(
        "headers",
        [
            {"X": "a\r\nEvil: 1"},
            {"X": "a\nb"},
            {"X": "a\0b"},
            {"X\r\nEvil": "1"},
            {"X Y": "1"},
            {"X:": "1"},
            {"": "1"},
            {"Größe": "1"},
            {"Content-Length": "9"},
            {"transfer-encoding": "chunked"},
            {"Host": "elsewhere"},
            {"Connection": "close"},
        ],
    )
    def test_header_that_could_change_the_framing_is_refused(self, headers: dict[str, str]) -> None:
        with pytest.raises(ConfigError, match="does not allow"):
            write_head(Request(method="POST", url="http://h.example/", headers=headers, body=b""))

    @pytest.mark.parametrize(
        "url", ["http://h.example/a b", "http://h.example/a\r\nEvil: 1", "http://h.example/ä", "http://[::1", "//h/x"]
    )
    def test_url_that_is_not_encoded_is_refused(self, url: str) -> None:
        with pytest.raises(ConfigError, match="no usable URL"):
            write_head(Request(method="GET", url=url))

    def test_user_of_the_url_becomes_its_authorization(self) -> None:
        request = Request(method="GET", url="http://me:p%40ss@h.example/")
        assert b"Host: h.example\r\n" in write_head(request).text
        assert b"Authorization: Basic bWU6cEBzcw==\r\n" in write_head(request).text

    def test_user_and_token_together_are_refused_without_showing_either(self) -> None:
        request = Request(method="GET", url="http://me:pass@h.example/", headers={"authorization": "Bearer hush"})
        with pytest.raises(ConfigError, match="only one") as caught:
            write_head(request)
        assert not any(secret in str(caught.value) for secret in ("pass", "hush"))

    def test_words_outside_ascii_travel_as_utf_8(self) -> None:
        request = Request(method="GET", url="http://h.example/", headers={"X": "早上好\t!"})
        assert "X: 早上好\t!\r\n".encode() in write_head(request).text


class FakeSocket(asyncio.Transport):
    """What a connection writes on in the tests that feed it by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False

    def write(self, data: Any) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_closed

    def abort(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


WHOLE = [
    OK,
    answer(b"Content-Length: 11\r\nX-Words: \xe6\x97\xa9 early\r\nX-Empty:\r\nRetry-After: 3\r\n", b"hello world"),
    answer(CHUNKED + b"X: y\r\n", b"5;n=v\r\nhello\r\n6\r\n world\r\n0\r\nT: z\r\n\r\n"),
    b"HTTP/1.1 100 Continue\r\nX: no\r\n\r\n" + answer(b"Content-Length: 3\r\n", b"yes", b"429 Slow Down"),
    answer(b"Retry-After: 9\r\n", b"", b"204 No Content"),
    OK + b"trailing",
]


def take(chunks: list[bytes], *, max_bytes: int | None) -> tuple[Any, ...]:
    """Feed a connection, and return all that can be told of the answer afterwards."""

    async def feed() -> tuple[Any, ...]:
        connection, sock = Connection(Origin("http", "h", 80), lambda _: None), FakeSocket()
        connection.connection_made(sock)
        request = Request(method="GET", url="http://h/")
        exchange = Exchange(request, asyncio.get_running_loop(), max_bytes=max_bytes)
        connection.begin(exchange, b"", b"")
        for chunk in chunks:
            if not sock.is_closed:
                connection.data_received(chunk)
        body = b""
        if max_bytes is None:
            while piece := await exchange.next_piece(1):
                body += piece
        else:
            body = await exchange.wait_whole()
        told = exchange.status, exchange.headers, body, exchange.is_whole, connection.is_reusable
        connection.connection_lost(None)
        return told

    with asyncio.Runner() as runner:
        return runner.run(feed())


@pytest.mark.parametrize("max_bytes", [None, MIB], ids=["in-pieces", "whole"])
@pytest.mark.parametrize("whole", WHOLE, ids=["plain", "headers", "chunks", "interim", "204", "trailing"])
@given(cuts=st.lists(st.integers(0, 200), max_size=12))
def test_any_cut_of_an_answer_reads_the_same(whole: bytes, max_bytes: int | None, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[start:end] for start, end in itertools.pairwise(places) if end > start]
    assert take(pieces, max_bytes=max_bytes) == take([whole], max_bytes=max_bytes)


@pytest.mark.parametrize("whole", WHOLE, ids=["plain", "headers", "chunks", "interim", "204", "trailing"])
def test_answer_that_comes_byte_by_byte_reads_the_same(whole: bytes) -> None:
    single = [whole[place : place + 1] for place in range(len(whole))]
    assert take(single, max_bytes=MIB) == take([whole], max_bytes=MIB)


def test_what_the_answers_of_these_tests_say() -> None:
    assert take([WHOLE[1]], max_bytes=MIB) == (
        200,
        {"content-length": "11", "x-words": "早 early", "x-empty": "", "retry-after": "3"},
        b"hello world",
        True,
        True,
    )
    assert take([WHOLE[2]], max_bytes=MIB) == (
        200,
        {"transfer-encoding": "chunked", "x": "y"},
        b"hello world",
        True,
        True,
    )
    assert take([WHOLE[3]], max_bytes=MIB) == (429, {"content-length": "3"}, b"yes", True, True)
    assert take([WHOLE[5]], max_bytes=MIB) == (200, {"content-length": "2"}, b"{}", True, False)


def sockets() -> int:
    return sum("socket" in str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors by /proc")
async def test_storm_of_cancelled_requests_leaves_nothing_behind() -> None:
    """Every kind of request, given up at random points, on a server that answers in every way there is."""
    dice = random.Random(20)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await raw.read_request(reader)
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)
            match dice.randrange(6):
                case 0:
                    return reset(writer)
                case 1:
                    return writer.write(OK + b"more")
                case 2:
                    writer.write(OK[: dice.randrange(len(OK))])
                    await reader.read()
                case _:
                    for byte in OK:
                        writer.write(bytes([byte]))
                        if not dice.randrange(8):
                            await asyncio.sleep(0)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(4):
            await asyncio.sleep(0)
            yield b"xx"

    async def call(number: int) -> None:
        request = post(url, StreamedBody(body(), 8) if number % 3 else b"{}")
        if number % 2:
            await http.send(request, timeout=0.5)
        else:
            async with http.open_stream(request, timeout=0.5) as stream:
                await stream.read(2)

    before_tasks, before_sockets = asyncio.all_tasks(), sockets()
    async with raw_server(serve) as (raw, url):
        async with DirectTransport() as http:
            for number in range(300):
                calls = [asyncio.create_task(call(number + place)) for place in range(3)]
                for _ in range(dice.randrange(30)):
                    await asyncio.sleep(0)
                for task in calls:
                    task.cancel()
                results = await asyncio.gather(*calls, return_exceptions=True)
                wrong = [
                    error for error in results if not isinstance(error, None | IlinkError | asyncio.CancelledError)
                ]
                assert wrong == []
            assert http._pool is not None
            idle = sum(len(connections) for connections in http._pool._idle.values())
            assert len(http._pool._open) >= idle
            pool = http._pool
        assert not pool._open
        while asyncio.all_tasks() - before_tasks:  # noqa: ASYNC110  # the server's side ends as it notices
            await asyncio.sleep(0.01)
    while sockets() > before_sockets:  # noqa: ASYNC110  # likewise
        await asyncio.sleep(0.01)
    assert asyncio.all_tasks() <= before_tasks


async def test_closing_gives_up_what_is_under_way() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.read_request(reader)
        asked.set()
        await reader.read()

    asked = asyncio.Event()
    async with raw_server(silent) as (raw, url):
        async with DirectTransport() as http:
            call = asyncio.create_task(http.send(post(url), timeout=60))
            await asked.wait()
        with pytest.raises(OutcomeUnknownError):
            await call


async def test_name_with_several_addresses_is_reached_at_the_one_that_listens(http: DirectTransport) -> None:
    async with raw_server(answering(OK)) as (_, url):
        for _ in range(2):
            answered = await http.send(post(url.replace("127.0.0.1", "localhost")), timeout=5)
            assert answered.body == b"{}"


async def test_server_that_is_gone_before_the_request_is_a_connect_error() -> None:
    async with DirectTransport() as http:
        async with raw_server(answering(OK)) as (_, url):
            pass
        with pytest.raises(ConnectError, match="nothing was sent"):
            await http.send(post(url), timeout=5)


def test_straight_way_loads_no_aiohttp() -> None:
    program = "import sys, ilink.transport.http; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
