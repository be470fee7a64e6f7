"""What every transport promises, checked on all of them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator

import pytest
from transport_application import MEBIBYTE, Application

from ilink.errors import ConfigError, ConnectError, LocalProtocolError, OutcomeUnknownError, RemoteProtocolError
from ilink.transport.http import HttpTransport
from ilink.transport.memory import MemoryTransport
from ilink.transport.proxied import ProxiedTransport
from ilink.transport.proxies import ProxyMap
from ilink.transport.seam import Request, StreamedBody, Transport

Reach = tuple[Transport, str]


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


class TestTransport:
    async def test_request_arrives_as_it_was_given(self, reach: Reach) -> None:
        transport, url = reach
        body = '{"text":"早上好"}'.encode()
        request = Request(
            method="POST",
            url=f"{url}/prefix//ilink/bot/thing?a=%2F%2B&b=x%20y",
            headers={"Content-Type": "application/json", "Authorization": "Bearer a@im.bot:b"},
            body=body,
        )
        answer = await transport.send(request, timeout=5)
        seen = json.loads(answer.body)
        assert (seen["method"], seen["path"], seen["query"]) == ("POST", "/prefix//ilink/bot/thing", "a=%2F%2B&b=x%20y")
        assert seen["sha256"] == hashlib.sha256(body).hexdigest()
        assert seen["headers"]["content-type"] == "application/json"
        assert seen["headers"]["authorization"] == "Bearer a@im.bot:b"
        assert seen["headers"]["content-length"] == str(len(body))

    async def test_get_carries_no_body_and_no_content_type(self, reach: Reach) -> None:
        transport, url = reach
        seen = json.loads((await transport.send(Request(method="GET", url=f"{url}/x"), timeout=5)).body)
        assert seen["size"] == 0
        assert "content-type" not in seen["headers"]

    @pytest.mark.parametrize("status", [200, 201, 302, 307, 400, 404, 500, 524])
    async def test_any_status_is_an_answer_and_no_redirect_is_followed(
        self, reach: Reach, application: Application, status: int
    ) -> None:
        transport, url = reach
        answer = await transport.send(Request(method="GET", url=f"{url}/status/{status}"), timeout=5)
        assert answer.status == status
        assert answer.headers["x-kind"] == "Test"
        assert application.requests == [f"/status/{status}"]

    async def test_empty_answer_is_empty(self, reach: Reach) -> None:
        transport, url = reach
        assert (await transport.send(Request(method="GET", url=f"{url}/empty"), timeout=5)).body == b""

    async def test_cookies_are_not_kept(self, reach: Reach) -> None:
        transport, url = reach
        await transport.send(Request(method="GET", url=f"{url}/cookie"), timeout=5)
        seen = json.loads((await transport.send(Request(method="GET", url=f"{url}/x"), timeout=5)).body)
        assert "cookie" not in seen["headers"]

    async def test_many_requests_run_side_by_side(self, reach: Reach) -> None:
        transport, url = reach
        request = Request(method="POST", url=f"{url}/x", body=b"{}")
        answers = await asyncio.gather(*(transport.send(request, timeout=10) for _ in range(200)))
        assert {answer.status for answer in answers} == {200}

    async def test_answer_of_exactly_the_limit_is_taken(self, reach: Reach) -> None:
        transport, url = reach
        answer = await transport.send(Request(method="GET", url=f"{url}/large/1"), timeout=5, max_bytes=1 << 20)
        assert answer.body == MEBIBYTE

    async def test_answer_above_the_limit_is_given_up(self, reach: Reach) -> None:
        transport, url = reach
        with pytest.raises(RemoteProtocolError, match="larger than 1048575 bytes"):
            await transport.send(Request(method="GET", url=f"{url}/large/500"), timeout=5, max_bytes=(1 << 20) - 1)

    async def test_silence_is_an_unknown_outcome_that_timed_out(self, reach: Reach, application: Application) -> None:
        transport, url = reach
        with pytest.raises(OutcomeUnknownError, match=r"within 0\.05 s") as caught:
            await transport.send(Request(method="POST", url=f"{url}/hang", body=b"{}"), timeout=0.05)
        assert caught.value.timed_out
        await asyncio.wait_for(application.left.wait(), 45)

    async def test_application_learns_that_a_cancelled_caller_left(
        self, reach: Reach, application: Application
    ) -> None:
        transport, url = reach
        call = asyncio.create_task(transport.send(Request(method="POST", url=f"{url}/hang", body=b"{}"), timeout=60))
        await application.entered.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(application.left.wait(), 45)

    async def test_answer_that_breaks_off_is_an_unknown_outcome(self, reach: Reach) -> None:
        transport, url = reach
        with pytest.raises(OutcomeUnknownError, match="before the whole answer") as caught:
            await transport.send(Request(method="POST", url=f"{url}/break-mid-body", body=b"{}"), timeout=5)
        assert not caught.value.timed_out

    async def test_application_that_fails_before_it_answers_is_an_answer_500(self, reach: Reach) -> None:
        transport, url = reach
        answer = await transport.send(Request(method="POST", url=f"{url}/break-early", body=b"{}"), timeout=5)
        assert answer.status == 500

    async def test_nothing_listens_is_a_connect_error(self, reach: Reach) -> None:
        transport, _ = reach
        with pytest.raises(ConnectError, match="nothing was sent"):
            await transport.send(Request(method="POST", url="http://127.0.0.1:1/x", body=b"{}"), timeout=5)

    async def test_errors_show_no_query_and_no_user(self, reach: Reach) -> None:
        transport, url = reach
        address = url.replace("http://", "http://user:pass@") + "/hang?qrcode=hush"
        with pytest.raises((OutcomeUnknownError, ConnectError)) as caught:
            await transport.send(Request(method="GET", url=address), timeout=0.05)
        assert not any(secret in str(caught.value) for secret in ("hush", "user", "pass"))

    async def test_streamed_body_arrives_whole_with_its_size(self, reach: Reach) -> None:
        transport, url = reach
        body = StreamedBody(pieces(*[MEBIBYTE] * 8), 8 << 20)
        async with transport.open_stream(Request(method="POST", url=f"{url}/x", body=body), timeout=5) as stream:
            seen = json.loads(await stream.read(10_000))
        assert stream.status == 200
        assert seen["size"] == 8 << 20
        assert seen["headers"]["content-length"] == str(8 << 20)
        assert "transfer-encoding" not in seen["headers"]
        assert seen["sha256"] == hashlib.sha256(MEBIBYTE * 8).hexdigest()

    async def test_streamed_body_may_be_sent_whole_too(self, reach: Reach) -> None:
        transport, url = reach
        body = StreamedBody(pieces(b"ab", b"", b"c"), 3)
        answer = await transport.send(Request(method="POST", url=f"{url}/x", body=body), timeout=5)
        assert json.loads(answer.body)["sha256"] == hashlib.sha256(b"abc").hexdigest()

    @pytest.mark.parametrize(("size", "words"), [(2, "more"), (4, "fewer")])
    async def test_body_of_another_size_than_announced_is_our_error(self, reach: Reach, size: int, words: str) -> None:
        transport, url = reach
        body = StreamedBody(pieces(b"ab", b"c"), size)
        with pytest.raises(LocalProtocolError, match=words):
            async with transport.open_stream(Request(method="POST", url=f"{url}/x", body=body), timeout=5):
                pass

    async def test_error_of_the_body_is_raised_unchanged(self, reach: Reach) -> None:
        transport, url = reach
        broken = OSError("the disk is gone")

        async def body() -> AsyncIterator[bytes]:
            yield b"ab"
            raise broken

        request = Request(method="POST", url=f"{url}/x", body=StreamedBody(body(), 4))
        with pytest.raises(OSError, match="the disk is gone") as caught:
            async with transport.open_stream(request, timeout=5):
                pass
        assert caught.value is broken

    async def test_streamed_answer_comes_in_bounded_pieces(self, reach: Reach) -> None:
        transport, url = reach
        digest, largest = hashlib.sha256(), 0
        async with transport.open_stream(Request(method="GET", url=f"{url}/large/20"), timeout=5) as stream:
            async for chunk in stream.chunks():
                digest.update(chunk)
                largest = max(largest, len(chunk))
        assert digest.hexdigest() == hashlib.sha256(MEBIBYTE * 20).hexdigest()
        assert largest <= 4 << 20

    async def test_read_stops_at_its_limit(self, reach: Reach) -> None:
        transport, url = reach
        async with transport.open_stream(Request(method="GET", url=f"{url}/large/20"), timeout=5) as stream:
            assert await stream.read(10) == MEBIBYTE[:10]

    async def test_stalled_answer_times_out_between_pieces(self, reach: Reach, application: Application) -> None:
        transport, url = reach
        async with transport.open_stream(Request(method="GET", url=f"{url}/stall"), timeout=0.1) as stream:
            chunks = stream.chunks()
            assert await anext(chunks) == b"first"
            with pytest.raises(OutcomeUnknownError) as caught:
                await anext(chunks)
        assert caught.value.timed_out
        await asyncio.wait_for(application.left.wait(), 45)

    async def test_streamed_answer_that_breaks_off_is_an_unknown_outcome(self, reach: Reach) -> None:
        transport, url = reach
        async with transport.open_stream(Request(method="GET", url=f"{url}/break-mid-body"), timeout=5) as stream:
            with pytest.raises(OutcomeUnknownError, match="before the whole answer"):
                await stream.read(1000)

    async def test_slow_body_does_not_time_out_while_it_moves(self, reach: Reach) -> None:
        transport, url = reach

        async def body() -> AsyncIterator[bytes]:
            for _ in range(6):
                await asyncio.sleep(0.05)
                yield b"x"

        request = Request(method="POST", url=f"{url}/x", body=StreamedBody(body(), 6))
        async with transport.open_stream(request, timeout=0.2) as stream:
            assert json.loads(await stream.read(10_000))["size"] == 6

    async def test_answer_may_come_before_the_body_is_sent(self, reach: Reach) -> None:
        transport, url = reach
        body = StreamedBody(pieces(*[MEBIBYTE] * 64), 64 << 20)
        async with transport.open_stream(Request(method="POST", url=f"{url}/early", body=body), timeout=5) as stream:
            assert stream.status == 413
            assert await stream.read(100) == b"too large"

    async def test_leaving_a_stream_early_tells_the_application(self, reach: Reach, application: Application) -> None:
        transport, url = reach
        async with transport.open_stream(Request(method="GET", url=f"{url}/stall"), timeout=5) as stream:
            assert await stream.read(5) == b"first"
        await asyncio.wait_for(application.left.wait(), 45)

    async def test_nothing_is_left_running(self, reach: Reach, application: Application) -> None:
        transport, url = reach
        before = asyncio.all_tasks()
        for _ in range(3):
            application.left.clear()
            await give_up_waiting(transport, Request(method="POST", url=f"{url}/hang", body=b"{}"))
            await asyncio.wait_for(application.left.wait(), 45)
        for _ in range(20):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() <= before


async def give_up_waiting(transport: Transport, request: Request) -> None:
    """Ask, and give up once the request has left: a busy machine may take long to connect."""
    for power in range(10):
        try:
            await transport.send(request, timeout=0.02 * 2**power)
        except ConnectError:
            continue
        except OutcomeUnknownError:
            return
    pytest.fail("no request ever left")


@pytest.mark.parametrize(
    "transport",
    [HttpTransport(environ={}), ProxiedTransport(ProxyMap({})), MemoryTransport({})],
    ids=["http", "aiohttp", "memory"],
)
async def test_closed_transport_says_how_to_open_it(transport: Transport) -> None:
    with pytest.raises(ConfigError, match="async with"):
        await transport.send(Request(method="GET", url="http://127.0.0.1:1/"), timeout=1)
    with pytest.raises(ConfigError, match="async with"):
        async with transport.open_stream(Request(method="GET", url="http://127.0.0.1:1/"), timeout=1):
            pass
