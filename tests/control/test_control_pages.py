"""Transcripts in pages, lists of chats, read marks, quotes, and what is done to a bot: what a page needs of the API."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json

import aiohttp
import pytest


async def say(api, friend, user_id: str, text: str, **fields: object) -> dict:
    body = {"bot_id": friend.bot_id, "text": text, **fields}
    return (await api.post(f"/_sim/people/{user_id}/messages", body)).body


async def transcript(api, friend, user_id: str, query: str = "") -> list[dict]:
    answer = await api.get(f"/_sim/chats/{friend.bot_id}/{user_id}/transcript{query}")
    assert answer.status == 200
    return answer.body["messages"]


def texts(entries: list[dict]) -> list[str]:
    return [entry["items"][0]["text"] for entry in entries]


async def test_a_transcript_comes_in_pages_from_either_end(api, friend, alice) -> None:
    numbers = [(await say(api, friend, alice, f"line {n}"))["n"] for n in range(6)]
    assert texts(await transcript(api, friend, alice, "?limit=2")) == ["line 4", "line 5"]
    assert texts(await transcript(api, friend, alice, f"?limit=2&before={numbers[4]}")) == ["line 2", "line 3"]
    assert texts(await transcript(api, friend, alice, f"?limit=2&after={numbers[0]}")) == ["line 1", "line 2"]
    assert texts(await transcript(api, friend, alice, f"?after={numbers[1]}&before={numbers[4]}")) == [
        "line 2",
        "line 3",
    ]
    assert len(await transcript(api, friend, alice)) == 6
    assert await transcript(api, friend, alice, "?limit=3&before=0") == []


@pytest.mark.parametrize("query", ["?limit=0", "?limit=10001", "?before=-1", "?before=x"])
async def test_a_page_that_cannot_be_is_refused(api, friend, alice, query) -> None:
    assert (await api.get(f"/_sim/chats/{friend.bot_id}/{alice}/transcript{query}")).status == 422


async def test_chats_are_listed_newest_first_with_what_is_unread(api, friend, alice) -> None:
    bob = (await api.post("/_sim/people", {"name": "bob"})).body["user_id"]
    await say(api, friend, bob, "first")
    await say(api, friend, alice, "second")
    await friend.send(alice, "an answer", "c-1")
    await friend.send(alice, "another", "c-2")
    chats = (await api.get("/_sim/chats")).body["chats"]
    assert [(chat["user_id"], chat["unread"]) for chat in chats] == [(alice, 2), (bob, 0)]
    assert chats[0]["last"]["items"][0]["text"] == "another"
    assert chats[0]["newest"] == chats[0]["last"]["n"]
    only = (await api.get("/_sim/chats", params={"user_id": bob})).body["chats"]
    assert [chat["user_id"] for chat in only] == [bob]


async def test_a_read_mark_never_goes_back_and_is_told(api, server, friend, alice) -> None:
    newest = (await say(api, friend, alice, "hi"))["n"]
    await friend.send(alice, "hello", "c-1")
    follower = server.gateway.events.follow()
    heard = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0)
    path = f"/_sim/chats/{friend.bot_id}/{alice}/read"
    assert (await api.post(path, {"n": newest + 1})).status == 204
    event = await heard
    assert (event.kind, event.data["n"]) == ("read", newest + 1)
    assert (await api.post(path, {"n": newest})).status == 204
    (chat,) = (await api.get("/_sim/chats")).body["chats"]
    assert (chat["read_to"], chat["unread"]) == (newest + 1, 0)


async def test_a_read_mark_of_nobody_is_refused(api, friend, alice) -> None:
    assert (await api.post(f"/_sim/chats/{friend.bot_id}/nobody@im.wechat/read", {"n": 1})).status == 404
    assert (await api.post(f"/_sim/chats/none@im.bot/{alice}/read", {"n": 1})).status == 404


async def test_a_reset_forgets_read_marks(api, server, friend, alice) -> None:
    await say(api, friend, alice, "hi")
    await api.post(f"/_sim/chats/{friend.bot_id}/{alice}/read", {"n": 1})
    await api.post("/_sim/reset", {"seed": 7})
    assert (await api.get("/_sim/chats")).body == {"chats": []}
    assert [event.kind for event in server.gateway.events.after(0)] == ["reset"]


@pytest.mark.parametrize("style", ["svr_id", "embedded", "type0"])
async def test_a_quote_tells_what_it_means_in_every_form(api, friend, alice, style) -> None:
    await api("PUT", "/_sim/config", json={"knobs": {"quote.style": style}})
    first = await say(api, friend, alice, "alpha beta gamma beta delta beta end")
    whole = {"message_id": first["message_id"]}
    await say(api, friend, alice, "this one", quote=whole)
    await say(api, friend, alice, "just this", quote={**whole, "partial": "beta delta beta"})
    _, one, part = [entry["items"][0] for entry in await transcript(api, friend, alice)]
    assert one["quoted_text"] == "alpha beta gamma beta delta beta end"
    assert (one["quoted_n"], one["quoted_type"], one.get("is_quoted_in_part")) == (first["n"], 1, None)
    assert (part["quoted_text"], part["is_quoted_in_part"]) == ("beta delta beta", True)


@pytest.mark.parametrize("endindex", ["global", "relative"])
async def test_a_partial_quote_is_read_however_it_is_counted(api, friend, alice, endindex) -> None:
    await api("PUT", "/_sim/config", json={"knobs": {"quote.endindex": endindex}})
    first = await say(api, friend, alice, "one two one two three")
    for words in ("one", "two one", "one two three", "two three", "one two one two three"):
        await say(api, friend, alice, "q", quote={"message_id": first["message_id"], "partial": words})
        item = (await transcript(api, friend, alice, "?limit=1"))[0]["items"][0]
        assert item["quoted_text"] == words


async def test_a_quote_tells_nothing_of_another_chat(api, friend, alice) -> None:
    bob = (await api.post("/_sim/people", {"name": "bob"})).body["user_id"]
    secret = await say(api, friend, bob, "for the bot alone")
    reference = {"svr_id": secret["message_id"]}
    item = {"type": 1, "text_item": {"text": "look"}, "ref_msg": reference}
    await api.post(f"/_sim/people/{alice}/messages", {"bot_id": friend.bot_id, "items": [item]})
    (entry,) = await transcript(api, friend, alice)
    assert "for the bot alone" not in json.dumps(entry)


async def test_a_rebound_bot_is_replaced_and_its_token_dies_when_the_knob_says(api, friend, alice) -> None:
    await api("PUT", "/_sim/config", json={"knobs": {"bind.revoke_delay_s": 29}})
    assert (await api.post(f"/_sim/bots/{friend.bot_id}/rebind")).status == 204
    (bot,) = (await api.get("/_sim/bots")).body["bots"]
    assert bot["state"] == "replaced"
    await say(api, friend, alice, "still there?")
    assert (await friend.send(alice, "for a while"))["ret"] == 0
    await api.post("/_sim/clock", {"advance_s": 30})
    assert (await friend.poll())["ret"] == -14
    assert (await api.post(f"/_sim/bots/{friend.bot_id}/rebind")).status == 409
    assert (await api.post("/_sim/bots/none@im.bot/rebind")).status == 404


async def test_a_rotated_bot_has_a_new_generation_and_its_old_cursor_counts_no_more(api, friend, alice) -> None:
    await say(api, friend, alice, "hi")
    assert len((await friend.poll())["msgs"]) == 1
    assert (await api.post(f"/_sim/bots/{friend.bot_id}/rotate")).status == 204
    (bot,) = (await api.get("/_sim/bots")).body["bots"]
    assert bot["generation"] == 2
    await say(api, friend, alice, "again")
    await friend.poll()
    (*_, poll) = (await api.get("/_sim/wire", params={"endpoint": "getupdates"})).body["entries"]
    assert "cursor_old_generation" in poll["findings"]


async def test_a_poll_that_begins_and_ends_is_told(api, server, friend, alice) -> None:
    events = server.gateway.events.follow()

    async def next_count() -> int:
        async for event in events:
            if event.kind == "bot" and "waiting_polls" in event.data:
                return event.data["waiting_polls"]
        raise AssertionError

    count = asyncio.ensure_future(next_count())
    await asyncio.sleep(0)
    poll = asyncio.ensure_future(friend.poll())
    assert await count == 1
    await say(api, friend, alice, "hi")
    while await next_count() != 0:
        pass
    await poll


async def test_a_new_person_is_told(api, server) -> None:
    answer = await api.post("/_sim/people", {"name": "carol"})
    (event,) = [one for one in server.gateway.events.after(0) if one.kind == "person"]
    assert event.data == {"user_id": answer.body["user_id"]}


async def send_file(api, friend, user_id: str, kind: str, content: bytes, name: str) -> dict:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("bot_id", friend.bot_id)
    form.add_field("kind", kind)
    form.add_field("file", io.BytesIO(content), filename=name, content_type="application/octet-stream")
    await api("POST", f"/_sim/people/{user_id}/messages", data=form)
    return (await transcript(api, friend, user_id, "?limit=1"))[0]["items"][0]["media"]


CONTENT = hashlib.shake_128(b"a file").digest(100_003)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-15", 0, 16),
        ("bytes=15-16", 15, 17),
        ("bytes=17-40", 17, 41),
        ("bytes=5000-", 5000, 100_003),
        ("bytes=-1", 100_002, 100_003),
        ("bytes=-100", 99_903, 100_003),
        ("bytes=99990-200000", 99_990, 100_003),
        ("bytes=-200000", 0, 100_003),
        ("bytes=100000-100001", 100_000, 100_002),
    ],
)
async def test_a_part_of_a_file_is_read_alone(api, friend, alice, asked, start, end) -> None:
    media = await send_file(api, friend, alice, "file", CONTENT, "a.bin")
    answer = await api.get(f"/_sim/media/{media['media_id']}", headers={"range": asked})
    assert answer.status == 206
    assert answer.raw == CONTENT[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "lines=0-1", "bytes=-", "bytes=5-2", "x"])
async def test_a_range_that_cannot_be_read_gives_the_whole(api, friend, alice, asked) -> None:
    media = await send_file(api, friend, alice, "file", CONTENT, "a.bin")
    answer = await api.get(f"/_sim/media/{media['media_id']}", headers={"range": asked})
    assert (answer.status, answer.raw) == (200, CONTENT)
    assert answer.headers["accept-ranges"] == "bytes"


async def test_a_range_beyond_the_file_is_refused(api, friend, alice) -> None:
    media = await send_file(api, friend, alice, "file", CONTENT, "a.bin")
    answer = await api.get(f"/_sim/media/{media['media_id']}", headers={"range": "bytes=100003-"})
    assert (answer.status, answer.headers.get("content-range")) == (416, "bytes */100003")


async def test_a_file_that_is_known_is_not_sent_again(api, friend, alice) -> None:
    media = await send_file(api, friend, alice, "file", CONTENT, "a.bin")
    path = f"/_sim/media/{media['media_id']}"
    etag = (await api.get(path)).headers["etag"]
    answer = await api.get(path, headers={"if-none-match": etag})
    assert (answer.status, answer.raw) == (304, b"")


async def test_a_recording_comes_as_sound_that_browsers_play(api, friend, alice) -> None:
    pytest.importorskip("pysilk")
    from ilink.wire.silk import is_silk, write_wav

    media = await send_file(api, friend, alice, "voice", write_wav(bytes(24_000 * 2), 24_000), "voice.wav")
    path = f"/_sim/media/{media['media_id']}"
    assert is_silk((await api.get(path)).raw)
    answer = await api.get(path, params={"wav": "1"})
    assert (answer.headers["content-type"], answer.raw[:4]) == ("audio/wav", b"RIFF")
    assert len(answer.raw) == 44 + 24_000 * 2
    part = await api.get(path, params={"wav": "1"}, headers={"range": "bytes=0-3"})
    assert (part.status, part.raw) == (206, b"RIFF")


async def test_what_is_no_sound_does_not_play(api, friend, alice) -> None:
    media = await send_file(api, friend, alice, "file", b"just words", "notes.txt")
    answer = await api.get(f"/_sim/media/{media['media_id']}", params={"wav": "1"})
    assert (answer.status, answer.body["error"]["code"]) == (409, "conflict")
