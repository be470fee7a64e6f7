"""Small pictures that go beside large ones, made with the extra `media`."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ilink.errors import MediaError
from ilink.storage.files import in_thread
from ilink.wire.pictures import shrink

__all__ = ["Thumbnail", "make_thumbnail"]

_SIDE: Final = 240
"""Pixels of the longer side; captured ones had 120 to 160 (protocol §4.4), phones show about twice that (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """A small picture, as JPEG.

    Attributes:
        data: Its bytes.
        width: Pixels.
        height: Pixels.
    """

    data: bytes = field(repr=False)
    width: int
    height: int


async def make_thumbnail(source: Path | str | bytes) -> Thumbnail:
    """Return a small picture of a picture, or of the first frame of a video.

    No known client sends thumbnails, and phones show pictures and videos without (protocol §5.5), so this is for who
    wants to try.

    Args:
        source: A path, or the bytes.

    Raises:
        MediaError: It is neither a picture nor a video, or is damaged.
        ConfigError: The extra `media` is missing.
    """
    return await in_thread(lambda: _make(source))


def _make(source: Path | str | bytes) -> Thumbnail:
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
            small = shrink(file, side=_SIDE)
    except (MediaError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        message = f"no thumbnail: {reason}"
        raise MediaError(message) from error
    return Thumbnail(data=small.data, width=small.width, height=small.height)
