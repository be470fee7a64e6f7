"""The parts of an incoming message, as a closed set; what nobody has documented is kept as `UnknownItem`."""

from __future__ import annotations

from dataclasses import dataclass, field

from ilink.errors import RemoteProtocolError
from ilink.wire import models
from ilink.wire.codec import decode_object
from ilink.wire.enums import ItemType
from ilink.wire.models import CdnMedia, given
from ilink.wire.shapes import is_array, is_object

__all__ = [
    "FileItem",
    "ImageItem",
    "Item",
    "TextItem",
    "ToolItem",
    "UnknownItem",
    "VideoItem",
    "VoiceItem",
    "read_items",
]


@dataclass(frozen=True, slots=True)
class TextItem:
    """A text."""

    text: str


@dataclass(frozen=True, slots=True)
class ImageItem:
    """A picture; its bytes are fetched through its wire payload."""

    wire: models.ImageItem = field(repr=False)

    @property
    def media(self) -> CdnMedia | None:
        """The pointer to the picture; None when the message carries none."""
        return given(self.wire.media, None)


@dataclass(frozen=True, slots=True)
class VoiceItem:
    """A voice recording, SILK more often than its announced encoding says (observed: ocw#282)."""

    wire: models.VoiceItem = field(repr=False)

    @property
    def media(self) -> CdnMedia | None:
        """The pointer to the recording; None when the message carries none."""
        return given(self.wire.media, None)

    @property
    def transcript(self) -> str:
        """Tencent's own transcript; empty when it made none."""
        return given(self.wire.text, "")

    @property
    def seconds(self) -> float:
        """How long it plays; 0 when unknown."""
        return given(self.wire.playtime, 0) / 1000


@dataclass(frozen=True, slots=True)
class FileItem:
    """A file."""

    wire: models.FileItem = field(repr=False)

    @property
    def media(self) -> CdnMedia | None:
        """The pointer to the file; None when the message carries none."""
        return given(self.wire.media, None)

    @property
    def name(self) -> str:
        """The name its sender gave it, unchecked: never use it as a path."""
        return given(self.wire.file_name, "")

    @property
    def size(self) -> int | None:
        """Its size in bytes before encryption, as announced; None when unknown."""
        text = given(self.wire.len, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


@dataclass(frozen=True, slots=True)
class VideoItem:
    """A video."""

    wire: models.VideoItem = field(repr=False)

    @property
    def media(self) -> CdnMedia | None:
        """The pointer to the video; None when the message carries none."""
        return given(self.wire.media, None)


@dataclass(frozen=True, slots=True)
class ToolItem:
    """An agent's tool call begins (11) or ended (12); people do not send these."""

    wire: models.MessageItem = field(repr=False)


@dataclass(frozen=True, slots=True)
class UnknownItem:
    """An item of a type nobody has documented, or one without its payload.

    Attributes:
        type: Its number; None when it has none.
        fields: All of it, as it came.
    """

    type: int | None
    fields: dict[str, object]


Item = TextItem | ImageItem | VoiceItem | FileItem | VideoItem | ToolItem | UnknownItem
"""One part of a message. Matches over it end in `assert_never`."""


def read_items(message: models.WeixinMessage, raw: bytes) -> tuple[Item, ...]:
    """Return the parts of a message in their order; never raises."""
    return tuple(_read_item(item, number, raw) for number, item in enumerate(given(message.item_list, [])))


def read_item(item: models.MessageItem) -> Item | None:
    """Return one part, or None when its type is unknown or its payload missing."""
    match given(item.type, None):
        case ItemType.TEXT:
            payload = given(item.text_item, None)
            return None if payload is None else TextItem(given(payload.text, ""))
        case ItemType.IMAGE:
            image = given(item.image_item, None)
            return None if image is None else ImageItem(image)
        case ItemType.VOICE:
            voice = given(item.voice_item, None)
            return None if voice is None else VoiceItem(voice)
        case ItemType.FILE:
            file = given(item.file_item, None)
            return None if file is None else FileItem(file)
        case ItemType.VIDEO:
            video = given(item.video_item, None)
            return None if video is None else VideoItem(video)
        case ItemType.TOOL_CALL_START | ItemType.TOOL_CALL_RESULT:
            return ToolItem(item)
        case _:
            return None


def _read_item(item: models.MessageItem, number: int, raw: bytes) -> Item:
    known = read_item(item)
    return UnknownItem(given(item.type, None), _fields(raw, number)) if known is None else known


def _fields(raw: bytes, number: int) -> dict[str, object]:
    """Read one item again without a model, because models drop the fields they do not know."""
    try:
        items = decode_object(raw).get("item_list")
    except RemoteProtocolError:
        return {}
    entries = [entry for entry in items if is_object(entry)] if is_array(items) else []
    return entries[number] if number < len(entries) else {}
