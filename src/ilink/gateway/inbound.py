"""What a person's file looks like to a bot: the item, as the real server was seen to fill it (protocol §4.3, §5.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ilink.errors import ConfigError, MediaError
from ilink.gateway.problems import InvalidRequestError
from ilink.storage.files import in_thread
from ilink.storage.media import MediaFacts
from ilink.wire.cipher import ciphertext_size
from ilink.wire.codec import decode_object, encode
from ilink.wire.enums import ItemType, VoiceEncoding
from ilink.wire.keys import KeyForm, MediaKey
from ilink.wire.models import UNSET, CdnMedia, FileItem, ImageItem, MessageItem, VideoItem, VoiceItem
from ilink.wire.silk import is_silk, silk_seconds, wav_to_silk

__all__ = ["InboundFile", "as_item", "as_recording"]

_SAMPLE_RATE: Final = 16_000
"""What a real voice item says, whatever is in it (observed: ocw#282)."""

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
    """

    kind: Literal["image", "voice", "file", "video"]
    key: MediaKey
    facts: MediaFacts
    name: str
    playtime_ms: int | None
    transcript: str


async def as_recording(data: bytes) -> tuple[bytes, int | None]:
    """Return a recording as phones send it, and its milliseconds.

    WAV becomes SILK where the codec is installed; anything else is passed on, because a server does not look either.

    Raises:
        InvalidRequestError: It is a WAV file that the codec cannot take.
    """
    if data.startswith(b"RIFF"):
        try:
            data = await in_thread(lambda: wav_to_silk(data))
        except ConfigError:
            return data, None
        except MediaError as error:
            raise InvalidRequestError(str(error)) from error
    return data, round(silk_seconds(data) * 1000) if is_silk(data) else None


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
            item = MessageItem(type=ItemType.IMAGE, image_item=image)
        case "voice":
            item = MessageItem(type=ItemType.VOICE, voice_item=_voice(file, media))
        case "file":
            name = file.name or "file"
            payload = FileItem(media=media, file_name=name, md5=facts.md5, len=str(facts.plain_bytes))
            item = MessageItem(type=ItemType.FILE, file_item=payload)
        case "video":
            video = VideoItem(media=media, video_size=encrypted, video_md5=facts.md5)
            item = MessageItem(type=ItemType.VIDEO, video_item=video)
    item.is_completed = True
    return decode_object(encode(item))


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
