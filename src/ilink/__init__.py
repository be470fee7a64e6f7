"""The whole iLink stack for Python.

Names are loaded when they are used first, so that `import ilink` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ilink.bot import Bot, OnUnknown, Policies, SessionState
    from ilink.client.client import Client
    from ilink.errors import (
        ApiError,
        ConfigError,
        ConnectError,
        HandlerError,
        IlinkError,
        LoginError,
        MediaError,
        OutcomeUnknownError,
        ProtocolError,
        RateLimitedError,
        RequestRejectedError,
        ServerError,
        StaleTokenError,
        StoreError,
        StoreLockedError,
        TransportError,
        WindowClosedError,
    )
    from ilink.messages import (
        Accepted,
        AcceptedUnconfirmed,
        AnyMessage,
        Deferred,
        DeferredWhy,
        Expired,
        FileMessage,
        ImageMessage,
        Message,
        OtherMessage,
        Receipt,
        Rejected,
        TextMessage,
        Unknown,
        VideoMessage,
        VoiceMessage,
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
    "Bot",
    "Client",
    "ClientId",
    "ConfigError",
    "ConnectError",
    "Cursor",
    "Deferred",
    "DeferredWhy",
    "Expired",
    "FileMessage",
    "HandlerError",
    "IlinkError",
    "ImageMessage",
    "LoginError",
    "MediaError",
    "Message",
    "MessageId",
    "OnUnknown",
    "OtherMessage",
    "OutcomeUnknownError",
    "Policies",
    "ProtocolError",
    "RateLimitedError",
    "Receipt",
    "Rejected",
    "RequestRejectedError",
    "Secret",
    "ServerError",
    "SessionState",
    "StaleTokenError",
    "StoreError",
    "StoreLockedError",
    "TextMessage",
    "TransportError",
    "Unknown",
    "UserId",
    "VideoMessage",
    "VoiceMessage",
    "WindowClosedError",
]

_HOMES = {
    "Account": "ilink.wire.accounts",
    **dict.fromkeys(("AccountId", "ClientId", "Cursor", "MessageId", "Secret", "UserId"), "ilink.wire.ids"),
    **dict.fromkeys(("Bot", "OnUnknown", "Policies", "SessionState"), "ilink.bot"),
    "Client": "ilink.client.client",
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
