"""The client without `async`, with a real gateway."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ilink import ClientId, ConfigError, Cursor, OutgoingMessage, StaleTokenError, media_references
from ilink.messages.outgoing import text_item
from ilink.sync import Client
from ilink.sync.portal import open_portal
from ilink.wire.codec import decode
from ilink.wire.models import WeixinMessage


def client_of(around, account=None) -> Client:
    return Client(account or around.account, base_url=around.gateway.api_url)


async def test_a_script_polls_answers_and_moves_files(around, tmp_path: Path) -> None:
    await around.alice.says("hi")
    await around.sends_picture(b"\x89PNG\r\n\x1a\n" + bytes(100))

    def script() -> tuple[int, str | None]:
        with client_of(around) as client:
            batch = client.get_updates(Cursor(""))
            (reference,) = media_references(decode(batch.updates[1], WeixinMessage).value)
            client.media.download(reference, tmp_path / "picture")
            with client.media.open(reference) as pieces:
                assert b"".join(pieces) == (tmp_path / "picture").read_bytes()
            uploaded = client.media.upload(tmp_path / "picture", to=around.alice.user_id)
            assert client.media.read(uploaded.reference) == (tmp_path / "picture").read_bytes()
            item = text_item("You said: hi")
            receipt = client.send_message(
                OutgoingMessage(to=around.alice.user_id, item=item, client_id=ClientId("c-1"))
            )
            return len(batch.updates), receipt.message_id

    count, message_id = await asyncio.to_thread(script)
    assert count == 2
    assert message_id
    assert await around.alice.hears() == "You said: hi"


async def test_many_threads_share_a_client(around) -> None:
    def script() -> None:
        with client_of(around) as client, ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda _: client.get_config(around.alice.user_id).typing_ticket, range(40)))

    await around.alice.says("hi")
    await asyncio.to_thread(script)


async def test_errors_are_those_of_the_asynchronous_client(around) -> None:
    await around.gateway.rules.expire_bot(around.account.account_id)

    def script() -> None:
        with client_of(around) as client, pytest.raises(StaleTokenError):
            client.get_updates(Cursor(""))

    await asyncio.to_thread(script)


def test_a_closed_client_says_so_and_its_thread_has_ended() -> None:
    client = Client(base_url="http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="not open"):
        client.get_qr_code()
    before = set(threading.enumerate())
    with client:
        assert len(set(threading.enumerate()) - before) == 1
    assert {thread for thread in set(threading.enumerate()) - before if thread.name == "ilink"} == set()
    with pytest.raises(ConfigError, match="not open"):
        client.media.read  # noqa: B018


async def test_it_works_where_a_loop_runs_already_as_in_a_notebook(around) -> None:
    # The gateway lives in this very loop, so only what asks it nothing may be called from here.
    with client_of(around) as client:
        assert client.account == around.account


def test_a_portal_refuses_to_wait_for_itself() -> None:
    with open_portal() as portal:

        async def inside() -> None:
            portal.do(lambda: None)

        with pytest.raises(ConfigError, match="event loop"):
            portal.call(inside)


def test_a_block_gets_the_error_that_leaves_it_and_decides() -> None:
    seen: list[BaseException] = []

    @asynccontextmanager
    async def block(*, swallow: bool):
        task = asyncio.current_task()
        try:
            yield 7
        except ValueError as error:
            seen.append(error)
            assert asyncio.current_task() is task
            if not swallow:
                raise

    with open_portal() as portal:
        with portal.enter(lambda: block(swallow=True)) as value:
            assert value == 7
            raise ValueError("swallowed")
        with pytest.raises(ValueError, match="raised"), portal.enter(lambda: block(swallow=False)):
            raise ValueError("raised")
    assert [str(error) for error in seen] == ["swallowed", "raised"]


def test_what_fails_to_open_is_not_entered() -> None:
    @asynccontextmanager
    async def block():
        raise OSError("no")
        yield

    with open_portal() as portal, pytest.raises(OSError, match="no"), portal.enter(block):
        raise AssertionError


def test_a_wait_that_is_given_up_is_cancelled_in_the_loop() -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def forever() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def interrupt() -> None:
        assert begun.wait(5)
        os.kill(os.getpid(), signal.SIGINT)

    with open_portal() as portal:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            portal.call(forever)
        assert cancelled.wait(5)
