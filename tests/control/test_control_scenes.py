"""The state as a file: saved, loaded, refused with the place of what is wrong; and the tables of what can be set."""

from __future__ import annotations

import base64
import io
import json

import aiohttp
import pytest

PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010806000000") + bytes(200)

SMALL = {
    "ilink_scene": 1,
    "people": [{"name": "alice"}, {"name": "bob"}],
    "bots": [{"name": "helper", "owner": "alice"}],
    "messages": [
        {"person": "alice", "bot": "helper", "text": "Are you there?"},
        {"person": "alice", "bot": "helper", "direction": "out", "text": "I am."},
    ],
}


def changed(**parts: object) -> dict[str, object]:
    return {**SMALL, **parts}


async def load(api, scene: object):
    return await api("PUT", "/_sim/scene", json=scene)


async def transcript(api, bot_id: str, user_id: str) -> list[dict]:
    return (await api.get(f"/_sim/chats/{bot_id}/{user_id}/transcript")).body["messages"]


async def send_picture(api, friend, alice: str) -> None:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("bot_id", friend.bot_id)
    form.add_field("kind", "image")
    form.add_field("file", io.BytesIO(PNG), filename="dot.png", content_type="image/png")
    assert (await api("POST", f"/_sim/people/{alice}/messages", data=form)).status == 201


def shown(entries: list[dict]) -> list[tuple]:
    return [
        (one["direction"], one["state"], one["message_id"], one["at"], one["items"][0].get("text")) for one in entries
    ]


async def test_what_was_saved_is_there_again_after_a_reset(api, friend, alice) -> None:
    quoted = (await api.post(f"/_sim/people/{alice}/messages", {"bot_id": friend.bot_id, "text": "one two"})).body
    await friend.poll()
    await friend.send(alice, "an answer", "c-1")
    quote = {"message_id": quoted["message_id"], "partial": "two"}
    await api.post(f"/_sim/people/{alice}/messages", {"bot_id": friend.bot_id, "text": "this", "quote": quote})
    await send_picture(api, friend, alice)
    await api.post(f"/_sim/chats/{friend.bot_id}/{alice}/read", {"n": 2})
    await api("PUT", "/_sim/config", json={"knobs": {"poll.hold_ms": 1234}})
    await api("PUT", "/_sim/config", json={"bot_id": friend.bot_id, "profile": "quota_hard"})
    await api("PUT", "/_sim/config", json={"user_id": alice, "knobs": {"quota.per_inbound": 3}})
    overrides = (await api.get("/_sim/config")).body["overrides"]
    before = await transcript(api, friend.bot_id, alice)
    chats = (await api.get("/_sim/chats")).body["chats"]
    saved = await api.get("/_sim/scene")
    assert saved.headers["content-disposition"].startswith("attachment")
    await api.post("/_sim/reset", {"seed": 1})
    await api("PUT", "/_sim/config", json={"profile": "strict"})
    assert (await load(api, json.loads(saved.raw))).status == 204
    after = await transcript(api, friend.bot_id, alice)
    assert shown(after) == shown(before)
    assert after[2]["items"][0]["quoted_text"] == "two"
    media = after[3]["items"][0]["media"]
    assert (await api.get(f"/_sim/media/{media['media_id']}")).raw == PNG
    again = (await api.get("/_sim/chats")).body["chats"]
    assert [(one["read_to"], one["unread"]) for one in again] == [(one["read_to"], one["unread"]) for one in chats]
    config = (await api.get("/_sim/config")).body
    assert (config["profile"], config["knobs"]["poll.hold_ms"]) == ("observed", 1234)
    assert config["overrides"] == overrides
    of_both = (await api.get(f"/_sim/config?bot_id={friend.bot_id}&user_id={alice}")).body
    assert (of_both["profile"], of_both["knobs"]["quota.per_inbound"]) == ("quota_hard", 3)


