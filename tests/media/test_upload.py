"""Uploading: what is asked for, what is sent, what is tried again, and what is left when it fails."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from scripted_cdn import (
    Door,
    Exchange,
    ScriptedCdn,
    StillClock,
    cut_after_the_body,
    cut_at_once,
    cut_within_the_body,
    cut_within_the_head,
    hang,
    open_cdn,
    refuse,
)

from ilink.client.answers import UploadPermission
from ilink.client.media import LINK_SECONDS, MediaClient
from ilink.errors import (
    ConfigError,
    ConnectError,
    IntegrityError,
    MediaError,
    OutcomeUnknownError,
    RemoteProtocolError,
    RequestRejectedError,
    ServerError,
    TooLargeError,
)
from ilink.messages.media import MediaKind
from ilink.transport.http import HttpTransport
from ilink.wire.cipher import ciphertext_size, decrypt
from ilink.wire.hosts import HostPolicy
from ilink.wire.ids import UserId
from ilink.wire.keys import KeyForm, MediaKey

USER = UserId("o9cq80AbCdEfGhIjKlMnOpQrStUv@im.wechat")
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(100)
SIZES = [0, 1, 15, 16, 17, (1 << 20) - 1, 1 << 20, (1 << 20) + 1]


def door_to(cdn: ScriptedCdn, transport: HttpTransport, *, full: str | None = None, param: str | None = "p+/=") -> Door:
    return Door(transport, cdn.url, HostPolicy(cdn.url), [UploadPermission(full_url=full, param=param)])


def media_client(door: Door, clock: StillClock | None = None) -> MediaClient:
    return MediaClient(door, random=Random(1), clock=clock or StillClock())


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def pieces(data: bytes, step: int = 70_001) -> AsyncIterator[bytes]:
    for start in range(0, len(data), step):
        await asyncio.sleep(0)
        yield data[start : start + step]


class OneWay(io.RawIOBase):
    """A pipe-like file: it cannot go back."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._data.read(size)


@pytest.mark.parametrize("size", SIZES)
async def test_bytes_arrive_encrypted_with_what_was_announced(transport: HttpTransport, size: int) -> None:
    data = os.urandom(size)
    async with open_cdn() as cdn:
        cdn.script = [cdn.take()]
        door = door_to(cdn, transport)
        uploaded = await media_client(door).upload(data, MediaKind.FILE, to=USER, name="a.bin")
    (asked,) = door.asked
    assert (asked.rawsize, asked.filesize) == (size, ciphertext_size(size))
    assert asked.rawfilemd5 == hashlib.md5(data).hexdigest() == uploaded.md5
    assert (asked.media_type, asked.no_need_thumb, asked.to_user_id) == (3, True, USER)
    assert asked.aeskey == uploaded.key.spell(KeyForm.HEX)
    assert len(bytes.fromhex(str(asked.filekey))) == 16
    assert decrypt(MediaKey(bytes.fromhex(str(asked.aeskey))), cdn.bodies[0]) == data
    assert uploaded.param == "ref+/="
    (request,) = cdn.requests
    assert request.method == "POST"
    assert request.target == f"/c2c/upload?encrypted_query_param=p%2B%2F%3D&filekey={asked.filekey}"
    assert request.headers["content-type"] == "application/octet-stream"
    assert "authorization" not in request.headers


@pytest.mark.parametrize("kind", ["path", "text path", "bytes", "view", "file", "file within", "one-way", "async"])
async def test_every_kind_of_source_gives_the_same_bytes(
    transport: HttpTransport, tmp_path: Path, spool_folder: Path, kind: str
) -> None:
    data = os.urandom(3_000_000)
    path = tmp_path / "data.bin"
    path.write_bytes(data)
    before = open_descriptors()
    async with open_cdn() as cdn:
        cdn.script = [cdn.take()]
        media = media_client(door_to(cdn, transport))
        with path.open("rb") as file, io.BytesIO(b"skipped" + data) as within:
            within.seek(7)
            sources = {
                "path": path,
                "text path": str(path),
                "bytes": data,
                "view": memoryview(data),
                "file": file,
                "file within": within,
                "one-way": OneWay(data),
                "async": pieces(data),
            }
            uploaded = await media.upload(sources[kind], to=USER)
        assert decrypt(uploaded.key, cdn.bodies[0]) == data
        assert uploaded.md5 == hashlib.md5(data).hexdigest()
    assert uploaded.name == ("data.bin" if kind in ("path", "text path", "file") else "file.bin")
    assert list(spool_folder.iterdir()) == []
    await asyncio.sleep(0)
    assert open_descriptors() <= before + 1  # the kept connection


