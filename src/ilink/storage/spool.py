"""Private copies of files that wait to be sent: bounded, whole or not there, gone when their messages are done."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ilink.errors import MediaError, StoreError
from ilink.storage.files import Bytes, PartialFile, in_thread
from ilink.storage.private import make_private_folder

__all__ = ["MOST_BYTES", "Spool", "SpooledFile"]

MOST_BYTES: Final = 2 << 30
"""How much may wait unless somebody says otherwise: twenty of the largest files (official 2.4.9: 100 MiB)."""

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


class Spool:
    """A folder of files that wait to be sent, each under the name of its message.

    Args:
        folder: Where they are; made when the first one comes, readable by nobody else.
        most_bytes: How many bytes may wait.
    """

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes

    def path(self, name: str) -> Path:
        """Return where a file is, or would be."""
        assert name.strip(_PARTIAL), "the name of a message"
        assert Path(name).name == name, "the name of a message"
        return self._folder / name

    async def put(self, name: str, read: Callable[[], Bytes]) -> SpooledFile:
        """Copy bytes to the disk, in place of a file of that name.

        Args:
            name: What it is called.
            read: Returns the next bytes, and none at the end; it is called in a thread.

        Raises:
            StoreError: The disk is full, too much waits already, or the folder takes no files. Nothing was stored.

        Whatever `read` raises is raised here, with nothing stored. Cancellation: nothing is stored, or the whole file.
        """
        stopped = False

        def stop() -> None:
            nonlocal stopped
            stopped = True

        return await in_thread(lambda: self._put(name, read, lambda: stopped), stop=stop)

    async def check(self, name: str, expected: SpooledFile) -> None:
        """Look whether a file is as it was stored.

        Raises:
            MediaError: It is gone, or was changed or cut.
        """

        def work() -> None:
            path = self.path(name)
            try:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256")
                    size = file.tell()
            except FileNotFoundError as error:
                message = (
                    f"the copy of a file that waited to be sent is not on this machine: {path}; it may be on the one"
                    " where it was said. Send it again; machines of a fleet that send files should share one ILINK_DATA"
                )
                raise MediaError(message) from error
            except OSError as error:
                message = f"the copy of a file that waited to be sent cannot be read: {path}: {error.strerror}"
                raise MediaError(message) from error
            if SpooledFile(size, digest.hexdigest()) != expected:
                message = f"the copy of a file that waited to be sent was damaged: {path}; send the file again"
                raise MediaError(message)

        await in_thread(work)

    async def remove(self, name: str) -> None:
        """Remove a file, if it is there; one that cannot be removed is left for `find_older`."""

        def work() -> None:
            try:
                self.path(name).unlink(missing_ok=True)
            except OSError:
                return

        await in_thread(work)

    async def find_older(self, seconds: float) -> list[str]:
        """Return the names of files that were stored so long ago, and remove parts of files that are so old."""
        return await in_thread(lambda: self._find_older(time.time() - seconds))

    def _put(self, name: str, read: Callable[[], Bytes], is_stopped: Callable[[], bool]) -> SpooledFile:
        path = self.path(name)
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
