"""Files in messages: what an incoming item points to, and the item that an uploaded file becomes."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import AsyncIterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from ilink.errors import DecryptionError
from ilink.wire import models
from ilink.wire.cipher import Bytes, ciphertext_size
from ilink.wire.enums import ItemType, MediaType
from ilink.wire.ids import UserId
from ilink.wire.keys import KeyForm, MediaKey, read_key
from ilink.wire.models import CdnMedia, MessageItem, WeixinMessage, given

__all__ = [
    "MAX_BYTES",
    "FileObject",
    "MediaKind",
    "MediaMover",
    "MediaReference",
    "SavedMedia",
    "UploadSource",
    "UploadedMedia",
    "UploadedThumbnail",
    "items_with_quoted",
    "kind_of",
    "media_references",
    "read_pointer",
    "read_reference",
    "safe_file_name",
]

ENCRYPT_TYPE: Final = 1
"""What the official client says with everything it sends (official 2.4.9); its meaning to the server is unknown."""

MAX_BYTES: Final = 100 << 20
"""The largest file, in plain bytes, unless the caller says otherwise: the official client's cap (official 2.4.9)."""

_MAX_NAME_BYTES: Final = 200
_MD5: Final = re.compile(r"[0-9a-fA-F]{32}\Z")
_RESERVED: Final = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|\Z)")

_SHOWN_PICTURES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp", "image/heic"})
"""What a phone shows as a picture (assumed); any other one is sent as a file, where it can at least be opened."""


class FileObject(Protocol):
    """An open binary file, or anything that reads like one; it is read in threads, from where it stands."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes, none at the end."""
        ...


UploadSource = str | os.PathLike[str] | bytes | bytearray | memoryview | FileObject | AsyncIterable[Bytes]
"""What can be sent: a path; bytes; an open binary file; or an asynchronous iterable of bytes."""


class MediaKind(StrEnum):
    """What a phone shows a file as."""

    IMAGE = "image"
    VOICE = "voice"
    FILE = "file"
    VIDEO = "video"

    @property
    def media_type(self) -> MediaType:
        """The kind's number in getuploadurl."""
        return MediaType[self.name]

    @property
    def item_type(self) -> ItemType:
        """The kind's number as an item."""
        return ItemType[self.name]


def kind_of(mime: str) -> MediaKind:
    """Return how a file of this content type is best sent: sound goes as a file, since phones show no sent voice."""
    if mime in _SHOWN_PICTURES:
        return MediaKind.IMAGE
    return MediaKind.VIDEO if mime.startswith("video/") else MediaKind.FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaReference:
    """Where the bytes of one file of a message are, and what is known of them before they are fetched.

    Attributes:
        kind: What the phone shows it as.
        param: The CDN's parameter for it, or None.
        full_url: The complete address, or None; used only where its host is allowed.
        key_texts: The keys as they came, the one that wins first; empty for a picture that is not encrypted.
        size: Its size in bytes when the item says so in plain bytes, which only files do.
        md5: The MD5 of the plain bytes in lower-case hexadecimal, or None.
        name: The name its sender gave it, unchecked; see `safe_name`.
        is_quoted: Whether it belongs to the message that is quoted, not to the one that quotes.
    """

    kind: MediaKind
    param: str | None = field(default=None, repr=False)
    full_url: str | None = field(default=None, repr=False)
    key_texts: tuple[str, ...] = field(default=(), repr=False)
    size: int | None = None
    md5: str | None = None
    name: str = ""
    is_quoted: bool = False

    @property
    def key(self) -> MediaKey | None:
        """The key; None for a picture without one, whose bytes are plain (official 2.4.9).

        Raises:
            DecryptionError: Something else than a picture has no key, or none of the keys can be read.
        """
        refusal: DecryptionError | None = None
        for text in self.key_texts:
            try:
                return read_key(text)[0]
            except DecryptionError as error:
                refusal = error
        if refusal is None and self.kind is MediaKind.IMAGE:
            return None
        raise refusal or DecryptionError(f"this {self.kind} came without a key, so it cannot be decrypted")

    @property
    def safe_name(self) -> str:
        """Its name, or its kind where it has none, as a file name that cannot leave a folder."""
        return safe_file_name(self.name, default=self.kind.value)


