"""What a bot author sees: messages, their parts, and receipts of what was sent."""

from __future__ import annotations

from ilink.messages.attachments import IncomingFile, IncomingImage, IncomingMedia, IncomingVideo, IncomingVoice
from ilink.messages.incoming import (
    AnyMessage,
    FileMessage,
    ImageMessage,
    Message,
    OtherMessage,
    TextMessage,
    VideoMessage,
    VoiceMessage,
)
from ilink.messages.items import (
    FileItem,
    ImageItem,
    Item,
    TextItem,
    ToolItem,
    UnknownItem,
    VideoItem,
    VoiceItem,
)
from ilink.messages.media import (
    MediaKind,
    MediaReference,
    SavedMedia,
    UploadedMedia,
    UploadSource,
    media_references,
)
from ilink.messages.outgoing import OutgoingMessage, SendReceipt
from ilink.messages.quotes import KnownQuote, Quote
from ilink.messages.receipts import (
    Accepted,
    AcceptedUnconfirmed,
    Deferred,
    DeferredWhy,
    Expired,
    Receipt,
    Rejected,
    Unknown,
)

__all__ = [
    "Accepted",
    "AcceptedUnconfirmed",
    "AnyMessage",
    "Deferred",
    "DeferredWhy",
    "Expired",
    "FileItem",
    "FileMessage",
    "ImageItem",
    "ImageMessage",
    "IncomingFile",
    "IncomingImage",
    "IncomingMedia",
    "IncomingVideo",
    "IncomingVoice",
    "Item",
    "KnownQuote",
    "MediaKind",
    "MediaReference",
    "Message",
    "OtherMessage",
    "OutgoingMessage",
    "Quote",
    "Receipt",
    "Rejected",
    "SavedMedia",
    "SendReceipt",
    "TextItem",
    "TextMessage",
    "ToolItem",
    "Unknown",
    "UnknownItem",
    "UploadSource",
    "UploadedMedia",
    "VideoItem",
    "VideoMessage",
    "VoiceItem",
    "VoiceMessage",
    "media_references",
]
