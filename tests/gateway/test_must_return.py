"""Protocol §8.2: what the gateway must return, row by row. R12 to R14 are tested with the CDN."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Any

import pytest
from gateway_house import API_URL, Answer, BotClient, House
from test_must_accept import upload

EVERY_CALL: list[tuple[str, dict[str, object]]] = [
    ("getupdates", {"get_updates_buf": ""}),
    ("sendmessage", {"msg": {"to_user_id": "nobody@im.wechat"}}),
    ("sendmessage", {}),
    ("getconfig", {}),
    ("getconfig", {"ilink_user_id": "nobody@im.wechat"}),
    ("sendtyping", {}),
    ("getuploadurl", {}),
    ("msg/notifystart", {}),
    ("msg/notifystop", {}),
]


def assert_well_formed(answer: Answer) -> None:
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json
    assert isinstance(body, dict)
    for slot in ("ret", "errcode"):
        assert slot not in body or type(body[slot]) is int
    assert type(body["ret"]) is int
    assert None not in body.values()


@pytest.mark.parametrize(("endpoint", "body"), EVERY_CALL)
@pytest.mark.parametrize("token", [None, "wrong"])
async def test_r01_every_answer_is_200_and_an_object_without_nulls(
    house: House, bot: BotClient, endpoint: str, body: dict[str, object], token: str | None
) -> None:
    await house.knobs(poll__hold_ms=0, poll__error_delay_ms=0)
    if token is not None:
        bot.token = token
    assert_well_formed(await bot.begin(endpoint, body).answer())


async def test_r02_success_says_ret_0_everywhere(house: House, alice: str, bot: BotClient) -> None:
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    assert (await bot.poll())["ret"] == 0
    assert (await bot.send(alice))["ret"] == 0
    config = await bot.call("getconfig", {"ilink_user_id": alice})
    assert config["ret"] == 0
    typing = {"ilink_user_id": alice, "typing_ticket": config["typing_ticket"]}
    assert await bot.call("sendtyping", typing) == {"ret": 0}
    assert await bot.call("msg/notifystart", {}) == {"ret": 0}
    assert await bot.call("msg/notifystop", {}) == {"ret": 0}
    assert (await bot.call("getuploadurl", upload(alice)))["ret"] == 0
    assert (await house.status(await house.qrcode()))["ret"] == 0
    assert (await house.status("0" * 32)) == {"ret": 0, "status": "expired"}


async def test_r03_a_code_and_its_link_are_texts(house: House) -> None:
    answer = (await house.caller.call("POST", "/ilink/bot/get_bot_qrcode", {})).json
    assert re.fullmatch("[0-9a-f]{32}", answer["qrcode"])
    link = rf"https://liteapp\.weixin\.qq\.com/q/\w+\?qrcode={answer['qrcode']}&bot_type=3"
    assert re.fullmatch(link, answer["qrcode_img_content"])


async def test_r04_confirmed_carries_all_credentials(house: House, alice: str) -> None:
    qrcode = await house.qrcode()
    view = await house.gateway.confirm(qrcode, user_id=alice)
    answer = await house.status(qrcode)
    assert answer["ilink_bot_id"] == view.bot_id
    assert re.fullmatch("[0-9a-f]{12}@im\\.bot", answer["ilink_bot_id"])
    assert re.fullmatch("o9cq80[A-Za-z0-9]{22}@im\\.wechat", answer["ilink_user_id"])
    assert (answer["ilink_user_id"], answer["baseurl"]) == (alice, API_URL)
    assert answer["bot_token"].startswith(answer["ilink_bot_id"] + ":")


async def inbound(house: House, bot: BotClient, alice: str) -> dict[str, Any]:
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    (message,) = (await bot.poll())["msgs"]
    return message


async def test_r05_inbound_messages_are_complete(house: House, bot: BotClient, alice: str) -> None:
    message = await inbound(house, bot, alice)
    assert (message["from_user_id"], message["to_user_id"]) == (alice, bot.bot_id)
    assert (message["message_type"], message["message_state"]) == (1, 2)
    assert message["client_id"]
    assert message["create_time_ms"] > 1_700_000_000_000
    assert message["context_token"].startswith("AARzJWAF")
    assert len(message["context_token"]) == 136
    base64.b64decode(message["context_token"], validate=True)
    assert message["item_list"][0]["text_item"] == {"text": "hello"}


@pytest.mark.parametrize("style", ["svr_id", "embedded"])
async def test_r06_only_plain_item_types_and_ids_as_text(house: House, bot: BotClient, alice: str, style: str) -> None:
    from ilink.gateway.views import Quote

    await house.knobs(quote__style=style)
    first = await house.gateway.post_message(alice, bot.bot_id, text="hello")
    await house.gateway.post_message(alice, bot.bot_id, text="that", quote=Quote(message_id=first.message_id))
    message = (await bot.poll())["msgs"][1]
    (item,) = message["item_list"]
    assert item["type"] == 1
    quote = item["ref_msg"]
    if style == "svr_id":
        assert quote == {"svr_id": first.message_id}
    else:
        assert (quote["message_item"]["type"], quote["message_item"]["msg_id"]) == (1, first.message_id)


async def test_r07_message_ids_and_seqs_are_numbers_below_2_to_the_63(house: House, bot: BotClient, alice: str) -> None:
    message = await inbound(house, bot, alice)
    assert type(message["message_id"]) is int
    assert 2**53 < message["message_id"] < 2**63
    assert (type(message["seq"]), message["seq"]) == (int, 1)


async def test_r08_every_poll_returns_a_cursor(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(poll__hold_ms=0)
    empty = await bot.poll()
    assert re.fullmatch("[A-Za-z0-9_-]{40}", empty["get_updates_buf"])
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    full = await bot.poll()
    assert re.fullmatch("[A-Za-z0-9_-]{40}", full["get_updates_buf"])
    assert full["get_updates_buf"] != empty["get_updates_buf"]


async def test_r09_the_suggested_timeout_leaves_room_for_the_hold(house: House, bot: BotClient, alice: str) -> None:
    knobs = house.gateway.config().knobs
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    suggestion = (await bot.poll())["longpolling_timeout_ms"]
    assert knobs["poll.hold_ms"] + 5000 <= suggestion <= 35_000
    await house.knobs(poll__suggest_ms=0)
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    assert "longpolling_timeout_ms" not in await bot.poll()


async def test_r10_a_held_poll_is_answered_as_soon_as_a_message_comes(house: House, bot: BotClient, alice: str) -> None:
    assert house.gateway.config().knobs["poll.hold_ms"] < 35_000
    poll = bot.begin_poll()
    await house.held(bot)
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    answer = await poll.answer()
    assert len(answer.json["msgs"]) == 1
    assert [message["type"] for message in answer.messages] == ["http.response.start", "http.response.body"]


async def test_r10_headers_are_not_sent_before_the_body(house: House, bot: BotClient) -> None:
    poll = bot.begin_poll()
    await house.held(bot)
    await poll.leave()  # asserts that nothing was sent


async def test_r10_an_empty_poll_is_answered_at_the_end_of_the_hold(house: House, bot: BotClient) -> None:
    await house.gateway.freeze_clock(frozen=True)
    poll = bot.begin_poll()
    await house.held(bot)
    await house.gateway.advance_clock(29.9)
    assert not poll.task.done()
    await house.gateway.advance_clock(0.2)
    assert (await poll.answer()).json["msgs"] == []


async def test_r10b_a_code_is_made_at_once_and_its_status_held_10_seconds_at_most(house: House) -> None:
    await house.gateway.freeze_clock(frozen=True)
    qrcode = await house.qrcode()
    assert (await house.status(qrcode))["status"] == "wait"
    held = house.begin_status(qrcode)
    await house.until(lambda: len(house.gateway.state.waiting) == 1)
    await house.gateway.advance_clock(10)
    assert (await held.answer()).json["status"] == "wait"


@pytest.mark.parametrize(("forms", "has_param", "has_url"), [("both", 1, 1), ("full", 0, 1), ("param", 1, 0)])
async def test_r11_getuploadurl_returns_both_forms(
    house: House, bot: BotClient, alice: str, forms: str, has_param: int, has_url: int
) -> None:
    await house.knobs(upload__forms=forms)
    answer = await bot.call("getuploadurl", upload(alice))
    assert bool(answer["upload_param"]) == has_param
    assert bool(answer.get("upload_full_url")) == has_url


async def test_r15_a_send_returns_its_message_id_and_a_stale_token_both_slots(
    house: House, bot: BotClient, alice: str
) -> None:
    await house.knobs(poll__error_delay_ms=0)
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    assert type((await bot.send(alice))["message_id"]) is int
    await house.gateway.expire_bot(bot.bot_id)
    for endpoint, body in EVERY_CALL:
        assert await bot.call(endpoint, body) == {"ret": -14, "errcode": -14, "errmsg": "session timeout"}


async def test_r16_a_redirect_names_a_host_without_a_scheme(house: House) -> None:
    qrcode = await house.qrcode()
    await house.gateway.redirect(qrcode, "127.0.0.1:41443")
    answer = await house.status(qrcode)
    assert answer == {"ret": 0, "status": "scaned_but_redirect", "redirect_host": "127.0.0.1:41443"}


async def test_r17_a_bots_own_messages_never_come_back(house: House, bot: BotClient, alice: str) -> None:
    message = await inbound(house, bot, alice)
    assert (await bot.send(alice, context_token=message["context_token"]))["ret"] == 0
    await house.gateway.post_message(alice, bot.bot_id, text="next")
    assert [message["message_type"] for message in (await bot.poll())["msgs"]] == [1]


async def test_r18_a_fresh_token_works_at_once(house: House, alice: str) -> None:
    bot = await house.login(alice)
    assert await bot.call("msg/notifystart", {}) == {"ret": 0}
    poll = bot.begin_poll("")
    await house.held(bot)
    house.gateway.stop_waiting()
    assert (await poll.answer()).json["ret"] == 0
    await asyncio.sleep(0)
