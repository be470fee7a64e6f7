"""Files that wait to be sent lie where every machine of a fleet finds them, when there is such a place."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from bot_house import FAST, running
from tests.objects import S3, s3

from ilink import Account, AccountId, Bot, Client, MediaError, Message, Secret, StoreError, UserId
from ilink.bot.store import Store, find_place, open_store
from ilink.errors import ConfigError
from ilink.storage.blobs import FolderBlobs
from ilink.storage.keys import new_key
from ilink.storage.object_blobs import ObjectBlobs, open_objects
from ilink.storage.spool import BlobSpool, SpooledFile
from ilink.testing import LocalGateway
from ilink.testing.person import Person

__all__ = ["s3"]

DATA = os.urandom(2_500_000)
DAY = 86_400.0


@pytest.fixture
async def blobs(tmp_path: Path) -> FolderBlobs:
    blobs = FolderBlobs(tmp_path / "blobs")
    await blobs.clean()
    return blobs


def reader(data: bytes) -> Callable[[], memoryview]:
    """Read as from a file, always into the same buffer."""
    file, buffer = BytesIO(data), memoryview(bytearray(300_000))
    return lambda: buffer[: file.readinto(buffer)]


async def read(spool: BlobSpool, name: str, expected: SpooledFile) -> bytes:
    async with spool.open(name, expected) as chunks:
        return b"".join([chunk async for chunk in chunks])


class TestBlobSpool:
    async def test_a_file_comes_back_whole_and_goes(self, blobs: FolderBlobs) -> None:
        spool = BlobSpool(blobs)
        kept = await spool.put("ilink-1", reader(DATA))
        assert kept == SpooledFile(len(DATA), hashlib.sha256(DATA).hexdigest())
        assert await read(BlobSpool(blobs), "ilink-1", kept) == DATA
        await spool.remove("ilink-1")
        with pytest.raises(MediaError, match="gone"):
            await read(spool, "ilink-1", kept)

    @pytest.mark.parametrize("damage", [DATA[:-1], DATA[:-1] + bytes([DATA[-1] ^ 1])], ids=["cut", "changed"])
    async def test_a_damaged_file_is_an_error_at_its_end(self, blobs: FolderBlobs, damage: bytes) -> None:
        spool = BlobSpool(blobs)
        kept = await spool.put("ilink-1", reader(DATA))
        await spool.put("ilink-1", reader(damage))
        with pytest.raises(MediaError, match="damaged"):
            await read(spool, "ilink-1", kept)

    async def test_what_cannot_be_read_to_its_end_is_not_stored(self, blobs: FolderBlobs) -> None:
        def broken() -> bytes:
            raise OSError(5, "the stick was pulled out")

        spool = BlobSpool(blobs)
        with pytest.raises(OSError, match="stick"):
            await spool.put("ilink-1", broken)
        assert await blobs.list_before(9e9) == []

    async def test_a_store_that_is_away_is_another_error_than_a_file_that_is_gone(self, s3: S3) -> None:
        spool = BlobSpool(open_objects(s3.url))
        kept = await spool.put("ilink-1", reader(b"hello"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ObjectBlobs, "_open", _fails)
            with pytest.raises(StoreError, match="away"):
                await read(spool, "ilink-1", kept)
        assert await read(spool, "ilink-1", kept) == b"hello"

    async def test_old_files_are_listed_once_a_day(self, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
        spool = BlobSpool(blobs)
        async with blobs.create("ilink-old", at=1000.0) as writer:
            await writer.commit()
        await spool.put("ilink-new", reader(b"x"))
        assert await spool.find_older(DAY) == ["ilink-old"]
        assert await spool.find_older(DAY) == []
        now = spool._listed_at
        monkeypatch.setattr("ilink.storage.spool.time.monotonic", lambda: now + DAY + 1)
        assert await spool.find_older(DAY) == ["ilink-old"]


async def _fails(*_arguments: Any) -> None:
    raise OSError(111, "the store is away")


class Machines:
    """Two machines of a fleet: a folder each, one database, one store of objects."""

    def __init__(self, gateway: LocalGateway, alice: Person, url: str, folder: Path, spool_url: str) -> None:
        self.gateway = gateway
        self.alice = alice
        self.url = url
        self.folder = folder
        self.spool_url = spool_url
        self.key = new_key()

    def environ(self, machine: str) -> dict[str, str]:
        data = str(self.folder / machine)
        return {"ILINK_DATA": data, "ILINK_SPOOL_URL": self.spool_url, "ILINK_STORE_KEY": self.key}

    def store(self) -> AbstractAsyncContextManager[Store]:
        return open_store(find_place(self.url, environ=self.environ("first")))

    async def open(self) -> None:
        async with self.store():
            pass

    async def sign_in(self) -> None:
        async with Client(base_url=self.gateway.api_url) as client:
            code = await client.get_qr_code()
            await self.alice.befriend(code.qrcode)
            report = await client.get_login_status(code.qrcode)
        async with self.store() as store:
            await store.accounts.put(
                Account(
                    account_id=AccountId(str(report.account_id)),
                    token=Secret(str(report.token)),
                    base_url=self.gateway.api_url,
                    owner_id=UserId(str(report.owner_id)),
                )
            )

    @asynccontextmanager
    async def bot(self, machine: str) -> AsyncIterator[tuple[Bot, asyncio.Event]]:
        """A bot on a machine, and what tells that it heard somebody."""
        bot = Bot(
            data=self.url, allow="anyone", policies=replace(FAST, stop_seconds=0.2), environ=self.environ(machine)
        )
        heard = asyncio.Event()

        @bot.on_any()
        async def listen(message: Message) -> None:
            heard.set()

        async with running(bot, login=None):
            yield bot, heard

    async def pictures(self) -> list[bytes]:
        """What alice sees."""
        room = self.gateway.rules.media
        entries = await self.gateway.rules.transcript(self.alice.bot_id, self.alice.user_id)  # type: ignore[arg-type]
        media = [item.media for entry in entries for item in entry.items if item.media]
        records = [await room.record(str(one.media_id)) for one in media]
        return [b"".join([bytes(piece) async for piece in room.plain(record)]) for record in records]


@pytest.fixture
async def machines(postgres_url: str, tmp_path: Path, s3: S3) -> AsyncIterator[Machines]:
    async with LocalGateway() as gateway:
        machines = Machines(gateway, await gateway.person("alice"), postgres_url, tmp_path, s3.url)
        await machines.sign_in()
        yield machines


class TestMachines:
    async def test_a_file_that_waits_is_sent_by_whoever_takes_the_account_over(
        self, machines: Machines, s3: S3
    ) -> None:
        stuck = machines.gateway.fault("cdn_upload", hang=True)
        await machines.alice.says("hi")
        async with machines.bot("first") as (bot, heard):
            await asyncio.wait_for(heard.wait(), 30)
            sent = await bot.send_media(machines.alice.user_id, DATA, name="plan.bin")
            async with asyncio.timeout(30):
                while not stuck.hits:  # noqa: ASYNC110  # a fault tells nobody
                    await asyncio.sleep(0.02)
            assert s3.names() == [f"media/il/{sent.client_id}"]
            assert not (machines.folder / "first" / "spool").exists()
        stuck.remove()
        async with machines.bot("second") as (bot, heard):
            receipt = await bot.outbox.receipt(sent.client_id, wait=30)
            assert receipt is not None
            receipt.raise_for_status()
            async with asyncio.timeout(30):
                while s3.names():  # noqa: ASYNC110  # the store tells nobody
                    await asyncio.sleep(0.02)
        assert await machines.pictures() == [DATA]

    async def test_a_store_without_the_bucket_is_told_before_anything_begins(self, machines: Machines) -> None:
        machines.spool_url = "s3://no-such-bucket/x"
        with pytest.raises(StoreError, match="s3://no-such-bucket/x cannot be looked into"):
            await machines.open()
        machines.spool_url = "ftp://somewhere"
        with pytest.raises(ConfigError, match="no address of an object store"):
            await machines.open()
