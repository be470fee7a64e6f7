"""What can be seen from the outside: events, the wire log, waiting, mailboxes."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest
from gateway_house import BotClient, House

from ilink.errors import StoreError
from ilink.gateway.events import Event, EventStream
from ilink.gateway.problems import InvalidRequestError, UnknownThingError
from ilink.gateway.wire_log import Exchange, WireLog
from ilink.wire.ids import AccountId, UserId


async def collect(stream: EventStream, last_id: int | None) -> list[Event]:
    return [event async for event in stream.follow(last_id)]


@pytest.mark.of_a_folder("elsewhere events are numbered by the time, which all processes know")
async def test_a_reader_resumes_where_it_stopped(house: House, bot: BotClient, alice: str) -> None:
    stream = house.gateway.events
    stopped = stream.newest
    reader = asyncio.create_task(collect(stream, stopped))
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    await bot.poll()
    await bot.send(alice)
    house.gateway.stop_waiting()
    events = await reader
    assert [event.id for event in events] == list(range(stopped + 1, stream.newest + 1))
    assert [event.kind for event in events] == ["message", "bot", "wire", "message", "wire"]
    assert await collect(stream, stopped) == events
    assert await collect(stream, None) == []
    assert (await collect(stream, 10**9))[0].id == 1


async def test_a_reader_misses_nothing_that_comes_after_a_reset() -> None:
    stream = EventStream()
    for _ in range(3):
        stream.publish("clock", 0, {"of": "old"})
    reader = asyncio.create_task(collect(stream, 0))
    await asyncio.sleep(0)
    stream.clear()
    for _ in range(5):  # so many that the reader's old position is passed before it wakes
        stream.publish("clock", 0, {"of": "new"})
    stream.aclose_readers()
    assert [(event.id, event.data["of"]) for event in await reader if event.data["of"] == "new"] == [
        (number, "new") for number in range(1, 6)
    ]


async def test_a_reader_is_not_shown_what_a_reset_forgot() -> None:
    stream = EventStream()
    for _ in range(3):
        stream.publish("clock", 0, {"of": "old"})
    reader = stream.follow(0)
    assert (await anext(reader)).id == 1
    stream.clear()
    stream.publish("clock", 0, {"of": "new"})
    event = await anext(reader)
    assert (event.id, event.data) == (1, {"of": "new"})
    await reader.aclose()


async def test_a_slow_reader_sees_a_gap() -> None:
    stream = EventStream(history=3)
    for _ in range(10):
        stream.publish("clock", 0, {})
    stream.aclose_readers()
    assert [event.id for event in await collect(stream, 0)] == [8, 9, 10]


async def test_a_reader_goes_on_after_a_reset(house: House) -> None:
    reader = asyncio.create_task(collect(house.gateway.events, house.gateway.events.newest))
    await house.gateway.advance_clock(1)
    await asyncio.sleep(0)
    await house.gateway.reset(1)
    await house.gateway.advance_clock(1)
    await asyncio.sleep(0)
    house.gateway.stop_waiting()
    assert [event.kind for event in await reader][-1] == "clock"


async def test_events_hold_no_secret_and_no_text(house: House, bot: BotClient, alice: str) -> None:
    await house.gateway.post_message(alice, bot.bot_id, text="canary in")
    context = (await bot.poll())["msgs"][0]["context_token"]
    await bot.send(alice, "canary out", context_token=context)
    events = msgspec.json.encode(house.gateway.events.after(0)).decode()
    for secret in (bot.token.split(":")[1], context, "canary"):
        assert secret not in events


async def test_the_wire_log_masks_every_secret(house: House, bot: BotClient, alice: str) -> None:
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    context = (await bot.poll())["msgs"][0]["context_token"]
    ticket = (await bot.call("getconfig", {"ilink_user_id": alice, "context_token": context}))["typing_ticket"]
    await bot.call("sendtyping", {"ilink_user_id": alice, "typing_ticket": ticket})
    qrcode = await house.qrcode([bot.token])
    await house.status(qrcode)
    entries = house.gateway.wire_log()
    shown = msgspec.json.encode(entries).decode()
    for secret in (bot.token.split(":")[1], context, ticket, bot.cursor, qrcode):
        assert secret not in shown
    assert {entry.endpoint for entry in entries} == {
        "get_bot_qrcode",
        "get_qrcode_status",
        "getconfig",
        "getupdates",
        "sendtyping",
    }


async def test_the_wire_log_says_who_asked_what_and_how_it_ended(house: House, bot: BotClient, alice: str) -> None:
    await bot.send(alice, "hi")
    (entry,) = house.gateway.wire_log(endpoint="sendmessage")
    assert (entry.bot_id, entry.method, entry.status, entry.ret) == (bot.bot_id, "POST", 200, -2)
    assert entry.request["msg"]["item_list"][0]["text_item"] == {"text": "hi"}  # type: ignore[index]
    assert entry.response == {"ret": -2, "errmsg": "prepare failed"}
    assert house.gateway.wire_log(since=entry.id) == []
    assert house.gateway.wire_log(bot_id="other") == []


@pytest.mark.parametrize("path", ["//[bad", "/é?x", "//a@b", "/%00"])
async def test_the_wire_log_shows_odd_paths(house: House, path: str) -> None:
    assert (await house.caller.call("GET", path)).status == 404
    assert json.loads(msgspec.json.encode(house.gateway.wire_log()))[-1]["endpoint"] == "?"


def test_the_wire_log_is_bounded_in_entries_and_bytes() -> None:
    def exchange(size: int) -> Exchange:
        return Exchange(
            at_ms=0, endpoint="x", method="POST", path="/", query="", headers=[], request=b"x" * size, response=b"{}"
        )

    log = WireLog(entries=10, most_bytes=40_000)
    for _ in range(20):
        log.add(exchange(10))
    assert [entry.id for entry in log.entries(since=0, bot_id=None, endpoint=None, limit=99)] == list(range(11, 21))
    for _ in range(5):
        log.add(exchange(20_000))
    assert len(log.entries(since=0, bot_id=None, endpoint=None, limit=99)) == 1
    log.add(exchange(10**6))
    assert log.entries(since=25, bot_id=None, endpoint=None, limit=99)[0].request == {"bytes": 10**6}


async def test_waiting_ends_with_the_entries_that_were_asked_for(house: House, bot: BotClient, alice: str) -> None:
    waiting = asyncio.create_task(
        house.gateway.wait_entries(AccountId(bot.bot_id), UserId(alice), count=2, direction="out", timeout=30)
    )
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    await bot.send(alice, "one")
    assert not waiting.done()
    await bot.send(alice, "two")
    assert [entry.items[0].text for entry in await waiting] == ["one", "two"]


async def test_waiting_returns_what_there_is_at_the_timeout(house: House, bot: BotClient, alice: str) -> None:
    posted = await house.gateway.post_message(alice, bot.bot_id, text="hello")
    entries = await house.gateway.wait_entries(bot.bot_id, alice, count=5, timeout=0.01)
    assert [entry.n for entry in entries] == [posted.n]
    assert await house.gateway.wait_entries(bot.bot_id, after=posted.n, timeout=0) == []


async def test_a_mailbox_is_shown_without_consuming_it(house: House, bot: BotClient, alice: str) -> None:
    await house.gateway.post_message(alice, bot.bot_id, text="hello")
    await bot.call("getconfig", {"ilink_user_id": alice})
    view = await house.gateway.mailbox(bot.bot_id)
    assert (view.depth, view.head_seq, view.acked_seq, view.pending[0].items[0].text) == (1, 1, 0, "hello")
    assert (view.windows[0].is_open, view.windows[0].sends_left) == (True, 10)
    assert (view.context_tokens[0].beginning, view.typing_tickets[0].beginning) == ("AARzJWAF", "AARTBK8F")
    assert len((await bot.poll())["msgs"]) == 1
    assert (await house.gateway.mailbox(bot.bot_id)).pending[0].state == "handed_out"


async def test_odd_items_travel_unchanged(house: House, bot: BotClient, alice: str) -> None:
    items = [
        {"type": 99, "x": {"y": [None, 2**64 - 1]}},
        {"type": None, "msg_id": 7_497_484_083_968_569_736},
        {},
        {"type": "1", "text_item": {"text": 7}},
    ]
    await house.gateway.post_message(alice, bot.bot_id, items=items, fields={"message_id": 2**63, "seq": None})
    (message,) = (await bot.poll())["msgs"]
    assert message["item_list"] == items
    assert (message["message_id"], message["seq"]) == (2**63, None)
    assert len((await house.gateway.transcript(bot.bot_id, alice))[0].items) == 4


async def test_what_nobody_has_is_named(house: House, bot: BotClient, alice: str) -> None:
    gateway = house.gateway
    nobody = UserId("nobody@im.wechat")
    for call in (
        gateway.bot(AccountId("x")),
        gateway.mailbox(AccountId("x")),
        gateway.expire_bot(AccountId("x")),
        gateway.post_message(nobody, bot.bot_id, text="x"),
        gateway.post_message(alice, AccountId("x"), text="x"),
        gateway.transcript(bot.bot_id, nobody),
        gateway.message("7"),
        gateway.message("9" * 30),
    ):
        with pytest.raises(UnknownThingError):
            await call
    for call in (
        gateway.post_message(alice, bot.bot_id),
        gateway.post_message(alice, bot.bot_id, text="x", items=[]),
        gateway.add_person(" "),
        gateway.add_person("x" * 65),
        gateway.advance_clock(-1),
        gateway.require_code(await house.qrcode(), "12"),
    ):
        with pytest.raises(InvalidRequestError):
            await call


async def test_readiness_is_whether_the_store_takes_writes(house: House) -> None:
    assert await house.gateway.is_writable()
    await house.gateway.state.store.aclose()
    assert not await house.gateway.is_writable()
    answer = await house.caller.call("POST", "/ilink/bot/get_bot_qrcode", {})
    assert (answer.status, answer.json["ret"]) == (503, -1)
    with pytest.raises(StoreError):
        await house.gateway.add_person("bob")


async def test_waiting_counts_what_is_new_and_reads_entries_once(
    house: House, bot: BotClient, alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crowd's load test waits so for thousands of messages: reading them again at each would be quadratic."""
    store, reads, counted = house.gateway.state.store, [], []
    entries, count = store.entries, store.count_entries

    async def read(*args: object, **options: object) -> object:
        reads.append(options)
        return await entries(*args, **options)

    async def counting(*args: object, **options: object) -> object:
        counted.append(await count(*args, **options))
        return counted[-1]

    monkeypatch.setattr(type(store), "entries", staticmethod(read))
    monkeypatch.setattr(type(store), "count_entries", staticmethod(counting))
    first = await house.gateway.post_message(alice, bot.bot_id, text="0")
    waiting = asyncio.create_task(house.gateway.wait_entries(bot.bot_id, alice, count=40, direction="in", timeout=30))
    for n in range(1, 40):
        await house.gateway.post_message(alice, bot.bot_id, text=str(n))
    assert [entry.n - first.n for entry in await waiting] == list(range(40))
    assert len(reads) == 1
    assert sum(new for new, _ in counted) == 40


async def test_waiting_for_more_than_are_returned_at_once_ends_when_they_are_there(
    house: House, bot: BotClient, alice: str
) -> None:
    for n in range(1001):
        await house.gateway.post_message(alice, bot.bot_id, text=str(n))
    entries = await house.gateway.wait_entries(bot.bot_id, alice, count=1001, timeout=30)
    assert [len(entries), entries[0].items[0].text] == [1000, "0"]