async def test_complete_address_is_preferred(transport: HttpTransport) -> None:
    async with open_cdn() as cdn:
        cdn.script = [cdn.take()]
        door = door_to(cdn, transport, full=f"{cdn.url}/upload?full=1")
        await media_client(door).upload(b"x", to=USER)
        assert cdn.requests[0].target == "/c2c/upload?full=1"


@pytest.mark.parametrize("full", ["http://127.0.0.1:1/upload", "http://169.254.169.254/", "https://evil.example/u"])
async def test_complete_address_on_another_host_is_passed_over(transport: HttpTransport, full: str) -> None:
    async with open_cdn() as cdn:
        cdn.script = [cdn.take()]
        await media_client(door_to(cdn, transport, full=full)).upload(b"x", to=USER)
        assert cdn.requests[0].target.startswith("/c2c/upload?encrypted_query_param=p%2B%2F%3D&filekey=")


async def test_only_another_host_is_refused(transport: HttpTransport) -> None:
    async with open_cdn() as cdn:
        door = door_to(cdn, transport, full="https://evil.example/u", param=None)
        with pytest.raises(ConfigError, match="may not be used"):
            await media_client(door).upload(b"x", to=USER)
        assert cdn.requests == []


@pytest.mark.parametrize(
    "failure",
    [
        refuse(500),
        refuse(502, b"bad gateway"),
        refuse(200),
        refuse(200, x_encrypted_param=" "),
        cut_at_once,
        cut_within_the_body,
        cut_after_the_body,
        cut_within_the_head,
    ],
)
async def test_passing_failures_are_tried_again_after_a_pause(transport: HttpTransport, failure: object) -> None:
    data, clock = os.urandom(600_000), StillClock()
    async with open_cdn() as cdn:
        cdn.script = [failure, failure, cdn.take()]
        uploaded = await media_client(door_to(cdn, transport), clock).upload(data, to=USER)
        assert decrypt(uploaded.key, cdn.bodies[-1]) == data
        assert len(cdn.requests) == 3
    assert len(clock.slept) == 2
    assert all(pause > 0 for pause in clock.slept)


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (refuse(500, x_error_message="no room", x_error_code="-7"), ServerError),
        (refuse(200), RemoteProtocolError),
        (cut_after_the_body, OutcomeUnknownError),
    ],
)
async def test_third_failure_is_raised_and_the_next_upload_works(
    transport: HttpTransport, failure: object, error: type[Exception]
) -> None:
    async with open_cdn() as cdn:
        cdn.script = [failure, failure, failure, cdn.take()]
        door = door_to(cdn, transport)
        media = media_client(door)
        with pytest.raises(error):
            await media.upload(b"x" * 100, to=USER)
        assert len(cdn.requests) == 3
        await media.upload(b"x" * 100, to=USER)
    assert door.asked[0].filekey != door.asked[1].filekey
    assert door.asked[0].aeskey != door.asked[1].aeskey


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 301, 302])
async def test_refusals_and_redirects_are_not_tried_again(transport: HttpTransport, status: int) -> None:
    async with open_cdn(refuse(status, location="http://127.0.0.1:1/")) as cdn:
        with pytest.raises(RequestRejectedError) as refused:
            await media_client(door_to(cdn, transport)).upload(b"x", to=USER)
        assert len(cdn.requests) == 1
    assert refused.value.http_status == status
    assert refused.value.endpoint == "cdn_upload"


async def test_permission_that_a_lost_answer_used_up_is_asked_for_again(transport: HttpTransport) -> None:
    async with open_cdn() as cdn:
        cdn.script = [cut_after_the_body, refuse(400, x_error_message="used"), cdn.take()]
        door = door_to(cdn, transport)
        uploaded = await media_client(door).upload(b"x" * 1000, to=USER)
        assert decrypt(uploaded.key, cdn.bodies[-1]) == b"x" * 1000
        assert len({asked.filekey for asked in door.asked}) == 2
        cdn.requests.clear()
        cdn.script = [cut_after_the_body, refuse(400), cut_after_the_body, refuse(400)]
        with pytest.raises(RequestRejectedError):
            await media_client(door).upload(b"y", to=USER)
        assert len(cdn.requests) == 4


