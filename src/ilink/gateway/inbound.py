"""What a person's file looks like to a bot: the item, as the real server was seen to fill it (protocol §4.3, §5.2)."""

from __future__ import annotations

from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, Final, Literal, Self, cast

from ilink.errors import ConfigError, MediaError, StoreError, TooLargeError
from ilink.gateway.problems import InvalidRequestError
from ilink.storage.files import in_thread
from ilink.storage.media import MediaFacts
from ilink.wire.cipher import Bytes, ciphertext_size
from ilink.wire.codec import decode_object, encode
from ilink.wire.enums import ItemType, VoiceEncoding
from ilink.wire.keys import KeyForm, MediaKey
from ilink.wire.models import UNSET, CdnMedia, FileItem, ImageItem, MessageItem, VideoItem, VoiceItem
from ilink.wire.pictures import SmallPicture, shrink
from ilink.wire.silk import silk_seconds
from ilink.wire.sound import to_silk

__all__ = ["InboundFile", "Sight", "as_item", "as_recording"]

_SAMPLE_RATE: Final = 16_000
"""What a real voice item says, whatever is in it (observed: ocw#282)."""

_SIDE: Final = 160
"""Pixels of the longer side of a small picture; captured ones have 120 to 160 (protocol §4.4)."""

_IN_MEMORY: Final = 1 << 20

_ENCODINGS: Final = {
    "audio/mpeg": VoiceEncoding.MP3,
    "audio/amr": VoiceEncoding.AMR,
    "audio/ogg": VoiceEncoding.OGG_SPEEX,
    "audio/x-wav": VoiceEncoding.PCM,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundFile:
    """A stored file and what a phone knows of it.

    Attributes:
        playtime_ms: How long a recording plays, or None.
        transcript: What the phone heard in a recording, or an empty text.
        small: What a picture or video looks like; None where nobody could look.
        small_param: The reference to the small picture of a video, or None.
        play_length: How long a video plays, in the unit that the knob says, or None.
    """

    kind: Literal["image", "voice", "file", "video"]
    key: MediaKey
    facts: MediaFacts
    name: str
    playtime_ms: int | None
    transcript: str
    small: SmallPicture | None = None
    small_param: str | None = None
    play_length: int | None = None


class Sight:
    """Keeps a copy of a picture or video while it is stored, to see what a phone would; open it with `with`.

    A copy, because what is stored is encrypted, and a video is read from its end as well.
    """

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile[bytes](max_size=_IN_MEMORY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def take(self, *chunks: Bytes) -> None:
        """Add bytes, in a thread.

        Raises:
            StoreError: There is no room for temporary files.
        """
        try:
            for chunk in chunks:
                self._file.write(chunk)
        except OSError as error:
            message = f"cannot write a temporary file: {error.strerror or error}"
            raise StoreError(message) from error

    async def look(self) -> SmallPicture | None:
        """Return the small picture; None without the extra `media`, and for what is no picture or video."""
        try:
            return await in_thread(self._look)
        except (ConfigError, MediaError):
            return None

    def _look(self) -> SmallPicture:
        self._file.seek(0)
        return shrink(cast("BinaryIO", self._file), side=_SIDE)


async def as_recording(data: bytes) -> tuple[bytes, int | None]:
    """Return a recording as phones send it, and its milliseconds.

    Sound becomes SILK where the extra `media` is there; anything else is passed on, because a server does not look
    either.

    Raises:
        InvalidRequestError: It is a WAV file that cannot be read, or too long.
    """
    try:
        data = await in_thread(lambda: to_silk(data))
    except ConfigError:
        return data, None
    except MediaError as error:
        if data.startswith(b"RIFF") or isinstance(error, TooLargeError):
            raise InvalidRequestError(str(error)) from error
        return data, None
    return data, round(silk_seconds(data) * 1000)


def as_item(file: InboundFile, *, param: str, full_url: str | None) -> dict[str, object]:
    """Return the item that points to a file.

    Every kind carries its key as base64 of the hexadecimal text, and pictures the hexadecimal text beside it (captured,
    peer: dsh-bridge 2026-08-16; the official client's comment says base64 of the bytes for pictures).
    """
    media = CdnMedia(encrypt_query_param=param, aes_key=file.key.spell(KeyForm.BASE64_HEX), full_url=full_url or UNSET)
    facts = file.facts
    encrypted = ciphertext_size(facts.plain_bytes)
    match file.kind:
        case "image":
            image = ImageItem(media=media, aeskey=file.key.spell(KeyForm.HEX), mid_size=encrypted, hd_size=encrypted)
            _add_small(image, file.small)
            item = MessageItem(type=ItemType.IMAGE, image_item=image)
        case "voice":
            item = MessageItem(type=ItemType.VOICE, voice_item=_voice(file, media))
        case "file":
            name = file.name or "file"
            payload = FileItem(media=media, file_name=name, md5=facts.md5, len=str(facts.plain_bytes))
            item = MessageItem(type=ItemType.FILE, file_item=payload)
        case "video":
            video = VideoItem(media=media, video_size=encrypted, video_md5=facts.md5)
            _add_small(video, file.small)
            video.play_length = UNSET if file.play_length is None else file.play_length
            if file.small_param is not None:
                video.thumb_media = CdnMedia(encrypt_query_param=file.small_param, aes_key=media.aes_key)
            item = MessageItem(type=ItemType.VIDEO, video_item=video)
    item.is_completed = True
    return decode_object(encode(item))


def _add_small(item: ImageItem | VideoItem, small: SmallPicture | None) -> None:
    if small is not None:
        item.thumb_size = ciphertext_size(len(small.data))
        item.thumb_width, item.thumb_height = small.width, small.height


def _voice(file: InboundFile, media: CdnMedia) -> VoiceItem:
    """Return a voice item; SILK is announced as encoding 4, as on the real server (observed: ocw#282)."""
    return VoiceItem(
        media=media,
        encode_type=_ENCODINGS.get(file.facts.mime, VoiceEncoding.SPEEX),
        bits_per_sample=16,
        sample_rate=_SAMPLE_RATE,
        playtime=UNSET if file.playtime_ms is None else file.playtime_ms,
        text=file.transcript or UNSET,
    )
