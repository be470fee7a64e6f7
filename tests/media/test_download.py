"""Downloading: where from, what is checked, and what is on the disk afterwards."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from pathlib import Path
from random import Random

import pytest
from scripted_cdn import (
    Door,
    Exchange,
    ScriptedCdn,
    Step,
    StillClock,
    cut_at_once,
    cut_within_the_answer,
    give,
    give_rest,
    hang,
    open_cdn,
    refuse,
)

from ilink.client.media import MediaClient
from ilink.errors import (
    ConfigError,
    DecryptionError,
    IntegrityError,
    OutcomeUnknownError,
    RemoteProtocolError,
    RequestRejectedError,
    ServerError,
    StoreError,
    TooLargeError,
)
from ilink.messages.media import MediaKind, MediaReference
from ilink.transport.http import HttpTransport
from ilink.wire.cipher import encrypt
from ilink.wire.hosts import HostPolicy
from ilink.wire.keys import KeyForm, MediaKey

KEY = MediaKey(bytes.fromhex("00112233445566778899aabbccddeeff"))
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(1000)
SIZES = [0, 1, 15, 16, 17, (1 << 20) - 1, 1 << 20, (1 << 20) + 1]


def reference(
    *,
    kind: MediaKind = MediaKind.FILE,
    full_url: str | None = None,
    param: str | None = "p+/=",
    key: MediaKey | None = KEY,
    md5: str | None = None,
    size: int | None = None,
) -> MediaReference:
    keys = () if key is None else (key.spell(KeyForm.BASE64_HEX),)
    return MediaReference(kind=kind, full_url=full_url, param=param, key_texts=keys, md5=md5, size=size)


def media_to(cdn: ScriptedCdn, transport: HttpTransport, clock: StillClock | None = None) -> MediaClient:
    return MediaClient(Door(transport, cdn.url, HostPolicy(cdn.url)), random=Random(1), clock=clock or StillClock())


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("size", SIZES)
async def test_bytes_come_back_in_all_three_ways(transport: HttpTransport, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    async with open_cdn(give(encrypt(KEY, data))) as cdn:
        media = media_to(cdn, transport)
        wanted = reference(md5=hashlib.md5(data).hexdigest(), size=size)
        saved = await media.download(wanted, tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == data
        assert (saved.path, saved.size) == (tmp_path / "file", size)
        assert await media.read(wanted) == data
        async with media.open(wanted) as stream:
            assert b"".join([chunk async for chunk in stream]) == data
        assert {exchange.target for exchange in cdn.requests} == {"/c2c/download?encrypted_query_param=p%2B%2F%3D"}
        assert {exchange.method for exchange in cdn.requests} == {"GET"}
    assert files(tmp_path) == ["file"]


async def test_full_url_is_preferred_and_the_parameter_stands_in(transport: HttpTransport) -> None:
    async with open_cdn(refuse(400, x_error_message="expired"), give(encrypt(KEY, b"hello"))) as cdn:
        media = media_to(cdn, transport)
        assert await media.read(reference(full_url=f"{cdn.url}/download?x=1&taskid=2")) == b"hello"
        targets = [exchange.target for exchange in cdn.requests]
    assert targets == ["/c2c/download?x=1&taskid=2", "/c2c/download?encrypted_query_param=p%2B%2F%3D"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x",
        "http://localhost/x",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "https://weixin.qq.com.evil.example/x",
        "https://weixin.qq.com@evil.example/x",
        "ftp://novac2c.cdn.weixin.qq.com/x",
        "not a url",
    ],
)
async def test_other_hosts_are_never_asked(transport: HttpTransport, url: str) -> None:
    async with open_cdn(give(encrypt(KEY, b"hello"))) as cdn:
        media = media_to(cdn, transport)
        assert await media.read(reference(full_url=url)) == b"hello"
        assert cdn.requests[0].target == "/c2c/download?encrypted_query_param=p%2B%2F%3D"
        with pytest.raises(ConfigError, match="allow its host"):
            await media.read(reference(full_url=url, param=None))


async def test_redirect_is_not_followed(transport: HttpTransport) -> None:
    async with open_cdn(give(b"secret")) as other, open_cdn(give(b"", status=302, location=other.url)) as cdn:
        with pytest.raises(RequestRejectedError, match="redirects"):
            await media_to(cdn, transport).read(reference())
        assert other.requests == []


async def test_picture_without_a_key_is_plain(transport: HttpTransport, tmp_path: Path) -> None:
    async with open_cdn(give(PNG)) as cdn:
        saved = await media_to(cdn, transport).download(reference(kind=MediaKind.IMAGE, key=None), tmp_path / "picture")
    assert saved.mime == "image/png"
    assert saved.path.read_bytes() == PNG


async def test_file_without_a_key_is_refused_before_it_is_fetched(transport: HttpTransport, tmp_path: Path) -> None:
    async with open_cdn(give(PNG)) as cdn:
        with pytest.raises(DecryptionError, match="without a key"):
            await media_to(cdn, transport).download(reference(key=None), tmp_path / "file")
        assert cdn.requests == []
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"key": MediaKey(bytes(16))}, DecryptionError),
        ({"md5": "0" * 32}, IntegrityError),
        ({"size": 7}, IntegrityError),
    ],
)
async def test_wrong_bytes_never_get_the_name(
    transport: HttpTransport, tmp_path: Path, change: dict[str, object], error: type[Exception]
) -> None:
    (tmp_path / "file").write_bytes(b"old")
    async with open_cdn(give(encrypt(KEY, PNG))) as cdn:
        media = media_to(cdn, transport)
        wanted = reference(**change)  # type: ignore[arg-type]
        with pytest.raises(error):
            await media.download(wanted, tmp_path / "file")
        with pytest.raises(error):
            await media.read(wanted)
        assert len(cdn.requests) == 2
    assert files(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


async def test_corrupted_byte_is_found_by_the_hash(transport: HttpTransport, tmp_path: Path) -> None:
    ciphertext = bytearray(encrypt(KEY, PNG))
    ciphertext[40] ^= 1
    async with open_cdn(give(bytes(ciphertext))) as cdn:
        with pytest.raises(IntegrityError):
            await media_to(cdn, transport).download(reference(md5=hashlib.md5(PNG).hexdigest()), tmp_path / "file")
    assert files(tmp_path) == []


async def test_cut_answers_are_fetched_again(transport: HttpTransport, tmp_path: Path) -> None:
    data, clock = os.urandom(3_000_000), StillClock()
    ciphertext = encrypt(KEY, data)
    async with open_cdn(
        cut_within_the_answer(ciphertext, 2_000_000), cut_within_the_answer(ciphertext, 0), give(ciphertext)
    ) as cdn:
        await media_to(cdn, transport, clock).download(reference(), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == data
    assert files(tmp_path) == ["file"]
    assert len(clock.slept) == 2


async def test_cut_download_goes_on_where_it_was_cut(transport: HttpTransport, tmp_path: Path) -> None:
    data = os.urandom(5_000_003)
    ciphertext = encrypt(KEY, data)
    seen: list[tuple[int, int]] = []
    async with open_cdn(
        give_rest(ciphertext, cut_after=2_000_000, etag='"a"'),
        give_rest(ciphertext, cut_after=4_500_000, etag='"a"'),
        give_rest(ciphertext, etag='"a"'),
    ) as cdn:
        wanted = reference(md5=hashlib.md5(data).hexdigest())
        await media_to(cdn, transport).download(
            wanted, tmp_path / "file", progress=lambda done, total: seen.append((done, total))
        )
        starts = [int(request.headers["range"][6:-1]) for request in cdn.requests[1:]]
        versions = [request.headers.get("if-range") for request in cdn.requests]
    assert (tmp_path / "file").read_bytes() == data
    assert 0 < starts[0] <= 2_000_000 < starts[1] <= 4_500_000
    assert versions == [None, '"a"', '"a"']
    assert {total for _, total in seen} == {len(ciphertext)}
    assert seen[-1] == (len(ciphertext), len(ciphertext))


async def test_bytes_in_memory_go_on_too(transport: HttpTransport) -> None:
    data = os.urandom(3_000_000)
    ciphertext = encrypt(KEY, data)
    async with open_cdn(give_rest(ciphertext, cut_after=2_500_000), give_rest(ciphertext)) as cdn:
        assert await media_to(cdn, transport).read(reference()) == data
        assert "range" in cdn.requests[1].headers


async def test_file_that_changed_meanwhile_is_taken_from_its_beginning(
    transport: HttpTransport, tmp_path: Path
) -> None:
    old, new = os.urandom(3_000_000), os.urandom(2_000_000)
    async with open_cdn(
        give_rest(encrypt(KEY, old), cut_after=2_500_000, etag='"old"'), give(encrypt(KEY, new), etag='"new"')
    ) as cdn:
        await media_to(cdn, transport).download(reference(), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == new


@pytest.mark.parametrize(
    "second",
    [
        refuse(416),
        refuse(400),
        give(b"x" * 1000, status=206, content_range="bytes 7-1006/3000016"),
        give(b"x" * 1000, status=206),
    ],
)
async def test_cdn_that_gives_no_parts_is_asked_for_all(transport: HttpTransport, tmp_path: Path, second: Step) -> None:
    data = os.urandom(3_000_000)
    ciphertext = encrypt(KEY, data)
    async with open_cdn(give_rest(ciphertext, cut_after=2_500_000), second, give_rest(ciphertext)) as cdn:
        await media_to(cdn, transport).download(reference(), tmp_path / "file")
        assert ["range" in request.headers for request in cdn.requests] == [False, True, False]
    assert (tmp_path / "file").read_bytes() == data


async def test_part_nobody_asked_for_is_not_taken(transport: HttpTransport, tmp_path: Path) -> None:
    data = encrypt(KEY, b"hello")
    async with open_cdn(give(data, status=206, content_range="bytes 16-31/32")) as cdn:
        with pytest.raises(RemoteProtocolError, match="another part"):
            await media_to(cdn, transport).download(reference(), tmp_path / "file")
    assert files(tmp_path) == []


async def test_announced_part_over_the_limit_is_refused_unread(transport: HttpTransport, tmp_path: Path) -> None:
    ciphertext = encrypt(KEY, os.urandom(3_000_000))

    async def silent(exchange: Exchange) -> None:
        start = int(exchange.headers["range"][6:-1])
        head = f"HTTP/1.1 206 X\r\ncontent-range: bytes {start}-9999999/*\r\ncontent-length: 3000000\r\n\r\n"
        exchange.writer.write(head.encode())
        await exchange.reader.read()

    async with open_cdn(give_rest(ciphertext, cut_after=2_500_000), silent) as cdn:
        with pytest.raises(TooLargeError):
            await media_to(cdn, transport).download(reference(), tmp_path / "file", max_bytes=3_500_000)
    assert files(tmp_path) == []


async def test_limit_holds_for_all_parts_together(transport: HttpTransport, tmp_path: Path) -> None:
    ciphertext = encrypt(KEY, os.urandom(3_000_000))

    async def endless(exchange: Exchange) -> None:
        start = int(exchange.headers["range"][6:-1])
        head = f"HTTP/1.1 206 X\r\ncontent-range: bytes {start}-9999999/*\r\nconnection: close\r\n\r\n"
        exchange.writer.write(head.encode())
        while not exchange.writer.is_closing():
            exchange.writer.write(bytes(100_000))
            await exchange.writer.drain()

    async with open_cdn(give_rest(ciphertext, cut_after=2_500_000), endless) as cdn:
        with pytest.raises(TooLargeError):
            await media_to(cdn, transport).download(reference(), tmp_path / "file", max_bytes=3_500_000)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("failure", "error", "tries"),
    [
        (refuse(500), ServerError, 3),
        (refuse(400, x_error_message="invalid encrypted_param"), RequestRejectedError, 1),
        (refuse(404), RequestRejectedError, 1),
        (cut_at_once, OutcomeUnknownError, 3),
        (cut_within_the_answer(bytes(100), 50), OutcomeUnknownError, 3),
    ],
)
async def test_failures_are_typed_and_leave_nothing(
    transport: HttpTransport, tmp_path: Path, failure: object, error: type[Exception], tries: int
) -> None:
    async with open_cdn(failure) as cdn:
        media = media_to(cdn, transport)
        with pytest.raises(error):
            await media.download(reference(), tmp_path / "file")
        # The HTTP library asks once more by itself when a connection ends without an answer to a GET.
        assert tries <= len(cdn.requests) <= 2 * tries
        cdn.script = [give(encrypt(KEY, b"now"))]
        await media.download(reference(), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"now"


async def test_announced_size_over_the_limit_is_refused_unread(transport: HttpTransport, tmp_path: Path) -> None:
    async def endless(exchange: Exchange) -> None:
        exchange.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n")
        await exchange.reader.read()

    async with open_cdn(endless) as cdn:
        media = media_to(cdn, transport)
        with pytest.raises(TooLargeError):
            await media.download(reference(), tmp_path / "file")
        with pytest.raises(TooLargeError):
            async with media.open(reference()):
                pass
        assert len(cdn.requests) == 2
    assert files(tmp_path) == []


async def test_size_that_was_not_announced_is_cut_off(transport: HttpTransport, tmp_path: Path) -> None:
    async def endless(exchange: Exchange) -> None:
        exchange.writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        while not exchange.writer.is_closing():
            exchange.writer.write(bytes(100_000))
            await exchange.writer.drain()

    async with open_cdn(endless) as cdn:
        media = media_to(cdn, transport)
        with pytest.raises(TooLargeError):
            await media.download(reference(), tmp_path / "file", max_bytes=1_000_000)
        with pytest.raises(TooLargeError):
            await media.read(reference(), max_bytes=1_000_000)
        async with media.open(reference(), max_bytes=1_000_000) as stream:
            with pytest.raises(TooLargeError):
                async for _ in stream:
                    pass
    assert files(tmp_path) == []


async def test_silent_cdn_is_given_up(transport: HttpTransport, tmp_path: Path) -> None:
    async with open_cdn(hang) as cdn:
        with pytest.raises(OutcomeUnknownError) as late:
            await media_to(cdn, transport).download(reference(), tmp_path / "file", timeout=0.05)
    assert late.value.timed_out
    assert files(tmp_path) == []


async def test_full_disk_is_an_error_and_leaves_nothing(
    transport: HttpTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, room = os.write, 1_500_000

    def write(descriptor: int, data: bytes) -> int:
        nonlocal room
        if len(data) < 10_000:  # the event loop's own
            return real(descriptor, data)
        room -= len(data)
        if room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data)

    async with open_cdn(give(encrypt(KEY, bytes(5_000_000)))) as cdn:
        media = media_to(cdn, transport)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            with pytest.raises(StoreError, match="No space"):
                await media.download(reference(), tmp_path / "file")
        assert len(cdn.requests) == 1
        assert files(tmp_path) == []
        await media.download(reference(), tmp_path / "file")
    assert files(tmp_path) == ["file"]


async def test_missing_folder_is_named(transport: HttpTransport, tmp_path: Path) -> None:
    async with open_cdn(give(encrypt(KEY, b"x"))) as cdn:
        with pytest.raises(StoreError, match="nowhere"):
            await media_to(cdn, transport).download(reference(), tmp_path / "nowhere" / "file")
        assert cdn.requests == []


async def test_cancelled_at_every_step_leaves_nothing_and_the_next_works(
    transport: HttpTransport, tmp_path: Path
) -> None:
    data = os.urandom(3_000_000)
    async with open_cdn(give(encrypt(KEY, data))) as cdn:
        media = media_to(cdn, transport)
        await media.read(reference())
        steps, finished = 0, False
        while not finished:
            task = asyncio.create_task(media.download(reference(), tmp_path / "file"))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
                finished = True
            except asyncio.CancelledError:
                # Cancelled while it got its name, it has it, and is whole; otherwise there is nothing.
                assert files(tmp_path) in ([], ["file"])
                if files(tmp_path):
                    assert (tmp_path / "file").read_bytes() == data
                    (tmp_path / "file").unlink()
            steps = steps + 1 if steps < 40 else steps * 2
        assert (tmp_path / "file").read_bytes() == data
        assert all(task is asyncio.current_task() or "serve" in repr(task) for task in asyncio.all_tasks())
    before = open_descriptors()
    await asyncio.sleep(0)
    assert open_descriptors() <= before


async def test_progress_goes_to_the_end(transport: HttpTransport, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    async with open_cdn(give(encrypt(KEY, bytes(1_000_000)))) as cdn:
        await media_to(cdn, transport).download(reference(), tmp_path / "file", progress=lambda *at: seen.append(at))
    assert seen == sorted(seen)
    assert seen[-1] == (1_000_016, 1_000_016)


async def test_leaving_a_stream_early_gives_the_exchange_up(transport: HttpTransport) -> None:
    async with open_cdn(give(encrypt(KEY, bytes(3_000_000)))) as cdn:
        media = media_to(cdn, transport)
        async with media.open(reference()) as stream:
            async for chunk in stream:
                assert chunk == bytes(len(chunk))
                break
        assert len(await media.read(reference())) == 3_000_000