async def test_words_and_code_of_the_cdn_are_in_the_error(transport: HttpTransport) -> None:
    async with open_cdn(refuse(500, b"body", x_error_message="illegal", x_error_code="-5102031")) as cdn:
        with pytest.raises(RequestRejectedError) as refused:
            await media_client(door_to(cdn, transport)).upload(b"x", to=USER)
        assert len(cdn.requests) == 1
    assert (refused.value.errmsg, refused.value.errcode) == ("illegal", -5102031)
    assert "not allowed" in str(refused.value)


async def test_body_stands_in_for_a_missing_header(transport: HttpTransport) -> None:
    async with open_cdn(refuse(400, b"what was wrong")) as cdn:
        with pytest.raises(RequestRejectedError, match="what was wrong"):
            await media_client(door_to(cdn, transport)).upload(b"x", to=USER)


async def test_nobody_listening_is_tried_three_times(transport: HttpTransport) -> None:
    clock = StillClock()
    async with open_cdn() as cdn:
        door = door_to(cdn, transport)
    with pytest.raises(ConnectError):
        await media_client(door, clock).upload(b"x", to=USER)
    assert len(clock.slept) == 2


async def test_silent_cdn_is_given_up(transport: HttpTransport) -> None:
    async with open_cdn(hang) as cdn:
        with pytest.raises(OutcomeUnknownError) as late:
            await media_client(door_to(cdn, transport)).upload(b"x", to=USER, timeout=0.05)
    assert late.value.timed_out


async def test_slow_cdn_may_take_longer_than_the_limit_without_progress(transport: HttpTransport) -> None:
    async def slowly(exchange: Exchange) -> None:
        left = int(exchange.headers["content-length"])
        while left:
            left -= len(await exchange.reader.read(400_000))
            await asyncio.sleep(0.01)
        await exchange.answer(200, x_encrypted_param="r")

    async with open_cdn(slowly) as cdn:
        data = bytes(20_000_000)
        assert (await media_client(door_to(cdn, transport)).upload(data, to=USER, timeout=1.5)).param == "r"


@pytest.mark.parametrize("kind", ["bytes", "path", "one-way", "async"])
async def test_too_large_is_refused_before_anything_is_asked(
    transport: HttpTransport, tmp_path: Path, spool_folder: Path, kind: str
) -> None:
    data = bytes(2_000_001)
    (tmp_path / "data").write_bytes(data)
    sources = {"bytes": data, "path": tmp_path / "data", "one-way": OneWay(data), "async": pieces(data)}
    async with open_cdn() as cdn:
        door = door_to(cdn, transport)
        with pytest.raises(TooLargeError, match="2000000"):
            await media_client(door).upload(sources[kind], to=USER, max_bytes=2_000_000)
    assert door.asked == []
    assert list(spool_folder.iterdir()) == []


async def test_what_cannot_be_read_is_named(transport: HttpTransport, tmp_path: Path) -> None:
    async with open_cdn() as cdn:
        media = media_client(door_to(cdn, transport))
        with pytest.raises(MediaError, match="missing"):
            await media.upload(tmp_path / "missing", to=USER)
        with pytest.raises(MediaError):
            await media.upload(tmp_path, to=USER)
        with pytest.raises(ConfigError, match="int"):
            await media.upload(7, to=USER)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="binary"):
            await media.upload(io.StringIO("text"), to=USER)  # type: ignore[arg-type]


async def test_failing_iterable_raises_its_own_error(transport: HttpTransport, spool_folder: Path) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"x"
        raise ZeroDivisionError

    async with open_cdn() as cdn:
        with pytest.raises(ZeroDivisionError):
            await media_client(door_to(cdn, transport)).upload(failing(), to=USER)
    assert list(spool_folder.iterdir()) == []


@pytest.mark.parametrize("change", ["shorter", "longer"])
async def test_file_that_changes_meanwhile_is_refused(transport: HttpTransport, tmp_path: Path, change: str) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"x" * 5_000_000)

    class Meddling(Door):
        async def get_upload_url(self, request, *, timeout=15.0):  # type: ignore[no-untyped-def]
            path.write_bytes(b"y" * (10 if change == "shorter" else 9_000_000))
            return await super().get_upload_url(request, timeout=timeout)

    async with open_cdn() as cdn:
        cdn.script = [cdn.take()]
        door = door_to(cdn, transport)
        meddling = Meddling(door.transport, door.cdn_url, door.hosts, door.permissions)
        with pytest.raises(IntegrityError, match="changed"):
            await media_client(meddling).upload(path, to=USER)
        assert cdn.bodies == []


