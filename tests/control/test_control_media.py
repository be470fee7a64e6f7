"""Files that people send, and the bytes behind what messages point to."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json

import aiohttp
import pytest

PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010806000000") + bytes(200)


def form(bot_id: str, kind: str, content: bytes, name: str = "notes.txt", **fields: str) -> aiohttp.FormData:
    data = aiohttp.FormData(quote_fields=False)  # as browsers do
    for field, value in {"bot_id": bot_id, "kind": kind, **fields}.items():
        data.add_field(field, value)
    data.add_field("file", io.BytesIO(content), filename=name, content_type="application/octet-stream")
    return data


async def send(api, friend, user_id: str, kind: str, content: bytes, name: str = "notes.txt", **fields: str):
    return await api(
        "POST", f"/_sim/people/{user_id}/messages", data=form(friend.bot_id, kind, content, name, **fields)
    )


async def newest_items(api, friend, user_id: str) -> list[dict]:
    entries = (await api.get(f"/_sim/chats/{friend.bot_id}/{user_id}/transcript")).body["messages"]
    return entries[-1]["items"]


@pytest.mark.parametrize(
    ("kind", "number", "content", "name", "mime"),
    [
        ("image", 2, PNG, "photo.png", "image/png"),
        ("file", 4, b"%PDF-1.7 rest", "report.pdf", "application/pdf"),
        ("video", 5, bytes.fromhex("00000018667479706d703432") + bytes(100), "clip.mp4", "video/mp4"),
    ],
)
async def test_a_file_arrives_and_its_bytes_come_back(api, friend, alice, kind, number, content, name, mime) -> None:
    answer = await send(api, friend, alice, kind, content, name)
    assert answer.status == 201
    assert set(answer.body) >= {"message_id", "seq"}
    (item,) = await newest_items(api, friend, alice)
    assert item["type"] == number
    media = item["media"]
    assert media["size"] == len(content)
    assert media["sha256"] == hashlib.sha256(content).hexdigest()
    assert media["md5"] == hashlib.md5(content).hexdigest()
    assert (media["mime"], media["name"], media["aes_key_form"]) == (mime, name, "base64_hex")
    fetched = await api.get(f"/_sim/media/{media['media_id']}")
    assert (fetched.status, fetched.raw, fetched.headers["content-type"]) == (200, content, mime)
    assert name in fetched.headers["content-disposition"]


async def test_the_bot_can_fetch_what_a_person_sends(api, friend, alice, session) -> None:
    await send(api, friend, alice, "file", b"secret words")
    (message,) = (await friend.poll())["msgs"]
    async with session.get(message["item_list"][0]["file_item"]["media"]["full_url"]) as answer:
        ciphertext = await answer.read()
    (item,) = await newest_items(api, friend, alice)
    raw = await api.get(f"/_sim/media/{item['media']['media_id']}?raw=1")
    assert raw.raw == ciphertext
    assert len(ciphertext) == 16
    assert raw.headers["content-type"] == "application/octet-stream"


async def test_a_text_goes_with_a_file_in_the_same_message(api, friend, alice) -> None:
    await send(api, friend, alice, "image", PNG, "photo.png", text="look")
    items = await newest_items(api, friend, alice)
    assert [(item["type"], item.get("text")) for item in items] == [(1, "look"), (2, None)]


async def test_a_file_quotes_a_message(api, friend, alice) -> None:
    path = f"/_sim/people/{alice}/messages"
    said = (await api.post(path, {"bot_id": friend.bot_id, "text": "which one?"})).body
    quote = json.dumps({"message_id": said["message_id"]})
    assert (await send(api, friend, alice, "image", PNG, quote=quote)).status == 201
    (item,) = await newest_items(api, friend, alice)
    assert item["quoted_message_id"] == said["message_id"]


@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "program.js"])
async def test_what_could_be_a_program_is_only_offered_for_saving(api, friend, alice, name) -> None:
    await send(api, friend, alice, "file", b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>", name)
    (item,) = await newest_items(api, friend, alice)
    fetched = await api.get(f"/_sim/media/{item['media']['media_id']}")
    assert fetched.headers["content-disposition"].startswith("attachment;")
    assert "sandbox" in fetched.headers["content-security-policy"]
    assert fetched.headers["x-content-type-options"] == "nosniff"


async def test_a_file_name_cannot_break_out_of_its_header(api, friend, alice) -> None:
    await send(api, friend, alice, "file", b"x", 'a"; evil=1; 王 .txt')
    (item,) = await newest_items(api, friend, alice)
    fetched = await api.get(f"/_sim/media/{item['media']['media_id']}")
    assert fetched.status == 200
    assert "evil=1" not in fetched.headers["content-disposition"]


async def test_a_file_name_is_no_path(api, friend, alice) -> None:
    await send(api, friend, alice, "file", b"x", "..\\..\\etc/passwd.txt")
    (item,) = await newest_items(api, friend, alice)
    assert item["media"]["name"] == "passwd.txt"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"kind": "song"}, "kind"),
        ({"nick": "x"}, "nick"),
        ({"quote": "{"}, "form"),
        ({"quote": '{"message_id": 1}'}, "quote"),
    ],
)
async def test_a_wrong_form_is_refused_by_name(api, friend, alice, fields, named) -> None:
    fields = {"bot_id": friend.bot_id, "kind": "file", **fields}
    data = form(content=b"x", **fields)
    answer = await api("POST", f"/_sim/people/{alice}/messages", data=data)
    assert (answer.status, named in answer.body["error"]["message"]) == (422, True)


async def test_a_form_without_a_file_is_refused(api, friend, alice) -> None:
    data = aiohttp.FormData({"bot_id": friend.bot_id, "kind": "file"}, default_to_multipart=True)
    answer = await api("POST", f"/_sim/people/{alice}/messages", data=data)
    assert (answer.status, answer.body["error"]["code"]) == (422, "invalid")


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=x"])
async def test_what_is_no_form_is_refused(api, alice, kind) -> None:
    answer = await api("POST", f"/_sim/people/{alice}/messages", data=b"no form at all", headers={"content-type": kind})
    assert (answer.status, answer.body["error"]["code"]) in [(400, "bad_request"), (422, "invalid")]


async def test_a_file_that_announces_too_much_is_refused_unread(api, server, alice) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.info.control_url.rpartition(":")[2]))
    writer.write(
        f"POST /_sim/people/{alice}/messages HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000000\r\n\r\n".encode()
    )
    async with asyncio.timeout(45):
        assert b" 413 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_a_file_larger_than_the_knob_allows_is_refused(api, friend, alice) -> None:
    await api("PUT", "/_sim/config", json={"knobs": {"cdn.max_bytes": 100}})
    answer = await send(api, friend, alice, "file", bytes(101))
    assert answer.status in (413, 422)
    assert (await send(api, friend, alice, "file", bytes(100))).status == 201


@pytest.mark.parametrize("who", ["person", "bot"])
async def test_a_file_for_nobody_is_not_found(api, friend, alice, who) -> None:
    bot_id, user_id = (friend.bot_id, "none") if who == "person" else ("none", alice)
    answer = await api("POST", f"/_sim/people/{user_id}/messages", data=form(bot_id, "file", b"x"))
    assert (answer.status, answer.body["error"]["code"]) == (404, "not_found")


async def test_unknown_media_is_not_found(api) -> None:
    assert (await api.get("/_sim/media/none")).status == 404


async def test_after_a_reset_the_media_is_gone(api, friend, alice) -> None:
    await send(api, friend, alice, "file", b"x")
    (item,) = await newest_items(api, friend, alice)
    await api.post("/_sim/reset", {"seed": 7})
    assert (await api.get(f"/_sim/media/{item['media']['media_id']}")).status == 404
