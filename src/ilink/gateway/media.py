"""The CDN's rules: which uploads are taken, what may be fetched, and what the plain bytes behind a blob are."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from copy import copy
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import quote

from ilink.errors import DecryptionError, MediaError, RemoteProtocolError, StoreError
from ilink.gateway.inbound import InboundFile, Sight, as_item, as_recording
from ilink.gateway.knobs import Readings
from ilink.gateway.problems import ConflictError, InvalidRequestError, UnknownThingError
from ilink.gateway.state import GatewayState
from ilink.gateway.views import MediaView
from ilink.storage.blobs import BlobReader, BlobStore, FolderBlobs
from ilink.storage.files import Batches, Bytes, in_thread
from ilink.storage.gateway import UploadTicketRecord
from ilink.storage.media import MediaFacts, MediaRecord, MediaRecords
from ilink.wire.cipher import BLOCK_BYTES, Decryptor, Encryptor, ciphertext_size
from ilink.wire.codec import decode_object
from ilink.wire.enums import MediaType
from ilink.wire.keys import KEY_BYTES, KeyForm, MediaKey
from ilink.wire.mime import SNIFF_BYTES, mime_type
from ilink.wire.pictures import SmallPicture
from ilink.wire.shapes import is_array, is_object
from ilink.wire.sound import to_wav

__all__ = ["CdnRefusalError", "MediaRoom", "MediaWord"]

MediaWord = Literal["image", "voice", "file", "video"]
"""The kinds of media in the control API's words."""

_log = logging.getLogger(__name__)

_POINTER: Final = b"encrypt_query_param"
_PARAM_BYTES: Final = 48
_UNDECRYPTABLE: Final = "the bytes do not decrypt with the announced aeskey"
_SWEEP_MS: Final = 600_000
"""How often old blobs are looked for at most, by the gateway's clock."""

_MAX_VOICE_BYTES: Final = 32 << 20
"""A recording is converted in memory; a minute of it has three MiB as WAV."""