async def test_progress_goes_to_the_end(transport: HttpTransport) -> None:
    seen: list[tuple[int, int]] = []
    async with open_cdn() as cdn:
        cdn.script = [cdn.take()]
        data = bytes(5_000_000)
        await media_client(door_to(cdn, transport)).upload(data, to=USER, progress=lambda *at: seen.append(at))
    assert seen == sorted(seen)
    assert len(seen) > 3
    assert seen[-1] == (5_000_000, 5_000_000)


async def test_same_bytes_are_uploaded_once_while_the_link_lives(transport: HttpTransport) -> None:
    clock = StillClock()
    async with open_cdn() as cdn:
        cdn.script = [cdn.take("first"), cdn.take("second")]
        door = door_to(cdn, transport)
        media = media_client(door, clock)
        assert (await media.upload(PNG, to=USER, name="a.png")).param == "first"
        again = await media.upload(PNG, to=USER, name="b.png")
        assert (again.param, again.name) == ("first", "b.png")
        assert (await media.upload(PNG, to=UserId("other"))).param == "second"
        assert (await media.upload(PNG, MediaKind.FILE, to=USER)).param == "second"
        assert (await media.upload(PNG, to=USER, reuse=False)).param == "second"
        before = len(door.asked)
        clock.now += LINK_SECONDS + 1
        await media.upload(PNG, to=USER)
        assert len(door.asked) == before + 1


async def test_kind_follows_from_content_unless_it_is_said(transport: HttpTransport) -> None:
    mp4 = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"
    async with open_cdn() as cdn:
        cdn.script = [cdn.take()]
        door = door_to(cdn, transport)
        media = media_client(door)
        kinds = [
            (await media.upload(PNG, to=USER, name="report.pdf")).kind,
            (await media.upload(mp4, to=USER)).kind,
            (await media.upload(b"%PDF-1.7\n", to=USER, name="picture.png")).kind,
            (await media.upload(b"\x02#!SILK_V3\x01", to=USER)).kind,
            (await media.upload(PNG, MediaKind.FILE, to=USER)).kind,
            (await media.upload(b"ID3\x03", MediaKind.VOICE, to=USER)).kind,
        ]
    assert kinds == ["image", "video", "file", "file", "file", "file"]
    assert [asked.media_type for asked in door.asked] == [1, 2, 3, 3, 3, 3]


async def test_cancelled_at_every_step_leaves_nothing_and_the_next_works(
    transport: HttpTransport, tmp_path: Path, spool_folder: Path
) -> None:
    data = os.urandom(3_000_000)
    async with open_cdn() as cdn:
        cdn.script = [cdn.take()]
        media = media_client(door_to(cdn, transport))
        await media.upload(data, to=USER, reuse=False)
        steps, finished = 0, False
        while not finished:
            task = asyncio.create_task(media.upload(pieces(data, 500_000), to=USER, reuse=False))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
                finished = True
            except asyncio.CancelledError:
                pass
            assert list(spool_folder.iterdir()) == []
            steps = steps + 1 if steps < 40 else steps * 2
        cdn.bodies.clear()
        uploaded = await media.upload(data, to=USER, reuse=False)
        assert decrypt(uploaded.key, cdn.bodies[-1]) == data
        await asyncio.sleep(0)
        assert all(task is asyncio.current_task() or "serve" in repr(task) for task in asyncio.all_tasks())


async def test_secrets_are_in_no_error_and_no_representation(transport: HttpTransport) -> None:
    async with open_cdn() as cdn:
        cdn.script = [cdn.take("the-reference"), refuse(403)]
        door = door_to(cdn, transport, param="the-permission")
        media = media_client(door)
        uploaded = await media.upload(b"x", to=USER)
        with pytest.raises(RequestRejectedError) as refused:
            await media.upload(b"y", to=USER)
    shown = f"{uploaded!r} {uploaded.reference!r} {refused.value} {refused.value!r}"
    for secret in ("the-reference", "the-permission", uploaded.key.raw.hex(), uploaded.key.spell(KeyForm.BASE64_HEX)):
        assert secret not in shown
