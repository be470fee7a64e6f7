"""`ilink` for programs without `async`: the same names, which block until they are done.

One implementation serves both: what is here runs the asynchronous objects in an event loop of another thread.
Errors, receipts, settings and filters are those of `ilink` itself.
"""

from __future__ import annotations

from ilink.sync.bot import Bot
from ilink.sync.client import Client, MediaClient
from ilink.sync.routing import Middleware, Next, Router
from ilink.sync.twins import (
    Context,
    FileMessage,
    ImageMessage,
    IncomingFile,
    IncomingImage,
    IncomingMedia,
    IncomingVideo,
    IncomingVoice,
    Job,
    Message,
    OtherMessage,
    Outbox,
    TextMessage,
    VideoMessage,
    VoiceMessage,
)

__all__ = [
    "Bot",
    "Client",
    "Context",
    "FileMessage",
    "ImageMessage",
    "IncomingFile",
    "IncomingImage",
    "IncomingMedia",
    "IncomingVideo",
    "IncomingVoice",
    "Job",
    "MediaClient",
    "Message",
    "Middleware",
    "Next",
    "OtherMessage",
    "Outbox",
    "Router",
    "TextMessage",
    "VideoMessage",
    "VoiceMessage",
]
