"""What a bot may send: window, allowance, context tokens, idempotence, and what a phone shows (protocol §3.4, §6)."""

from __future__ import annotations

from typing import Any

import pytest
from gateway_house import BotClient, House

PREPARE_FAILED = {"ret": -2, "errmsg": "prepare failed"}


async def hear(house: House, bot: BotClient, alice: str) -> str:
    """Let the person write, and return the context token."""
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    return (await bot.poll())["msgs"][-1]["context_token"]


async def last(house: House, bot: BotClient, alice: str) -> Any:
    return (await house.gateway.transcript(bot.bot_id, alice))[-1]


async def test_nothing_may_be_sent_before_the_person_wrote(house: House, bot: BotClient, alice: str) -> None:
    assert await bot.send(alice) == PREPARE_FAILED
    entry = await last(house, bot, alice)
    assert (entry.state, entry.message_id) == ("refused", None)
    assert "never written" in entry.why


async def test_the_window_closes_24_hours_after_the_persons_message(house: House, bot: BotClient, alice: str) -> None:
    await hear(house, bot, alice)
    await house.gateway.advance_clock(86_399)
    assert (await bot.send(alice))["ret"] == 0
    await house.gateway.advance_clock(2)
    assert await bot.send(alice) == PREPARE_FAILED
    await hear(house, bot, alice)
    assert (await bot.send(alice))["ret"] == 0


async def test_ten_sends_per_message_of_the_person(house: House, bot: BotClient, alice: str) -> None:
    await hear(house, bot, alice)
    rets = [(await bot.send(alice))["ret"] for _ in range(12)]
    assert rets == [0] * 10 + [-2] * 2
    (window,) = (await house.gateway.mailbox(bot.bot_id)).windows
    assert (window.is_open, window.sends, window.sends_left) == (False, 10, 0)
    await hear(house, bot, alice)
    assert (await bot.send(alice))["ret"] == 0


