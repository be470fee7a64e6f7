"""Files that people send to bots: encrypted, stored, looked at, and made into the item that shows them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import Literal
from urllib.parse import quote

from ilink.gateway.arrivals import new_param
from ilink.gateway.content import Measure
from ilink.gateway.inbound import InboundFile, Sight, as_item, as_recording
from ilink.gateway.plain import MAX_VOICE_BYTES
from ilink.gateway.problems import InvalidRequestError
from ilink.gateway.state import GatewayState
from ilink.storage.blobs import BlobStore, BlobWriter
from ilink.storage.files import Batches, Bytes, in_thread
from ilink.storage.media import MediaRecord, MediaRecords
from ilink.wire.cipher import Encryptor, ciphertext_size
from ilink.wire.enums import MediaType
from ilink.wire.keys import KEY_BYTES, KeyForm, MediaKey
from ilink.wire.pictures import SmallPicture

__all__ = ["MediaWord", "PeoplesFiles"]

MediaWord = Literal["image", "voice", "file", "video"]
"""The kinds of media in the control API's words."""


class PeoplesFiles:
    """Where people's files come in.

    Args:
        state: What the rules share.
        records: What is known of each blob.
        blobs: Where the bytes go.
    """

    def __init__(self, state: GatewayState, records: MediaRecords, blobs: BlobStore) -> None:
        self._state = state
        self._records = records
        self._blobs = blobs

    async def add(
        self,
        bot: int,
        kind: MediaWord,
        chunks: AsyncIterator[Bytes],
        *,
        user_id: str | None = None,
        name: str = "",
        transcript: str = "",
    ) -> dict[str, object]:
        """Encrypt and store what a person sends, and return the item that shows it to a bot.

        Sound is turned into SILK, and pictures and videos are looked at, where the extra `media` is there.

        Raises:
            InvalidRequestError: It is larger than `cdn.max_bytes`, or a recording that cannot be one.
            StoreError: The disk is full, or fails.
        """
        knobs = self._state.knobs.about(bot, user_id)
        most = knobs.whole("cdn.max_bytes")
        playtime_ms = None
        if kind == "voice":
            recording, playtime_ms = await as_recording(await _gather(chunks, most))
            chunks = _once(recording)
        key = MediaKey(self._state.ids.draw("media_key", KEY_BYTES))
        is_seen = kind in ("image", "video")
        with Sight() as sight:
            record = await self._store_plain(
                bot, kind, key, _limited(chunks, most), name=name, sight=sight if is_seen else None
            )
            small = await sight.look() if is_seen else None
        assert record.facts is not None
        file = InboundFile(
            kind=kind,
            key=key,
            facts=record.facts,
            name=name,
            playtime_ms=playtime_ms,
            transcript=transcript,
            small=small,
            small_param=await self._store_small(bot, key, small) if kind == "video" else None,
            play_length=_play_length(small, knobs.choice("video.play_length_unit")),
        )
        return as_item(
            file,
            param=record.param,
            full_url=None if knobs.choice("upload.forms") == "param" else self._full_url(record),
        )

    async def _store_plain(
        self, bot: int, kind: MediaWord, key: MediaKey, chunks: AsyncIterator[Bytes], *, name: str, sight: Sight | None
    ) -> MediaRecord:
        media_id = self._state.ids.draw("media", 16).hex()
        sealing = _Sealing(key, sight)
        async with self._blobs.create(media_id, at=self._state.clock.now()) as writer:
            async with Batches(sealing.take) as batches:
                async for chunk in chunks:
                    await batches.put(chunk)
                    await _write(writer, sealing)
                await batches.drain()
            await in_thread(sealing.finish)
            await _write(writer, sealing)
            await writer.commit()
        facts = sealing.measure.close(name)
        record = MediaRecord(
            media_id=media_id,
            param=new_param(self._state),
            ticket=None,
            bot=bot,
            media_type=MediaType[kind.upper()],
            aes_key=key.spell(KeyForm.HEX),
            cipher_bytes=ciphertext_size(facts.plain_bytes),
            name=name,
            created_ms=self._state.clock.now_ms(),
            facts=facts,
        )
        await self._records.add(record)
        return record

    async def _store_small(self, bot: int, key: MediaKey, small: SmallPicture | None) -> str | None:
        """Store the small picture of a video, which phones encrypt with the key of the video itself (§4.4)."""
        if small is None:
            return None
        return (await self._store_plain(bot, "image", key, _once(small.data), name="", sight=None)).param

    def _full_url(self, record: MediaRecord) -> str:
        """Return a complete link, which on the real server carries a taskid (peer: dsh-bridge)."""
        task = self._state.ids.draw("task", 4).hex()
        return f"{self._state.cdn_url}/download?encrypted_query_param={quote(record.param, safe='')}&taskid={task}"


class _Sealing:
    """Encrypts a file and finds out what it is, a batch at a time in a thread, while others are received and stored.

    Attributes:
        measure: What is found out.
        sealed: What is encrypted and not stored yet, in order; filled in the thread and emptied in the event loop.
    """

    def __init__(self, key: MediaKey, sight: Sight | None) -> None:
        self._encryptor = Encryptor(key)
        self._sight = sight
        self.measure = Measure(None)
        self.sealed: deque[bytes] = deque()

    def take(self, *batch: Bytes) -> None:
        """Work on a batch."""
        self.measure.take(*batch)
        if self._sight is not None:
            self._sight.take(*batch)
        for chunk in batch:
            self.sealed.append(bytes(self._encryptor.update(chunk)))

    def finish(self) -> None:
        """Add the last block."""
        self.sealed.append(bytes(self._encryptor.finish()))


async def _write(writer: BlobWriter, sealing: _Sealing) -> None:
    """Store what is encrypted."""
    while sealing.sealed:
        await writer.write(sealing.sealed.popleft())


def _play_length(small: SmallPicture | None, unit: str) -> int | None:
    if small is None or small.seconds is None:
        return None
    return round(small.seconds * (1000 if unit == "milliseconds" else 1))


async def _limited(chunks: AsyncIterator[Bytes], most: int) -> AsyncIterator[Bytes]:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > most:
            message = f"the file is larger than {most} bytes, the value of cdn.max_bytes"
            raise InvalidRequestError(message)
        yield chunk


async def _gather(chunks: AsyncIterator[Bytes], most: int) -> bytes:
    data = bytearray()
    async for chunk in _limited(chunks, most):
        data += chunk
        if len(data) > MAX_VOICE_BYTES:
            message = f"a recording has at most {MAX_VOICE_BYTES} bytes; send it as a file"
            raise InvalidRequestError(message)
    return bytes(data)


async def _once(data: bytes) -> AsyncIterator[Bytes]:
    yield data
