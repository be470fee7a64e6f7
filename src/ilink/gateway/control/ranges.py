"""Reading the header Range, which players of video and sound ask with."""

from __future__ import annotations

import re
from typing import Final

from ilink.gateway.control.refusals import Refusal

__all__ = ["read_range"]

_ONE_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def read_range(header: str | None, *, size: int) -> tuple[int, int] | None:
    """Return the first byte asked for and the one after the last; None when the whole is to be sent.

    Several ranges at once, and what cannot be read, count as the whole: RFC 9110 lets a server ignore them.

    Raises:
        Refusal: 416, nothing of it lies within the file.
    """
    match = _ONE_RANGE.fullmatch((header or "").strip())
    if match is None or match[1] == match[2] == "":
        return None
    if match[1]:
        start, end = int(match[1]), int(match[2]) + 1 if match[2] else size
        if match[2] and end <= start:
            return None
    else:
        start, end = max(0, size - int(match[2])), size
    if start >= size:
        headers = {"content-range": f"bytes */{size}"}
        raise Refusal(416, f"the file has {size} bytes; {header!r} is beyond", hint="ask for less", headers=headers)
    return start, min(end, size)
