"""Files to the CDN and back: encrypted on the way, in bounded memory, tried again where that can help.

media = MediaClient(client)
photo = await media.upload("cat.jpg", to=user)
await client.send_message(OutgoingMessage(to=user, item=photo.to_item(), client_id=...))

for reference in media_references(message.wire):
    await media.download(reference, folder / reference.safe_name)
"""

from __future__ import annotations

import logging
import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, Protocol, TypeVar

from ilink.client.answers import UploadPermission
from ilink.client.clock import Clock, SystemClock
from ilink.client.receiving import (
    Arrival,
    MediaStream,
    Receiver,
    cdn_answer,
    check_announced,
    check_received,
    check_status,
)
from ilink.client.sending import EncryptedBody, Progress, UploadOrder, report, upload_request
from ilink.client.sources import Source, open_source
from ilink.client.thumbnails import Thumbnail
from ilink.errors import (
    ConfigError,
    IlinkError,
    OutcomeUnknownError,
    RemoteProtocolError,
    RequestRejectedError,
)
from ilink.flows.upload import (
    download_url,
    next_pause,
    read_upload,
    upload_url,
)
from ilink.messages.media import (
    MAX_BYTES,
    MediaKind,
    MediaReference,
    SavedMedia,
    UploadedMedia,
    UploadedThumbnail,
    UploadSource,
    kind_of,
    safe_file_name,
)
from ilink.storage.files import Batches, PartialFile, ReadAhead, in_thread
from ilink.transport.seam import Request, StreamedBody, StreamedResponse, Transport
from ilink.wire.cipher import ciphertext_size, encrypt
from ilink.wire.hosts import HostPolicy
from ilink.wire.ids import UserId
from ilink.wire.keys import KEY_BYTES, MediaKey
from ilink.wire.mime import mime_type
from ilink.wire.models import UploadUrlRequest

__all__ = ["LINK_SECONDS", "MediaClient", "MediaStream", "Progress", "shown_name"]

_log = logging.getLogger(__name__)
T = TypeVar("T")

LINK_SECONDS: Final = 20 * 3600.0
"""How long an upload is used again for the same bytes. The life of a link is unknown, 24 hours are assumed (§9 Q17)."""

_REMEMBERED: Final = 1024
_UPLOAD_HEADERS: Final = {"Content-Type": "application/octet-stream"}


class _Client(Protocol):
    """What is needed of `ilink.client.Client`."""

    @property
    def cdn_url(self) -> str: ...
    @property
    def hosts(self) -> HostPolicy: ...
    @property
    def transport(self) -> Transport: ...
    async def get_upload_url(self, request: UploadUrlRequest, *, timeout: float = 15.0) -> UploadPermission: ...


