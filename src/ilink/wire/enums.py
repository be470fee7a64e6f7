"""The protocol's numbers and words, spelled as they travel.

Fields of the models hold plain integers and texts: a number or word that is missing here survives and never raises.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

__all__ = [
    "ItemType",
    "LoginStatus",
    "MediaType",
    "MessageState",
    "MessageType",
    "ToolStatus",
    "TypingStatus",
    "VoiceEncoding",
]


class MessageType(IntEnum):
    """Who a message is from (official 2.4.9)."""

    NONE = 0
    USER = 1
    BOT = 2


class MessageState(IntEnum):
    """How far a message is (official 2.4.9). GENERATING is no streaming facility: a phone shows only the first text."""

    NEW = 0
    GENERATING = 1
    FINISH = 2


class ItemType(IntEnum):
    """What an item holds (seed; 11 and 12: official 2.4.4). 8 is seen in quotes, its meaning unknown (ocw#23)."""

    NONE = 0
    TEXT = 1
    IMAGE = 2
    VOICE = 3
    FILE = 4
    VIDEO = 5
    TOOL_CALL_START = 11
    TOOL_CALL_RESULT = 12


class MediaType(IntEnum):
    """What an upload is, in getuploadurl: not the numbering of items (official 2.4.9)."""

    IMAGE = 1
    VIDEO = 2
    FILE = 3
    VOICE = 4


class TypingStatus(IntEnum):
    """What sendtyping says (seed)."""

    TYPING = 1
    CANCEL = 2


class VoiceEncoding(IntEnum):
    """A voice item's `encode_type` (official 2.4.9). Unreliable: 4 was captured on SILK, so look at the bytes."""

    PCM = 1
    ADPCM = 2
    FEATURE = 3
    SPEEX = 4
    AMR = 5
    SILK = 6
    MP3 = 7
    OGG_SPEEX = 8


class LoginStatus(StrEnum):
    """The states of a QR login (seed; the last four official 2.1.1 and 2.3.1). "scaned" is the wire's spelling."""

    WAIT = "wait"
    SCANNED = "scaned"
    CONFIRMED = "confirmed"
    EXPIRED = "expired"
    SCANNED_BUT_REDIRECT = "scaned_but_redirect"
    NEED_VERIFY_CODE = "need_verifycode"
    VERIFY_CODE_BLOCKED = "verify_code_blocked"
    BOUND_REDIRECT = "binded_redirect"


class ToolStatus(StrEnum):
    """How a tool call ended, in an item of type 12 (official 2.4.9)."""

    COMPLETED = "completed"
    FAILED = "failed"
    BLOCKED = "blocked"
    UNKNOWN = "unknown"
