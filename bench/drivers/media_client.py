"""Our client moving one large file: each line of standard input is a task, each line of standard output its figures."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.machine import fast_run
from ilink.client.client import Client
from ilink.client.media import MediaClient
from ilink.flows.upload import download_url
from ilink.messages.media import MediaKind, MediaReference, UploadedMedia
from ilink.storage.files import BATCH_BYTES, Batches, PartialFile
from ilink.transport.seam import Request
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, Secret, UserId

SIZE_LIMIT = 4 << 30


class Mover:
    """What can be asked for, by name."""

    def __init__(self, client: Client, path: Path, user: UserId) -> None:
        self._client = client
        self._media = MediaClient(client)
        self._path = path
        self._user = user
        self._uploaded: UploadedMedia | None = None
        self._target = path.with_name("received")

    async def md5(self) -> None:
        with self._path.open("rb", buffering=0) as file:
            digest = hashlib.md5(usedforsecurity=False)
            while chunk := file.read(BATCH_BYTES):
                digest.update(chunk)

    async def upload(self) -> None:
        self._uploaded = await self._media.upload(
            self._path, MediaKind.FILE, to=self._user, max_bytes=SIZE_LIMIT, reuse=False
        )

    async def download(self) -> None:
        await self._save(self._reference(md5=None))

    async def checked(self) -> None:
        assert self._uploaded is not None
        await self._save(self._reference(md5=self._uploaded.md5))

    async def raw(self) -> None:
        """Download the same bytes as they lie."""
        assert self._uploaded is not None
        request = Request(method="GET", url=download_url(self._client.cdn_url, self._uploaded.param))
        file = PartialFile(self._target)
        file.open()
        try:
            async with (
                self._client.transport.open_stream(request, timeout=60.0) as answer,
                Batches(file.write) as batches,
            ):
                async for chunk in answer.chunks():
                    await batches.put(chunk)
                await batches.drain()
            file.commit()
        finally:
            file.discard()

    async def _save(self, reference: MediaReference) -> None:
        await self._media.download(reference, self._target, max_bytes=SIZE_LIMIT)

    def _reference(self, *, md5: str | None) -> MediaReference:
        assert self._uploaded is not None
        known = self._uploaded.reference
        return MediaReference(kind=known.kind, param=known.param, key_texts=known.key_texts, md5=md5)


async def measure(work: Callable[[], Awaitable[None]]) -> dict[str, float]:
    _reset_peak()
    before, cpu = _status("VmRSS"), time.process_time()
    started = time.perf_counter()
    await work()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "cpu": time.process_time() - cpu, "memory": _status("VmHWM") - before}


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


async def main() -> None:
    environ = os.environ
    account = Account(
        account_id=AccountId(environ["BOT_ID"]), token=Secret(environ["BOT_TOKEN"]), base_url=environ["ILINK_BASE_URL"]
    )
    async with Client(account, cdn_url=environ["ILINK_CDN_URL"]) as client:
        mover = Mover(client, Path(environ["SEND_FILE"]), UserId(environ["OWNER"]))
        print("READY", flush=True)
        while task := (await asyncio.to_thread(sys.stdin.readline)).strip():
            print("DONE " + json.dumps(await measure(getattr(mover, task))), flush=True)


fast_run(main())
