"""Files on their way out: copied when a message is stored, uploaded when its turn comes."""

from __future__ import annotations

from typing import Final

from ilink.bot.clock import Clock
from ilink.client.media import LINK_SECONDS, shown_name
from ilink.client.sources import open_source
from ilink.errors import MediaError, StoreError
from ilink.messages.media import MAX_BYTES, MediaKind, MediaMover, UploadSource, kind_of
from ilink.storage.journal import Journal, Outgoing, OutgoingFile
from ilink.storage.spool import Spool, SpooledFile
from ilink.wire.codec import encode
from ilink.wire.ids import ClientId
from ilink.wire.mime import mime_type

__all__ = ["OutgoingFiles"]

_ABANDONED: Final = 86_400.0
"""Seconds after which a copy that no message needs is removed; younger ones may belong to a handler that still runs."""


class OutgoingFiles:
    """The files of messages that wait to be sent.

    Args:
        journal: Where messages wait.
        spool: Where copies of their files are.
        clock: Source of the time of day.
    """

    def __init__(self, journal: Journal, spool: Spool, *, clock: Clock) -> None:
        self._journal = journal
        self._spool = spool
        self._clock = clock

    async def keep(
        self, source: UploadSource, kind: MediaKind | None, *, name: str, client_id: ClientId
    ) -> OutgoingFile:
        """Copy a file, so that it can be sent whatever becomes of the original.

        Raises:
            TooLargeError: It is larger than what phones are sent.
            MediaError, ConfigError: It cannot be read, or is nothing that can be sent.
            StoreError: The disk is full, too much waits already, or the store of files is away. Nothing was stored.
        """
        try:
            async with open_source(source, name=name, max_bytes=MAX_BYTES) as opened:
                opened.read_again()
                kept = await self._spool.put(client_id, opened.read)
                mime = mime_type(opened.head, opened.name)
                return OutgoingFile(
                    size=kept.size,
                    sha256=kept.sha256,
                    kind="" if kind is None else kind.value,
                    # Now, because the copy has a name that is nobody's business.
                    name=shown_name(opened.name, kind or kind_of(mime), mime),
                )
        except OSError as error:
            message = f"cannot copy a file that is to be sent: {error.strerror or error}; nothing was stored"
            raise StoreError(message) from error

    def is_ready(self, message: Outgoing) -> bool:
        """Whether a message can be sent as it is: it has no file, or a link that still lives."""
        if message.draft.file is None:
            return True
        age_ms = self._clock.now_ms() - (message.uploaded_ms or 0)
        return bool(message.draft.item) and age_ms < LINK_SECONDS * 1000

    async def upload(self, message: Outgoing, mover: MediaMover) -> bytes:
        """Upload a message's file and return the item that shows it; the journal knows it then.

        Repeated after a crash or when its link ran out. The same bytes for the same user are uploaded once.

        Raises:
            ApiError, TransportError, RemoteProtocolError: It could not be uploaded.
            MediaError: The copy is gone or damaged.
            StoreError: The copy cannot be read now, or the journal did not take the link.
        """
        file = message.draft.file
        if file is None:
            problem = "this message has no file"
            raise MediaError(problem)
        name = message.draft.client_id
        kind = MediaKind(file.kind) if file.kind else None
        async with self._spool.open(name, SpooledFile(file.size, file.sha256)) as copy:
            uploaded = await mover.upload(copy, kind, to=message.draft.user, name=file.name)
        item = encode(uploaded.to_item())
        await self._journal.attach(message.out_sequence, item, now_ms=self._clock.now_ms())
        return item

    async def drop(self, client_id: ClientId) -> None:
        """Remove the copy of a message that is done."""
        await self._spool.remove(client_id)

    async def sweep(self) -> None:
        """Remove copies that no message needs: of handlers that failed, and of processes that died.

        Raises:
            StoreError: The copies cannot be listed, or the journal cannot be read.
        """
        old = [ClientId(name) for name in await self._spool.find_older(_ABANDONED)]
        needed = await self._journal.find_needed_files(old)
        for name in old:
            if name not in needed:
                await self._spool.remove(name)