async def test_knobs_of_single_bots_and_people_are_those_of_the_scene(api, friend, alice) -> None:
    await api("PUT", "/_sim/config", json={"user_id": alice, "knobs": {"quota.per_inbound": 3}})
    overrides = [{"person": "bob", "knobs": {"quota.per_inbound": 2}}, {"bot": "helper", "profile": "quota_hard"}]
    assert (await load(api, changed(overrides=overrides))).status == 204
    people = {one["name"]: one["user_id"] for one in (await api.get("/_sim/people")).body["people"]}
    (bot,) = (await api.get("/_sim/bots")).body["bots"]
    found = (await api.get("/_sim/config")).body["overrides"]
    assert [(one["bot_id"], one["user_id"]) for one in found] == [(bot["bot_id"], None), (None, people["bob"])]
    assert (found[0]["profile"], found[1]["knobs"]) == ("quota_hard", {"quota.per_inbound": 2})
    assert (await load(api, SMALL)).status == 204
    assert (await api.get("/_sim/config")).body["overrides"] == []


async def test_a_program_goes_on_after_its_scene_was_loaded(api, friend, alice) -> None:
    saved = await api.get("/_sim/scene")
    assert friend.token.encode() not in saved.raw
    assert (await load(api, json.loads(saved.raw))).status == 204
    await api.post(f"/_sim/people/{alice}/messages", {"bot_id": friend.bot_id, "text": "still there?"})
    (message,) = (await friend.poll())["msgs"]
    assert message["item_list"][0]["text_item"]["text"] == "still there?"
    assert (await friend.send(alice, "yes"))["ret"] == 0


async def test_a_scene_written_by_hand_is_taken(api, bot, server) -> None:
    token = "1@im.bot:a-token-for-tests"
    bots = [{"id": "1@im.bot", "name": "helper", "owner": "alice", "token": token}]
    waiting = [{"person": "bob", "bot": "helper", "text": "read me", "state": "stored"}]
    assert (await load(api, changed(bots=bots, messages=[*SMALL["messages"], *waiting]))).status == 204
    people = {one["name"]: one["user_id"] for one in (await api.get("/_sim/people")).body["people"]}
    entries = await transcript(api, "1@im.bot", people["alice"])
    assert [(one["direction"], one["state"]) for one in entries] == [("in", "acked"), ("out", "shown")]
    bot.token = token
    (message,) = (await bot.poll())["msgs"]
    assert message["from_user_id"] == people["bob"]


async def test_ids_made_after_a_load_are_none_of_the_scenes(api) -> None:
    await api.post("/_sim/reset", {"seed": 7})
    first = (await api.post("/_sim/people", {"name": "alice"})).body["user_id"]
    saved = json.loads((await api.get("/_sim/scene")).raw)
    await api.post("/_sim/reset", {"seed": 7})
    await load(api, saved)
    second = (await api.post("/_sim/people", {"name": "bob"})).body["user_id"]
    assert first != second


async def test_time_goes_forward_to_the_newest_message(api) -> None:
    at = "2090-01-02T03:04:05Z"
    await load(api, changed(messages=[{"person": "alice", "bot": "helper", "text": "later", "at": at}]))
    assert (await api.get("/_sim/clock")).body["now"] >= "2090-01-02T03:04:05"