def media_references(message: WeixinMessage) -> tuple[MediaReference, ...]:
    """Return every file of a message in its order, those of what it quotes last. Never raises."""
    found = (read_reference(item, is_quoted=is_quoted) for item, is_quoted in items_with_quoted(message))
    return tuple(reference for reference in found if reference is not None)


def items_with_quoted(message: WeixinMessage) -> Iterator[tuple[MessageItem, bool]]:
    """Yield the items of a message, then those it quotes, and of each whether it is quoted."""
    items = given(message.item_list, [])
    for item in items:
        yield item, False
    for item in items:
        quoted = given(item.ref_msg, None)
        inner = None if quoted is None else given(quoted.message_item, None)
        if inner is not None:
            yield inner, True


def read_reference(item: MessageItem, *, is_quoted: bool = False) -> MediaReference | None:
    """Return what an item points to; None for one without a file. Never raises."""
    reference = read_pointer(item, is_quoted=is_quoted)
    has_address = reference is not None and (reference.param is not None or reference.full_url is not None)
    return reference if has_address else None


def read_pointer(item: MessageItem, *, is_quoted: bool = False) -> MediaReference | None:
    """Return what an item of one of the four kinds says of its file, even if it does not say where. Never raises."""
    match given(item.type, None):
        case ItemType.IMAGE:
            image = given(item.image_item, models.ImageItem())
            # The hexadecimal key wins where both are there (seed, official 2.4.9).
            return _reference(MediaKind.IMAGE, image.media, given(image.aeskey, ""), is_quoted=is_quoted)
        case ItemType.VOICE:
            voice = given(item.voice_item, models.VoiceItem())
            return _reference(MediaKind.VOICE, voice.media, is_quoted=is_quoted)
        case ItemType.FILE:
            file = given(item.file_item, models.FileItem())
            return _reference(
                MediaKind.FILE,
                file.media,
                size=_size(given(file.len, "")),
                md5=given(file.md5, ""),
                name=given(file.file_name, ""),
                is_quoted=is_quoted,
            )
        case ItemType.VIDEO:
            video = given(item.video_item, models.VideoItem())
            return _reference(MediaKind.VIDEO, video.media, md5=given(video.video_md5, ""), is_quoted=is_quoted)
        case _:
            return None


def _reference(
    kind: MediaKind,
    media: CdnMedia | None | models.UnsetType,
    *keys: str,
    size: int | None = None,
    md5: str = "",
    name: str = "",
    is_quoted: bool,
) -> MediaReference:
    pointer = given(media, CdnMedia())
    param, full_url = given(pointer.encrypt_query_param, ""), given(pointer.full_url, "").strip()
    return MediaReference(
        kind=kind,
        param=param or None,
        full_url=full_url or None,
        key_texts=tuple(text for text in (*keys, given(pointer.aes_key, "")) if text.strip()),
        size=size,
        md5=md5.lower() if _MD5.match(md5) else None,
        name=name,
        is_quoted=is_quoted,
    )