async def test_refused_sends_count_where_the_knob_says_so(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(quota__per_inbound=2, quota__count_rejected=True, limits__text_bytes=10)
    await hear(house, bot, alice)
    assert (await bot.send(alice, "x" * 11))["errmsg"] == "text too long"
    assert [(await bot.send(alice))["ret"] for _ in range(2)] == [0, -2]


async def test_tool_messages_count_unless_the_knob_says_otherwise(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(quota__per_inbound=1, quota__count_tool_items=False)
    await hear(house, bot, alice)
    tool = [{"type": 11, "tool_call_start_item": {"tool_name": "t", "tool_call_id": "1"}}]
    assert (await bot.send(alice, item_list=tool))["ret"] == 0
    await house.knobs(quota__count_tool_items=True)
    assert (await bot.send(alice, item_list=tool))["ret"] == 0
    assert (await bot.send(alice))["ret"] == -2


async def test_the_rate_limit_is_counted_per_person_and_time(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(quota__rate="3/300")
    await hear(house, bot, alice)
    assert [(await bot.send(alice))["ret"] for _ in range(3)] == [0, 0, 0]
    assert await bot.send(alice) == {"ret": -2, "errmsg": "rate limited"}
    await house.gateway.advance_clock(301)
    assert (await bot.send(alice))["ret"] == 0


@pytest.mark.parametrize(("style", "words"), [("empty", None), ("unknown_error", "unknown error")])
async def test_the_words_of_a_refusal(house: House, bot: BotClient, alice: str, style: str, words: str | None) -> None:
    await house.knobs(errors__errmsg_style=style)
    assert (await bot.send(alice)).get("errmsg") == words


@pytest.mark.parametrize(
    ("slot", "code", "stale"),
    [
        ("ret", {"ret": -2}, {"ret": -14, "errcode": -14}),
        ("errcode", {"ret": 0, "errcode": -2}, {"ret": 0, "errcode": -14}),
        ("both", {"ret": -2, "errcode": -2}, {"ret": -14, "errcode": -14}),
    ],
)
async def test_the_slot_of_a_refusal(
    house: House, bot: BotClient, alice: str, slot: str, code: dict[str, int], stale: dict[str, int]
) -> None:
    await house.knobs(errors__slot=slot)
    assert await bot.send(alice) == {**code, "errmsg": "prepare failed"}
    await house.gateway.expire_bot(bot.bot_id)
    assert await bot.send(alice) == {**stale, "errmsg": "session timeout"}


async def test_an_id_in_the_wrong_case_or_with_a_prefix_is_invalid(house: House, bot: BotClient, alice: str) -> None:
    await hear(house, bot, alice)
    for to in (alice.lower(), f"user:{alice}", "nobody@im.wechat"):
        assert await bot.send(to) == {"ret": -3, "errmsg": "invalid arguments"}
    assert len(await house.gateway.transcript(bot.bot_id, alice)) == 1


async def test_a_repeated_client_id_is_answered_with_the_first_message(
    house: House, bot: BotClient, alice: str
) -> None:
    await hear(house, bot, alice)
    message = bot.message(alice, "once")
    first = await bot.call("sendmessage", message)
    assert await bot.call("sendmessage", message) == first
    assert len(await house.gateway.transcript(bot.bot_id, alice)) == 2
    await house.knobs(send__client_id_idempotent=False)
    assert await bot.call("sendmessage", message) != first
    assert len(await house.gateway.transcript(bot.bot_id, alice)) == 3


async def test_a_refused_client_id_may_be_sent_again(house: House, bot: BotClient, alice: str) -> None:
    message = bot.message(alice, "once")
    assert (await bot.call("sendmessage", message))["ret"] == -2
    await hear(house, bot, alice)
    assert (await bot.call("sendmessage", message))["ret"] == 0


async def test_text_of_16384_bytes_is_the_most(house: House, bot: BotClient, alice: str) -> None:
    await hear(house, bot, alice)
    assert (await bot.send(alice, "好" * 5461 + "x"))["ret"] == 0
    assert await bot.send(alice, "好" * 5462) == {"ret": -2, "errmsg": "text too long"}


async def test_a_long_text_is_cut_where_the_knob_says_so(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(limits__text_truncate=5)
    await hear(house, bot, alice)
    assert (await bot.send(alice, "hello world"))["ret"] == 0
    entry = await last(house, bot, alice)
    assert (entry.state, entry.items[0].text) == ("shown", "hello")
    assert "first 5 characters" in entry.why


@pytest.mark.parametrize(("limit", "ret"), [("any", 0), ("no_text_with_voice", -3), ("one", -3)])
async def test_text_with_voice(house: House, bot: BotClient, alice: str, limit: str, ret: int) -> None:
    await house.knobs(limits__items=limit)
    await hear(house, bot, alice)
    items = [{"type": 1, "text_item": {"text": "hi"}}, {"type": 3, "voice_item": {"playtime": 1000}}]
    assert (await bot.send(alice, item_list=items))["ret"] == ret


async def test_an_unfinished_message_without_items_is_refused(house: House, bot: BotClient, alice: str) -> None:
    await hear(house, bot, alice)
    assert (await bot.send(alice, message_state=1, item_list=[]))["ret"] == -2
    assert (await bot.send(alice, message_state=1))["ret"] == 0


@pytest.mark.parametrize("field", ["client_id", "message_type", "message_state"])
async def test_a_message_without_its_envelope_is_accepted_and_never_shown(
    house: House, bot: BotClient, alice: str, field: str
) -> None:
    await hear(house, bot, alice)
    assert (await bot.send(alice, **{field: ...}))["ret"] == 0
    entry = await last(house, bot, alice)
    assert entry.state == "not_shown"
    assert field in entry.why


@pytest.mark.parametrize(
    ("knob", "item"),
    [
        ("render.voice", {"type": 3, "voice_item": {"playtime": 1000}}),
        ("render.tool_items", {"type": 11, "tool_call_start_item": {"tool_name": "t"}}),
    ],
)
async def test_what_phones_do_not_show(
    house: House, bot: BotClient, alice: str, knob: str, item: dict[str, object]
) -> None:
    await hear(house, bot, alice)
    await bot.send(alice, item_list=[item])
    assert (await last(house, bot, alice)).state == "not_shown"
    await house.gateway.configure(knobs={knob: True})
    await bot.send(alice, item_list=[item])
    assert (await last(house, bot, alice)).state == "shown"


async def test_sends_dropped_in_silence_have_no_message_id(house: House, bot: BotClient, alice: str) -> None:
    await hear(house, bot, alice)
    await house.gateway.configure(profile="suppressed")
    assert await bot.send(alice) == {"ret": 0}
    assert (await last(house, bot, alice)).state == "not_shown"


async def test_a_delayed_message_is_shown_when_its_time_comes(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(deliver__delay_s=60)
    await hear(house, bot, alice)
    await bot.send(alice)
    assert (await last(house, bot, alice)).state == "stored"
    seen = house.gateway.events.newest
    await house.gateway.advance_clock(60)
    assert (await last(house, bot, alice)).state == "shown"
    kinds = [event.data["state"] for event in house.gateway.events.after(seen) if event.kind == "message"]
    assert kinds == ["shown"]


@pytest.mark.parametrize(("form", "kind"), [("number", int), ("string", str), ("omit", type(None))])
async def test_the_form_of_a_message_id(house: House, bot: BotClient, alice: str, form: str, kind: type) -> None:
    await house.knobs(ids__send_as=form)
    await hear(house, bot, alice)
    assert type((await bot.send(alice)).get("message_id")) is kind


@pytest.mark.parametrize(
    ("policy", "ret", "state"), [("accept", 0, "shown"), ("-2", -2, "refused"), ("drop", 0, "not_shown")]
)
async def test_a_send_without_a_context_token(
    house: House, bot: BotClient, alice: str, policy: str, ret: int, state: str
) -> None:
    await house.knobs(context__missing=policy)
    await hear(house, bot, alice)
    assert (await bot.send(alice))["ret"] == ret
    assert (await last(house, bot, alice)).state == state


@pytest.mark.parametrize(
    ("mode", "unknown", "older", "twice"),
    [("lenient", 0, 0, 0), ("require", -2, 0, 0), ("strict_latest", -2, -2, 0), ("one_time", -2, 0, -2)],
)
async def test_what_a_context_token_must_be(
    house: House, bot: BotClient, alice: str, mode: str, unknown: int, older: int, twice: int
) -> None:
    await house.knobs(context__mode=mode)
    first, second = await hear(house, bot, alice), await hear(house, bot, alice)
    assert (await bot.send(alice, context_token="AARzJWAFmade-up"))["ret"] == unknown
    assert (await bot.send(alice, context_token=first))["ret"] == older
    assert (await bot.send(alice, context_token=second))["ret"] == 0
    assert (await bot.send(alice, context_token=second))["ret"] == twice


async def test_a_context_token_of_another_chat_is_unknown(house: House, bot: BotClient, alice: str) -> None:
    bob = await house.person("bob")
    await house.knobs(context__mode="require")
    token = await hear(house, bot, alice)
    await hear(house, bot, bob)
    assert (await bot.send(bob, context_token=token))["ret"] == -2


async def test_a_context_token_has_a_life(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(context__mode="require", context__ttl_s=120)
    token = await hear(house, bot, alice)
    assert (await bot.send(alice, context_token=token))["ret"] == 0
    await house.gateway.advance_clock(121)
    assert (await bot.send(alice, context_token=token))["ret"] == -2


@pytest.mark.parametrize(("policy", "ret"), [("drop", 0), ("-14", -14)])
async def test_sends_before_notifystart(house: House, bot: BotClient, alice: str, policy: str, ret: int) -> None:
    await hear(house, bot, alice)
    await house.knobs(notify__required=policy, poll__error_delay_ms=0)
    assert (await bot.send(alice))["ret"] == ret
    if policy == "drop":
        assert (await last(house, bot, alice)).state == "not_shown"
    await bot.call("msg/notifystart", {})
    assert (await bot.send(alice))["ret"] == 0
    assert (await last(house, bot, alice)).state == "shown"
    await bot.call("msg/notifystop", {})
    assert (await bot.send(alice))["ret"] == ret


async def test_the_context_token_is_watched_in_the_wire_log(house: House, bot: BotClient, alice: str) -> None:
    first, second = await hear(house, bot, alice), await hear(house, bot, alice)
    await house.knobs(poll__hold_ms=0)
    await bot.poll()  # acknowledges both: only who was told of the newer token must echo it
    for token in ("", "AARzJWAFmade-up", first, second):
        await bot.send(alice, context_token=token)
    findings = [entry.findings for entry in house.gateway.wire_log(endpoint="sendmessage")]
    assert findings == [["context_token_missing"], ["context_token_unknown"], ["context_token_old"], []]


async def test_anyone_may_write_to_a_bot_unless_only_the_owner_may(house: House, bot: BotClient) -> None:
    from ilink.gateway.problems import ConflictError

    bob = await house.person("bob")
    await hear(house, bot, bob)
    await house.knobs(bind__owner_only=True)
    with pytest.raises(ConflictError, match="owner"):
        await house.gateway.post_message(bob, bot.bot_id, text="hello")
