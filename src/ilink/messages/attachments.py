"""The files of a message as a bot author sees them: by kind, with what is known before they are fetched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ilink.errors import ConfigError
from ilink.messages.items import VoiceItem
from ilink.messages.media import (
    MAX_BYTES,
    MediaKind,
    MediaMover,
    MediaReference,
    SavedMedia,
    items_with_quoted,
    read_pointer,
    read_reference,
)
from ilink.wire import models
from ilink.wire.enums import ItemType
from ilink.wire.models import MessageItem, WeixinMessage, given
from ilink.wire.sound import to_wav

__all__ = [
    "IncomingFile",
    "IncomingImage",
    "IncomingMedia",
    "IncomingVideo",
    "IncomingVoice",
    "find_media",
    "read_media",
]

M = TypeVar("M", bound="IncomingMedia")


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingMedia:
    """A file of a message, not fetched yet: what is known of it, and three ways to get its bytes.

    All three raise TooLargeError, DecryptionError, IntegrityError, and the errors of the network, see
    `ilink.client.media.MediaClient.download`; and ConfigError when the message did not come through a running bot.

    Attributes:
        reference: Where the bytes are.
    """

    reference: MediaReference
    _mover: MediaMover | None = field(repr=False)

    @property
    def kind(self) -> MediaKind:
        """What the phone shows it as."""
        return self.reference.kind

    @property
    def name(self) -> str:
        """Its name, made safe to use as a file name in any folder."""
        return self.reference.safe_name

    @property
    def size(self) -> int | None:
        """Its bytes as the message announced them; None when it did not, which only files do."""
        return self.reference.size

    @property
    def md5(self) -> str | None:
        """The MD5 that was announced, in lower-case hexadecimal; what is fetched is compared with it."""
        return self.reference.md5

    @property
    def is_quoted(self) -> bool:
        """Whether it belongs to what the message quotes."""
        return self.reference.is_quoted

    async def save(self, to: Path | str, *, max_bytes: int = MAX_BYTES) -> SavedMedia:
        """Fetch it into a file, which appears only when it is whole and right; the rest of memory stays untouched."""
        return await self._moving.download(self.reference, to, max_bytes=max_bytes)

    async def read(self, *, max_bytes: int = MAX_BYTES) -> bytes:
        """Fetch it into memory."""
        return await self._moving.read(self.reference, max_bytes=max_bytes)

    def stream(self, *, max_bytes: int = MAX_BYTES) -> AbstractAsyncContextManager[AsyncIterable[bytes]]:
        """Fetch it in pieces: `async with message.media.stream() as pieces: async for piece in pieces: …`."""
        return self._moving.open(self.reference, max_bytes=max_bytes)

    async def read_wav(self) -> bytes:
        """Fetch sound as WAV of 16 bits, one channel, 24,000 Hz, whatever its announced encoding says.

        SILK, which people's voice is, and what the extra `media` reads besides: MP3, M4A, Ogg, AMR and others.

        Raises:
            MediaError: It is no sound; `read` gives it as it is.
            ConfigError: The extra `media` is missing.
        """
        recording = await self.read()
        return await asyncio.to_thread(to_wav, recording)

    @property
    def _moving(self) -> MediaMover:
        if self._mover is None:
            message = "this message did not come through a running bot, so its files cannot be fetched from here"
            raise ConfigError(message)
        return self._mover


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingImage(IncomingMedia):
    """A picture.

    Attributes:
        thumbnail_width: Pixels of the small picture that the phone made, which has the shape of the large one; or None.
        thumbnail_height: The same.
    """

    thumbnail_width: int | None
    thumbnail_height: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingVoice(IncomingMedia):
    """A voice recording.

    Attributes:
        seconds: How long it plays; None when the message does not say.
        transcript: What WeChat heard; empty when it made no transcript.
        encoding: The announced encoding, see `ilink.wire.enums.VoiceEncoding`. It does not tell the truth: SILK is
            announced as 4 or 6 (observed: ocw#282), and `read_wav` looks at the content.
    """

    seconds: float | None
    transcript: str
    encoding: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingFile(IncomingMedia):
    """A file; `name`, `size` and `md5` are what its sender announced.

    Attributes:
        original_name: The name its sender gave it, unchecked: never use it as a path.
    """

    original_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingVideo(IncomingMedia):
    """A video.

    Attributes:
        play_length: How long it plays, as the number came. Nobody knows its unit: seconds (peer weilink) or
            milliseconds (peers weixin-bot, wechatbot). None when the message does not say.
        thumbnail_width: Pixels of the small picture that the phone made, which has the shape of the video; or None.
        thumbnail_height: The same.
    """

    play_length: int | None
    thumbnail_width: int | None
    thumbnail_height: int | None


def find_media(message: WeixinMessage, mover: MediaMover | None) -> tuple[IncomingMedia, ...]:
    """Return every file of a message in its order, those of what it quotes last. Never raises."""
    found: list[IncomingMedia] = []
    for item, is_quoted in items_with_quoted(message):
        reference = read_reference(item, is_quoted=is_quoted)
        if reference is not None:
            found.append(_incoming(item, reference, mover))
    return tuple(found)


def read_media(message: WeixinMessage, kind: type[M], mover: MediaMover | None) -> M:
    """Return the message's own first part of a kind that it has, also one that points to nothing."""
    pointers = ((item, read_pointer(item)) for item in given(message.item_list, []))
    found = (_incoming(item, pointer, mover) for item, pointer in pointers if pointer is not None)
    return next(part for part in found if isinstance(part, kind))


def _incoming(item: MessageItem, reference: MediaReference, mover: MediaMover | None) -> IncomingMedia:
    match given(item.type, None):
        case ItemType.IMAGE:
            image = given(item.image_item, models.ImageItem())
            return IncomingImage(
                reference=reference,
                _mover=mover,
                thumbnail_width=given(image.thumb_width, None),
                thumbnail_height=given(image.thumb_height, None),
            )
        case ItemType.VOICE:
            voice = given(item.voice_item, models.VoiceItem())
            return IncomingVoice(
                reference=reference,
                _mover=mover,
                seconds=VoiceItem(voice).seconds or None,
                transcript=given(voice.text, ""),
                encoding=given(voice.encode_type, None),
            )
        case ItemType.VIDEO:
            video = given(item.video_item, models.VideoItem())
            return IncomingVideo(
                reference=reference,
                _mover=mover,
                play_length=given(video.play_length, None),
                thumbnail_width=given(video.thumb_width, None),
                thumbnail_height=given(video.thumb_height, None),
            )
        case _:
            return IncomingFile(reference=reference, _mover=mover, original_name=reference.name)
