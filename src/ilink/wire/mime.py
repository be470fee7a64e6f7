"""What a blob is, by its first bytes, and by its name only where those say nothing."""

from __future__ import annotations

import mimetypes
from typing import Final, Protocol, cast

from ilink.wire.silk import is_silk

__all__ = ["SNIFF_BYTES", "UNKNOWN", "mime_type"]

SNIFF_BYTES: Final = 8_192
"""How many first bytes are enough to tell."""

UNKNOWN: Final = "application/octet-stream"


class _Signatures(Protocol):
    """The part of filetype that is used; it has no types of its own."""

    def guess_mime(self, head: bytes, /) -> str | None: ...


def mime_type(head: bytes, name: str = "") -> str:
    """Return the content type of a file.

    Args:
        head: Its first bytes, `SNIFF_BYTES` of them if there are as many.
        name: Its name, which decides only where the content does not: a text with the name of a picture is a text.
    """
    if is_silk(head):
        return "audio/silk"
    # Late: loading the table of signatures takes time that a program without media never has to spend.
    import filetype

    found = cast("_Signatures", filetype).guess_mime(head)
    if found is not None:
        return found
    named = mimetypes.guess_type(name, strict=False)[0]
    if _is_text(head):
        return named if named is not None and not named.startswith(("image/", "audio/", "video/")) else "text/plain"
    # A binary file without a signature: trust a name for documents, never for what a phone would try to show.
    return named if named is not None and named.startswith("application/") else UNKNOWN


def _is_text(head: bytes) -> bool:
    if not head or b"\x00" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The last character may go on beyond the first bytes.
        return len(head) == SNIFF_BYTES and error.start >= len(head) - 3
    return True
