"""The table of knobs: complete, explained, and strict about what it is given."""

from __future__ import annotations

from typing import Any

import pytest
from gateway_house import BotClient, House
from hypothesis import given
from hypothesis import strategies as st

from ilink.gateway.knob_table import KNOBS, PROFILES, read_rate
from ilink.gateway.knobs import Knobs
from ilink.gateway.problems import KnobError


def test_every_knob_is_named_in_order_allowed_its_default_and_explained() -> None:
    assert list(KNOBS) == sorted(KNOBS)
    for knob in KNOBS.values():
        assert knob.read(knob.default) == knob.default
        assert len(knob.evidence) > 20
        assert knob.allowed


def test_profiles_hold_allowed_values() -> None:
    for profile, knobs in PROFILES.items():
        values = Knobs(profile).values
        assert {name: values[name] for name in knobs} == knobs


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("poll.hold_ms", "30000"),
        ("poll.hold_ms", -1),
        ("poll.hold_ms", 1.5),
        ("poll.hold_ms", True),
        ("poll.hold_ms", None),
        ("poll.duplicate_rate", 1.1),
        ("poll.duplicate_rate", float("nan")),
        ("poll.conflict", "oldest"),
        ("poll.consume_on_send", 1),
        ("quota.rate", "12"),
        ("quota.rate", "0/300"),
        ("quota.rate", "12/300/1"),
        ("quota.rate", "²/3"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(name: str, value: object) -> None:
    with pytest.raises(KnobError, match="allowed is") as caught:
        Knobs().change(knobs={name: value})
    assert caught.value.knob == name


def test_a_wrong_name_is_refused_with_the_nearest_ones() -> None:
    with pytest.raises(KnobError, match=r"did you mean poll\.hold_ms"):
        Knobs().change(knobs={"poll.hold": 1})
    with pytest.raises(KnobError, match="allowed are observed"):
        Knobs("wild")


def test_a_change_is_all_or_nothing() -> None:
    knobs = Knobs()
    with pytest.raises(KnobError):
        knobs.change(profile="strict", knobs={"poll.hold_ms": 1, "poll.conflict": "oldest"})
    assert (knobs.profile, knobs.values) == ("observed", Knobs().values)


def test_a_profile_sets_every_knob() -> None:
    knobs = Knobs(knobs={"poll.hold_ms": 1})
    knobs.change(profile="international_edge")
    assert knobs.whole("poll.hold_ms") == 10_000
    knobs.change(profile="observed")
    assert knobs.values == Knobs().values


@given(st.text())
def test_no_text_makes_a_rate_raise(text: str) -> None:
    rate = read_rate(text)
    assert rate is None or min(rate) > 0


async def test_a_wrong_knob_changes_nothing_in_a_gateway(house: House) -> None:
    before = house.gateway.config()
    with pytest.raises(KnobError):
        await house.gateway.configure(knobs={"poll.hold_ms": 5, "no.such": 1})
    assert house.gateway.config() == before


async def test_headers_are_required_where_the_knob_says_so(house: House, bot: BotClient) -> None:
    await house.knobs(auth__require_headers="-14")
    assert (await bot.call("msg/notifystart", {}))["ret"] == 0
    for missing in ("AuthorizationType", "iLink-App-Id"):
        headers = {name: value for name, value in bot.headers.items() if name != missing}
        other = BotClient(bot.caller, bot.token, bot.bot_id, bot.user_id, headers)
        assert (await other.call("msg/notifystart", {}))["errcode"] == -14


async def test_getconfig_returns_a_context_token_where_the_knob_says_so(
    house: House, bot: BotClient, alice: str
) -> None:
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    assert "context_token" not in await bot.call("getconfig", {"ilink_user_id": alice})
    await house.knobs(config__return_context_token=True, context__mode="strict_latest")
    token = (await bot.call("getconfig", {"ilink_user_id": alice}))["context_token"]
    assert (await bot.send(alice, context_token=token))["ret"] == 0


async def test_messages_carry_a_group_where_the_knob_says_so(house: House, bot: BotClient, alice: str) -> None:
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    await house.knobs(groups__enabled=True)
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    assert ["group_id" in message for message in (await bot.poll())["msgs"]] == [False, True]


@pytest.mark.parametrize(
    ("knobs", "quote"),
    [
        ({}, {"svr_id": "{id}"}),
        ({"quote.style": "type8"}, {"type": 8, "msg_id": "{id}"}),
        ({"quote.style": "type0"}, {"type": 0, "msg_id": "{id}"}),
        ({"quote.style": "embedded"}, {"type": 1, "msg_id": "{id}"}),
    ],
)
async def test_the_form_of_a_quote(
    house: House, bot: BotClient, alice: str, knobs: dict[str, object], quote: dict[str, Any]
) -> None:
    from ilink.gateway.views import Quote

    await house.gateway.configure(knobs=knobs)
    first = await house.gateway.post_message(alice, bot.bot_id, text="alpha beta")
    await house.gateway.post_message(alice, bot.bot_id, text="this?", quote=Quote(message_id=first.message_id))
    found = (await bot.poll())["msgs"][1]["item_list"][0]["ref_msg"]
    target = found if "svr_id" in found else found["message_item"]
    expected = {
        name: value.format(id=first.message_id) if isinstance(value, str) else value for name, value in quote.items()
    }
    assert {name: target[name] for name in expected} == expected


@pytest.mark.parametrize(("reading", "endindex"), [("global", 2), ("relative", 0)])
async def test_selected_words_are_the_protocols_worked_example(
    house: House, bot: BotClient, alice: str, reading: str, endindex: int
) -> None:
    from ilink.gateway.views import Quote

    await house.knobs(quote__endindex=reading)
    text = "alpha beta gamma beta delta beta end"
    first = await house.gateway.post_message(alice, bot.bot_id, text=text)
    quote = Quote(message_id=first.message_id, partial="beta delta beta")
    await house.gateway.post_message(alice, bot.bot_id, text="this?", quote=quote)
    partial = (await bot.poll())["msgs"][1]["item_list"][0]["ref_msg"]["partial_text"]
    assert partial == {
        "start": "beta",
        "end": "beta",
        "startindex": 1,
        "endindex": endindex,
        "quotemd5": "1b89e579ae27a44e70efe5043e247649",
    }


async def test_an_idle_bot_stays_stale_where_notifystart_does_not_help(house: House, bot: BotClient) -> None:
    await house.knobs(session__idle_s=60, session__revive_by_notify=False, poll__error_delay_ms=0)
    await house.gateway.advance_clock(61)
    assert (await bot.poll())["errcode"] == -14
    await bot.call("msg/notifystart", {})
    assert (await bot.poll())["errcode"] == -14


async def test_window_backlog_and_ticket_lives_are_knobs(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(quota__window_s=60, poll__backlog_s=60, typing__ticket_ttl_s=60, poll__hold_ms=0)
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    ticket = (await bot.call("getconfig", {"ilink_user_id": alice}))["typing_ticket"]
    await house.gateway.advance_clock(61)
    assert (await bot.send(alice))["errmsg"] == "prepare failed"
    assert (await bot.poll(""))["msgs"] == []
    typing = {"ilink_user_id": alice, "typing_ticket": ticket}
    assert (await bot.call("sendtyping", typing))["errmsg"] == "typing_ticket invalid"
