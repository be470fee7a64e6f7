"""Small pictures of pictures and videos, made with the extra `media`."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from ilink.errors import ConfigError, MediaError
from ilink.wire.containers import first_picture, open_container

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["SmallPicture", "shrink"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallPicture:
    """What a picture or video looks like, small.

    Attributes:
        data: A JPEG.
        width: Its pixels.
        height: Its pixels.
        seconds: How long the video plays; None for a picture, and where the video does not say.
    """

    data: bytes = field(repr=False)
    width: int
    height: int
    seconds: float | None = None


def shrink(source: BinaryIO, *, side: int) -> SmallPicture:
    """Return a small picture of a picture, or of the first frame of a video; for a thread.

    Args:
        source: An open file, read in place.
        side: Pixels of the longer side.

    Raises:
        MediaError: It is neither a picture nor a video, or is damaged.
        ConfigError: The extra `media` is missing.
    """
    # Late: it is in an extra and takes long to load.
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        message = "making thumbnails needs Pillow and PyAV: install ilink[media]"
        raise ConfigError(message) from error
    try:
        with Image.open(source) as picture:
            return _small(picture, side)
    except UnidentifiedImageError:
        source.seek(0)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        message = f"this is no picture that can be read ({type(error).__name__})"
        raise MediaError(message) from error
    with open_container(source) as video:
        duration = video.duration
        seconds = None if duration is None else duration / 1_000_000
        return _small(first_picture(video), side, seconds)


def _small(picture: Image, side: int, seconds: float | None = None) -> SmallPicture:
    picture.draft("RGB", (2 * side, 2 * side))
    small = picture.convert("RGB")
    small.thumbnail((side, side))
    target = io.BytesIO()
    small.save(target, "JPEG", quality=80)
    return SmallPicture(data=target.getvalue(), width=small.width, height=small.height, seconds=seconds)
