"""Every fault at every endpoint, as a caller sees it over a socket and in memory."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from fault_house import CIPHER, FaultHouse, open_fault_house
from test_must_accept import upload

from ilink.gateway.bounds import BoundedProtocol
from ilink.gateway.fault_actions import ACTIONS, FaultAction, FaultSpec
from ilink.gateway.problems import InvalidRequestError, UnknownThingError

PROTOCOL = sorted(ACTIONS["ret"].endpoints)
EVERYWHERE = sorted(ACTIONS["delay_ms"].endpoints)
CDN = ["cdn_download", "cdn_upload"]


@pytest.fixture(params=["socket", "memory"])
async def there(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FaultHouse]:
    async with open_fault_house(tmp_path, request.param) as there:
        await there.house.knobs(poll__error_delay_ms=0)
        yield there


async def had_effect(there: FaultHouse, endpoint: str) -> bool | None:
    """Tell whether a call changes what the endpoint changes; None where nothing can be seen."""
    if endpoint == "notifystop":
        await there.house.gateway._bots.set_notified(
            await there.house.gateway._bots.get(there.bot.bot_id), is_notified=True
        )
    before = await there.effect(endpoint)
    await there.request(endpoint)
    return None if before is None else await there.effect(endpoint) != before


@pytest.mark.parametrize("endpoint", EVERYWHERE)
async def test_without_faults_every_call_succeeds_and_has_its_effect(there: FaultHouse, endpoint: str) -> None:
    assert await had_effect(there, endpoint) in (True, None)
    outcome = await there.request(endpoint)
    assert (outcome.status, outcome.is_whole) == (200, True)


@pytest.mark.parametrize("endpoint", PROTOCOL)
async def test_ret_answers_these_numbers_and_words_and_has_no_effect(there: FaultHouse, endpoint: str) -> None:
    there.fault(endpoint=endpoint, ret=-2, errcode=-7, errmsg="prepare failed")
    assert await had_effect(there, endpoint) in (False, None)
    assert (await there.request(endpoint)).json == {"ret": -2, "errcode": -7, "errmsg": "prepare failed"}
    assert there.hits() == [2]


async def test_only_the_slots_that_were_given_are_answered(there: FaultHouse) -> None:
    there.fault(endpoint="getconfig", errcode=-14)
    assert (await there.request("getconfig")).json == {"errcode": -14}


@pytest.mark.parametrize("endpoint", EVERYWHERE)
async def test_http_status_is_answered_and_has_no_effect(there: FaultHouse, endpoint: str) -> None:
    there.fault(endpoint=endpoint, http_status=524)
    assert await had_effect(there, endpoint) in (False, None)
    outcome = await there.request(endpoint)
    assert (outcome.status, outcome.is_whole) == (524, True)
    assert ("x-error-message" in outcome.headers) == (endpoint in CDN)


async def test_a_status_without_a_body_has_none(there: FaultHouse) -> None:
    there.fault(endpoint="getconfig", http_status=204)
    there.fault(endpoint="cdn_upload", http_status=304)
    assert (await there.request("getconfig")).body == b""
    assert (await there.request("cdn_upload")).body == b""


@pytest.mark.parametrize("endpoint", EVERYWHERE)
async def test_reset_before_has_no_effect_and_no_answer(there: FaultHouse, endpoint: str) -> None:
    there.fault(endpoint=endpoint, reset="before")
    assert await had_effect(there, endpoint) in (False, None)
    outcome = await there.request(endpoint)
    assert (outcome.status, outcome.is_whole, outcome.is_reset) == (None, False, True)


@pytest.mark.parametrize("endpoint", EVERYWHERE)
async def test_reset_after_the_effect_has_it_and_no_answer(there: FaultHouse, endpoint: str) -> None:
    there.fault(endpoint=endpoint, reset="after_effect")
    assert await had_effect(there, endpoint) in (True, None)
    outcome = await there.request(endpoint)
    assert (outcome.status, outcome.is_whole, outcome.is_reset) == (None, False, True)


@pytest.mark.parametrize("endpoint", EVERYWHERE)
async def test_reset_after_headers_has_the_effect_and_a_head(there: FaultHouse, endpoint: str) -> None:
    there.fault(endpoint=endpoint, reset="after_headers")
    assert await had_effect(there, endpoint) in (True, None)
    outcome = await there.request(endpoint)
    assert (outcome.status, outcome.body, outcome.is_whole, outcome.is_reset) == (200, b"", False, True)


@pytest.mark.parametrize("endpoint", [*PROTOCOL, "cdn_download"])
async def test_reset_mid_body_has_the_effect_and_half_the_answer(there: FaultHouse, endpoint: str) -> None:
    there.fault(endpoint=endpoint, reset="mid_body")
    assert await had_effect(there, endpoint) in (True, None)
    outcome = await there.request(endpoint)
    size = int(outcome.headers["content-length"])
    assert (outcome.status, len(outcome.body), outcome.is_whole, outcome.is_reset) == (200, size // 2, False, True)


async def test_half_of_a_large_blob_arrives_before_a_reset(there: FaultHouse) -> None:
    size = 2**22
    announced = upload(there.alice, rawsize=size - 16, filesize=size)
    param = (await there.bot.call("getuploadurl", announced))["upload_param"]
    permission = f"encrypted_query_param={quote(param, safe='')}&filekey={announced['filekey']}"
    reference = (await there.upload(permission, bytes(size))).headers["x-encrypted-param"]
    there.fault(endpoint="cdn_download", reset="mid_body")
    outcome = await there.download(reference)
    assert (len(outcome.body), outcome.is_reset) == (size // 2, True)


async def test_reset_mid_body_of_an_upload_stores_nothing(there: FaultHouse) -> None:
    there.fault(endpoint="cdn_upload", reset="mid_body", times=1)
    permission = await there.permission()
    assert (await there.upload(permission)).is_reset
    assert (await there.upload(permission)).status == 200


@pytest.mark.parametrize("endpoint", PROTOCOL)
async def test_truncated_json_is_whole_for_http_and_had_its_effect(there: FaultHouse, endpoint: str) -> None:
    there.fault(endpoint=endpoint, truncate_json=True)
    assert await had_effect(there, endpoint) in (True, None)
    outcome = await there.request(endpoint)
    assert (outcome.status, outcome.is_whole) == (200, True)
    with pytest.raises(json.JSONDecodeError):
        _ = outcome.json


@pytest.mark.parametrize("endpoint", PROTOCOL)
async def test_omitted_fields_are_missing_and_nothing_else_is(there: FaultHouse, endpoint: str) -> None:
    whole = (await there.request(endpoint)).json
    there.fault(endpoint=endpoint, omit=["ret", "no_such_field"])
    assert set((await there.request(endpoint)).json) == set(whole) - {"ret"}


async def test_a_field_of_every_message_can_be_omitted(there: FaultHouse) -> None:
    there.fault(endpoint="getupdates", omit=["msgs.context_token", "msgs.item_list.text_item.text"])
    (message,) = (await there.request("getupdates")).json["msgs"]
    assert "context_token" not in message
    assert message["item_list"][0]["text_item"] == {}
    assert message["message_id"] > 2**53


async def test_a_header_of_the_cdn_can_be_omitted(there: FaultHouse) -> None:
    there.fault(endpoint="cdn_upload", omit=["X-Encrypted-Param"])
    outcome = await there.request("cdn_upload")
    assert (outcome.status, "x-encrypted-param" in outcome.headers) == (200, False)


@pytest.mark.parametrize("endpoint", EVERYWHERE)
async def test_a_delay_is_waited_for_and_then_all_is_well(there: FaultHouse, endpoint: str) -> None:
    there.fault(endpoint=endpoint, delay_ms=60)
    started = asyncio.get_running_loop().time()
    outcome = await there.request(endpoint)
    assert (outcome.status, outcome.is_whole) == (200, True)
    assert asyncio.get_running_loop().time() - started >= 0.05


@pytest.mark.parametrize("endpoint", EVERYWHERE)
async def test_a_request_that_hangs_has_no_effect_and_ends_when_the_caller_leaves(
    there: FaultHouse, endpoint: str
) -> None:
    there.fault(endpoint=endpoint, hang=True)
    before = await there.effect(endpoint)
    request = asyncio.create_task(there.request(endpoint))
    await there.house.until(lambda: there.hits() == [1] and len(there.house.gateway.state.waiting) == 1)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await there.house.until(lambda: len(there.house.gateway.state.waiting) == 0)
    assert await there.effect(endpoint) == before


async def test_a_request_that_hangs_is_reset_when_the_gateway_stops(there: FaultHouse) -> None:
    there.fault(endpoint="getconfig", hang=True)
    request = asyncio.create_task(there.request("getconfig"))
    await there.house.until(lambda: len(there.house.gateway.state.waiting) == 1)
    there.house.gateway.stop_waiting()
    assert (await request).is_reset


@pytest.mark.parametrize("endpoint", sorted(ACTIONS["drop_silently"].endpoints - {"getupdates", "sendmessage"}))
async def test_what_is_dropped_is_answered_as_a_success_without_effect(there: FaultHouse, endpoint: str) -> None:
    there.fault(endpoint=endpoint, drop_silently=True)
    assert not await had_effect(there, endpoint)
    assert (await there.request(endpoint)).status == 200


async def test_a_dropped_send_is_accepted_unconfirmed_and_never_shown(there: FaultHouse) -> None:
    there.fault(endpoint="sendmessage", drop_silently=True)
    assert (await there.request("sendmessage")).json == {"ret": 0}
    entry = (await there.house.gateway.transcript(there.bot.bot_id, there.alice))[-1]
    assert (entry.state, entry.why) == ("not_shown", "accepted and dropped (a fault)")


async def test_a_dropped_upload_gets_a_reference_to_nothing(there: FaultHouse) -> None:
    there.fault(endpoint="cdn_upload", drop_silently=True)
    reference = (await there.upload()).headers["x-encrypted-param"]
    assert (await there.download(reference)).status == 400


async def test_a_dropped_batch_is_lost_with_the_next_cursor(there: FaultHouse) -> None:
    there.fault(endpoint="getupdates", drop_silently=True, times=1)
    lost = (await there.request("getupdates")).json
    assert lost["msgs"] == []
    await there.says("second")
    (message,) = (await there.poll(lost["get_updates_buf"])).json["msgs"]
    assert message["item_list"][0]["text_item"]["text"] == "second"


@pytest.mark.parametrize("how", ["same_id", "new_id"])
async def test_duplicates_come_in_the_same_batch(there: FaultHouse, how: str) -> None:
    there.fault(endpoint="getupdates", duplicate=how, times=1)
    await there.says("one")
    messages = (await there.request("getupdates")).json["msgs"]
    ids = [message["message_id"] for message in messages]
    texts = [message["item_list"][0]["text_item"]["text"] for message in messages]
    assert texts == ["one", "hi", "one", "hi"]
    assert len(set(ids)) == (2 if how == "same_id" else 4)
    assert all(2**53 < one < 2**63 for one in ids)


async def test_reordered_messages_come_last_first(there: FaultHouse) -> None:
    there.fault(endpoint="getupdates", reorder=True)
    await there.says("one")
    texts = [m["item_list"][0]["text_item"]["text"] for m in (await there.request("getupdates")).json["msgs"]]
    assert texts == ["hi", "one"]


async def test_an_order_waits_for_a_batch_that_has_one(there: FaultHouse) -> None:
    there.fault(endpoint="getupdates", reorder=True, times=1)
    first = (await there.request("getupdates")).json
    assert (len(first["msgs"]), there.hits()) == (1, [0])
    await there.says("one")
    await there.says("two")
    texts = [m["item_list"][0]["text_item"]["text"] for m in (await there.poll(first["get_updates_buf"])).json["msgs"]]
    assert texts == ["two", "one"]


async def test_what_an_earlier_fault_took_away_is_not_counted_as_struck_by_a_later_one(there: FaultHouse) -> None:
    there.fault(endpoint="getupdates", omit=["msgs"])
    there.fault(endpoint="getupdates", duplicate="same_id")
    assert "msgs" not in (await there.request("getupdates")).json
    assert there.hits() == [1, 0]


async def test_the_first_of_two_resets_says_where_the_connection_ends(there: FaultHouse) -> None:
    there.fault(endpoint="getconfig", reset="after_headers")
    there.fault(endpoint="getconfig", reset="after_effect")
    outcome = await there.request("getconfig")
    assert (outcome.status, outcome.body, outcome.is_reset, there.hits()) == (200, b"", True, [1, 0])


async def test_a_lost_cursor_brings_the_batch_again(there: FaultHouse) -> None:
    there.fault(endpoint="getupdates", lose_cursor=True, times=1)
    first = (await there.request("getupdates")).json
    assert (first["get_updates_buf"], len(first["msgs"])) == ("", 1)
    assert (await there.poll()).json["msgs"] == first["msgs"]


async def test_faults_on_messages_wait_for_a_batch_that_has_some(there: FaultHouse) -> None:
    await there.house.knobs(poll__hold_ms=0)
    for action in ({"reorder": True}, {"duplicate": "same_id"}, {"drop_silently": True}):
        there.fault(endpoint="getupdates", times=1, **action)
    assert (await there.poll(there.bot.cursor)).json["msgs"] == []
    assert there.hits() == [0, 0, 0]


async def test_a_fault_for_one_person_changes_only_their_messages(there: FaultHouse) -> None:
    bob = await there.house.person("bob")
    there.fault(endpoint="getupdates", user_id=bob, drop_silently=True)
    await there.says("from bob", bob)
    texts = [m["item_list"][0]["text_item"]["text"] for m in (await there.request("getupdates")).json["msgs"]]
    assert texts == ["hi"]


@pytest.mark.parametrize("endpoint", CDN)
async def test_a_corrupted_blob_has_its_size_and_other_bytes(there: FaultHouse, endpoint: str) -> None:
    there.fault(endpoint=endpoint, corrupt=True, times=1)
    reference = (await there.upload()).headers["x-encrypted-param"]
    outcome = await there.download(reference)
    assert (outcome.status, outcome.is_whole) == (200, True)
    assert outcome.body == bytes(255 - byte for byte in CIPHER)


@pytest.mark.parametrize("endpoint", CDN)
async def test_a_slow_blob_takes_its_time_and_comes_whole(there: FaultHouse, endpoint: str) -> None:
    there.fault(endpoint=endpoint, slow_bytes_per_s=200)
    started = asyncio.get_running_loop().time()
    outcome = await there.request(endpoint)
    assert (outcome.status, outcome.is_whole) == (200, True)
    assert asyncio.get_running_loop().time() - started >= len(CIPHER) / 200 - 0.02
    assert outcome.body in (b"", CIPHER)


async def test_a_slow_download_ends_when_the_caller_leaves(there: FaultHouse) -> None:
    there.fault(endpoint="cdn_download", slow_bytes_per_s=1)
    request = asyncio.create_task(there.request("cdn_download"))
    await there.house.until(lambda: len(there.house.gateway.state.waiting) == 1)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await there.house.until(lambda: bool(there.house.gateway.wire_log(endpoint="cdn_download")))
    (entry,) = there.house.gateway.wire_log(endpoint="cdn_download")
    assert entry.response is None  # not one byte of the sixteen


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop")
@pytest.mark.parametrize(("where", "body"), [("after_headers", 0), ("mid_body", 21)])
def test_what_was_written_before_a_reset_arrives_on_uvloop_too(tmp_path: Path, where: str, body: int) -> None:
    import uvloop

    async def play() -> tuple[int | None, int, bool]:
        async with open_fault_house(tmp_path, "socket") as there:
            there.fault(endpoint="sendmessage", reset=where)
            outcome = await there.request("sendmessage")
            return outcome.status, len(outcome.body), outcome.is_reset

    assert uvloop.run(play()) == (200, body, True)


async def test_nth_and_times_say_when(there: FaultHouse) -> None:
    there.fault(endpoint="getconfig", nth=3, times=2, ret=-1)
    there.fault(endpoint="sendtyping", nth=2, ret=-1)
    answers = [(await there.request("getconfig")).json["ret"] for _ in range(6)]
    assert answers == [0, 0, -1, -1, 0, 0]
    there.house.gateway.faults.remove("f1")
    typed = [(await there.request("sendtyping")).json["ret"] for _ in range(3)]
    assert typed == [0, -1, 0]


async def test_a_fault_is_for_one_bot_or_one_person(there: FaultHouse) -> None:
    bob = await there.house.person("bob")
    there.fault(endpoint="sendmessage", user_id=bob, ret=-2)
    there.fault(bot_id="another@im.bot", ret=-1)
    assert (await there.request("sendmessage")).json["ret"] == 0
    await there.says("hi", bob)
    assert (await there.post("sendmessage", there.bot.message(bob))).json["ret"] == -2
    there.fault(bot_id=there.bot.bot_id, endpoint="cdn_download", http_status=500)
    assert (await there.request("cdn_download")).status == 500


async def test_the_owner_stands_for_requests_that_name_nobody(there: FaultHouse) -> None:
    there.fault(user_id=there.alice, endpoint="notifystart", ret=-1)
    assert (await there.request("notifystart")).json["ret"] == -1


async def test_the_first_that_answers_wins_and_delays_come_before(there: FaultHouse) -> None:
    there.fault(endpoint="getconfig", ret=-1)
    there.fault(endpoint="getconfig", ret=-2)
    assert (await there.request("getconfig")).json["ret"] == -1
    assert there.hits() == [1, 0]


async def test_a_fault_strikes_those_whose_token_does_not_work_too(there: FaultHouse) -> None:
    await there.house.gateway.expire_bot(there.bot.bot_id)
    there.fault(bot_id=there.bot.bot_id, http_status=503)
    assert (await there.request("getconfig")).status == 503


async def test_hits_are_counted_told_and_noted_on_the_wire(there: FaultHouse) -> None:
    fault_id = there.fault(endpoint="getconfig", ret=-2, times=1)
    await there.request("getconfig")
    await there.request("getconfig")
    told = [event.data for event in there.house.gateway.events.after(0) if event.kind == "fault"]
    assert [(one["id"], one["change"], one["hits"]) for one in told] == [(fault_id, "added", 0), (fault_id, "hit", 1)]
    entries = there.house.gateway.wire_log(endpoint="getconfig")
    assert [[(note.id, note.action) for note in entry.faults] for entry in entries] == [[(fault_id, "ret")], []]


async def test_faults_of_the_cdn_are_noted_on_the_wire(there: FaultHouse) -> None:
    fault_id = there.fault(endpoint="cdn_upload", corrupt=True)
    await there.upload()
    (entry,) = there.house.gateway.wire_log(endpoint="cdn_upload")
    assert ([note.id for note in entry.faults], entry.bot_id, entry.status) == ([fault_id], there.bot.bot_id, 200)


async def test_a_consumed_batch_is_gone_when_its_answer_is_lost(there: FaultHouse) -> None:
    await there.house.knobs(poll__consume_on_send=True, poll__hold_ms=0)
    there.fault(endpoint="getupdates", reset="after_effect", times=1)
    assert (await there.request("getupdates")).status is None
    assert (await there.poll()).json["msgs"] == []


async def sequence(folder: Path, seed: int, others: int = 0) -> list[int]:
    async with open_fault_house(folder, "memory", seed=seed) as there:
        there.fault(endpoint="getconfig", probability=0.5, ret=-1)
        for _ in range(others):
            there.fault(endpoint="*", probability=0.5, delay_ms=0)
        return [(await there.request("getconfig")).json["ret"] for _ in range(40)]


async def test_chance_follows_from_the_seed_whatever_other_faults_there_are(tmp_path: Path) -> None:
    first = await sequence(tmp_path / "a", 7)
    assert first == await sequence(tmp_path / "b", 7, others=2)
    assert first != await sequence(tmp_path / "c", 8)
    assert 5 < first.count(-1) < 35


async def test_reset_removes_faults_and_counts_their_ids_from_one_again(there: FaultHouse) -> None:
    there.fault(ret=-1)
    await there.house.gateway.reset(7)
    assert there.house.gateway.faults.views() == []
    assert there.fault(ret=-1) == "f1"


def test_every_action_is_in_the_table_once() -> None:
    keys = [key for action in ACTIONS.values() for key in action.keys]
    assert sorted(keys) == sorted(FaultAction.__struct_fields__)


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        (FaultSpec(action=FaultAction()), "action: it says nothing"),
        (FaultSpec(action=FaultAction(ret=-1, hang=True)), "action: it says hang and ret"),
        (FaultSpec(action=FaultAction(ret=-1), endpoint="sendmassage"), "endpoint: there is no 'sendmassage'"),
        (FaultSpec(action=FaultAction(ret=-1), endpoint="cdn_upload"), "action.ret: it makes no sense at cdn_upload"),
        (FaultSpec(action=FaultAction(corrupt=True), endpoint="getupdates"), "action.corrupt"),
        (FaultSpec(action=FaultAction(hang=False)), "action.hang: false does nothing"),
        (FaultSpec(action=FaultAction(errmsg="words")), "action.errmsg"),
        (FaultSpec(action=FaultAction(omit=[])), "action.omit"),
        (FaultSpec(action=FaultAction(ret=-1), every_s=60), "every_s: say in `for_s`"),
        (FaultSpec(action=FaultAction(ret=-1), for_s=60, every_s=60), "every_s: it must be longer"),
    ],
)
async def test_a_fault_that_could_never_strike_is_refused_by_name(house, spec: FaultSpec, named: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        house.gateway.faults.add(spec)
    assert named in str(caught.value)


async def test_a_process_goes_on_counting_where_another_one_was(house, tmp_path: Path) -> None:
    for _ in range(3):
        house.gateway.faults.add(FaultSpec(action=FaultAction(ret=-1), endpoint="getconfig"))
    async with open_fault_house(tmp_path / "other", "memory") as other:
        other.house.gateway.faults.take_up(house.gateway.faults.stored)
        assert other.fault(ret=-1) == "f4"


async def test_removing_what_is_not_there_is_refused(house) -> None:
    with pytest.raises(UnknownThingError, match="f9"):
        house.gateway.faults.remove("f9")


async def test_a_reset_waits_for_what_was_written_to_leave() -> None:
    class Draining:
        def __init__(self) -> None:
            self.left = [30, 20, 10, 0]
            self.aborted_with: int | None = None

        def get_write_buffer_size(self) -> int:
            return self.left.pop(0)

        def get_extra_info(self, _name: str) -> None:
            return None

        def abort(self) -> None:
            self.aborted_with = sum(self.left)

    protocol = object.__new__(BoundedProtocol)
    protocol.transport = Draining()  # type: ignore[assignment]
    running = SimpleNamespace(disconnected=False, response_complete=False, message_event=asyncio.Event())
    protocol._running = running  # type: ignore[assignment]
    await protocol.reset()
    assert (protocol.transport.aborted_with, running.disconnected) == (0, True)