MISTAKES = {
    "$.people[0]": changed(people=[{}]),
    "$.ilink_scene": changed(ilink_scene=2),
    "nickname": changed(people=[{"name": "alice", "nickname": "al"}]),
    "bots[0].owner: there is no person 'carol'": changed(bots=[{"owner": "carol"}]),
    "people[1].id: 'x@im.wechat' is there twice": changed(people=[{"name": n, "id": "x@im.wechat"} for n in "ab"]),
    "several people called 'alice'": changed(people=[{"name": "alice"}, {"name": "alice"}]),
    "messages[0].bot: there is no bot 'nobody'": changed(messages=[{"person": "alice", "bot": "nobody", "text": "x"}]),
    "messages[0].person: there is no person 'eve'": changed(messages=[{"person": "eve", "bot": "helper", "text": "x"}]),
    "messages[1].person: there is no person 'mallory'": changed(
        messages=[
            {
                "person": "alice",
                "bot": "helper",
                "items": [{"file": {"kind": "file", "data": base64.b64encode(b"stored before").decode()}}],
            },
            {"person": "mallory", "bot": "helper", "text": "x"},
        ]
    ),
    "messages[0]: a message has either": changed(messages=[{"person": "alice", "bot": "helper"}]),
    "messages[0].state: a message that goes out": changed(
        messages=[{"person": "alice", "bot": "helper", "direction": "out", "state": "acked", "text": "x"}]
    ),
    "messages[1].state: acked, though an earlier": changed(
        messages=[
            {"person": "alice", "bot": "helper", "state": "handed_out", "text": "x"},
            {"person": "alice", "bot": "helper", "state": "acked", "text": "y"},
        ]
    ),
    "messages[0].items[0].file": changed(
        messages=[{"person": "alice", "bot": "helper", "items": [{"file": {"kind": "song", "data": ""}}]}]
    ),
    "there is only `ref_msg`, not `type`": changed(
        messages=[{"person": "alice", "bot": "helper", "items": [{"type": 2, "file": {"kind": "image", "data": ""}}]}]
    ),
    "messages[0].items[0].file: this is no": changed(
        messages=[
            {
                "person": "alice",
                "bot": "helper",
                "items": [{"file": {"kind": "voice", "data": base64.b64encode(b"RIFFxxxx").decode()}}],
            }
        ]
    ),
    "bots[0].token: the token of this bot begins": changed(bots=[{"name": "helper", "owner": "alice", "token": "x"}]),
    "read[0].message": changed(read=[{"person": "bob", "bot": "helper", "message": 0}]),
    "no.such.knob": changed(knobs={"no.such.knob": 1}),
    "overrides[0].bot: there is no bot 'nobody'": changed(overrides=[{"bot": "nobody", "knobs": {}}]),
    "overrides[0].person: there is no person 'eve'": changed(overrides=[{"person": "eve", "knobs": {}}]),
    "overrides[0]: knobs differ for a `bot` or for a `person`": changed(
        overrides=[{"bot": "helper", "person": "alice", "knobs": {}}]
    ),
    "overrides[0]: there is no knob 'no.such.one'": changed(overrides=[{"bot": "helper", "knobs": {"no.such.one": 1}}]),
    "overrides[1]: ": changed(
        overrides=[{"person": "bob", "knobs": {}}, {"person": "alice", "knobs": {"poll.hold_ms": "x"}}]
    ),
    "there is no profile 'nice'": changed(profile="nice"),
}


@pytest.mark.parametrize("words", MISTAKES)
async def test_a_wrong_scene_is_refused_with_its_place_and_changes_nothing(api, friend, alice, server, words) -> None:
    await api.post(f"/_sim/people/{alice}/messages", {"bot_id": friend.bot_id, "text": "stay"})
    await send_picture(api, friend, alice)
    files = await server.gateway.media.names()
    answer = await load(api, MISTAKES[words])
    assert answer.status == 422
    assert words in answer.body["error"]["message"]
    assert len(await transcript(api, friend.bot_id, alice)) == 2
    assert await server.gateway.media.names() == files


async def test_a_load_is_told_as_a_reset(api, server) -> None:
    await load(api, SMALL)
    assert [event.kind for event in server.gateway.events.after(0)] == ["reset"]


async def test_the_tables_say_what_can_be_set_and_what_is_known_of_it(api) -> None:
    tables = (await api.get("/_sim/tables")).body
    (knob,) = [one for one in tables["knobs"] if one["name"] == "bind.single"]
    assert (knob["kind"], knob["default"]) == ("flag", True)
    assert "ocw#69" in knob["evidence"]
    assert tables["profiles"]["observed"] == {}
    assert {one["name"] for one in tables["actions"]} >= {"delay_ms", "drop_silently", "slow_bytes_per_s"}
