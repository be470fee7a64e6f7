"""Blobs in a store that speaks S3: what it refuses is told, what was half uploaded is taken back."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.objects import S3

from ilink.errors import ConfigError, StoreError
from ilink.gateway.server import GatewayServer, ServerOptions
from ilink.storage.object_blobs import ObjectBlobs, open_objects

PART = 5 << 20


async def test_parts_of_a_blob_that_is_given_up_are_taken_back(s3: S3, s3_blobs: ObjectBlobs) -> None:
    async with s3_blobs.create("one", at=1.0) as writer:
        await writer.write(bytes(2 * PART + 1))
        assert s3.unfinished() == 1
    assert s3.unfinished() == 0
    assert s3.names() == []


async def test_large_blob_is_uploaded_in_parts_and_read_in_pieces(s3: S3, s3_blobs: ObjectBlobs) -> None:
    async with s3_blobs.create("one", at=1.0) as writer:
        for number in range(13):
            await writer.write(bytes([number]) * (1 << 20))
        assert await writer.commit() == 13 << 20
    assert s3.unfinished() == 0
    async with s3_blobs.open("one") as reader:
        sizes = [(len(chunk), set(chunk[:1])) async for chunk in reader.chunks()]
    assert sum(size for size, _ in sizes) == 13 << 20
    assert len(sizes) > 2
    async with s3_blobs.open("one", (12 << 20) - 1, (12 << 20) + 1) as reader:
        assert (reader.size, [chunk async for chunk in reader.chunks()]) == (13 << 20, [b"\x0b\x0c"])


@pytest.mark.usefixtures("s3")
async def test_bucket_that_is_not_there_is_told() -> None:
    blobs = open_objects("s3://no-such-bucket/ilink")
    with pytest.raises(StoreError, match=r"s3://no-such-bucket/ilink cannot be looked into: .*bucket"):
        await blobs.check()
    async with blobs.create("one", at=1.0) as writer:
        await writer.write(b"x")
        with pytest.raises(StoreError, match="cannot take a blob"):
            await writer.commit()


async def test_store_that_does_not_answer_is_told_in_time(s3: S3) -> None:
    s3.stop()
    blobs = open_objects(s3.url)
    with pytest.raises(StoreError, match="cannot be looked into"):
        await blobs.check()


@pytest.mark.usefixtures("s3")
async def test_gateway_does_not_start_without_its_bucket(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="s3://no-such-bucket cannot be looked into"):
        await GatewayServer(ServerOptions(media_url="s3://no-such-bucket", data=tmp_path / "state")).__aenter__()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://bucket/folder", "begins with one of"),
        ("s3:///folder", "names no bucket; write s3://bucket/folder"),
        ("s3://key:s3cret@bucket/folder", "has keys in it"),
    ],
)
def test_wrong_address_is_refused_and_no_key_is_shown(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        open_objects(url)
    assert "s3cret" not in str(refused.value)
