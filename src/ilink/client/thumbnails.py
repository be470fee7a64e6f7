"""Small pictures that go beside large ones, made with the extra `media`."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

from ilink.errors import ConfigError, MediaError
from ilink.storage.files import in_thread

if TYPE_CHECKING:
    from PIL.Image import Image

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


class _Frame(Protocol):
    """The part of PyAV's frame that is used; its own types are incomplete."""

    def to_image(self) -> Image: ...


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
    # Late: both are in an extra and take long to load.
    try:
        import av
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        message = "making thumbnails needs Pillow and PyAV: install ilink[media]"
        raise ConfigError(message) from error
    try:
        try:
            with Image.open(_opened(source)) as picture:
                return _shrink(picture)
        except UnidentifiedImageError:
            with av.open(_opened(source), "r") as video:
                return _shrink(cast("_Frame", next(video.decode(video=0))).to_image())
    except (OSError, ValueError, IndexError, StopIteration, SyntaxError, Image.DecompressionBombError) as error:
        message = f"no thumbnail: this is no picture or video that can be read ({type(error).__name__})"
        raise MediaError(message) from error


def _shrink(picture: Image) -> Thumbnail:
    picture.draft("RGB", (2 * _SIDE, 2 * _SIDE))
    small = picture.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    target = io.BytesIO()
    small.save(target, "JPEG", quality=80)
    return Thumbnail(data=target.getvalue(), width=small.width, height=small.height)


def _opened(source: Path | str | bytes) -> io.BytesIO | str:
    return io.BytesIO(source) if isinstance(source, bytes) else str(source)
