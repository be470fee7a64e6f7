"""Private copies of files that wait to be sent: whole or not there, and gone when their messages are done."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ilink.errors import MediaError, StoreError
from ilink.storage.blobs import BlobReader, BlobStore, MissingBlobError
from ilink.storage.files import Bytes, PartialFile, in_thread
from ilink.storage.private import make_private_folder

__all__ = ["MOST_BYTES", "BlobSpool", "FolderSpool", "Spool", "SpooledFile"]

MOST_BYTES: Final = 2 << 30
"""How much may wait unless somebody says otherwise: twenty of the largest files (official 2.4.9: 100 MiB)."""

_LIST_EVERY: Final = 86_400.0
"""Seconds from one list of all blobs to the next: copies that nobody needs are few, and cost room only."""

_PARTIAL: Final = "."
"""What the names of files begin with that are not whole."""


@dataclass(frozen=True, slots=True)
class SpooledFile:
    """A copy that is on the disk.

    Attributes:
        size: Bytes.
        sha256: Their SHA-256 in hexadecimal.
    """

    size: int
    sha256: str


class Spool(Protocol):
    """Files that wait to be sent, each under the name of its message."""

    async def put(self, name: str, read: Callable[[], Bytes]) -> SpooledFile:
        """Copy bytes, in place of a file of that name.

        Args:
            name: What it is called.
            read: Returns the next bytes, and none at the end; it is called in a thread.

        Raises:
            StoreError: There is no room, or nothing is taken now. Nothing was stored.

        Whatever `read` raises is raised here, with nothing stored. Cancellation: nothing is stored, or the whole file.
        """
        ...

    def open(self, name: str, expected: SpooledFile) -> AbstractAsyncContextManager[Path | AsyncIterator[bytes]]:
        """Read a file, until the block ends, as what a client can upload.

        Raises:
            MediaError: It is gone, or was changed or cut; of bytes that come one after the other this is known when
                the last has come.
            StoreError: It cannot be read now.
        """
        ...

    async def remove(self, name: str) -> None:
        """Remove a file, if it is there; one that cannot be removed is left for `find_older`."""
        ...

    async def find_older(self, seconds: float) -> list[str]:
        """Return names of files that were stored so long ago, for whoever knows which of them are needed.

        Raises:
            StoreError: They cannot be listed now.
        """
        ...


class FolderSpool:
    """Files in a folder of this machine, or of several that see the same.

    Args:
        folder: Where they are; made when the first one comes, readable by nobody else.
        most_bytes: How many bytes may wait.
    """

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes

    def _path(self, name: str) -> Path:
        assert name.strip(_PARTIAL), "the name of a message"
        assert Path(name).name == name, "the name of a message"
        return self._folder / name

    async def put(self, name: str, read: Callable[[], Bytes]) -> SpooledFile:
        """Copy bytes to the disk; see `Spool`.

        Raises:
            StoreError: The disk is full, too much waits already, or the folder takes no files. Nothing was stored.
        """
        stopped = False

        def stop() -> None:
            nonlocal stopped
            stopped = True

        return await in_thread(lambda: self._put(name, read, lambda: stopped), stop=stop)

    @asynccontextmanager
    async def open(self, name: str, expected: SpooledFile) -> AsyncGenerator[Path, None]:
        """Look whether a file is as it was stored, and give its path; see `Spool`."""
        path = self._path(name)
        await self._check(path, expected)
        yield path

    async def _check(self, path: Path, expected: SpooledFile) -> None:

        def work() -> None:
            try:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256")
                    size = file.tell()
            except FileNotFoundError as error:
                message = (
                    f"the copy of a file that waited to be sent is not on this machine: {path}; it may be on the one"
                    " where it was said. Send it again; the machines of a fleet that sends files need one"
                    " ILINK_SPOOL_URL, or an ILINK_DATA that they share"
                )
                raise MediaError(message) from error
            except OSError as error:
                message = f"the copy of a file that waited to be sent cannot be read: {path}: {error.strerror}"
                raise MediaError(message) from error
            if SpooledFile(size, digest.hexdigest()) != expected:
                raise _damaged(str(path))

        await in_thread(work)

    async def remove(self, name: str) -> None:
        """Remove a file; see `Spool`."""

        def work() -> None:
            with suppress(OSError):
                self._path(name).unlink(missing_ok=True)

        await in_thread(work)

    async def find_older(self, seconds: float) -> list[str]:
        """Return the names of files that were stored so long ago, and remove parts of files that are so old."""
        return await in_thread(lambda: self._find_older(time.time() - seconds))

    def _put(self, name: str, read: Callable[[], Bytes], is_stopped: Callable[[], bool]) -> SpooledFile:
        path = self._path(name)
        make_private_folder(self._folder)
        room = self._most_bytes - self._used_bytes()
        digest, size = hashlib.sha256(), 0
        file = PartialFile(path, mode=stat.S_IRUSR | stat.S_IWUSR)
        file.open()
        try:
            while (chunk := read()) and not is_stopped():
                size += len(chunk)
                if size > room:
                    message = (
                        f"the files that wait to be sent would need more than {self._most_bytes} bytes in"
                        f" {self._folder}; wait until some are sent, or allow more"
                    )
                    raise StoreError(message)
                digest.update(chunk)
                file.write(chunk)
            if not is_stopped():
                # Before the message is stored, which a power cut does not undo.
                file.sync()
                file.commit()
        finally:
            file.discard()
        return SpooledFile(size, digest.hexdigest())

    def _used_bytes(self) -> int:
        with os.scandir(self._folder) as entries:
            return sum(_size(entry) for entry in entries)

    def _find_older(self, before: float) -> list[str]:
        names: list[str] = []
        try:
            with os.scandir(self._folder) as entries:
                old = [entry.name for entry in entries if _changed(entry) < before]
        except FileNotFoundError:
            return names
        for name in old:
            if name.startswith(_PARTIAL):
                (self._folder / name).unlink(missing_ok=True)
            else:
                names.append(name)
        return names


class BlobSpool:
    """Files in a store of blobs that all machines of a fleet reach; of each, one piece at a time is in memory.

    Args:
        blobs: The store, or a part of it that nobody else writes to.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._listed_at = -_LIST_EVERY

    async def put(self, name: str, read: Callable[[], Bytes]) -> SpooledFile:
        """Copy bytes into a blob; see `Spool`."""
        digest, size = hashlib.sha256(), 0

        def work() -> bytes:
            chunk = bytes(read())  # a copy: what was read may lie in a buffer that is filled again
            digest.update(chunk)
            return chunk

        async with self._blobs.create(name, at=time.time()) as writer:
            while chunk := await in_thread(work):
                size += len(chunk)
                await writer.write(chunk)
            await writer.commit()
        return SpooledFile(size, digest.hexdigest())

    @asynccontextmanager
    async def open(self, name: str, expected: SpooledFile) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """Read a blob, and raise at its end if it is not what was stored; see `Spool`."""
        try:
            async with self._blobs.open(name) as reader:
                yield _checked(name, reader, expected)
        except MissingBlobError as error:
            message = f"the copy of a file that waited to be sent is gone: {name}; send the file again"
            raise MediaError(message) from error

    async def remove(self, name: str) -> None:
        """Remove a blob; see `Spool`."""
        with suppress(StoreError):
            await self._blobs.delete(name)

    async def find_older(self, seconds: float) -> list[str]:
        """Return the names of old blobs, once a day; in between none: to list a store is dear. See `Spool`."""
        now = time.monotonic()
        if now - self._listed_at < _LIST_EVERY:
            return []
        self._listed_at = now
        return await self._blobs.list_before(time.time() - seconds)


async def _checked(name: str, reader: BlobReader, expected: SpooledFile) -> AsyncGenerator[bytes, None]:
    digest, size = hashlib.sha256(), 0
    async for chunk in reader.chunks():
        digest.update(chunk)
        size += len(chunk)
        yield chunk
    if SpooledFile(size, digest.hexdigest()) != expected:
        raise _damaged(name)


def _damaged(what: str) -> MediaError:
    return MediaError(f"the copy of a file that waited to be sent was damaged: {what}; send the file again")


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:  # sent meanwhile
        return 0


def _changed(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return time.time()
