"""Blobs: bytes under a name, written and read in pieces, never seen half written."""

from __future__ import annotations

import os
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from ilink.errors import ConfigError, StoreError
from ilink.storage.files import BATCH_BYTES, Batches, Bytes, PartialFile, ReadAhead, in_thread
from ilink.storage.private import make_private_folder

__all__ = [
    "BlobReader",
    "BlobStore",
    "BlobWriter",
    "FolderBlobs",
    "MissingBlobError",
    "check_blob_name",
    "open_object_store",
]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}\Z")
_HIDDEN: Final = ".partial"


class MissingBlobError(StoreError):
    """There is no blob of that name."""


class BlobWriter(Protocol):
    """A blob that is being written; it exists from `commit` on, and without it not at all."""

    async def write(self, chunk: Bytes) -> None:
        """Append bytes, which must not change any more.

        Raises:
            StoreError: The store is full, or fails.
        """
        ...

    async def commit(self) -> int:
        """Make the blob exist, in place of one of the same name, and return its size in bytes.

        Raises:
            StoreError: The store is full, or fails; the blob does not exist.
        """
        ...


class BlobReader(Protocol):
    """A blob, or a range of it, that is being read."""

    @property
    def size(self) -> int:
        """How many bytes the whole blob has."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the bytes of the range in pieces, once."""
        ...


class BlobStore(Protocol):
    """What keeps blobs. Names are 3 to 128 letters, digits, `_` and `-`, and begin with a letter or digit."""

    def create(self, name: str, *, at: float) -> AbstractAsyncContextManager[BlobWriter]:
        """Write a blob; left without `commit`, by whatever way, nothing remains.

        Args:
            name: Its name.
            at: When it counts as written, in seconds of Unix time: what `delete_before` goes by.
        """
        ...

    def open(self, name: str, start: int = 0, end: int | None = None) -> AbstractAsyncContextManager[BlobReader]:
        """Read a blob, from byte `start` to before byte `end`; a range beyond the blob is cut to it.

        A blob that is deleted or replaced meanwhile is read to its end as it was.

        Raises:
            MissingBlobError: There is no such blob.
            StoreError: It cannot be read now.
        """
        ...

    async def delete(self, name: str) -> None:
        """Delete a blob; one that does not exist is no error."""
        ...

    async def list_before(self, moment: float) -> list[str]:
        """Return the names of all blobs written before a moment."""
        ...

    async def delete_before(self, moment: float) -> list[str]:
        """Delete every blob written before a moment, and return their names."""
        ...


def check_blob_name(name: str) -> None:
    """Refuse what is no name of a blob, and could lead somewhere else.

    Raises:
        ConfigError: It is none.
    """
    if not _NAME.match(name):
        message = f"{name!r} is no name of a blob: 3 to 128 letters, digits, _ and -"
        raise ConfigError(message)


async def open_object_store(url: str) -> BlobStore:
    """Open what keeps blobs as objects below an address such as `s3://bucket/folder`, and look whether it answers.

    Raises:
        ConfigError: It is no such address, or the package for it is missing.
        StoreError: It does not answer, lets us not in, or has no such bucket.
    """
    try:
        from ilink.storage.object_blobs import open_objects
    except ImportError as error:
        message = "keeping files in an object store needs the package obstore; install ilink[s3]"
        raise ConfigError(message) from error
    blobs = open_objects(url)
    await blobs.check()
    return blobs