class CdnRefusalError(Exception):
    """What the CDN says no to.

    Attributes:
        status: The HTTP status: 4xx must not be repeated, 5xx may be (R14).
        words: What goes into x-error-message.
        finding: What the wire log says of it, or None.
    """

    def __init__(self, status: int, words: str, *, finding: str | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.finding = finding


class MediaRoom:
    """All blobs of one gateway; open it with `async with`.

    Args:
        state: What the rules share.
        folder: Where blobs and their records live.
        owner_of: Returns who confirmed the bot with a number, or None: the person meant where a blob names nobody.
        synchronous: As for the gateway's own store.
        blobs: Where the bytes go; files in the folder by default.
    """

    def __init__(
        self,
        state: GatewayState,
        folder: Path,
        *,
        owner_of: Callable[[int], Awaitable[str | None]],
        synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL",
        blobs: BlobStore | None = None,
    ) -> None:
        self._state = state
        self._folder = folder
        self._owner_of = owner_of
        self._records = MediaRecords(folder / "media.sqlite", synchronous=synchronous)
        self._blobs: BlobStore = blobs or FolderBlobs(folder / "blobs")
        self._swept_ms = 0
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._exits.enter_async_context(self._records)
        if isinstance(self._blobs, FolderBlobs):
            await self._blobs.clean()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish what is being stored, and close."""
        await self._exits.aclose()

    async def clear(self) -> None:
        """Forget every blob."""
        for media_id in await self._records.clear():
            await self._blobs.delete(media_id)

    async def names(self) -> set[str]:
        """Return the ids of all blobs."""
        return await self._records.names()

    async def drop(self, media_ids: set[str]) -> None:
        """Forget some blobs."""
        await self._records.delete(media_ids)
        for media_id in media_ids:
            await self._blobs.delete(media_id)

    async def behind(self, bot: int, param: str) -> MediaRecord | None:
        """Return what a reference in a bot's chats points to, its plain bytes' facts included; None when it is gone."""
        record = await self._records.find(param)
        if record is None or record.bot != bot:
            return None
        try:
            record = await self._with_facts(record)
        except StoreError:
            return None
        return record if record.facts is not None and record.facts.problem is None else None

    async def sweep(self) -> int:
        """Delete what is older than `cdn.keep_s`, if that was not done lately; return how much there was.

        Records go first: a blob without a record is never found, and goes with the next sweep.
        """
        now_ms = self._state.clock.now_ms()
        if now_ms - self._swept_ms < _SWEEP_MS:
            return 0
        self._swept_ms = now_ms
        moment_ms = now_ms - int(self._state.knobs.seconds("cdn.keep_s") * 1000)
        old = await self._records.delete_before(moment_ms)
        await self._blobs.delete_before(moment_ms / 1000)
        for media_id in old:
            await self._blobs.delete(media_id)
        return len(old)

    async def take_upload(
        self, param: str, filekey: str, chunks: AsyncIterator[Bytes], *, announced: int | None
    ) -> str:
        """Store what a bot uploads with a permission, and return the reference to download it by.

        Args:
            param: The permission.
            filekey: The name it was asked for with.
            chunks: The ciphertext; nothing of it is kept unless all of it is right.
            announced: How many bytes the request says it has, or None.

        Raises:
            CdnRefusalError: The permission does not cover it, or it is not what was announced.
            StoreError: The disk is full, or fails.
        """
        await self.sweep()
        ticket = await self._ticket(param, filekey)
        knobs = self._state.knobs.about(ticket.bot, ticket.user_id)
        _check_size(knobs, ticket, announced or 0, is_whole=announced is not None)
        media_id = self._state.ids.bytes("media", 16).hex()
        async with self._blobs.create(media_id, at=self._state.clock.now()) as writer:
            size = 0
            async for chunk in chunks:
                size += len(chunk)
                _check_size(knobs, ticket, size, is_whole=False)
                await writer.write(chunk)
            _check_size(knobs, ticket, size, is_whole=True)
            await writer.commit()
        record = MediaRecord(
            media_id=media_id,
            param=self._param(),
            ticket=param,
            bot=ticket.bot,
            media_type=ticket.media_type,
            aes_key=ticket.aes_key,
            cipher_bytes=size,
            name="",
            created_ms=self._state.clock.now_ms(),
        )
        if knobs.choice("cdn.verify") == "full":
            await self._check_content(record, ticket)
        await self._records.add(record)
        await self._state.store.use_upload_ticket(param, at_ms=record.created_ms)
        return record.param

    async def find(self, param: str, *, has_task: bool) -> MediaRecord:
        """Return what a link points to: by reference, or by the permission it was uploaded with (§5.4).

        Raises:
            CdnRefusalError: There is nothing, it ran out, or the knob asks for a taskid that is missing.
        """
        record = await self._records.find(param)
        is_link = record is not None
        record = record or await self._records.find_by_ticket(param)
        knobs = self._state.knobs if record is None else await self._knobs_of(record)
        if record is None or (is_link and knobs.flag("cdn.require_taskid") and not has_task):
            raise CdnRefusalError(400, "invalid encrypted_param")
        if self._is_old(record.created_ms, knobs):
            raise CdnRefusalError(400, "the link has expired")
        return record

    @asynccontextmanager
    async def open_ciphertext(
        self, record: MediaRecord, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[BlobReader, None]:
        """Read a blob as it lies, or a range of it."""
        async with self._blobs.open(record.media_id, start, end) as reader:
            yield reader

    async def sent(self, bot: int, param: str) -> MediaRecord | None:
        """Return what is behind a reference of a bot's uploads; None when it is no such."""
        record = await self._records.find(param)
        return None if record is None or record.bot != bot else record

    async def announced(self, param: str) -> int | None:
        """Return how many bytes an upload with a permission was announced to have, or None for no permission."""
        ticket = await self._state.store.upload_ticket(param) if param else None
        return None if ticket is None else ticket.cipher_bytes

    async def uploaded(self, param: str) -> MediaRecord | None:
        """Return what was uploaded with a permission last, or None."""
        return await self._records.find_by_ticket(param) if param else None

    async def content_finding(self, record: MediaRecord) -> str | None:
        """Return what is wrong with the plain bytes of an upload beside what was announced, or None.

        They are decrypted for it, once; what is found is kept for the transcript.
        """
        ticket = await self._state.store.upload_ticket(record.ticket) if record.ticket else None
        if ticket is None:
            return None
        try:
            facts = (await self._with_facts(record)).facts
        except StoreError:  # its bytes are gone already
            return None
        return None if facts is None else _finding(facts, ticket)

    async def parties(self, param: str) -> tuple[int, str | None] | None:
        """Return whose a link or a permission is: the bot's number, and for whom it was uploaded if that is known."""
        record = await self._records.find(param)
        ticket = await self._state.store.upload_ticket(param if record is None else record.ticket or "")
        if ticket is not None:
            return ticket.bot, ticket.user_id
        return None if record is None else (record.bot, None)

    async def record(self, media_id: str) -> MediaRecord:
        """Return what is known of a blob, its plain bytes included.

        Raises:
            UnknownThingError: There is none.
        """
        record = await self._records.get(media_id)
        if record is None:
            raise UnknownThingError("media", media_id)
        return await self._with_facts(record)

    async def plain(self, record: MediaRecord) -> AsyncGenerator[Bytes, None]:
        """Yield the plain bytes of a blob.

        Raises:
            ConflictError: They do not decrypt with the key that was announced.
        """
        decryptor = Decryptor(MediaKey(bytes.fromhex(record.aes_key)))
        async with self._blobs.open(record.media_id) as reader:
            async for chunk in reader.chunks():
                yield bytes(decryptor.update(chunk))
        try:
            yield bytes(decryptor.finish())
        except DecryptionError as error:
            message = f"the media {record.media_id} does not decrypt with the key that was announced for it"
            raise ConflictError(message) from error

    async def plain_part(self, record: MediaRecord, start: int, end: int) -> AsyncGenerator[Bytes, None]:
        """Yield some of the plain bytes of a blob, from `start` up to but not including `end`, reading no others.

        Only for a blob whose facts say that it decrypts: nothing is checked here.
        """
        aligned = start - start % BLOCK_BYTES
        skip, left = start - aligned, end - start
        decryptor = Decryptor(MediaKey(bytes.fromhex(record.aes_key)))
        # The decryptor keeps one block back, since the last one of a blob carries the padding: one more is read.
        until = min(end - end % BLOCK_BYTES + 2 * BLOCK_BYTES, record.cipher_bytes)
        async with self._blobs.open(record.media_id, aligned, until) as reader:
            async for chunk in reader.chunks():
                plain = bytes(decryptor.update(chunk))
                if plain:
                    yield plain[skip : skip + left]
                    left -= len(plain[skip : skip + left])
                    skip = 0
        if left > 0:
            yield bytes(decryptor.finish())[skip : skip + left]

    async def sound(self, record: MediaRecord) -> bytes:
        """Return a recording as WAV, which every browser plays: SILK none does.

        Raises:
            ConflictError: It is no sound, or too long to convert.
            ConfigError: The extra `media` is missing.
        """
        data = bytearray()
        async for chunk in self.plain(record):
            data += chunk
            if len(data) > _MAX_VOICE_BYTES:
                message = f"the media {record.media_id} is larger than {_MAX_VOICE_BYTES} bytes; fetch it as it is"
                raise ConflictError(message)
        try:
            return await in_thread(lambda: to_wav(bytes(data)))
        except MediaError as error:
            message = f"the media {record.media_id} does not play: {error}"
            raise ConflictError(message) from error

    async def add_inbound(
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
        await self.sweep()
        knobs = self._state.knobs.about(bot, user_id)
        most = knobs.whole("cdn.max_bytes")
        playtime_ms = None
        if kind == "voice":
            recording, playtime_ms = await as_recording(await _gather(chunks, most))
            chunks = _once(recording)
        key = MediaKey(self._state.ids.bytes("media_key", KEY_BYTES))
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

    async def lookup(self, bot: int, messages: Iterable[bytes]) -> Callable[[str], MediaView | None]:
        """Return a function from the references in some messages to what the gateway keeps under them.

        What is told of another bot's blob, or of none, is None.
        """
        params = {param for message in messages if _POINTER in message for param in _params(message)}
        views = {param: await self._view(bot, param) for param in params}

        def find(param: str) -> MediaView | None:
            view = views.get(param)
            return None if view is None else copy(view)

        return find

    async def _view(self, bot: int, param: str) -> MediaView | None:
        record = await self._records.find(param)
        if record is None or record.bot != bot:
            return None
        view = MediaView(media_id=record.media_id)
        if record.name:
            view.name = record.name
        try:
            facts = (await self._with_facts(record)).facts
        except StoreError:
            # Its bytes are gone, by age or by hand; the message stays readable.
            return view
        if facts is not None:
            view.size, view.sha256, view.md5, view.mime = facts.plain_bytes, facts.sha256, facts.md5, facts.mime
        return view

    async def _ticket(self, param: str, filekey: str) -> UploadTicketRecord:
        ticket = await self._state.store.upload_ticket(param) if param else None
        if ticket is None or ticket.filekey != filekey:
            raise CdnRefusalError(400, "invalid encrypted_param or filekey")
        knobs = self._state.knobs.about(ticket.bot, ticket.user_id)
        if self._is_old(ticket.issued_ms, knobs):
            raise CdnRefusalError(400, "the permission to upload has expired")
        if ticket.used_ms is not None and knobs.flag("cdn.single_use"):
            raise CdnRefusalError(400, "the permission to upload has been used")
        return ticket

    def _is_old(self, since_ms: int, knobs: Readings) -> bool:
        return self._state.clock.now_ms() - since_ms > knobs.seconds("cdn.ttl_s") * 1000

    async def _knobs_of(self, record: MediaRecord) -> Readings:
        """Return the knobs for a blob: those of its bot, and of whom it is for, else of the bot's owner."""
        ticket = await self._state.store.upload_ticket(record.ticket) if record.ticket else None
        user_id = await self._owner_of(record.bot) if ticket is None else ticket.user_id
        return self._state.knobs.about(record.bot, user_id)

    async def _check_content(self, record: MediaRecord, ticket: UploadTicketRecord) -> None:
        """Compare the plain bytes with what was announced: that takes a pass of its own."""
        facts = await self._find_facts(record, ticket)
        if facts.problem is not None:
            await self._blobs.delete(record.media_id)
            raise CdnRefusalError(400, facts.problem, finding=_finding(facts, ticket))

    async def _with_facts(self, record: MediaRecord) -> MediaRecord:
        if record.facts is not None:
            return record
        ticket = await self._state.store.upload_ticket(record.ticket) if record.ticket else None
        facts = await self._find_facts(record, ticket)
        if facts.problem is not None:
            _log.warning("media %s: %s", record.media_id, facts.problem)
        await self._records.set_facts(record.media_id, facts)
        found = await self._records.get(record.media_id)
        return record if found is None else found

    async def _find_facts(self, record: MediaRecord, ticket: UploadTicketRecord | None) -> MediaFacts:
        measure = _Measure(Decryptor(MediaKey(bytes.fromhex(record.aes_key))))
        async with self._blobs.open(record.media_id) as reader, Batches(measure.take) as batches:
            async for chunk in reader.chunks():
                await batches.put(chunk)
            await batches.drain()
        facts = measure.close(record.name)
        if facts.problem is not None or ticket is None:
            return facts
        return _compared(facts, ticket)

    async def _store_plain(
        self, bot: int, kind: MediaWord, key: MediaKey, chunks: AsyncIterator[Bytes], *, name: str, sight: Sight | None
    ) -> MediaRecord:
        media_id = self._state.ids.bytes("media", 16).hex()
        encryptor, measure = Encryptor(key), _Measure(None)

        def take(*batch: Bytes) -> None:
            measure.take(*batch)
            if sight is not None:
                sight.take(*batch)

        async with self._blobs.create(media_id, at=self._state.clock.now()) as writer:
            async with Batches(take) as batches:
                async for chunk in chunks:
                    await batches.put(chunk)
                    await writer.write(bytes(encryptor.update(chunk)))
                await batches.drain()
            await writer.write(bytes(encryptor.finish()))
            await writer.commit()
        facts = measure.close(name)
        record = MediaRecord(
            media_id=media_id,
            param=self._param(),
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
        task = self._state.ids.bytes("task", 4).hex()
        return f"{self._state.cdn_url}/download?encrypted_query_param={quote(record.param, safe='')}&taskid={task}"

    def _param(self) -> str:
        return base64.b64encode(self._state.ids.bytes("media_param", _PARAM_BYTES)).decode()


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
        if len(data) > _MAX_VOICE_BYTES:
            message = f"a recording has at most {_MAX_VOICE_BYTES} bytes; send it as a file"
            raise InvalidRequestError(message)
    return bytes(data)


def _check_size(knobs: Readings, ticket: UploadTicketRecord, size: int, *, is_whole: bool) -> None:
    """Refuse an upload that is too large, or of another size than announced.

    Raises:
        CdnRefusalError: It is.
    """
    if size > knobs.whole("cdn.max_bytes"):
        raise CdnRefusalError(413, f"larger than {knobs.whole('cdn.max_bytes')} bytes")
    if knobs.choice("cdn.verify") == "none":
        return
    if size > ticket.cipher_bytes or (is_whole and size != ticket.cipher_bytes):
        raise CdnRefusalError(400, f"{size} bytes came, filesize announced {ticket.cipher_bytes}")


class _Measure:
    """Finds out what plain bytes are, from ciphertext or from themselves; for a thread."""

    def __init__(self, decryptor: Decryptor | None) -> None:
        self._decryptor = decryptor
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._head = b""

    def take(self, *chunks: Bytes) -> None:
        for chunk in chunks:
            self._add(chunk if self._decryptor is None else self._decryptor.update(chunk))

    def close(self, name: str) -> MediaFacts:
        problem = None
        try:
            self._add(b"" if self._decryptor is None else self._decryptor.finish())
        except DecryptionError:
            problem = _UNDECRYPTABLE
        return MediaFacts(
            plain_bytes=self._size,
            sha256=self._sha256.hexdigest(),
            md5=self._md5.hexdigest(),
            mime=mime_type(self._head, name),
            problem=problem,
        )

    def _add(self, plain: Bytes) -> None:
        self._size += len(plain)
        if len(self._head) < SNIFF_BYTES:
            self._head = (self._head + bytes(plain[:SNIFF_BYTES]))[:SNIFF_BYTES]
        self._sha256.update(plain)
        self._md5.update(plain)


def _compared(facts: MediaFacts, ticket: UploadTicketRecord) -> MediaFacts:
    problem = None
    if facts.plain_bytes != ticket.plain_bytes:
        problem = f"{facts.plain_bytes} plain bytes came, rawsize announced {ticket.plain_bytes}"
    elif facts.md5 != ticket.plain_md5:
        problem = "the MD5 of the plain bytes is not the announced rawfilemd5"
    return MediaFacts(
        plain_bytes=facts.plain_bytes, sha256=facts.sha256, md5=facts.md5, mime=facts.mime, problem=problem
    )


def _finding(facts: MediaFacts, ticket: UploadTicketRecord) -> str | None:
    """Return the code of what `_compared` found."""
    if facts.problem is None:
        return None
    if facts.problem == _UNDECRYPTABLE:
        return "upload_undecryptable"
    return "upload_md5_mismatch" if facts.plain_bytes == ticket.plain_bytes else "upload_rawsize_mismatch"


def _params(message: bytes) -> set[str]:
    """Return the download references in a message, wherever they are."""
    try:
        waiting: list[object] = [decode_object(message)]
    except RemoteProtocolError:
        return set()
    found: set[str] = set()
    while waiting:
        value = waiting.pop()
        if is_array(value):
            waiting.extend(value)
        elif is_object(value):
            param = value.get("encrypt_query_param")
            if isinstance(param, str):
                found.add(param)
            waiting.extend(value.values())
    return found


async def _once(data: bytes) -> AsyncIterator[Bytes]:
    yield data
