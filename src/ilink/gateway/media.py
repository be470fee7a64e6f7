"""All blobs of a gateway: which there are, whose they are, what may be fetched, and how long they are kept."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from copy import copy
from pathlib import Path
from typing import Final, Self

from ilink.errors import RemoteProtocolError, StoreError
from ilink.gateway.arrivals import Arrivals, CdnRefusalError, is_old
from ilink.gateway.content import finding_of
from ilink.gateway.knobs import Readings
from ilink.gateway.peoples_files import MediaWord, PeoplesFiles
from ilink.gateway.plain import PlainBytes
from ilink.gateway.problems import UnknownThingError
from ilink.gateway.state import GatewayState
from ilink.gateway.views import MediaView
from ilink.storage.blobs import BlobReader, BlobStore, FolderBlobs
from ilink.storage.files import Bytes
from ilink.storage.media import MediaRecord, MediaRecords
from ilink.wire.codec import decode_object
from ilink.wire.shapes import is_array, is_object

__all__ = ["CdnRefusalError", "MediaRoom", "MediaWord"]

_log = logging.getLogger(__name__)

_POINTER: Final = b"encrypt_query_param"
_ABANDONED_SECONDS: Final = 24 * 3600.0
"""When a file that is half written, and that another process may still be writing, counts as given up."""
_SWEEP_MS: Final = 600_000
"""How often old blobs are looked for at most, by the gateway's clock."""


class MediaRoom:
    """All blobs of one gateway; open it with `async with`.

    Args:
        state: What the rules share.
        folder: Where blobs live.
        records: What is known of each.
        owner_of: Returns who confirmed the bot with a number, or None: the person meant where a blob names nobody.
        blobs: Where the bytes go; files in the folder by default.
        is_shared: Whether other processes write to the same place.
    """

    def __init__(
        self,
        state: GatewayState,
        folder: Path,
        *,
        records: MediaRecords,
        owner_of: Callable[[int], Awaitable[str | None]],
        blobs: BlobStore | None = None,
        is_shared: bool = False,
    ) -> None:
        self._state = state
        self._folder = folder
        self._owner_of = owner_of
        self._records = records
        self._is_shared = is_shared
        self._blobs: BlobStore = blobs or FolderBlobs(folder / "blobs")
        self._plain = PlainBytes(self._blobs)
        self._arrivals = Arrivals(state, self._records, self._blobs, self._plain)
        self._peoples = PeoplesFiles(state, self._records, self._blobs)
        self._swept_ms = 0
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._exits.enter_async_context(self._records)
        if isinstance(self._blobs, FolderBlobs):
            await self._blobs.clean(untouched_for=_ABANDONED_SECONDS if self._is_shared else 0.0)
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
        return await self._arrivals.take(param, filekey, chunks, announced=announced)

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
        if is_old(self._state, record.created_ms, knobs):
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
        return None if facts is None else finding_of(facts, ticket)

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

    def plain(self, record: MediaRecord) -> AsyncGenerator[Bytes, None]:
        """Yield the plain bytes of a blob.

        Raises:
            ConflictError: They do not decrypt with the key that was announced.
        """
        return self._plain.stream(record)

    def plain_part(self, record: MediaRecord, start: int, end: int) -> AsyncGenerator[Bytes, None]:
        """Yield some of the plain bytes of a blob, from `start` up to but not including `end`, reading no others.

        Only for a blob whose facts say that it decrypts: nothing is checked here.
        """
        return self._plain.part(record, start, end)

    async def sound(self, record: MediaRecord) -> bytes:
        """Return a recording as WAV, which every browser plays: SILK none does.

        Raises:
            ConflictError: It is no sound, or too long to convert.
            ConfigError: The extra `media` is missing.
        """
        return await self._plain.sound(record)

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
        return await self._peoples.add(bot, kind, chunks, user_id=user_id, name=name, transcript=transcript)

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

    async def _knobs_of(self, record: MediaRecord) -> Readings:
        """Return the knobs for a blob: those of its bot, and of whom it is for, else of the bot's owner."""
        ticket = await self._state.store.upload_ticket(record.ticket) if record.ticket else None
        user_id = await self._owner_of(record.bot) if ticket is None else ticket.user_id
        return self._state.knobs.about(record.bot, user_id)

    async def _with_facts(self, record: MediaRecord) -> MediaRecord:
        if record.facts is not None:
            return record
        ticket = await self._state.store.upload_ticket(record.ticket) if record.ticket else None
        facts = await self._plain.facts(record, ticket)
        if facts.problem is not None:
            _log.warning("media %s: %s", record.media_id, facts.problem)
        await self._records.set_facts(record.media_id, facts)
        found = await self._records.get(record.media_id)
        return record if found is None else found


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