class FolderBlobs:
    """Blobs as files in a private folder, spread over subfolders.

    Files survive the death of the process from `commit` on; after a power cut the newest may be missing or short.

    Args:
        folder: Where they live; made if missing. Several processes may share it, on one machine or through a file
            system that they all see.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def clean(self, *, untouched_for: float = 0.0) -> None:
        """Make the folder, and remove what a process that died was writing. Call it once, before anything else.

        Args:
            untouched_for: Only what nobody has written to for so many seconds: for a folder that others write to.
        """

        def work() -> None:
            make_private_folder(self._folder)
            latest = time.time() - untouched_for
            for leftover in make_private_folder(self._folder / _HIDDEN).iterdir():
                with suppress(FileNotFoundError):  # another process is done with it
                    if untouched_for == 0 or leftover.stat().st_mtime < latest:
                        leftover.unlink()

        await in_thread(work)

    @asynccontextmanager
    async def create(self, name: str, *, at: float) -> AsyncGenerator[BlobWriter, None]:
        """See `BlobStore.create`."""
        path = self._path(name)
        file = PartialFile(path, folder=self._folder / _HIDDEN, mode=0o600)
        try:
            await in_thread(file.open)
            async with Batches(file.write) as batches:
                yield _FileWriter(file, batches, path, at)
        finally:
            await in_thread(file.discard)

    @asynccontextmanager
    async def open(self, name: str, start: int = 0, end: int | None = None) -> AsyncGenerator[BlobReader, None]:
        """See `BlobStore.open`."""
        reader = _FileReader(self._path(name), start, end)
        try:
            await in_thread(reader.open)
            async with reader.ahead:
                yield reader
        finally:
            reader.close()

    async def delete(self, name: str) -> None:
        """See `BlobStore.delete`."""
        path = self._path(name)
        await in_thread(lambda: path.unlink(missing_ok=True))

    async def list_before(self, moment: float) -> list[str]:
        """See `BlobStore.list_before`."""
        return await in_thread(lambda: [path.name for path in self._older(moment)])

    async def delete_before(self, moment: float) -> list[str]:
        """See `BlobStore.delete_before`."""

        def work() -> list[str]:
            old = self._older(moment)
            for path in old:
                path.unlink(missing_ok=True)
            return [path.name for path in old]

        return await in_thread(work)

    def _older(self, moment: float) -> list[Path]:
        return [path for path in self._folder.glob("[!.]*/*") if path.stat().st_mtime < moment]

    def _path(self, name: str) -> Path:
        check_blob_name(name)
        return self._folder / name[:2].lower() / name


class _FileWriter:
    def __init__(self, file: PartialFile, batches: Batches, path: Path, at: float) -> None:
        self._file = file
        self._batches = batches
        self._path = path
        self._at = at
        self._size = 0

    async def write(self, chunk: Bytes) -> None:
        self._size += len(chunk)
        await self._batches.put(chunk)

    async def commit(self) -> int:
        await self._batches.drain()
        await in_thread(self._commit)
        return self._size

    def _commit(self) -> None:
        make_private_folder(self._path.parent)
        self._file.stamp(self._at)
        self._file.commit()


class _FileReader:
    def __init__(self, path: Path, start: int, end: int | None) -> None:
        self._path = path
        self._position = start
        self._end = end
        self._size = 0
        self._descriptor: int | None = None
        self.ahead = ReadAhead(self.read)

    @property
    def size(self) -> int:
        return self._size

    def open(self) -> None:
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            self._size = os.fstat(self._descriptor).st_size
            os.lseek(self._descriptor, self._position, os.SEEK_SET)
        except FileNotFoundError as error:
            message = f"there is no blob {self._path.name}"
            raise MissingBlobError(message) from error
        except OSError as error:
            message = f"cannot read the blob {self._path.name}: {error.strerror or error}"
            raise StoreError(message) from error

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def chunks(self) -> AsyncIterator[bytes]:
        return self.ahead

    def read(self) -> bytes:
        assert self._descriptor is not None, "opened before"
        end = self._size if self._end is None else min(self._end, self._size)
        if self._position >= end:
            return b""
        try:
            chunk = os.read(self._descriptor, min(BATCH_BYTES, end - self._position))
        except OSError as error:
            message = f"cannot read the blob {self._path.name}: {error.strerror or error}"
            raise StoreError(message) from error
        if not chunk:
            message = f"the blob {self._path.name} was cut while it was read"
            raise StoreError(message)
        self._position += len(chunk)
        return chunk
