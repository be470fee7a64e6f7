"""Cursors, acknowledgements, and two polls at a time (protocol §8.4)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from gateway_house import BotClient, House, open_house

from ilink.gateway.cursors import read_cursor, write_cursor
from ilink.wire.ids import AccountId


def texts(answer: dict[str, Any]) -> list[str]:
    return [message["item_list"][0]["text_item"]["text"] for message in answer["msgs"]]


async def write(house: House, alice: str, bot: BotClient, *words: str) -> None:
    for word in words:
        await house.gateway.post_message(alice, bot.bot_id, text=word)


@pytest.fixture
async def quick(house: House) -> House:
    """A gateway whose polls do not wait."""
    await house.knobs(poll__hold_ms=0, poll__error_delay_ms=0)
    return house


async def test_messages_stay_until_the_next_poll_acknowledges_them(quick: House, bot: BotClient, alice: str) -> None:
    await write(quick, alice, bot, "one", "two")
    assert texts(await bot.poll("")) == ["one", "two"]
    assert texts(await bot.poll("")) == ["one", "two"]
    view = await quick.gateway.bot(bot.bot_id)
    assert (view.head_seq, view.handed_seq, view.acked_seq) == (2, 2, 0)
    assert texts(await bot.poll()) == []
    view = await quick.gateway.bot(bot.bot_id)
    assert (view.head_seq, view.handed_seq, view.acked_seq) == (2, 2, 2)


async def test_an_old_cursor_gets_what_is_not_acknowledged_and_undoes_nothing(
    quick: House, bot: BotClient, alice: str
) -> None:
    start = (await bot.poll())["get_updates_buf"]
    await write(quick, alice, bot, "one")
    await bot.poll()
    await bot.poll()
    await write(quick, alice, bot, "two")
    assert texts(await bot.poll(start)) == ["two"]
    assert (await quick.gateway.bot(bot.bot_id)).acked_seq == 1


async def test_an_empty_cursor_gets_everything_that_is_not_acknowledged(
    quick: House, bot: BotClient, alice: str
) -> None:
    await write(quick, alice, bot, "one", "two", "three")
    await bot.poll()
    await bot.poll()
    await write(quick, alice, bot, "four")
    assert texts(await bot.poll("")) == ["four"]


async def test_an_empty_cursor_gets_no_message_older_than_the_backlog(quick: House, bot: BotClient, alice: str) -> None:
    await write(quick, alice, bot, "old")
    await quick.gateway.advance_clock(86_401)
    await write(quick, alice, bot, "new")
    answer = await bot.poll("")
    assert texts(answer) == ["new"]
    await bot.poll()
    assert (await quick.gateway.bot(bot.bot_id)).acked_seq == 2


async def test_a_valid_cursor_gets_messages_of_any_age(quick: House, bot: BotClient, alice: str) -> None:
    await bot.poll()
    await write(quick, alice, bot, "old")
    await quick.gateway.advance_clock(86_401)
    assert texts(await bot.poll()) == ["old"]


@pytest.mark.parametrize("cursor", ["garbage", "Y3Vyc29yOjQx", "A" * 40, "é" * 40, "\x00", "x" * 100_000])
async def test_a_garbled_cursor_is_read_as_empty_and_noted(
    quick: House, bot: BotClient, alice: str, cursor: str
) -> None:
    await write(quick, alice, bot, "one")
    assert texts(await bot.poll(cursor)) == ["one"]
    (entry,) = quick.gateway.wire_log(endpoint="getupdates")
    assert entry.findings == ["cursor_unreadable"]
    await quick.knobs(poll__unknown_cursor="-14")
    assert (await bot.poll(cursor))["errcode"] == -14


async def test_a_cursor_of_another_bot_acknowledges_nothing(quick: House, bot: BotClient, alice: str) -> None:
    other = await quick.login(await quick.person("bob"))
    await write(quick, alice, other, "theirs", "more", "and more")
    foreign = (await other.poll())["get_updates_buf"]
    await write(quick, alice, bot, "mine")
    assert texts(await bot.poll(foreign)) == ["mine"]
    assert (await quick.gateway.bot(bot.bot_id)).acked_seq == 0
    assert quick.gateway.wire_log(bot_id=bot.bot_id)[-1].findings == ["cursor_foreign"]


async def test_a_cursor_from_lost_data_acknowledges_nothing(quick: House, bot: BotClient, alice: str) -> None:
    record = await quick.gateway.state.store.bot(bot.bot_id)
    assert record is not None
    ahead = write_cursor(quick.gateway.state.cursor_key, bot=record.number, generation=1, seq=1000)
    await write(quick, alice, bot, "one")
    await bot.poll(ahead)
    await write(quick, alice, bot, "two")
    assert texts(await bot.poll(ahead)) == ["one", "two"]


async def test_a_batch_is_bounded_in_number_and_bytes(quick: House, bot: BotClient, alice: str) -> None:
    await write(quick, alice, bot, "one", "two", "three")
    await quick.knobs(limits__batch_messages=2)
    assert texts(await bot.poll()) == ["one", "two"]
    await quick.knobs(limits__batch_messages=100, limits__batch_bytes=1)
    assert texts(await bot.poll("")) == ["one"]


async def test_the_newest_poll_wins_and_the_older_is_answered_empty(house: House, bot: BotClient, alice: str) -> None:
    older = bot.begin_poll()
    await house.held(bot)
    newer = bot.begin_poll()
    assert (await older.answer()).json["msgs"] == []
    await house.held(bot)
    await write(house, alice, bot, "one")
    assert texts((await newer.answer()).json) == ["one"]


async def test_pollers_that_fight_are_held_back(house: House, bot: BotClient) -> None:
    await house.gateway.freeze_clock(frozen=True)
    polls = [bot.begin_poll()]
    for _ in range(3):
        await house.held(bot)
        polls.append(bot.begin_poll())
        await polls[-2].answer()
    await house.held(bot)
    polls.append(bot.begin_poll())
    await house.held(bot)
    start = house.gateway.now
    while not polls[3].task.done():
        await house.gateway.advance_clock(0.25)
    assert (await polls[3].answer()).json["msgs"] == []
    assert (house.gateway.now - start).total_seconds() >= 1
    house.gateway.stop_waiting()
    await polls[-1].answer()


async def test_conflict_split_gives_each_message_to_one_poll(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(poll__conflict="split")
    polls = bot.begin_poll(), bot.begin_poll()
    await house.held(bot, 2)
    given = []
    for word in ("one", "two"):
        await write(house, alice, bot, word)
        await house.until(lambda: sum(poll.task.done() for poll in polls) == len(given) + 1)
        given.append(word)
    answers = [texts((await poll.answer()).json) for poll in polls]
    assert answers == [["one"], ["two"]]


async def test_conflict_http403_refuses_the_second_poll(house: House, bot: BotClient) -> None:
    await house.knobs(poll__conflict="http403", poll__error_delay_ms=0)
    first = bot.begin_poll()
    await house.held(bot)
    assert (await bot.begin_poll().answer()).status == 403
    assert not first.task.done()
    house.gateway.stop_waiting()
    await first.answer()


async def test_conflict_stale_tells_the_older_poll_that_its_token_is_stale(house: House, bot: BotClient) -> None:
    await house.knobs(poll__conflict="stale", poll__error_delay_ms=0)
    first = bot.begin_poll()
    await house.held(bot)
    second = bot.begin_poll()
    assert (await first.answer()).json["errcode"] == -14
    house.gateway.stop_waiting()
    assert (await second.answer()).json["ret"] == 0


async def test_consume_on_send_acknowledges_with_the_answer(quick: House, bot: BotClient, alice: str) -> None:
    await quick.gateway.configure(profile="consume_on_send", knobs={"poll.hold_ms": 0})
    await write(quick, alice, bot, "one")
    assert texts(await bot.poll("")) == ["one"]
    assert texts(await bot.poll("")) == []


async def test_consume_on_send_keeps_what_went_to_nobody(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(poll__consume_on_send=True)
    poll = bot.begin_poll()
    await house.held(bot)
    await poll.leave()
    await write(house, alice, bot, "one")
    assert texts(await bot.poll("")) == ["one"]


async def test_duplicates_come_again_a_second_later(house: House, bot: BotClient, alice: str) -> None:
    await house.gateway.freeze_clock(frozen=True)
    await house.knobs(poll__duplicate_rate=1)
    await write(house, alice, bot, "one")
    first = await bot.poll()
    again = bot.begin_poll()
    await house.held(bot)
    await house.gateway.advance_clock(1)
    second = (await again.answer()).json
    assert second["msgs"] == first["msgs"]


async def test_a_bot_that_slept_too_long_is_stale_until_it_notifies(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(session__idle_s=3600, poll__error_delay_ms=0)
    await write(house, alice, bot, "one")
    await house.gateway.advance_clock(3601)
    assert (await bot.poll())["errcode"] == -14
    assert (await bot.send(alice))["ret"] == 0
    await bot.call("msg/notifystart", {})
    assert texts(await bot.poll()) == ["one"]


async def test_a_polls_failure_is_held_back(house: House, bot: BotClient) -> None:
    await house.gateway.freeze_clock(frozen=True)
    await house.gateway.expire_bot(bot.bot_id)
    poll = bot.begin_poll()
    await house.until(lambda: len(house.gateway.state.waiting) == 1)
    await house.gateway.advance_clock(1)
    assert (await poll.answer()).json["errcode"] == -14


async def test_a_token_that_dies_while_a_poll_acknowledges_ends_that_poll(
    house: House, bot: BotClient, alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.knobs(poll__error_delay_ms=0)
    await write(house, alice, bot, "one")
    await bot.poll("")
    store = house.gateway.state.store
    advance = store.advance

    async def advance_while_the_token_dies(progress: Any) -> None:
        await house.gateway.expire_bot(bot.bot_id)
        await advance(progress)

    monkeypatch.setattr(store, "advance", advance_while_the_token_dies)
    assert (await bot.poll())["errcode"] == -14


async def test_stopping_answers_held_polls_empty(house: House, bot: BotClient) -> None:
    poll = bot.begin_poll()
    await house.held(bot)
    await house.gateway.aclose()
    answer = (await poll.answer()).json
    assert (answer["ret"], answer["msgs"]) == (0, [])


async def test_everything_survives_a_restart(tmp_path: Any) -> None:
    async with open_house(tmp_path, seed=None) as house:
        alice = await house.person()
        bot = await house.login(alice)
        qrcode = await house.qrcode()
        await house.knobs(poll__hold_ms=0)
        await write(house, alice, bot, "one", "two")
        await bot.poll()
        await bot.poll()
        await write(house, alice, bot, "three")
        assert texts(await bot.poll(bot.cursor)) == ["three"]
        sent = bot.message(alice, "hi")
        first = await bot.call("sendmessage", sent)
        before = await house.gateway.transcript(bot.bot_id, alice)
        await house.gateway.advance_clock(10)
    async with open_house(tmp_path, seed=None) as house:
        bot.caller = house.caller
        after = await house.gateway.transcript(bot.bot_id, alice)
        assert after == before
        assert house.gateway.config().knobs["poll.hold_ms"] == 0
        assert (await house.status(qrcode))["status"] == "wait"
        assert await bot.call("sendmessage", sent) == first
        assert texts(await bot.poll("")) == ["three"]
        assert texts(await bot.poll()) == []
        assert house.gateway.now >= before[-1].at


async def test_a_reset_forgets_everything_and_repeats_the_seed(house: House) -> None:
    async def play() -> list[object]:
        alice = await house.person()
        bot = await house.login(alice)
        await house.gateway.post_message(alice, bot.bot_id, text="hello")
        message = (await bot.poll())["msgs"][0]
        held = bot.begin_poll()
        await house.held(bot)
        await house.gateway.reset(7)
        assert (await held.answer()).json["msgs"] == []
        return [alice, bot.token, message["context_token"], message["message_id"], message["client_id"]]

    await house.gateway.reset(7)
    first = await play()
    assert await house.gateway.people() == []
    assert await house.gateway.bots() == []
    assert await play() == first


async def test_many_polls_of_many_bots_are_woken_by_their_own_mail(house: House, alice: str) -> None:
    bots = [await house.login(await house.person(f"p{n}")) for n in range(8)]
    polls = [bot.begin_poll() for bot in bots]
    await house.until(lambda: len(house.gateway.state.waiting) == 8)
    await asyncio.gather(*(house.gateway.post_message(alice, bot.bot_id, text=bot.bot_id) for bot in bots))
    assert [texts((await poll.answer()).json) for poll in polls] == [[bot.bot_id] for bot in bots]


def test_a_cursor_is_worth_something_to_its_own_bot_only() -> None:
    cursor = write_cursor(b"key", bot=3, generation=1, seq=41)
    assert read_cursor(b"key", cursor, bot=3, generation=1).seq == 41
    assert read_cursor(b"key", cursor, bot=4, generation=1).verdict == "foreign"
    assert read_cursor(b"key", cursor, bot=3, generation=2).verdict == "old_generation"
    assert read_cursor(b"other", cursor, bot=3, generation=1).verdict == "unreadable"


async def test_a_reset_under_a_running_call_does_not_reach_the_new_bot(house: House, alice: str) -> None:
    old = await house.login(alice)
    await write(house, alice, old, "one")
    await old.poll()
    forgotten = await house.gateway.state.store.bot(old.bot_id)
    late = old.begin_poll()
    await house.gateway.reset(7)
    await late.answer()
    bob = await house.person("bob")
    new = await house.login(bob)
    record = await house.gateway.state.store.bot(new.bot_id)
    assert record is not None
    assert forgotten is not None
    assert (record.number, record.acked_seq) == (forgotten.number, 0)


async def test_the_newest_cursor_stops_counting_with_its_generation(quick: House, bot: BotClient, alice: str) -> None:
    await write(quick, alice, bot, "one")
    given = await bot.poll()
    await quick.gateway.rotate_bot(AccountId(bot.bot_id))
    again = await bot.poll()
    assert texts(again) == ["one"]
    assert quick.gateway.wire_log(bot_id=bot.bot_id)[-1].findings == ["cursor_old_generation"]
    assert again["get_updates_buf"] != given["get_updates_buf"]
