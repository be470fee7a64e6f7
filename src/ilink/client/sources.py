"""What can be uploaded, made readable twice: once for its MD5, which the permission needs, and once for sending."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import cast

from ilink.errors import ConfigError, IntegrityError, MediaError, TooLargeError
from ilink.messages.media import FileObject, UploadSource
from ilink.storage.files import Batches, Bytes, in_thread
from ilink.wire.cipher import CHUNK_BYTES
from ilink.wire.mime import SNIFF_BYTES

__all__ = ["Source", "open_source"]


@dataclass(slots=True)
class Source:
    """Bytes that were measured and can be read again from the beginning. All methods are for threads.

    Attributes:
        name: The name the bytes came under, or an empty text.
        size: How many there are.
        md5: Their MD5 in hexadecimal.
        head: The first of them.
    """

    name: str
    reader: Callable[[int], Bytes] = field(repr=False)
    rewind: Callable[[], object] = field(repr=False)
    size: int = 0
    md5: str = ""
    head: bytes = b""
    _position: int = 0

    def read_again(self) -> None:
        """Go back to the beginning."""
        self.rewind()
        self._position = 0

    def read(self) -> Bytes:
        """Return the next chunk, for use before the next call; empty at the end.

        Raises:
            IntegrityError: There are fewer or more bytes than were measured: the file is being changed.
            MediaError: It cannot be read.
        """
        try:
            chunk = self.reader(CHUNK_BYTES)
        except OSError as error:
            message = f"cannot read {self.name or 'what is to be uploaded'}: {error.strerror or error}"
            raise MediaError(message) from error
        self._position += len(chunk)
        if self._position > self.size or (not chunk and self._position < self.size):
            message = f"{self.name or 'the file'} changed while it was uploaded; upload it again"
            raise IntegrityError(message)
        return chunk


@asynccontextmanager
async def open_source(source: UploadSource, *, name: str, max_bytes: int) -> AsyncGenerator[Source, None]:
    """Measure a source and keep it readable until the block ends.

    Bytes and files that can go back are read in place; anything else is written to a temporary file first, measured on
    the way. Memory stays bounded.

    Raises:
        ConfigError: It is none of the kinds.
        MediaError: It cannot be read.
        TooLargeError: It is larger than `max_bytes`; a path is refused before anything is read.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        async with _opened(path) as file:
            await in_thread(lambda: _check_size(os.fstat(file.fileno()).st_size, max_bytes, path.name))
            yield await _measured(_from_file(file, name or path.name), max_bytes)
    elif isinstance(source, bytes | bytearray | memoryview):
        _check_size(len(source), max_bytes, name)
        yield await _measured(_from_bytes(source, name), max_bytes)
    elif isinstance(source, AsyncIterable):
        async with _spool() as file:
            yield await _spooled(source, file, name, max_bytes)
    elif callable(getattr(source, "read", None)):
        async with _from_file_object(source, name or _name_of(source), max_bytes) as measured:
            yield measured
    else:
        message = f"cannot upload a {type(source).__name__}: give a path, bytes, an open binary file or async chunks"
        raise ConfigError(message)


@asynccontextmanager
async def _from_file_object(file: FileObject, name: str, max_bytes: int) -> AsyncGenerator[Source, None]:
    seek, tell = getattr(file, "seek", None), getattr(file, "tell", None)
    seekable = getattr(file, "seekable", None)
    if callable(seek) and callable(tell) and callable(seekable) and seekable():
        start = tell()
        reader = _checked_reader(file)
        yield await _measured(Source(name, reader, lambda: seek(start)), max_bytes)
        return
    async with _spool() as spool:
        reader = _checked_reader(file)

        def copy(stop: Callable[[], bool]) -> None:
            while (chunk := reader(CHUNK_BYTES)) and not stop():
                spool.write(chunk)
                _check_size(spool.tell(), max_bytes, name)

        await _stoppable(copy)
        yield await _measured(_from_file(spool, name), max_bytes)