class MediaClient:
    """Moves files for one account, over its client's connections; may be used by any number of tasks at a time.

    Args:
        client: An open client.
        random: Source of the pauses between tries, which need not be secret.
        new_secret: Source of keys: returns so many bytes that nobody can guess.
        clock: Source of time.
    """

    def __init__(
        self,
        client: _Client,
        *,
        random: Random | None = None,
        new_secret: Callable[[int], bytes] = secrets.token_bytes,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._random = random or Random()  # noqa: S311  # pauses need not be unpredictable
        self._new_secret = new_secret
        self._clock: Clock = clock or SystemClock()
        self._uploads: OrderedDict[tuple[UserId, MediaKind, int, str], tuple[UploadedMedia, float]] = OrderedDict()

    async def upload(
        self,
        source: UploadSource,
        kind: MediaKind | None = None,
        *,
        to: UserId,
        name: str = "",
        max_bytes: int = MAX_BYTES,
        thumbnail: Thumbnail | None = None,
        timeout: float = 60.0,
        reuse: bool = True,
        progress: Progress | None = None,
    ) -> UploadedMedia:
        """Encrypt a file and put it on the CDN, ready to be sent to one user.

        The bytes are read twice, because the permission needs their MD5 first; what cannot be read twice goes through a
        temporary file. Memory stays below a few MiB whatever the size.

        Args:
            source: A path, bytes, an open binary file, or an asynchronous iterable of bytes.
            kind: What a phone shall show it as; None decides by content. VOICE is sent as a FILE, because phones do not
                show voice that a bot sends, whatever its codec (observed: ocw#215, ocw#282); `kind` of the result says
                so.
            to: Who will get it; the server wants to know.
            name: The name to show; by default that of the path or file.
            max_bytes: Larger files are refused, before anything is sent.
            thumbnail: A small picture to go with a picture or video, from `make_thumbnail`; phones do without. A server
                that gives no permission for it gets none.
            timeout: Seconds without any progress.
            reuse: Whether the same bytes for the same user are not uploaded again while an earlier link lives. Equal
                means equal size and MD5, as for the protocol itself.
            progress: Told of every chunk sent; it starts again from 0 when a try fails.

        Raises:
            TooLargeError: It is larger than `max_bytes`.
            RequestRejectedError: The server or the CDN refuses it; `errmsg` and `errcode` hold the CDN's own words.
            ServerError, ConnectError, OutcomeUnknownError, RemoteProtocolError: Three tries failed. Upload again later.
            IntegrityError: The file changed meanwhile.
            MediaError, ConfigError: It cannot be read, or is nothing that can be uploaded.

        Cancellation: nothing was sent to anybody, the CDN may keep an unused blob, and temporary files are gone.
        Wire: POST /ilink/bot/getuploadurl, then POST of the ciphertext (official 2.4.9); a new try is paused before,
        where the official client goes on at once.
        """
        async with open_source(source, name=name, max_bytes=max_bytes) as opened:
            mime = mime_type(opened.head, opened.name)
            kind = _shown_kind(kind, mime)
            remembered = self._remembered(to, kind, opened) if reuse else None
            if remembered is None or (thumbnail is not None and remembered.thumbnail is None):
                remembered = await self._upload(UploadOrder(opened, kind, mime, to, thumbnail, timeout, progress))
                self._remember(to, remembered)
            return replace(remembered, name=shown_name(opened.name, kind, mime))

    async def download(
        self,
        reference: MediaReference,
        to: Path | str,
        *,
        max_bytes: int = MAX_BYTES,
        timeout: float = 60.0,
        progress: Progress | None = None,
    ) -> SavedMedia:
        """Fetch a file of a message and decrypt it into a file, which appears only when it is whole and right.

        Args:
            reference: What to fetch, from `media_references`.
            to: The file to write, replaced if it exists. Never build it from `reference.name`: use `safe_name`.
            max_bytes: Plain bytes; more are refused as soon as they are announced or come.
            timeout: Seconds without any progress.
            progress: Told of every chunk that came.

        Raises:
            TooLargeError: It is larger than `max_bytes`.
            DecryptionError: There is no key, it is the wrong one, or the bytes were cut.
            IntegrityError: MD5 or size are not what the message announced.
            RequestRejectedError: The link ran out, or is none.
            ServerError, ConnectError, OutcomeUnknownError, RemoteProtocolError: Three tries failed.
            StoreError: The disk is full, or the folder does not exist.

        After an error nothing new has the name; after a cancellation nothing, or the whole file. A try goes on where
        the last one was cut, if the CDN gives parts of files, and begins anew if not.
        Wire: GET of `full_url` where its host is allowed, else by parameter (official 2.4.9); no redirect is followed.
        Parts are asked for with `Range` (assumed: the real CDN may not know them).
        """
        path = Path(to)
        file = PartialFile(path)
        arrival = Arrival(reference, file.write, file.empty)
        try:
            await in_thread(file.open)
            await self._fetch(arrival, max_bytes, timeout, progress)
            await in_thread(file.commit)
        finally:
            await in_thread(file.discard)
        received = arrival.receiver
        return SavedMedia(path=path, size=received.size, mime=mime_type(received.head, reference.name))

    async def read(
        self,
        reference: MediaReference,
        *,
        max_bytes: int = MAX_BYTES,
        timeout: float = 60.0,
        progress: Progress | None = None,
    ) -> bytes:
        """Fetch a file of a message into memory; see `download` for limits and errors."""
        parts: list[bytes] = []
        arrival = Arrival(reference, lambda chunk: parts.append(bytes(chunk)), parts.clear)
        await self._fetch(arrival, max_bytes, timeout, progress)
        return b"".join(parts)

    @asynccontextmanager
    async def open(
        self, reference: MediaReference, *, max_bytes: int = MAX_BYTES, timeout: float = 60.0
    ) -> AsyncGenerator[MediaStream, None]:
        """Fetch a file of a message in pieces: `async with media.open(reference) as stream: async for chunk in stream`.

        Only the last piece tells whether everything before it was right: a wrong key, cut bytes or a wrong MD5 raise at
        the end. It is not tried again once it is open. See `download` for limits and errors.
        """
        urls = self._urls(reference)
        receiver = Receiver(reference, lambda _: None)
        for url in urls:
            request = Request(method="GET", url=url)
            async with self._client.transport.open_stream(request, timeout=timeout) as answer:
                if 300 <= answer.status < 500 and url is not urls[-1]:
                    continue
                await check_status(answer)
                check_announced(answer, max_bytes, reference)
                yield MediaStream(answer, receiver, max_bytes)
                return

    async def _fetch(self, arrival: Arrival, max_bytes: int, timeout: float, progress: Progress | None) -> None:
        """Try each address in turn, and each again while that may help."""
        urls = self._urls(arrival.receiver.reference)
        for url in urls:
            try:
                await self._repeat(partial(self._receive, url, arrival, max_bytes, timeout, progress), [])
                break
            except RequestRejectedError:
                if url is urls[-1]:
                    raise
                await in_thread(arrival.forget)

    def _urls(self, reference: MediaReference) -> list[str]:
        """Return where the bytes may be, the preferred address first."""
        urls: list[str] = []
        if reference.full_url is not None and self._client.hosts.allows(reference.full_url):
            urls.append(reference.full_url)
        if reference.param is not None:
            urls.append(download_url(self._client.cdn_url, reference.param))
        if not urls:
            message = (
                f"this {reference.kind} has no address that may be used: its full_url is neither Tencent's nor"
                " configured, and it has no parameter; allow its host if you trust it"
            )
            raise ConfigError(message)
        return urls

    async def _receive(
        self, url: str, arrival: Arrival, max_bytes: int, timeout: float, progress: Progress | None
    ) -> None:
        """Take the rest of a file, or all of it where the CDN gives no parts."""
        request = Request(method="GET", url=url, headers=arrival.headers())
        async with self._client.transport.open_stream(request, timeout=timeout) as answer:
            await self._accept(answer, arrival)
            receiver = arrival.receiver
            received = receiver.taken
            total = check_announced(answer, max_bytes, receiver.reference, taken=received)
            async with Batches(receiver.take) as batches:
                async for chunk in answer.chunks():
                    received += len(chunk)
                    check_received(received, max_bytes, receiver.reference)
                    await batches.put(chunk)
                    if progress is not None:
                        progress(received, total)
                await batches.drain()
            await in_thread(receiver.finish)

    async def _accept(self, answer: StreamedResponse, arrival: Arrival) -> None:
        """Raise what a failure stands for, else make ready for the body."""
        try:
            await check_status(answer)
        except RequestRejectedError as refusal:
            if not arrival.receiver.taken:
                raise
            await in_thread(arrival.forget)
            message = "the CDN refused to give a part of the file; all of it is fetched again"
            raise RemoteProtocolError(message) from refusal
        await in_thread(partial(arrival.accept, answer))

    async def _upload(self, order: UploadOrder) -> UploadedMedia:
        """Ask for a permission and use it; ask once more where a lost answer may have used it up.

        A try whose answer is lost may have worked, and then the permission may be refused from there on (§9 Q17).
        """
        key, is_second = MediaKey(self._new_secret(KEY_BYTES)), False
        while True:
            file_key = self._new_secret(KEY_BYTES).hex()
            permission = await self._client.get_upload_url(upload_request(order, key, file_key))
            url = self._upload_url(permission, file_key)
            failures: list[IlinkError] = []
            try:
                param = await self._repeat(partial(self._send, url, order, key), failures)
                break
            except RequestRejectedError:
                if is_second or not any(isinstance(failure, OutcomeUnknownError) for failure in failures):
                    raise
                is_second = True
        return UploadedMedia(
            kind=order.kind,
            param=param,
            key=key,
            size=order.source.size,
            md5=order.source.md5,
            mime=order.mime,
            name=order.source.name,
            thumbnail=await self._upload_thumbnail(order, key, permission.thumb_param, file_key),
        )

    async def _upload_thumbnail(
        self, order: UploadOrder, key: MediaKey, param: str | None, file_key: str
    ) -> UploadedThumbnail | None:
        if order.thumbnail is None or param is None:
            return None
        thumbnail = order.thumbnail
        url = upload_url(self._client.cdn_url, param=param, file_key=file_key)
        request = Request(method="POST", url=url, headers=_UPLOAD_HEADERS, body=encrypt(key, thumbnail.data))

        async def send() -> str:
            async with self._client.transport.open_stream(request, timeout=order.timeout) as answer:
                return read_upload(await cdn_answer(answer))

        return UploadedThumbnail(
            param=await self._repeat(send, []),
            size=len(thumbnail.data),
            width=thumbnail.width,
            height=thumbnail.height,
        )

    def _upload_url(self, permission: UploadPermission, file_key: str) -> str:
        """Prefer the complete address: by parameter, the real CDN fails above 50 to 96 KB (observed: cc-weixin#16)."""
        if permission.full_url is not None and self._client.hosts.allows(permission.full_url):
            return permission.full_url
        if permission.param is None:
            message = "getuploadurl named only an address that may not be used; allow its host if you trust it"
            raise ConfigError(message)
        return upload_url(self._client.cdn_url, param=permission.param, file_key=file_key)

    async def _send(self, url: str, order: UploadOrder, key: MediaKey) -> str:
        """Send the ciphertext once, encrypted while it is sent, and return the reference."""
        source = order.source
        await in_thread(source.read_again)
        body = EncryptedBody(source, key)
        async with ReadAhead(body.read) as batches:
            streamed = StreamedBody(report(batches, source.size, order.progress), ciphertext_size(source.size))
            request = Request(method="POST", url=url, headers=_UPLOAD_HEADERS, body=streamed)
            async with self._client.transport.open_stream(request, timeout=order.timeout) as answer:
                return read_upload(await cdn_answer(answer))

    async def _repeat(self, work: Callable[[], Awaitable[T]], failures: list[IlinkError]) -> T:
        """Do something, again while that may help; what went wrong on the way is added to the list."""
        while True:
            try:
                return await work()
            except IlinkError as error:
                failures.append(error)
                pause = next_pause(error, tries=len(failures), jitter=self._random.random())
                if pause is None:
                    raise
                _log.info("media: %s, trying again in %.1f s", type(error).__name__, pause)
            await self._clock.sleep(pause)

    def _remembered(self, to: UserId, kind: MediaKind, source: Source) -> UploadedMedia | None:
        uploaded, until = self._uploads.get((to, kind, source.size, source.md5), (None, 0.0))
        return uploaded if until > self._clock.monotonic() else None

    def _remember(self, to: UserId, uploaded: UploadedMedia) -> None:
        place = (to, uploaded.kind, uploaded.size, uploaded.md5)
        self._uploads[place] = (uploaded, self._clock.monotonic() + LINK_SECONDS)
        self._uploads.move_to_end(place)
        while len(self._uploads) > _REMEMBERED:
            self._uploads.popitem(last=False)


def _shown_kind(kind: MediaKind | None, mime: str) -> MediaKind:
    if kind is MediaKind.VOICE:
        _log.info("media: voice is sent as a file, because phones do not show voice that a bot sends")
        return MediaKind.FILE
    return kind_of(mime) if kind is None else kind


def shown_name(name: str, kind: MediaKind, mime: str) -> str:
    """Return the name to show; a nameless one gets its kind's, with an ending that programs can open it by."""
    if name:
        return safe_file_name(name)
    # Late: only nameless files need the table.
    import mimetypes

    return f"{kind.value}{mimetypes.guess_extension(mime) or ''}"
