"""The CDN's HTTP takes what clients were seen to send, and refuses the rest with words (protocol §8.1, §8.2)."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from ilink.testing import LocalGateway
from ilink.wire.cipher import ciphertext_size, encrypt
from ilink.wire.ids import AccountId, UserId
from ilink.wire.keys import MediaKey

KEY = MediaKey(bytes.fromhex("00112233445566778899aabbccddeeff"))
PLAIN = os.urandom(100_000)
CIPHER = encrypt(KEY, PLAIN)


class Cdn:
    """A gateway, a signed-in bot that speaks raw HTTP, and a person."""

    def __init__(self, gateway: LocalGateway, session: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.session = session
        self.token = ""
        self.user = UserId("")
        self.bot = AccountId("")

    async def sign_in(self) -> None:
        alice = await self.gateway.person("alice")
        self.user = alice.user_id
        base = f"{self.gateway.api_url}/ilink/bot"
        async with self.session.get(f"{base}/get_bot_qrcode?bot_type=3") as answer:
            code = (await answer.json())["qrcode"]
        self.bot = await alice.befriend(code)
        async with self.session.get(f"{base}/get_qrcode_status", params={"qrcode": code}) as answer:
            self.token = (await answer.json())["bot_token"]
        await alice.says("hello")

    async def call(self, endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.session.post(f"{self.gateway.api_url}/ilink/bot/{endpoint}", json=body, headers=headers) as got:
            return await got.json(content_type=None)

    async def permission(self, plain: bytes = PLAIN, **changes: object) -> dict[str, Any]:
        body = {
            "filekey": os.urandom(16).hex(),
            "media_type": 3,
            "to_user_id": self.user,
            "rawsize": len(plain),
            "rawfilemd5": hashlib.md5(plain).hexdigest(),
            "filesize": ciphertext_size(len(plain)),
            "no_need_thumb": True,
            "aeskey": KEY.raw.hex(),
        } | changes
        answer = await self.call("getuploadurl", body)
        assert answer["ret"] == 0, answer
        return answer | {"filekey": body["filekey"]}

    async def upload(
        self, url: str, data: object = CIPHER, method: str = "POST", **headers: str
    ) -> aiohttp.ClientResponse:
        async with self.session.request(
            method, URL(url, encoded=True), data=data, headers=headers, allow_redirects=False
        ) as answer:
            await answer.read()
            return answer

    async def get(self, query: str, method: str = "GET", **headers: str) -> tuple[aiohttp.ClientResponse, bytes]:
        url = URL(f"{self.gateway.cdn_url}/download?{query}", encoded=True)
        async with self.session.request(method, url, headers=headers) as answer:
            return answer, await answer.read()

    async def stored(self) -> str:
        """Upload once, and return the reference."""
        answer = await self.upload((await self.permission())["upload_full_url"])
        assert answer.status == 200
        return answer.headers["x-encrypted-param"]

    def blobs(self) -> list[str]:
        folder = self.gateway.rules.media._folder / "blobs"
        return [path.name for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
async def cdn() -> AsyncIterator[Cdn]:
    async with LocalGateway() as gateway, aiohttp.ClientSession() as session:
        opened = Cdn(gateway, session)
        await opened.sign_in()
        yield opened


async def set_knobs(cdn: Cdn, **knobs: object) -> None:
    await cdn.gateway.rules.configure(knobs={name.replace("__", "."): value for name, value in knobs.items()})


def quoted(text: str) -> str:
    return text.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")


async def reference_with_a_slash_and_a_plus(cdn: Cdn) -> str:
    for _ in range(100):
        reference = await cdn.stored()
        if "/" in reference and "+" in reference:
            return reference
    raise AssertionError("no such reference in a hundred")


async def test_both_forms_of_the_permission_are_there_and_work(cdn: Cdn) -> None:
    permission = await cdn.permission()
    assert permission["upload_param"]
    assert permission["upload_full_url"].startswith(cdn.gateway.cdn_url + "/upload?")
    by_param = f"{cdn.gateway.cdn_url}/upload?encrypted_query_param={quoted(permission['upload_param'])}"
    assert (await cdn.upload(f"{by_param}&filekey={permission['filekey']}")).status == 200
    other = await cdn.permission()
    answer = await cdn.upload(other["upload_full_url"])
    assert answer.status == 200
    assert answer.headers["x-encrypted-param"]


async def test_download_takes_every_spelling_of_the_reference(cdn: Cdn) -> None:
    reference = await reference_with_a_slash_and_a_plus(cdn)
    for text in (
        quoted(reference),
        reference,
        reference.replace("/", "%2F"),
        reference.replace("+", "%20"),
        quoted(reference) + "&taskid=7",
    ):
        answer, body = await cdn.get(f"encrypted_query_param={text}")
        assert (answer.status, body == CIPHER) == (200, True), text


async def test_upload_takes_raw_characters_in_the_query(cdn: Cdn) -> None:
    for _ in range(20):
        permission = await cdn.permission()
        url = f"{cdn.gateway.cdn_url}/upload?filekey={permission['filekey']}"
        answer = await cdn.upload(f"{url}&encrypted_query_param={permission['upload_param']}")
        assert answer.status == 200


async def test_upload_in_chunks_without_a_length_is_taken(cdn: Cdn) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(CIPHER), 7_001):
            yield CIPHER[start : start + 7_001]

    answer = await cdn.upload((await cdn.permission())["upload_full_url"], chunks(), SKRouteTag="7")
    assert answer.status == 200
    _, body = await cdn.get(f"encrypted_query_param={quoted(answer.headers['x-encrypted-param'])}")
    assert body == CIPHER


async def test_permission_itself_can_be_downloaded(cdn: Cdn) -> None:
    permission = await cdn.permission()
    await cdn.upload(permission["upload_full_url"])
    query = f"encrypted_query_param={quoted(permission['upload_param'])}&filekey={permission['filekey']}"
    assert (await cdn.get(query))[1] == CIPHER


async def test_knob_asks_for_a_taskid(cdn: Cdn) -> None:
    await set_knobs(cdn, cdn__require_taskid=True)
    permission = await cdn.permission()
    reference = (await cdn.upload(permission["upload_full_url"])).headers["x-encrypted-param"]
    answer, _ = await cdn.get(f"encrypted_query_param={quoted(reference)}")
    assert (answer.status, answer.headers["x-error-message"]) == (400, "invalid encrypted_param")
    assert (await cdn.get(f"encrypted_query_param={quoted(reference)}&taskid=1"))[1] == CIPHER
    assert (await cdn.get(f"encrypted_query_param={quoted(permission['upload_param'])}"))[1] == CIPHER


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE", "PATCH"])
async def test_upload_by_another_method_is_not_found(cdn: Cdn, method: str) -> None:
    answer = await cdn.upload((await cdn.permission())["upload_full_url"], method=method)
    assert answer.status == 404
    assert answer.headers["x-error-message"]


async def test_other_paths_are_not_found(cdn: Cdn) -> None:
    for path in ("", "/", "/other", "/upload/x", "/../c2c/other"):
        async with cdn.session.get(URL(cdn.gateway.cdn_url + path, encoded=True)) as answer:
            assert (answer.status, bool(answer.headers["x-error-message"])) == (404, True)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-9", slice(0, 10)),
        ("bytes=10-", slice(10, None)),
        ("bytes=-16", slice(-16, None)),
        ("bytes=99990-999999999", slice(99_990, None)),
        ("bytes=-999999999", slice(0, None)),
        ("bytes=5-5", slice(5, 6)),
    ],
)
async def test_ranges_are_served(cdn: Cdn, asked: str, expected: slice) -> None:
    answer, body = await cdn.get(f"encrypted_query_param={quoted(await cdn.stored())}", Range=asked)
    assert answer.status == 206
    assert body == CIPHER[expected]
    start = expected.indices(len(CIPHER))[0]
    assert answer.headers["content-range"] == f"bytes {start}-{start + len(body) - 1}/{len(CIPHER)}"


@pytest.mark.parametrize("asked", ["bytes=999999999-", "bytes=-0", "bytes=9-5"])
async def test_range_beyond_the_blob_is_refused(cdn: Cdn, asked: str) -> None:
    answer, _ = await cdn.get(f"encrypted_query_param={quoted(await cdn.stored())}", Range=asked)
    assert answer.status == 416


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "lines=1-2", "bytes=x-y", "bytes=-"])
async def test_unreadable_range_is_passed_over(cdn: Cdn, asked: str) -> None:
    answer, body = await cdn.get(f"encrypted_query_param={quoted(await cdn.stored())}", Range=asked)
    assert (answer.status, body) == (200, CIPHER)


async def test_head_tells_the_size(cdn: Cdn) -> None:
    answer, body = await cdn.get(f"encrypted_query_param={quoted(await cdn.stored())}", "HEAD")
    assert (answer.status, answer.headers["content-length"], body) == (200, str(len(CIPHER)), b"")


@pytest.mark.parametrize("query", ["", "encrypted_query_param=", "encrypted_query_param=nonsense", "&&=&%zz=%"])
async def test_unknown_reference_is_refused(cdn: Cdn, query: str) -> None:
    answer, _ = await cdn.get(query)
    assert (answer.status, answer.headers["x-error-message"]) == (400, "invalid encrypted_param")


@pytest.mark.parametrize(
    "data", [b"", CIPHER[:-1], CIPHER + b"x", CIPHER[:16]], ids=["none", "less", "more", "a block"]
)
async def test_another_size_than_announced_is_refused_and_nothing_kept(cdn: Cdn, data: bytes) -> None:
    permission = await cdn.permission()
    answer = await cdn.upload(permission["upload_full_url"], data)
    assert answer.status == 400
    assert "filesize" in answer.headers["x-error-message"]
    assert cdn.blobs() == []
    assert (await cdn.upload(permission["upload_full_url"])).status == 200


async def test_fewer_bytes_than_announced_are_noticed_without_a_length_too(cdn: Cdn) -> None:
    async def short() -> AsyncIterator[bytes]:
        yield CIPHER[:-16]

    assert (await cdn.upload((await cdn.permission())["upload_full_url"], short())).status == 400
    assert cdn.blobs() == []


async def test_knob_takes_any_size(cdn: Cdn) -> None:
    await set_knobs(cdn, cdn__verify="none")
    assert (await cdn.upload((await cdn.permission())["upload_full_url"], b"anything")).status == 200


@pytest.mark.parametrize("data", [os.urandom(len(CIPHER)), encrypt(KEY, bytes(len(PLAIN)))], ids=["noise", "zeroes"])
async def test_knob_compares_the_content(cdn: Cdn, data: bytes) -> None:
    await set_knobs(cdn, cdn__verify="full")
    permission = await cdn.permission()
    assert (await cdn.upload(permission["upload_full_url"], data)).status == 400
    assert cdn.blobs() == []
    assert (await cdn.upload(permission["upload_full_url"])).status == 200


async def test_largest_blob_is_a_knob(cdn: Cdn) -> None:
    await set_knobs(cdn, cdn__max_bytes=len(CIPHER) - 1)
    answer = await cdn.upload((await cdn.permission())["upload_full_url"])
    assert answer.status == 413
    assert cdn.blobs() == []


async def test_huge_announced_size_is_refused_unread(cdn: Cdn) -> None:
    url = URL((await cdn.permission())["upload_full_url"], encoded=True)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"POST {url.raw_path_qs} HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000000\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413")
    writer.close()


async def test_permission_is_for_its_filekey_only(cdn: Cdn) -> None:
    first, second = await cdn.permission(), await cdn.permission()
    url = f"{cdn.gateway.cdn_url}/upload?encrypted_query_param={quoted(first['upload_param'])}"
    assert (await cdn.upload(f"{url}&filekey={second['filekey']}")).status == 400
    assert (await cdn.upload(url)).status == 400
    assert (await cdn.upload(f"{url}&filekey={first['filekey']}")).status == 200


async def test_permission_ends_with_the_first_success_unless_the_knob_says_otherwise(cdn: Cdn) -> None:
    permission = await cdn.permission()
    assert (await cdn.upload(permission["upload_full_url"])).status == 200
    assert (await cdn.upload(permission["upload_full_url"])).status == 400
    await set_knobs(cdn, cdn__single_use=False)
    again = await cdn.upload(permission["upload_full_url"])
    assert again.status == 200
    query = f"encrypted_query_param={quoted(permission['upload_param'])}"
    assert (await cdn.get(query))[1] == CIPHER


async def test_permission_ends_by_the_clock(cdn: Cdn) -> None:
    permission = await cdn.permission()
    await cdn.gateway.clock.advance(hours=25)
    answer = await cdn.upload(permission["upload_full_url"])
    assert (answer.status, answer.headers["x-error-message"]) == (400, "the permission to upload has expired")


async def test_upload_that_is_cut_leaves_nothing_and_may_be_repeated(cdn: Cdn) -> None:
    permission = await cdn.permission()
    url = URL(permission["upload_full_url"], encoded=True)
    for sent in (0, 1, 50_000, len(CIPHER) - 1):
        _, writer = await asyncio.open_connection(url.host, url.port)
        head = f"POST {url.raw_path_qs} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(CIPHER)}\r\n\r\n"
        writer.write(head.encode() + CIPHER[:sent])
        await writer.drain()
        writer.transport.abort()
    answer = await cdn.upload(permission["upload_full_url"])
    assert answer.status == 200
    while len(cdn.blobs()) > 1:  # noqa: ASYNC110  # nothing tells when a server has noticed that a caller left
        await asyncio.sleep(0)
    assert len(cdn.blobs()) == 1


async def test_full_disk_is_an_answer_that_may_be_repeated(cdn: Cdn, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        if len(data) > 10_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data)

    kept = await cdn.stored()
    permission = await cdn.permission()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        answer = await cdn.upload(permission["upload_full_url"])
    assert answer.status == 500
    assert answer.headers["x-error-message"]
    assert len(cdn.blobs()) == 1
    assert (await cdn.get(f"encrypted_query_param={quoted(kept)}"))[1] == CIPHER
    assert (await cdn.upload(permission["upload_full_url"])).status == 200


async def test_blob_that_is_gone_from_the_disk_is_an_answer(cdn: Cdn) -> None:
    reference = await cdn.stored()
    folder: Path = cdn.gateway.rules.media._folder / "blobs"
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.unlink()
    answer, _ = await cdn.get(f"encrypted_query_param={quoted(reference)}")
    assert answer.status == 500


async def test_key_form_that_a_phone_cannot_read_is_recorded(cdn: Cdn) -> None:
    reference = await cdn.stored()
    forms = {
        "base64_raw": "ABEiM0RVZneImaq7zN3u/w==",
        "base64_hex": "MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmY=",
        "hex": "00112233445566778899AABBCCDDEEFF",
        "unreadable": "not a key",
    }
    for number, key in enumerate(forms.values()):
        item = {"type": 4, "file_item": {"media": {"encrypt_query_param": reference, "aes_key": key}, "len": "1"}}
        msg = {"to_user_id": cdn.user, "client_id": f"c{number}", "message_type": 2, "message_state": 2}
        assert (await cdn.call("sendmessage", {"msg": msg | {"item_list": [item]}}))["ret"] == 0
    entries = await cdn.gateway.rules.transcript(cdn.bot, cdn.user)
    assert [entry.items[0].media.aes_key_form for entry in entries[1:]] == list(forms)
    assert {entry.items[0].media.md5 for entry in entries[1:]} == {hashlib.md5(PLAIN).hexdigest()}


async def test_sizes_as_text_and_no_thumbnail_fields_are_taken(cdn: Cdn) -> None:
    assert (await cdn.permission(rawsize=str(len(PLAIN)), filesize=str(len(CIPHER))))["upload_full_url"]
    assert (await cdn.permission(no_need_thumb=None))["upload_full_url"]


async def test_thumbnail_has_a_permission_of_its_own(cdn: Cdn) -> None:
    small = os.urandom(100)
    permission = await cdn.permission(
        media_type=1,
        no_need_thumb=False,
        thumb_rawsize=100,
        thumb_rawfilemd5=hashlib.md5(small).hexdigest(),
        thumb_filesize=112,
    )
    url = f"{cdn.gateway.cdn_url}/upload?encrypted_query_param={quoted(permission['thumb_upload_param'])}"
    answer = await cdn.upload(f"{url}&filekey={permission['filekey']}", encrypt(KEY, small))
    assert answer.status == 200
    assert (await cdn.upload(permission["upload_full_url"])).status == 200


async def test_upload_whose_bytes_do_not_decrypt_is_shown_as_such(cdn: Cdn) -> None:
    answer = await cdn.upload((await cdn.permission())["upload_full_url"], os.urandom(len(CIPHER)))
    record = await cdn.gateway.rules.media.find(answer.headers["x-encrypted-param"], has_task=True)
    described = await cdn.gateway.rules.media.record(record.media_id)
    assert described.facts is not None
    assert "decrypt" in str(described.facts.problem) or "MD5" in str(described.facts.problem)
