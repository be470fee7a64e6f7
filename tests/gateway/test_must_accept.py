"""Protocol §8.1: what the gateway must accept, row by row. Rows about the CDN (A12) are tested with the CDN."""

from __future__ import annotations

import pytest
from gateway_house import OFFICIAL_HEADERS, BotClient, House

QR = "/ilink/bot/get_bot_qrcode"
STATUS = "/ilink/bot/get_qrcode_status"
APP_HEADERS = {"iLink-App-Id": "bot", "iLink-App-ClientVersion": "132105"}


@pytest.mark.parametrize(
    ("method", "body", "raw"),
    [
        ("GET", None, b""),
        ("GET", {"base_info": {"channel_version": "1.0.3"}}, None),
        ("GET", None, b"not json at all, from a GET nobody reads"),
        ("POST", None, b""),
        ("POST", {}, None),
        ("POST", {"local_token_list": []}, None),
        ("POST", {"local_token_list": None}, None),
        ("POST", {"local_token_list": ["  ", "gone@im.bot:x"], "base_info": {"channel_version": "2.4.9"}}, None),
    ],
)
async def test_a01_get_bot_qrcode_by_get_and_post(house: House, method: str, body: object, raw: bytes | None) -> None:
    answer = await house.caller.call(method, QR, body, raw=raw, query="bot_type=3")
    assert (answer.status, answer.json["ret"]) == (200, 0)
    assert (await house.status(answer.json["qrcode"]))["status"] == "wait"


@pytest.mark.parametrize("headers", [{}, APP_HEADERS, OFFICIAL_HEADERS, {"iLink-App-ClientVersion": "1"}])
async def test_a02_qr_endpoints_need_no_header_and_no_token(house: House, headers: dict[str, str]) -> None:
    answer = await house.caller.call("POST", QR, {}, headers=headers)
    status = await house.status(answer.json["qrcode"], headers=headers)
    assert status == {"ret": 0, "status": "wait"}


@pytest.mark.parametrize(
    "missing", [list(APP_HEADERS), ["AuthorizationType"], ["X-WECHAT-UIN"], list(OFFICIAL_HEADERS)]
)
async def test_a03_calls_without_app_or_protocol_headers(
    house: House, bot: BotClient, alice: str, missing: list[str]
) -> None:
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    bot.headers = {name: value for name, value in bot.headers.items() if name not in missing}
    assert len((await bot.poll())["msgs"]) == 1
    assert (await bot.send(alice))["ret"] == 0


@pytest.mark.parametrize("version", ["1", "0", "", "256", "65547"])
@pytest.mark.parametrize("app_id", ["bot", "wx_bot_python", ""])
async def test_a04_any_client_version_and_app_id(house: House, bot: BotClient, version: str, app_id: str) -> None:
    bot.headers |= {"iLink-App-ClientVersion": version, "iLink-App-Id": app_id}
    assert (await bot.call("msg/notifystart", {}))["ret"] == 0


@pytest.mark.parametrize(
    "base_info",
    [..., None, {}, {"channel_version": "cc-connect-weixin/1.0"}, {"bot_agent": 7}, {"channel_version": ["x"]}, "text"],
)
async def test_a05_missing_or_odd_base_info(house: House, bot: BotClient, alice: str, base_info: object) -> None:
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    body = {"get_updates_buf": ""} if base_info is ... else {"get_updates_buf": "", "base_info": base_info}
    assert len((await bot.call("getupdates", body))["msgs"]) == 1


async def test_a06_extra_keys(house: House, bot: BotClient, alice: str) -> None:
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    body = {"get_updates_buf": "", "timeout": 35, "ilink_hub_ext": {"a": [1]}, "user_id": alice, "sync_buf": ""}
    assert len((await bot.call("getupdates", body))["msgs"]) == 1
    message = bot.message(alice)
    message["ilink_hub_ext"] = message["msg"]["x"] = {"y": None}  # type: ignore[index]
    assert (await bot.call("sendmessage", message))["ret"] == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"from_user_id": ...},
        {"item_list": ...},
        {"item_list": None},
        {"context_token": None},
        {"context_token": ""},
        {"context_token": "AARzJWAFnever-given"},
    ],
)
async def test_a07_messages_with_parts_left_out(
    house: House, bot: BotClient, alice: str, fields: dict[str, object]
) -> None:
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    assert (await bot.send(alice, **fields))["ret"] == 0
    assert (await bot.call("getconfig", {"ilink_user_id": alice, "context_token": None}))["ret"] == 0


async def test_a08_two_items_in_one_message(house: House, bot: BotClient, alice: str) -> None:
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    image = {"type": 2, "image_item": {"media": {"encrypt_query_param": "x", "aes_key": "a" * 32}, "mid_size": 16}}
    items = [{"type": 1, "text_item": {"text": "caption"}}, image]
    assert (await bot.send(alice, item_list=items))["ret"] == 0
    entry = (await house.gateway.transcript(bot.bot_id, alice))[-1]
    assert [item.type for item in entry.items] == [1, 2]
    assert entry.state == "shown"


@pytest.mark.parametrize(
    "item",
    [
        {"type": 11, "is_completed": False, "tool_call_start_item": {"tool_name": "search", "tool_call_id": "t1"}},
        {"type": 12, "tool_call_result_item": {"tool_name": "s", "tool_call_id": "t1", "status": "completed"}},
        {"type": 99, "hologram_item": {"z": [1, 2]}},
        {"type": 0},
    ],
)
async def test_a09_unknown_item_types_are_kept(
    house: House, bot: BotClient, alice: str, item: dict[str, object]
) -> None:
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    assert (await bot.send(alice, item_list=[item]))["ret"] == 0
    entry = (await house.gateway.transcript(bot.bot_id, alice))[-1]
    assert (entry.state, entry.raw["item_list"]) == ("not_shown", [item])