async def _measured(source: Source, max_bytes: int) -> Source:
    """Read a source once for size, MD5 and first bytes."""

    def measure(stop: Callable[[], bool]) -> None:
        digest = hashlib.md5(usedforsecurity=False)
        source.rewind()
        try:
            while (chunk := source.reader(CHUNK_BYTES)) and not stop():
                digest.update(chunk)
                source.size += len(chunk)
                if len(source.head) < SNIFF_BYTES:
                    source.head = (source.head + bytes(chunk[:SNIFF_BYTES]))[:SNIFF_BYTES]
                _check_size(source.size, max_bytes, source.name)
        except OSError as error:
            message = f"cannot read {source.name or 'what is to be uploaded'}: {error.strerror or error}"
            raise MediaError(message) from error
        source.md5 = digest.hexdigest()

    await _stoppable(measure)
    return source


async def _spooled(chunks: AsyncIterable[Bytes], file: FileIO, name: str, max_bytes: int) -> Source:
    """Write asynchronous chunks to a temporary file, measuring them on the way."""
    digest = hashlib.md5(usedforsecurity=False)
    source = _from_file(file, name)

    def take(*batch: Bytes) -> None:
        for chunk in batch:
            digest.update(chunk)
            file.write(chunk)

    async with Batches(take) as batches:
        async for chunk in chunks:
            source.size += len(chunk)
            _check_size(source.size, max_bytes, name)
            if len(source.head) < SNIFF_BYTES:
                source.head = (source.head + bytes(chunk[:SNIFF_BYTES]))[:SNIFF_BYTES]
            # A copy of what may change under us: an iterable is free to fill the same buffer again.
            await batches.put(chunk if isinstance(chunk, bytes) else bytes(chunk))
        await batches.drain()
    source.md5 = digest.hexdigest()
    return source


async def _stoppable(work: Callable[[Callable[[], bool]], None]) -> None:
    """Run long work in a thread; cancelled, it ends with its next chunk."""
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True

    await in_thread(lambda: work(lambda: stopped), stop=stop)


@asynccontextmanager
async def _opened(path: Path) -> AsyncGenerator[FileIO, None]:
    held: list[FileIO] = []
    try:
        await in_thread(lambda: held.append(path.open("rb", buffering=0)))
        yield held[0]
    except OSError as error:
        if held:
            raise
        message = f"cannot open {path}: {error.strerror}"
        raise MediaError(message) from error
    finally:
        for file in held:
            file.close()


@asynccontextmanager
async def _spool() -> AsyncGenerator[FileIO, None]:
    held: list[FileIO] = []
    try:
        await in_thread(lambda: held.append(tempfile.TemporaryFile(buffering=0)))  # noqa: SIM115  # closed below
        yield held[0]
    finally:
        for file in held:
            file.close()


def _from_file(file: FileIO, name: str) -> Source:
    # One buffer for all reads: fresh ones of this size cost more than the reading.
    buffer = memoryview(bytearray(CHUNK_BYTES))

    def read(size: int) -> Bytes:
        return buffer[: file.readinto(buffer[:size])]

    return Source(name, read, lambda: file.seek(0))


def _from_bytes(data: bytes | bytearray | memoryview, name: str) -> Source:
    view = memoryview(data).cast("B")
    position = 0

    def read(size: int) -> Bytes:
        nonlocal position
        chunk = view[position : position + size]
        position += len(chunk)
        return chunk

    def rewind() -> None:
        nonlocal position
        position = 0

    return Source(name, read, rewind)


def _checked_reader(file: FileObject) -> Callable[[int], Bytes]:
    def read(size: int) -> Bytes:
        chunk = file.read(size)
        if not isinstance(cast("object", chunk), bytes | bytearray | memoryview):
            message = f"the file gives {type(chunk).__name__}, not bytes: open it in binary mode"
            raise ConfigError(message)
        return chunk

    return read


def _name_of(file: object) -> str:
    name: object = getattr(file, "name", "")
    return Path(name).name if isinstance(name, str) else ""


def _check_size(size: int, max_bytes: int, name: str) -> None:
    if size > max_bytes:
        message = f"{name or 'what is to be uploaded'} is larger than {max_bytes} bytes; split it, or raise `max_bytes`"
        raise TooLargeError(message)
