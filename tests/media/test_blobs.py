"""A blob is whole or absent, whatever happens while it is written."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ilink.errors import ConfigError, StoreError
from ilink.storage.blobs import BlobStore, FolderBlobs, MissingBlobError
from ilink.storage.files import BATCH_BYTES, Batches, PartialFile, in_thread
from ilink.storage.object_blobs import ObjectBlobs, open_objects


@pytest.fixture
async def blobs(tmp_path: Path) -> FolderBlobs:
    store = FolderBlobs(tmp_path / "blobs")
    await store.clean()
    return store


@pytest.fixture(params=["folder", "memory", "s3"])
async def store(request: pytest.FixtureRequest, blobs: FolderBlobs) -> BlobStore:
    """Each of the stores."""
    match request.param:
        case "folder":
            return blobs
        case "memory":
            return open_objects("memory:///")
        case _:
            objects: ObjectBlobs = request.getfixturevalue("s3_blobs")
            return objects


async def put(store: BlobStore, name: str, *chunks: bytes, at: float = 1000.0) -> int:
    async with store.create(name, at=at) as writer:
        for chunk in chunks:
            await writer.write(chunk)
        return await writer.commit()


async def get(store: BlobStore, name: str, start: int = 0, end: int | None = None) -> bytes:
    async with store.open(name, start, end) as reader:
        return b"".join([chunk async for chunk in reader.chunks()])


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("size", [0, 1, BATCH_BYTES - 1, BATCH_BYTES, 2 * BATCH_BYTES + 7])
async def test_bytes_come_back(store: BlobStore, size: int) -> None:
    data = os.urandom(size)
    assert await put(store, "one", *(data[n : n + 70_001] for n in range(0, size, 70_001))) == size
    assert await get(store, "one") == data
    async with store.open("one") as reader:
        assert reader.size == size


@pytest.mark.parametrize(("start", "end"), [(0, 3), (2, None), (5, 100), (10, 20), (0, 0)])
async def test_ranges_are_cut_to_the_blob(store: BlobStore, start: int, end: int | None) -> None:
    await put(store, "ten", b"0123456789")
    assert await get(store, "ten", start, end) == b"0123456789"[start:end]


async def test_blob_that_is_not_committed_is_not_there(store: BlobStore) -> None:
    async with store.create("one", at=1.0) as writer:
        await writer.write(bytes(6 * BATCH_BYTES))
    async with store.create("two", at=1.0) as writer:
        await writer.write(b"a little")
    for name in ("one", "two"):
        with pytest.raises(MissingBlobError, match="no blob"):
            await get(store, name)


async def test_deleting_what_is_not_there_is_no_error(store: BlobStore) -> None:
    await put(store, "one", b"1")
    await store.delete("one")
    await store.delete("one")
    with pytest.raises(MissingBlobError, match="no blob"):
        await get(store, "one")


async def test_cancelled_writer_leaves_no_blob_or_a_whole_one(store: BlobStore) -> None:
    data = bytes(6 * BATCH_BYTES)
    for steps in range(12):
        task = asyncio.create_task(put(store, f"blob-{steps}", data, data))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        try:
            found = await get(store, f"blob-{steps}")
        except StoreError:
            continue
        assert found == data + data


async def test_blob_that_is_not_committed_never_exists(blobs: FolderBlobs, tmp_path: Path) -> None:
    async with blobs.create("one", at=1.0) as writer:
        await writer.write(bytes(3 * BATCH_BYTES))
    assert files(tmp_path) == []
    with pytest.raises(MissingBlobError, match="no blob"):
        await get(blobs, "one")


async def test_reader_goes_on_when_its_blob_is_replaced_and_deleted(store: BlobStore) -> None:
    await put(store, "one", b"a" * (2 * BATCH_BYTES))
    async with store.open("one") as reader:
        chunks: AsyncIterator[bytes] = reader.chunks()
        first = await anext(chunks)
        await put(store, "one", b"b")
        await store.delete("one")
        assert first + b"".join([chunk async for chunk in chunks]) == b"a" * (2 * BATCH_BYTES)


async def test_full_disk_is_an_error_and_leaves_nothing(
    blobs: FolderBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    room = BATCH_BYTES

    def write(descriptor: int, data: memoryview) -> int:
        nonlocal room
        if room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(descriptor, data[:room])
        room -= written
        return written

    await put(blobs, "old", b"kept")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(StoreError, match="No space"):
            await put(blobs, "old", *[bytes(300_000)] * 8)
    assert [path.name for path in files(tmp_path)] == ["old"]
    assert await get(blobs, "old") == b"kept"


async def test_cancelled_writer_leaves_no_file_and_no_descriptor(blobs: FolderBlobs, tmp_path: Path) -> None:
    await put(blobs, "warm-up", b"x")
    before = open_descriptors()
    for steps in range(12):
        task = asyncio.create_task(put(blobs, "one", *[bytes(BATCH_BYTES)] * 3))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert open_descriptors() == before
        assert [path.name for path in files(tmp_path)] == ["warm-up"]


async def test_cancelled_reader_leaves_no_descriptor(blobs: FolderBlobs) -> None:
    await put(blobs, "one", bytes(3 * BATCH_BYTES))
    before = open_descriptors()
    for steps in range(12):
        task = asyncio.create_task(get(blobs, "one"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert open_descriptors() == before


async def test_age_goes_by_the_moment_that_was_given(store: BlobStore) -> None:
    ahead = time.time() + 1000.0
    await put(store, "old", b"1", at=ahead)
    await put(store, "new", b"2", at=ahead + 200.0)
    assert await store.delete_before(ahead - 100.0) == []
    assert await store.list_before(ahead - 100.0) == []
    assert await store.list_before(ahead + 100.0) == ["old"]
    assert await store.delete_before(ahead + 100.0) == ["old"]
    assert await get(store, "new") == b"2"
    assert await store.delete_before(ahead + 100.0) == []


async def test_leftovers_of_a_dead_process_are_removed(blobs: FolderBlobs, tmp_path: Path) -> None:
    await put(blobs, "one", b"kept")
    (tmp_path / "blobs" / ".partial" / ".one.123.part").write_bytes(b"half")
    await blobs.clean()
    assert [path.name for path in files(tmp_path)] == ["one"]


@pytest.mark.parametrize("name", ["", "..", "../etc/passwd", "a/b", ".hidden", "a" * 129, "nul\0", "ab\n"])
async def test_names_that_could_leave_the_folder_are_refused(store: BlobStore, name: str) -> None:
    with pytest.raises(ConfigError):
        await put(store, name, b"x")
    with pytest.raises(ConfigError):
        await store.delete(name)


async def test_blobs_are_private(blobs: FolderBlobs, tmp_path: Path) -> None:
    await put(blobs, "one", b"x")
    (path,) = files(tmp_path)
    assert path.stat().st_mode & 0o077 == 0
    assert (tmp_path / "blobs").stat().st_mode & 0o077 == 0


async def test_cancelled_work_in_a_thread_has_ended_when_the_cancellation_comes_out() -> None:
    ended = False
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        nonlocal ended
        loop.call_soon_threadsafe(begun.set)
        time.sleep(0.05)
        ended = True

    task = asyncio.create_task(in_thread(work))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended


async def test_failing_batch_comes_out_of_the_next_call() -> None:
    def work(*chunks: bytes) -> None:
        raise StoreError("full")

    async with Batches(work) as batches:
        await batches.put(bytes(BATCH_BYTES))
        with pytest.raises(StoreError, match="full"):
            await batches.drain()


def test_partial_file_replaces_only_by_commit(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"old")
    file = PartialFile(path)
    file.open()
    file.write(b"n", memoryview(b"ew"))
    assert path.read_bytes() == b"old"
    file.commit()
    file.discard()
    assert path.read_bytes() == b"new"
    assert files(tmp_path) == [path]


def test_partial_file_names_what_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="gone"):
        PartialFile(tmp_path / "gone" / "x").open()
    (tmp_path / "folder").mkdir()
    file = PartialFile(tmp_path / "folder")
    file.open()
    with pytest.raises(StoreError, match="folder"):
        file.commit()
    file.discard()
    assert files(tmp_path) == []