def upload(alice: str, **fields: object) -> dict[str, object]:
    request = {
        "filekey": "00112233445566778899aabbccddeeff",
        "media_type": 1,
        "to_user_id": alice,
        "rawsize": 14,
        "rawfilemd5": "0a1790440a3dc81dcc60221ba5fcff9c",
        "filesize": 16,
        "no_need_thumb": True,
        "aeskey": "00112233445566778899aabbccddeeff",
    }
    return {key: value for key, value in (request | fields).items() if value is not ...}


@pytest.mark.parametrize(
    "fields", [{"aeskey": "00112233445566778899AABBCCDDEEFF"}, {"rawsize": "14", "filesize": "16", "media_type": "1"}]
)
async def test_a10_keys_in_either_case_and_sizes_as_text(
    house: House, bot: BotClient, alice: str, fields: dict[str, object]
) -> None:
    answer = await bot.call("getuploadurl", upload(alice, **fields))
    ticket = await house.gateway.state.store.upload_ticket(answer["upload_param"])
    assert ticket is not None
    assert (ticket.aes_key, ticket.plain_bytes, ticket.cipher_bytes) == ("00112233445566778899aabbccddeeff", 14, 16)


@pytest.mark.parametrize(
    ("key", "form"),
    [
        ("ABEiM0RVZneImaq7zN3u/w==", "base64_raw"),
        ("MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmY=", "base64_hex"),
        ("00112233445566778899AABBCCDDEEFF", "hex"),
        ("nonsense!", "unreadable"),
    ],
)
async def test_a10_the_form_of_a_media_key_is_told(
    house: House, bot: BotClient, alice: str, key: str, form: str
) -> None:
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    image = {"type": 2, "image_item": {"media": {"encrypt_query_param": "x", "aes_key": key}, "mid_size": 16}}
    assert (await bot.send(alice, item_list=[image]))["ret"] == 0
    entry = (await house.gateway.transcript(bot.bot_id, alice))[-1]
    assert entry.items[0].media.aes_key_form == form


@pytest.mark.parametrize("fields", [{"no_need_thumb": ...}, {"no_need_thumb": False}, {"thumb_rawsize": 0}])
async def test_a11_getuploadurl_without_thumbnail_fields(bot: BotClient, alice: str, fields: dict[str, object]) -> None:
    answer = await bot.call("getuploadurl", upload(alice, **fields))
    assert (answer["ret"], "thumb_upload_param" in answer) == (0, False)


@pytest.mark.parametrize("path", ["//ilink/bot/getupdates", "/ilink/bot/getupdates/", "//ilink//bot//getupdates//"])
async def test_a13_double_and_trailing_slashes(house: House, bot: BotClient, alice: str, path: str) -> None:
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    headers = {**bot.headers, "Authorization": f"Bearer {bot.token}"}
    answer = await house.caller.call("POST", path, {"get_updates_buf": ""}, headers=headers)
    assert len(answer.json["msgs"]) == 1


async def test_a14_poll_that_disconnects_mid_hold_keeps_its_batch(house: House, bot: BotClient, alice: str) -> None:
    poll = bot.begin_poll()
    await house.held(bot)
    await poll.leave()
    assert (await house.gateway.bot(bot.bot_id)).waiting_polls == 0
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    assert (await house.gateway.bot(bot.bot_id)).handed_seq == 0
    assert len((await bot.poll())["msgs"]) == 1


async def test_a14_poll_that_leaves_while_its_batch_is_written_gets_it_again(
    house: House, bot: BotClient, alice: str
) -> None:
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    assert len((await bot.poll(""))["msgs"]) == 1
    assert len((await bot.poll(""))["msgs"]) == 1


async def test_a15_verify_code_on_a_code_that_needs_none(house: House) -> None:
    qrcode = await house.qrcode()
    assert (await house.status(qrcode, verify_code="123456"))["status"] == "wait"


async def test_a16_a_new_code_is_polled_on_a_host_of_an_earlier_redirect(house: House) -> None:
    alice = await house.person()
    first = await house.qrcode()
    await house.gateway.redirect(first, "idc7.gateway.test:8443")
    assert (await house.status(first))["redirect_host"] == "idc7.gateway.test:8443"
    elsewhere = {"host": "idc7.gateway.test:8443"}
    second = await house.qrcode()
    assert (await house.status(second, headers=elsewhere))["status"] == "wait"
    await house.gateway.confirm(second, user_id=alice)
    assert (await house.status(second, headers=elsewhere))["status"] == "confirmed"


async def test_a17_ids_that_come_back_as_text(house: House, bot: BotClient, alice: str) -> None:
    posted = await house.gateway.post_message(alice, bot.bot_id, text="hello")
    quote = {"svr_id": posted.message_id, "message_item": {"type": "1", "msg_id": posted.message_id}}
    items = [{"type": "1", "text_item": {"text": "hi"}, "ref_msg": quote}]
    answer = await bot.send(alice, message_id=posted.message_id, message_type="2", message_state="2", item_list=items)
    assert answer["ret"] == 0
    entry = (await house.gateway.transcript(bot.bot_id, alice))[-1]
    assert (entry.state, entry.items[0].quoted_message_id) == ("shown", posted.message_id)
