"""Typing tickets, and who is seen typing (protocol §3.3)."""

from __future__ import annotations

import pytest
from gateway_house import BotClient, House


async def ticket(house: House, bot: BotClient, alice: str) -> str:
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    return (await bot.call("getconfig", {"ilink_user_id": alice}))["typing_ticket"]


async def test_there_is_no_ticket_before_the_person_wrote(house: House, bot: BotClient, alice: str) -> None:
    answer = await bot.call("getconfig", {"ilink_user_id": alice})
    assert answer == {"ret": -4, "errmsg": "GetTypingTicket rpc failed"}
    answer = await bot.call("getconfig", {"ilink_user_id": alice.lower()})
    assert answer == {"ret": -3, "errmsg": "invalid arguments"}


async def test_a_ticket_stays_for_half_its_life(house: House, bot: BotClient, alice: str) -> None:
    first = await ticket(house, bot, alice)
    assert first.startswith("AARTBK8F")
    assert await ticket(house, bot, alice) == first
    await house.gateway.advance_clock(43_200)
    assert await ticket(house, bot, alice) != first


async def test_a_ticket_ends(house: House, bot: BotClient, alice: str) -> None:
    body = {"ilink_user_id": alice, "typing_ticket": await ticket(house, bot, alice), "status": 1}
    await house.gateway.advance_clock(86_399)
    assert (await bot.call("sendtyping", body))["ret"] == 0
    await house.gateway.advance_clock(2)
    assert (await bot.call("sendtyping", body))["ret"] == -2


async def test_a_ticket_is_for_one_person(house: House, bot: BotClient, alice: str) -> None:
    await ticket(house, bot, alice)
    bob = await house.person("bob")
    body = {"ilink_user_id": alice, "typing_ticket": await ticket(house, bot, bob), "status": 1}
    assert (await bot.call("sendtyping", body))["ret"] == -2
    assert not house.gateway.typing(bot.bot_id, alice).typing
    assert not house.gateway.typing(bot.bot_id, bob).typing


@pytest.mark.parametrize("status", [1, None, ...])
async def test_typing_is_seen_until_it_is_cancelled(house: House, bot: BotClient, alice: str, status: object) -> None:
    body = {"ilink_user_id": alice, "typing_ticket": await ticket(house, bot, alice), "status": status}
    body = {key: value for key, value in body.items() if value is not ...}
    seen = house.gateway.events.newest
    await bot.call("sendtyping", body)
    view = house.gateway.typing(bot.bot_id, alice)
    assert view.typing
    assert view.since is not None
    await bot.call("sendtyping", {**body, "status": 2})
    assert not house.gateway.typing(bot.bot_id, alice).typing
    await bot.call("sendtyping", {**body, "status": 2})
    typing = [event.data["typing"] for event in house.gateway.events.after(seen) if event.kind == "typing"]
    assert typing == [True, False]


async def test_typing_ends_by_itself_unless_it_is_renewed(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(typing__shown_s=10)
    body = {"ilink_user_id": alice, "typing_ticket": await ticket(house, bot, alice), "status": 1}
    await bot.call("sendtyping", body)
    await house.gateway.advance_clock(9)
    await bot.call("sendtyping", body)
    await house.gateway.advance_clock(9)
    assert house.gateway.typing(bot.bot_id, alice).typing
    await house.gateway.advance_clock(1)
    assert not house.gateway.typing(bot.bot_id, alice).typing


async def test_notifystart_and_notifystop_are_recorded(house: House, bot: BotClient) -> None:
    await bot.call("msg/notifystart", {"base_info": {}})
    assert (await house.gateway.bot(bot.bot_id)).is_notified
    await bot.begin("msg/notifystop", raw=b"").answer()
    assert not (await house.gateway.bot(bot.bot_id)).is_notified
