"""The gateway works on files beside the event loop: it answers others while it encrypts and decrypts."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ilink.gateway.service import Gateway
from ilink.storage.files import BATCH_BYTES
from ilink.wire.cipher import BLOCK_BYTES, Bytes, Decryptor, Encryptor

DATA = bytes(range(256)) * (3 * BATCH_BYTES // 256) + b"and a little more"
STEP = 70_001


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The threads in which more than a block was encrypted or decrypted."""
    seen: set[int] = set()
    for cipher in (Encryptor, Decryptor):
        run = cipher._run

        def noted(self: object, source: Bytes, target: memoryview, run: object = run) -> None:
            if len(source) > BLOCK_BYTES:
                seen.add(threading.get_ident())
            run(self, source, target)  # type: ignore[operator]

        monkeypatch.setattr(cipher, "_run", noted)
    return seen


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with Gateway(tmp_path, synchronous="OFF") as gateway:
        yield gateway


async def pieces() -> AsyncIterator[bytes]:
    for start in range(0, len(DATA), STEP):
        yield DATA[start : start + STEP]


async def add(gateway: Gateway) -> str:
    item = await gateway.media.add_inbound(1, "file", pieces(), name="a")
    (param,) = {piece["media"]["encrypt_query_param"] for piece in item.values() if isinstance(piece, dict)}
    found = await gateway.media.find(str(param), has_task=True)
    return found.media_id


async def test_a_persons_file_is_encrypted_beside_the_event_loop(gateway: Gateway, workers: set[int]) -> None:
    record = await gateway.media.record(await add(gateway))
    assert record.facts is not None
    assert record.facts.plain_bytes == len(DATA)
    assert workers
    assert threading.get_ident() not in workers


async def test_a_file_is_decrypted_beside_the_event_loop(gateway: Gateway, workers: set[int]) -> None:
    record = await gateway.media.record(await add(gateway))
    workers.clear()
    assert b"".join([bytes(chunk) async for chunk in gateway.media.plain(record)]) == DATA
    start, end = BATCH_BYTES - 3, 2 * BATCH_BYTES + 5
    assert b"".join([bytes(chunk) async for chunk in gateway.media.plain_part(record, start, end)]) == DATA[start:end]
    assert workers
    assert threading.get_ident() not in workers