def _size(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedMedia:
    """A file that lies encrypted on the CDN, ready to be sent.

    Attributes:
        kind: What the phone shows it as.
        param: The reference that the CDN answered the upload with.
        key: What it is encrypted with.
        size: Plain bytes.
        md5: The MD5 of the plain bytes in hexadecimal.
        mime: Its content type.
        name: The file name that the phone shows.
        thumbnail: The small picture that was uploaded with it, or None.
    """

    kind: MediaKind
    param: str = field(repr=False)
    key: MediaKey
    size: int
    md5: str
    mime: str
    name: str
    thumbnail: UploadedThumbnail | None = None

    @property
    def reference(self) -> MediaReference:
        """The same as who receives it sees it."""
        return MediaReference(
            kind=self.kind,
            param=self.param,
            key_texts=(self.key.spell(KeyForm.BASE64_HEX),),
            size=self.size,
            md5=self.md5,
            name=self.name,
        )

    def to_item(self) -> MessageItem:
        """Return the item that shows it, in the shapes that phones were seen to show (protocol §5.3).

        Pictures and videos announce the size of the ciphertext, files that of the plain bytes as text (official 2.4.9).
        Nothing else goes in: further fields make the display unreliable (peer: dsh-bridge).
        """
        media = self._pointer(self.param)
        match self.kind:
            case MediaKind.IMAGE:
                image = models.ImageItem(media=media, mid_size=ciphertext_size(self.size))
                if self.thumbnail is not None:
                    image.thumb_media = self._pointer(self.thumbnail.param)
                    image.thumb_size = ciphertext_size(self.thumbnail.size)
                    image.thumb_width, image.thumb_height = self.thumbnail.width, self.thumbnail.height
                return MessageItem(type=ItemType.IMAGE, image_item=image)
            case MediaKind.VIDEO:
                video = models.VideoItem(media=media, video_size=ciphertext_size(self.size))
                if self.thumbnail is not None:
                    video.thumb_media = self._pointer(self.thumbnail.param)
                    video.thumb_size = ciphertext_size(self.thumbnail.size)
                    video.thumb_width, video.thumb_height = self.thumbnail.width, self.thumbnail.height
                return MessageItem(type=ItemType.VIDEO, video_item=video)
            case MediaKind.FILE | MediaKind.VOICE:
                file = models.FileItem(media=media, file_name=self.name, len=str(self.size))
                return MessageItem(type=ItemType.FILE, file_item=file)

    def _pointer(self, param: str) -> CdnMedia:
        return CdnMedia(
            encrypt_query_param=param, aes_key=self.key.spell(KeyForm.BASE64_HEX), encrypt_type=ENCRYPT_TYPE
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedThumbnail:
    """A small picture beside a picture or video, encrypted with the same key (protocol §5.5; assumed).

    Attributes:
        param: The reference that the CDN answered its upload with.
        size: Plain bytes.
        width: Pixels.
        height: Pixels.
    """

    param: str = field(repr=False)
    size: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedMedia:
    """A file that was fetched.

    Attributes:
        path: Where it is.
        size: Its bytes.
        mime: What its content says it is.
    """

    path: Path
    size: int
    mime: str


class MediaMover(Protocol):
    """What moves files; `ilink.client.media.MediaClient` says what each call promises."""

    async def upload(
        self, source: UploadSource, kind: MediaKind | None = None, *, to: UserId, name: str = ""
    ) -> UploadedMedia:
        """Encrypt a file and put it on the CDN."""
        ...

    async def download(self, reference: MediaReference, to: Path | str, *, max_bytes: int = MAX_BYTES) -> SavedMedia:
        """Fetch a file into a file."""
        ...

    async def read(self, reference: MediaReference, *, max_bytes: int = MAX_BYTES) -> bytes:
        """Fetch a file into memory."""
        ...

    def open(
        self, reference: MediaReference, *, max_bytes: int = MAX_BYTES
    ) -> AbstractAsyncContextManager[AsyncIterable[bytes]]:
        """Fetch a file in pieces."""
        ...


def safe_file_name(name: str, *, default: str = "file") -> str:
    """Return a name that is one file in the folder it is put in, on every system, and still looks like the original.

    Folders, control and direction characters, and what Windows refuses are taken out; its end, which programs choose
    by, survives when it is cut to 200 bytes.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    kept = "".join(
        "_" if character in '<>:"|?*' else character
        for character in last
        if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    )
    kept = kept.strip(" .")
    if not kept:
        return default
    if _RESERVED.match(kept):
        kept = f"_{kept}"
    return _shorten(kept)


def _shorten(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    end = dot + suffix if stem and len(suffix.encode()) <= 20 else ""
    body = name[: len(name) - len(end)].encode()[: _MAX_NAME_BYTES - len(end.encode())]
    return body.decode("utf-8", "ignore").rstrip(" .") + end
