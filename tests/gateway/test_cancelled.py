"""A request that ends anywhere, as its caller leaves or the gateway stops, has its whole effect or none at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path

import pytest
from fault_house import open_fault_house
from gateway_house import BotClient, House, open_house

from ilink.gateway.problems import ConflictError
from ilink.wire.ids import AccountId

TURNS = range(24)
"""How often the event loop goes round before the request is cancelled; the last ones find it done."""


async def interrupted(request: Awaitable[object], turns: int) -> None:
    """Begin a request, and cancel it where it is by then."""
    task = asyncio.ensure_future(request)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_send_is_stored_once_when_its_client_sends_it_again(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(quota__per_inbound=1000)
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    for turns in TURNS:
        message = bot.message(alice, "answer", client_id=f"c-{turns}")
        await interrupted(bot.call("sendmessage", message), turns)
        assert (await bot.call("sendmessage", message))["ret"] == 0
    entries = await house.gateway.transcript(bot.bot_id, alice)
    assert [entry.client_id for entry in entries if entry.direction == "out"] == [f"c-{turns}" for turns in TURNS]
    (window,) = (await house.gateway.mailbox(bot.bot_id)).windows
    assert window.sends == len(TURNS)


async def test_a_poll_loses_no_message_and_leaves_no_wait(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(poll__hold_ms=0)
    for turns in TURNS:
        posted = await house.gateway.post_message(alice, bot.bot_id, text="hello")
        before = bot.cursor
        await interrupted(bot.begin_poll(before).task, turns)
        (message,) = (await bot.poll(before))["msgs"]
        assert str(message["message_id"]) == posted.message_id
        await interrupted(bot.begin_poll().task, turns)  # this one acknowledges
        assert (await bot.poll())["msgs"] == []
    assert (await house.gateway.bot(bot.bot_id)).waiting_polls == 0
    box = await house.gateway.mailbox(bot.bot_id)
    assert (box.acked_seq, box.head_seq) == (len(TURNS), len(TURNS))


async def test_a_persons_message_is_in_chat_and_mailbox_or_in_neither(house: House, bot: BotClient, alice: str) -> None:
    for turns in TURNS:
        await interrupted(house.gateway.post_message(alice, bot.bot_id, text=f"n {turns}"), turns)
    await house.gateway.post_message(alice, bot.bot_id, text="what was begun before this is stored with it, or never")
    said = [entry.message_id for entry in await house.gateway.transcript(bot.bot_id, alice)]
    read = [str(message["message_id"]) for message in (await bot.poll())["msgs"]]
    assert read == said


async def test_a_login_binds_one_bot_whenever_its_confirmation_ends(house: House, alice: str) -> None:
    for turns in TURNS:
        qrcode = await house.qrcode()
        await interrupted(house.gateway.confirm(qrcode, user_id=alice), turns)
        with suppress(ConflictError):  # it took effect
            await house.gateway.confirm(qrcode, user_id=alice)
        answer = await house.status(qrcode)
        assert answer["status"] == "confirmed"
        live = [bot.bot_id for bot in await house.gateway.bots() if bot.state == "live"]
        assert live == [answer["ilink_bot_id"]]


@pytest.mark.of_a_folder("about a gateway that has its store for itself")
@pytest.mark.parametrize("what", ["expire_bot", "rebind_bot", "rotate_bot"])
async def test_a_bot_is_in_memory_what_it_is_in_the_store(tmp_path: Path, what: str) -> None:
    async with open_house(tmp_path) as house:
        await house.knobs(bind__single=False)
        alice = await house.person()
        for turns in TURNS:
            bot = await house.login(alice)
            await interrupted(getattr(house.gateway, what)(AccountId(bot.bot_id)), turns)
        before = [(bot.bot_id, bot.state, bot.generation) for bot in await house.gateway.bots()]
    async with open_house(tmp_path, seed=None) as house:
        assert [(bot.bot_id, bot.state, bot.generation) for bot in await house.gateway.bots()] == before


async def test_an_upload_is_whole_or_leaves_nothing_that_the_sweep_does_not_take(tmp_path: Path) -> None:
    async with open_fault_house(tmp_path, "memory") as there:
        for turns in TURNS:
            permission = await there.permission()
            await interrupted(there.upload(permission), turns)
            again = await there.upload(permission)
            assert again.status == 200 or "used" in again.headers["x-error-message"], again
        media, folder = there.house.gateway.media, there.house.gateway._folder
        whole = {path.name for path in folder.glob("blobs/??/*")}
        assert {path.name for path in folder.glob("blobs/**/*") if path.is_file()} == whole  # none is half written
        assert len(await media.names()) == len(TURNS)
        await there.house.gateway.advance_clock(8 * 86_400)
        await media.sweep()
        assert [path for path in folder.glob("blobs/**/*") if path.is_file()] == []
