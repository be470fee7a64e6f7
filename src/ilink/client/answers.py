"""What the calls of a client return."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Struct

from ilink.wire.ids import Cursor, Secret

__all__ = ["Batch", "QrCode", "TypingConfig", "UploadPermission"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QrCode:
    """A fresh login code.

    Attributes:
        qrcode: The server's name of the code, by which its status is asked.
        link: The text to show as a QR image.
    """

    qrcode: str = field(repr=False)
    link: str = field(repr=False)


class Batch(Struct, frozen=True, kw_only=True):
    """What one poll brought.

    Attributes:
        updates: The messages as raw JSON, exactly as they came, so that they can be stored before they are read.
        cursor: Where to go on; the one that was sent when the answer had none. Presenting it acknowledges the updates,
            so store them first.
        hint_ms: The server's suggestion for the time limit of the next poll, to be kept until it gives another; the one
            that was passed in when it gave none.
        is_cut: Whether no answer came within the time limit, or an edge in between cut the poll; then it is empty.
    """

    updates: tuple[bytes, ...]
    cursor: Cursor
    hint_ms: int | None = None
    is_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TypingConfig:
    """What getconfig says.

    Attributes:
        typing_ticket: What `send_typing` needs; None when the server gave none.
        context_token: A fresher one, which one peer looks for and nobody has captured (protocol §9 Q6).
    """

    typing_ticket: Secret | None
    context_token: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPermission:
    """Where one blob may be uploaded. At least one of the first two is there.

    Attributes:
        full_url: The complete address, checked against the allowed hosts; preferred where there is one.
        param: The parameter for the CDN's upload address.
        thumb_param: The same for the thumbnail.
    """

    full_url: str | None = field(default=None, repr=False)
    param: str | None = field(default=None, repr=False)
    thumb_param: str | None = field(default=None, repr=False)
