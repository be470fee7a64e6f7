"""The testing kit itself."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from ilink.testing import LocalGateway, Person


async def sign_in(session: aiohttp.ClientSession, gateway: LocalGateway, person: Person) -> str:
    """Log a bare bot in as a program under test would, with the person on the other side; return its token."""
    url = f"{gateway.api_url}/ilink/bot"

    async def ask() -> str:
        async with session.get(f"{url}/get_bot_qrcode?bot_type=3") as answer:
            return (await answer.json(content_type=None))["qrcode"]

    async with asyncio.TaskGroup() as group:
        befriending = group.create_task(person.befriend())
        asking = group.create_task(ask())
    async with session.get(f"{url}/get_qrcode_status", params={"qrcode": asking.result()}) as answer:
        status = await answer.json(content_type=None)
    assert status["ilink_bot_id"] == befriending.result()
    return status["bot_token"]


async def send(session: aiohttp.ClientSession, gateway: LocalGateway, token: str, user_id: str, text: str) -> None:
    item = {"type": 1, "text_item": {"text": text}}
    body = {
        "msg": {"to_user_id": user_id, "client_id": text, "message_type": 2, "message_state": 2, "item_list": [item]}
    }
    headers = {"Authorization": f"Bearer {token}", "AuthorizationType": "ilink_bot_token"}
    async with session.post(f"{gateway.api_url}/ilink/bot/sendmessage", json=body, headers=headers) as answer:
        assert (await answer.json(content_type=None))["ret"] == 0


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_person_befriends_a_bot_says_and_hears(ilink_gateway: LocalGateway, session) -> None:
    alice = await ilink_gateway.person("alice")
    token = await sign_in(session, ilink_gateway, alice)
    await alice.says("hi")
    await send(session, ilink_gateway, token, alice.user_id, "one")
    await send(session, ilink_gateway, token, alice.user_id, "two")
    assert [await alice.hears(), await alice.hears()] == ["one", "two"]


async def test_who_hears_nothing_is_told_what_was_said(ilink_gateway: LocalGateway, session) -> None:
    alice = await ilink_gateway.person("alice")
    await sign_in(session, ilink_gateway, alice)
    await alice.says("anybody there?")
    with pytest.raises(AssertionError, match=r"alice heard nothing .*in: anybody there\?"):
        await alice.hears(timeout=0.01)


async def test_who_has_no_bot_is_told_so(ilink_gateway: LocalGateway) -> None:
    alice = await ilink_gateway.person("alice")
    with pytest.raises(AssertionError, match="alice knows no bot yet"):
        await alice.says("hi")


async def test_who_scans_when_nobody_asks_is_told_so(ilink_gateway: LocalGateway) -> None:
    alice = await ilink_gateway.person("alice")
    with pytest.raises(AssertionError, match="nobody asked for a login code"):
        await alice.scans(timeout=0.01)


async def test_the_clock_moves_on_command(ilink_gateway: LocalGateway) -> None:
    await ilink_gateway.clock.freeze()
    before = ilink_gateway.rules.now
    await ilink_gateway.clock.advance(hours=25, minutes=1, seconds=1)
    assert (ilink_gateway.rules.now - before).total_seconds() == 25 * 3600 + 61
    await ilink_gateway.clock.run_on()
    assert ilink_gateway.rules.clock().frozen is False


async def test_the_same_seed_gives_the_same_people() -> None:
    ids = []
    for _ in range(2):
        async with LocalGateway(seed=7) as gateway:
            ids.append((await gateway.person("alice")).user_id)
    assert ids[0] == ids[1]


async def test_a_gateway_starts_and_stops_in_milliseconds() -> None:
    async with LocalGateway():
        pass  # whatever is loaded late is loaded now
    started = time.perf_counter()
    async with LocalGateway():
        pass
    assert time.perf_counter() - started < 0.5
