"""Files that bots upload: what a permission covers, and whether what came is what was announced."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Final

from ilink.gateway.content import finding_of
from ilink.gateway.knobs import Readings
from ilink.gateway.plain import PlainBytes
from ilink.gateway.state import GatewayState
from ilink.storage.blobs import BlobStore
from ilink.storage.files import Bytes
from ilink.storage.gateway import UploadTicketRecord
from ilink.storage.media import MediaRecord, MediaRecords

__all__ = ["Arrivals", "CdnRefusalError", "is_old", "new_param"]

_PARAM_BYTES: Final = 48


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


class Arrivals:
    """Where uploads come in.

    Args:
        state: What the rules share.
        records: What is known of each blob.
        blobs: Where the bytes go.
        plain: Looks into what was stored.
    """

    def __init__(self, state: GatewayState, records: MediaRecords, blobs: BlobStore, plain: PlainBytes) -> None:
        self._state = state
        self._records = records
        self._blobs = blobs
        self._plain = plain

    async def take(self, param: str, filekey: str, chunks: AsyncIterator[Bytes], *, announced: int | None) -> str:
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
        ticket = await self.ticket(param, filekey)
        knobs = self._state.knobs.about(ticket.bot, ticket.user_id)
        _check_size(knobs, ticket, announced or 0, is_whole=announced is not None)
        media_id = self._state.ids.draw("media", 16).hex()
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
            param=new_param(self._state),
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

    async def ticket(self, param: str, filekey: str) -> UploadTicketRecord:
        """Return the permission for an upload.

        Raises:
            CdnRefusalError: There is none of that name, or it does not hold any more.
        """
        ticket = await self._state.store.upload_ticket(param) if param else None
        if ticket is None or ticket.filekey != filekey:
            raise CdnRefusalError(400, "invalid encrypted_param or filekey")
        knobs = self._state.knobs.about(ticket.bot, ticket.user_id)
        if is_old(self._state, ticket.issued_ms, knobs):
            raise CdnRefusalError(400, "the permission to upload has expired")
        if ticket.used_ms is not None and knobs.flag("cdn.single_use"):
            raise CdnRefusalError(400, "the permission to upload has been used")
        return ticket

    async def _check_content(self, record: MediaRecord, ticket: UploadTicketRecord) -> None:
        """Compare the plain bytes with what was announced: that takes a pass of its own."""
        facts = await self._plain.facts(record, ticket)
        if facts.problem is not None:
            await self._blobs.delete(record.media_id)
            raise CdnRefusalError(400, facts.problem, finding=finding_of(facts, ticket))


def is_old(state: GatewayState, since_ms: int, knobs: Readings) -> bool:
    """Tell whether what was issued then has run out."""
    return state.clock.now_ms() - since_ms > knobs.seconds("cdn.ttl_s") * 1000


def new_param(state: GatewayState) -> str:
    """Return a new reference to download by."""
    return base64.b64encode(state.ids.draw("media_param", _PARAM_BYTES)).decode()


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
