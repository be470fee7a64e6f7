"""The whole iLink stack for Python.

Names are loaded when they are used first, so that `import ilink` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ilink.bot import (
        Bot,
        Context,
        ConversationPolicy,
        Duplicate,
        DuplicateKind,
        Job,
        LaneParked,
        LanePolicy,
        OnSuspect,
        OnUnknown,
        Outbox,
        OutboxEntry,
        Policies,
        SessionState,
        State,
        question,
    )
    from ilink.bot.access import Pairing
    from ilink.bot.rates import Rate
    from ilink.bot.routing import Filter, Invocation, KindFilter, Middleware, Next, Router, filters
    from ilink.client.client import Client
    from ilink.client.thumbnails import Thumbnail, make_thumbnail
    from ilink.errors import (
        ApiError,
        AskCancelledError,
        AskError,
        AskExhaustedError,
        AskTimeoutError,
        ConfigError,
        ConnectError,
        ConversationChangedError,
        ConversationError,
        DecryptionError,
        ForbiddenFileError,
        HandlerError,
        IlinkError,
        IntegrityError,
        LoginError,
        MediaError,
        OutcomeUnknownError,
        ProtocolError,
        RateLimitedError,
        RequestRejectedError,
        ServerError,
        StaleTokenError,
        StateError,
        StoreError,
        StoreLockedError,
        StoreUnavailableError,
        TooLargeError,
        TransportError,
        WindowClosedError,
    )
    from ilink.flows.markdown import tame_markdown
    from ilink.messages import (
        Accepted,
        AcceptedUnconfirmed,
        AnyMessage,
        Deferred,
        DeferredWhy,
        Expired,
        FileMessage,
        ImageMessage,
        IncomingFile,
        IncomingImage,
        IncomingMedia,
        IncomingVideo,
        IncomingVoice,
        MediaKind,
        MediaReference,
        Message,
        OtherMessage,
        OutgoingMessage,
        Quote,
        Receipt,
        Rejected,
        SavedMedia,
        TextMessage,
        Unknown,
        UploadedMedia,
        UploadSource,
        VideoMessage,
        VoiceMessage,
        media_references,
    )
    from ilink.wire.accounts import Account
    from ilink.wire.ids import AccountId, ClientId, Cursor, MessageId, Secret, UserId

__all__ = [
    "Accepted",
    "AcceptedUnconfirmed",
    "Account",
    "AccountId",
    "AnyMessage",
    "ApiError",
    "AskCancelledError",
    "AskError",
    "AskExhaustedError",
    "AskTimeoutError",
    "Bot",
    "Client",
    "ClientId",
    "ConfigError",
    "ConnectError",
    "Context",
    "ConversationChangedError",
    "ConversationError",
    "ConversationPolicy",
    "Cursor",
    "DecryptionError",
    "Deferred",
    "DeferredWhy",
    "Duplicate",
    "DuplicateKind",
    "Expired",
    "FileMessage",
    "Filter",
    "ForbiddenFileError",
    "HandlerError",
    "IlinkError",
    "ImageMessage",
    "IncomingFile",
    "IncomingImage",
    "IncomingMedia",
    "IncomingVideo",
    "IncomingVoice",
    "IntegrityError",
    "Invocation",
    "Job",
    "KindFilter",
    "LaneParked",
    "LanePolicy",
    "LoginError",
    "MediaError",
    "MediaKind",
    "MediaReference",
    "Message",
    "MessageId",
    "Middleware",
    "Next",
    "OnSuspect",
    "OnUnknown",
    "OtherMessage",
    "Outbox",
    "OutboxEntry",
    "OutcomeUnknownError",
    "OutgoingMessage",
    "Pairing",
    "Policies",
    "ProtocolError",
    "Quote",
    "Rate",
    "RateLimitedError",
    "Receipt",
    "Rejected",
    "RequestRejectedError",
    "Router",
    "SavedMedia",
    "Secret",
    "ServerError",
    "SessionState",
    "StaleTokenError",
    "State",
    "StateError",
    "StoreError",
    "StoreLockedError",
    "StoreUnavailableError",
    "TextMessage",
    "Thumbnail",
    "TooLargeError",
    "TransportError",
    "Unknown",
    "UploadSource",
    "UploadedMedia",
    "UserId",
    "VideoMessage",
    "VoiceMessage",
    "WindowClosedError",
    "filters",
    "make_thumbnail",
    "media_references",
    "question",
    "tame_markdown",
]

_HOMES = {
    "tame_markdown": "ilink.flows.markdown",
    "Account": "ilink.wire.accounts",
    **dict.fromkeys(("AccountId", "ClientId", "Cursor", "MessageId", "Secret", "UserId"), "ilink.wire.ids"),
    **dict.fromkeys(
        (
            "Bot",
            "Context",
            "ConversationPolicy",
            "Duplicate",
            "DuplicateKind",
            "Job",
            "LaneParked",
            "LanePolicy",
            "OnSuspect",
            "OnUnknown",
            "Outbox",
            "OutboxEntry",
            "Policies",
            "SessionState",
            "State",
            "question",
        ),
        "ilink.bot",
    ),
    **dict.fromkeys(
        ("Filter", "Invocation", "KindFilter", "Middleware", "Next", "Router", "filters"), "ilink.bot.routing"
    ),
    "Pairing": "ilink.bot.access",
    "Rate": "ilink.bot.rates",
    "Client": "ilink.client.client",
    **dict.fromkeys(("Thumbnail", "make_thumbnail"), "ilink.client.thumbnails"),
}
"""Where a name lives; errors are found by their ending, everything else is a message or a receipt."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    home = "ilink.errors" if name.endswith("Error") else _HOMES.get(name, "ilink.messages")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
