"""Sound and video in the usual formats, opened with the extra `media`."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, cast

from ilink.errors import ConfigError, MediaError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Container", "first_picture", "open_container", "resampled"]

_OPTIONS: Final = {"protocol_whitelist": "none"}
"""Playlists and reference movies name other files and addresses: none of them is opened."""


class _AudioFrame(Protocol):
    """The parts of PyAV that are used; its own types are incomplete."""

    @property
    def samples(self) -> int: ...
    @property
    def planes(self) -> tuple[bytes, ...]: ...


class _VideoFrame(Protocol):
    def to_image(self) -> Image: ...


class _Streams(Protocol):
    @property
    def audio(self) -> tuple[object, ...]: ...
    @property
    def video(self) -> tuple[object, ...]: ...


class Container(Protocol):
    """An open file of sound, video or both."""

    @property
    def streams(self) -> _Streams:
        """What is in it."""
        ...

    @property
    def duration(self) -> int | None:
        """How long it plays, in microseconds, as far as it says."""
        ...

    def decode(self, *, audio: int = ..., video: int = ...) -> Iterator[_AudioFrame | _VideoFrame]:
        """Return the frames of one stream."""
        ...


class _Resampler(Protocol):
    def resample(self, frame: _AudioFrame | None) -> list[_AudioFrame]: ...


class _Library(Protocol):
    FFmpegError: type[Exception]

    def open(
        self, file: BinaryIO, mode: str, *, options: dict[str, str], metadata_errors: str
    ) -> AbstractContextManager[Container]: ...

    def AudioResampler(self, sample_format: str, layout: str, rate: int) -> _Resampler: ...  # noqa: N802


@contextmanager
def open_container(source: BinaryIO) -> Generator[Container]:
    """Read a file of any format the library knows; nothing but the file itself is read, whatever it names.

    Raises:
        MediaError: It is none of them, or is damaged; also while it is decoded inside of the block.
        ConfigError: The extra `media` is missing.
    """
    library = _load_library()
    try:
        with library.open(source, "r", options=dict(_OPTIONS), metadata_errors="replace") as container:
            yield container
    except (library.FFmpegError, OSError, ValueError, IndexError, StopIteration, EOFError) as error:
        message = f"this is no sound or video that can be read ({type(error).__name__})"
        raise MediaError(message) from error


def resampled(container: Container, sample_rate: int) -> Iterator[bytes]:
    """Yield the first sound of a container as samples of 16 bits, one channel, in the machine's byte order."""
    resampler = _load_library().AudioResampler("s16", "mono", sample_rate)
    for frame in container.decode(audio=0):
        yield from map(_samples, resampler.resample(cast("_AudioFrame", frame)))
    yield from map(_samples, resampler.resample(None))


def first_picture(container: Container) -> Image:
    """Return the first frame of the first video."""
    return cast("_VideoFrame", next(container.decode(video=0))).to_image()


def _samples(frame: _AudioFrame) -> bytes:
    # The plane is filled up to a size that suits the processor.
    return bytes(memoryview(frame.planes[0])[: 2 * frame.samples])


def _load_library() -> _Library:
    # Late: it is in an extra and takes long to load.
    try:
        import av
    except ImportError as error:
        message = "reading sound and video needs PyAV: install ilink[media]"
        raise ConfigError(message) from error
    return cast("_Library", av)
