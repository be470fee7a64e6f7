"""Each call of the contract: what it takes, what it answers."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime

import pytest

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


async def test_health(api) -> None:
    answer = await api.get("/_sim/health")
    assert answer.status == 200
    assert answer.body["status"] == "ok"
    assert answer.body["version"]


async def test_info_has_the_fields_of_the_ready_line(api, server) -> None:
    answer = await api.get("/_sim/info")
    assert set(answer.body) == {
        "version", "api_url", "cdn_url", "control_url", "phone_url", "control_key", "pid",
    }  # fmt: skip
    assert answer.body["api_url"] == server.info.api_url
    assert answer.body["cdn_url"] == f"{server.info.api_url}/c2c"
    assert answer.body["phone_url"] == f"{server.info.control_url}/"
    assert answer.body["control_key"] is None


async def test_a_person_is_made(api) -> None:
    answer = await api.post("/_sim/people", {"name": "alice"})
    assert answer.status == 201
    assert answer.body["name"] == "alice"
    assert answer.body["user_id"].endswith("@im.wechat")


async def test_people_are_listed(api) -> None:
    made = [(await api.post("/_sim/people", {"name": name})).body for name in ("alice", "王小明")]
    assert (await api.get("/_sim/people")).body == {"people": made}


async def test_codes_are_listed_newest_first(api, bot) -> None:
    older = await bot.ask_code()
    newer = await bot.ask_code()
    codes = (await api.get("/_sim/qr")).body["codes"]
    assert [code["qrcode"] for code in codes] == [newer, older]
    assert codes[0]["status"] == "wait"
    assert codes[0]["user_id"] is None
    assert RFC3339.fullmatch(codes[0]["expires_at"])


async def test_scan_makes_the_code_scaned(api, bot, alice) -> None:
    await bot.ask_code()
    answer = await api.post(f"/_sim/qr/{bot.qrcode}/scan", {"user_id": alice})
    assert (answer.status, answer.body["status"], answer.body["user_id"]) == (200, "scaned", alice)
    assert (await bot.status())["status"] == "scaned"


async def test_scan_by_somebody_whose_live_bot_was_named_is_binded_redirect(api, friend, alice) -> None:
    await friend.ask_code([friend.token])
    answer = await api.post(f"/_sim/qr/{friend.qrcode}/scan", {"user_id": alice})
    assert answer.body["status"] == "binded_redirect"
    assert (await friend.status())["status"] == "binded_redirect"


async def test_confirm_after_a_scan(api, bot, alice) -> None:
    await bot.ask_code()
    await api.post(f"/_sim/qr/{bot.qrcode}/scan", {"user_id": alice})
    answer = await api.post(f"/_sim/qr/{bot.qrcode}/confirm", {})
    assert answer.status == 200
    assert answer.body["user_id"] == alice
    assert answer.body["bot_id"].endswith("@im.bot")
    assert (await bot.status())["ilink_bot_id"] == answer.body["bot_id"]


async def test_confirm_scans_first_for_the_person_it_names(api, bot, alice) -> None:
    await bot.ask_code()
    answer = await api.post(f"/_sim/qr/{bot.qrcode}/confirm", {"user_id": alice})
    assert answer.body["user_id"] == alice


async def test_confirm_without_a_scan_is_a_conflict(api, bot) -> None:
    await bot.ask_code()
    answer = await api.post(f"/_sim/qr/{bot.qrcode}/confirm")
    assert (answer.status, answer.body["error"]["code"]) == (409, "conflict")


async def test_a_required_code_is_asked_until_it_comes(api, bot, alice) -> None:
    await bot.ask_code()
    await api.post(f"/_sim/qr/{bot.qrcode}/scan", {"user_id": alice})
    answer = await api.post(f"/_sim/qr/{bot.qrcode}/require-code", {"code": "123456"})
    assert (answer.status, answer.body["status"]) == (200, "need_verifycode")
    assert (await bot.status())["status"] == "need_verifycode"
    assert (await bot.status(verify_code="123456"))["status"] == "scaned"


async def test_three_wrong_codes_block(api, bot, alice) -> None:
    await bot.ask_code()
    await api.post(f"/_sim/qr/{bot.qrcode}/scan", {"user_id": alice})
    await api.post(f"/_sim/qr/{bot.qrcode}/require-code", {"code": "123456"})
    statuses = [(await bot.status(verify_code=f"00000{n}"))["status"] for n in range(3)]
    assert statuses[-1] == "verify_code_blocked"


async def test_redirect_sends_the_client_elsewhere(api, bot) -> None:
    await bot.ask_code()
    answer = await api.post(f"/_sim/qr/{bot.qrcode}/redirect", {"host": "127.0.0.1:41443"})
    assert (answer.status, answer.body["status"]) == (200, "scaned_but_redirect")
    assert (await bot.status())["redirect_host"] == "127.0.0.1:41443"


@pytest.mark.parametrize("how", ["expire", "cancel"])
async def test_a_code_that_is_over_is_expired(api, bot, how) -> None:
    await bot.ask_code()
    answer = await api("POST", f"/_sim/qr/{bot.qrcode}/{how}")
    assert (answer.status, answer.body["status"]) == (200, "expired")
    assert (await bot.status())["status"] == "expired"


async def test_bots_are_listed(api, friend, alice) -> None:
    (bot,) = (await api.get("/_sim/bots")).body["bots"]
    assert bot["bot_id"] == friend.bot_id
    assert bot["owner_user_id"] == alice
    assert bot["state"] == "live"
    assert isinstance(bot["generation"], int)
    assert (bot["last_poll_at"], bot["waiting_polls"], bot["head_seq"], bot["acked_seq"]) == (None, 0, 0, 0)


async def test_a_look_into_the_mailbox_consumes_nothing(api, friend, alice) -> None:
    said = (await api.post(f"/_sim/people/{alice}/messages", {"bot_id": friend.bot_id, "text": "hi"})).body
    for _ in range(2):
        mailbox = (await api.get(f"/_sim/bots/{friend.bot_id}/mailbox")).body
        assert [entry["message_id"] for entry in mailbox["pending"]] == [said["message_id"]]
        assert [window["user_id"] for window in mailbox["windows"]] == [alice]
        assert mailbox["typing_tickets"] == []
        assert (mailbox["head_seq"], mailbox["acked_seq"]) == (said["seq"], 0)
    assert len((await friend.poll())["msgs"]) == 1


async def test_an_expired_bot_answers_14(api, friend) -> None:
    answer = await api("POST", f"/_sim/bots/{friend.bot_id}/expire")
    assert (answer.status, answer.raw) == (204, b"")
    assert (await friend.poll())["errcode"] == -14


async def test_a_persons_text_reaches_the_bot(api, friend, alice) -> None:
    answer = await api.post(f"/_sim/people/{alice}/messages", {"bot_id": friend.bot_id, "text": "你好"})
    assert answer.status == 201
    assert isinstance(answer.body["message_id"], str)
    assert isinstance(answer.body["seq"], int)
    (message,) = (await friend.poll())["msgs"]
    assert str(message["message_id"]) == answer.body["message_id"]
    assert message["item_list"][0]["text_item"]["text"] == "你好"


async def test_a_persons_items_travel_as_they_are(api, friend, alice) -> None:
    items = [{"type": 99, "new_item": {"what": None}}, {"type": 1, "text_item": {"text": "x"}}]
    answer = await api.post(f"/_sim/people/{alice}/messages", {"bot_id": friend.bot_id, "items": items})
    assert answer.status == 201
    (message,) = (await friend.poll())["msgs"]
    assert message["item_list"] == items


async def test_a_quote_names_the_message(api, friend, alice) -> None:
    path = f"/_sim/people/{alice}/messages"
    first = (await api.post(path, {"bot_id": friend.bot_id, "text": "some selected words"})).body
    quote = {"message_id": first["message_id"], "partial": "selected words"}
    answer = await api.post(path, {"bot_id": friend.bot_id, "text": "this?", "quote": quote})
    assert answer.status == 201
    messages = (await friend.poll())["msgs"]
    assert "ref_msg" in messages[1]["item_list"][0]


@pytest.mark.parametrize("more", [{}, {"text": "a", "items": []}])
async def test_a_message_is_either_text_or_items(api, friend, alice, more) -> None:
    answer = await api.post(f"/_sim/people/{alice}/messages", {"bot_id": friend.bot_id, **more})
    assert answer.status == 422
    assert "items" in answer.body["error"]["message"]


async def test_anyone_may_write_unless_only_the_owner_may(api, friend) -> None:
    bob = (await api.post("/_sim/people", {"name": "bob"})).body["user_id"]
    body = {"bot_id": friend.bot_id, "text": "hi"}
    assert (await api.post(f"/_sim/people/{bob}/messages", body)).status == 201
    await api("PUT", "/_sim/config", json={"knobs": {"bind.owner_only": True}})
    refused = await api.post(f"/_sim/people/{bob}/messages", body)
    assert (refused.status, refused.body["error"]["code"]) == (409, "conflict")


async def test_the_transcript_has_both_directions_oldest_first(api, friend, alice) -> None:
    said = (await api.post(f"/_sim/people/{alice}/messages", {"bot_id": friend.bot_id, "text": "hi"})).body
    await friend.poll()
    sent = await friend.send(alice, "You said: hi", client_id="c-77")
    entries = (await api.get(f"/_sim/chats/{friend.bot_id}/{alice}/transcript")).body["messages"]
    assert [entry["direction"] for entry in entries] == ["in", "out"]
    heard = entries[1]
    assert entries[0]["message_id"] == said["message_id"]
    assert heard["message_id"] == str(sent["message_id"])
    assert heard["client_id"] == "c-77"
    assert heard["state"] == "shown"
    assert heard["why"] is None
    assert heard["items"] == [{"type": 1, "text": "You said: hi"}]
    assert heard["raw"]["client_id"] == "c-77"
    assert RFC3339.fullmatch(heard["at"])
    assert heard["n"] > entries[0]["n"]


async def test_the_transcript_goes_on_after_a_number(api, friend, alice) -> None:
    for text in ("one", "two"):
        await api.post(f"/_sim/people/{alice}/messages", {"bot_id": friend.bot_id, "text": text})
    path = f"/_sim/chats/{friend.bot_id}/{alice}/transcript"
    first, second = (await api.get(path)).body["messages"]
    assert (await api.get(path, params={"after": first["n"]})).body["messages"] == [second]


async def test_a_refused_send_is_an_entry_too(api, friend, alice) -> None:
    await friend.send(alice, "too early")
    (entry,) = (await api.get(f"/_sim/chats/{friend.bot_id}/{alice}/transcript")).body["messages"]
    assert entry["state"] == "refused"
    assert entry["why"]


async def test_typing_is_seen(api, friend, alice) -> None:
    path = f"/_sim/chats/{friend.bot_id}/{alice}/typing"
    assert (await api.get(path)).body == {"typing": False, "since": None}
    await api.post(f"/_sim/people/{alice}/messages", {"bot_id": friend.bot_id, "text": "hi"})
    await friend.type_to(alice)
    seen = (await api.get(path)).body
    assert seen["typing"] is True
    assert RFC3339.fullmatch(seen["since"])


async def test_config_shows_profile_and_knobs(api) -> None:
    config = (await api.get("/_sim/config")).body
    assert config["profile"] == "observed"
    assert config["knobs"]["poll.hold_ms"] == 30000


async def test_config_merges(api) -> None:
    await api("PUT", "/_sim/config", json={"knobs": {"poll.hold_ms": 100}})
    answer = await api("PUT", "/_sim/config", json={"knobs": {"qr.ttl_s": 60}})
    assert answer.status == 200
    assert answer.body == (await api.get("/_sim/config")).body
    assert (answer.body["knobs"]["poll.hold_ms"], answer.body["knobs"]["qr.ttl_s"]) == (100, 60)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"knobs": {"poll.hold": 1}}, "poll.hold"),
        ({"knobs": {"poll.hold_ms": "long"}}, "poll.hold_ms"),
        ({"profile": "wild"}, "wild"),
        ({"knob": {}}, "knob"),
    ],
)
async def test_a_wrong_setting_is_refused_by_name_and_changes_nothing(api, body, named) -> None:
    before = (await api.get("/_sim/config")).body
    answer = await api("PUT", "/_sim/config", json=body)
    assert answer.status == 422
    assert named in answer.body["error"]["message"]
    assert (await api.get("/_sim/config")).body == before


async def test_the_clock_goes_forward(api) -> None:
    before = datetime.now(UTC)
    answer = await api.post("/_sim/clock", {"advance_s": 90000})
    assert answer.body["frozen"] is False
    assert (datetime.fromisoformat(answer.body["now"]) - before).total_seconds() >= 90000


async def test_a_frozen_clock_stands_still_until_it_runs_on(api) -> None:
    frozen = (await api.post("/_sim/clock", {"freeze": True})).body
    assert frozen["frozen"] is True
    assert (await api.get("/_sim/clock")).body == frozen
    assert (await api.post("/_sim/clock", {"freeze": False})).body["frozen"] is False


async def test_a_clock_that_is_told_nothing_is_refused(api) -> None:
    answer = await api.post("/_sim/clock", {})
    assert (answer.status, answer.body["error"]["code"]) == (422, "invalid")


async def test_the_clock_stays_within_the_years_that_dates_have(api) -> None:
    statuses = [(await api.post("/_sim/clock", {"advance_s": 10 * 365 * 86400})).status for _ in range(750)]
    assert (statuses[0], statuses[-1], set(statuses)) == (200, 422, {200, 422})
    assert (await api.get("/_sim/clock")).body["now"].startswith("89")


async def test_a_code_runs_out_by_the_clock(api, bot) -> None:
    await bot.ask_code()
    await api.post("/_sim/clock", {"advance_s": 3600})
    assert (await bot.status())["status"] == "expired"


async def test_reset_empties_and_ids_follow_from_the_seed(api) -> None:
    ids = []
    for _ in range(2):
        answer = await api.post("/_sim/reset", {"seed": 7})
        assert (answer.status, answer.raw) == (204, b"")
        assert (await api.get("/_sim/people")).body == {"people": []}
        ids.append((await api.post("/_sim/people", {"name": "alice"})).body["user_id"])
    assert ids[0] == ids[1]


async def test_the_wire_shows_exchanges_without_secrets(api, friend, alice) -> None:
    await api.post(f"/_sim/people/{alice}/messages", {"bot_id": friend.bot_id, "text": "hi"})
    await friend.poll()
    answer = await api.get("/_sim/wire", params={"bot_id": friend.bot_id, "endpoint": "getupdates"})
    (entry,) = answer.body["entries"]
    assert entry["endpoint"] == "getupdates"
    assert (entry["bot_id"], entry["status"], entry["ret"]) == (friend.bot_id, 200, 0)
    assert {"id", "at", "held_ms", "request", "response", "findings"} <= set(entry)
    assert friend.token.encode() not in (await api.get("/_sim/wire")).raw
    since = await api.get("/_sim/wire", params={"since": entry["id"], "endpoint": "getupdates"})
    assert since.body == {"entries": []}


async def test_wait_wakes_at_once(api, friend, alice) -> None:
    path, query = (
        "/_sim/wait",
        {"bot_id": friend.bot_id, "user_id": alice, "after": 0, "direction": "out", "timeout": 30},
    )
    await api.post(f"/_sim/people/{alice}/messages", {"bot_id": friend.bot_id, "text": "hi"})
    async with asyncio.timeout(45), asyncio.TaskGroup() as group:
        waiting = group.create_task(api.get(path, params=query))
        group.create_task(friend.send(alice, "hello"))
        entries = (await waiting).body["messages"]
    assert [entry["items"][0]["text"] for entry in entries if entry["direction"] == "out"] == ["hello"]


async def test_a_wait_ends_when_its_caller_leaves(api, friend, alice) -> None:
    tasks = len(asyncio.all_tasks())
    query = {"bot_id": friend.bot_id, "user_id": alice, "timeout": 300}
    waiting = asyncio.ensure_future(api.get("/_sim/wait", params=query))
    async with asyncio.timeout(45):
        while len(asyncio.all_tasks()) < tasks + 3:  # noqa: ASYNC110  # the caller, the request, and what it waits with
            await asyncio.sleep(0.005)
        waiting.cancel()
        while len(asyncio.all_tasks()) > tasks:  # noqa: ASYNC110  # tasks tell nobody that they ended
            await asyncio.sleep(0.005)


async def test_wait_answers_what_there_is_at_the_timeout(api, friend, alice) -> None:
    answer = await api.get("/_sim/wait", params={"bot_id": friend.bot_id, "user_id": alice, "timeout": "0.01"})
    assert (answer.status, answer.body) == (200, {"messages": []})


async def test_wait_for_a_code_wakes_at_once(api, bot) -> None:
    async with asyncio.timeout(45), asyncio.TaskGroup() as group:
        waiting = group.create_task(api.get("/_sim/wait", params={"qr": 1, "timeout": 30}))
        asking = group.create_task(bot.ask_code())
        code = (await waiting).body
    assert code["qrcode"] == await asking
    assert code["status"] == "wait"


async def test_a_scanned_code_is_not_waited_for(api, bot, alice) -> None:
    await bot.ask_code()
    await api.post(f"/_sim/qr/{bot.qrcode}/scan", {"user_id": alice})
    answer = await api.get("/_sim/wait", params={"qr": 1, "timeout": "0.01"})
    assert (answer.status, answer.body["error"]["code"]) == (404, "not_found")


async def test_wait_needs_a_bot_or_a_code(api) -> None:
    answer = await api.get("/_sim/wait")
    assert answer.status == 422
    assert "bot_id" in answer.body["error"]["message"]


async def test_liveness_and_readiness(api) -> None:
    assert (await api.get("/healthz")).status == 200
    assert (await api.get("/readyz")).status == 200


async def test_metrics_are_prometheus_text(api, friend) -> None:
    answer = await api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert b'ilink_bots{state="live"} 1.0' in answer.raw
    assert friend.bot_id.encode() not in answer.raw
