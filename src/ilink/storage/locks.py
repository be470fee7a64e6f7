"""One process at a time: a lock the operating system frees when its holder dies, however it dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

from ilink.errors import StoreLockedError
from ilink.storage.private import create_private_file, make_private_folder

__all__ = ["AccountLock", "ProcessLock", "this_process"]


class AccountLock(Protocol):
    """What lets one process at a time work for an account, while inside."""

    async def __aenter__(self) -> Self:
        """Take it at once.

        Raises:
            StoreLockedError: Another process works for the account; the error says which.
        """
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back.

        Raises:
            StoreLockedError: It was lost: another process took the account over, and what was inside was cancelled.
        """
        ...


class ProcessLock:
    """Holds a lock file from `acquire` to `release`; the file names the holder for whoever is refused."""

    def __init__(self, path: Path, *, subject: str) -> None:
        self._path = path
        self._subject = subject
        self._file: IO[str] | None = None

    def acquire(self) -> Self:
        """Take the lock at once.

        Raises:
            StoreLockedError: Another process holds it; the error says which.
        """
        make_private_folder(self._path.parent)
        create_private_file(self._path)
        file = self._path.open("r+", encoding="utf-8")
        if not _try_lock(file):
            holder = file.read().strip() or "another process"
            file.close()
            message = f"{self._subject} is in use by {holder}; stop that process first"
            raise StoreLockedError(message, holder=holder)
        file.seek(0)
        file.truncate()
        file.write(this_process())
        file.flush()
        self._file = file
        return self

    def release(self) -> None:
        """Give the lock back; harmless when it is not held. The file stays, since removing it would race."""
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    async def __aenter__(self) -> Self:
        """Take the lock at once: a file is no reason to wait. So it may stand for an `AccountLock`."""
        return self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def this_process() -> str:
    """Return what others are told of this process."""
    return f"pid {os.getpid()} ({_command()})"


def _command() -> str:
    """Return the program's name, and the command of `ilink` itself; any other argument may be a secret."""
    program = Path(sys.argv[0]).name or "python"
    commands = [word for word in sys.argv[1:2] if program == "ilink" and word.isalpha()]
    return " ".join([program, *commands])


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[str]) -> bool:
        file.seek(1 << 20)  # a byte behind the text, so that others can still read who holds it
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            file.seek(0)
            return False
        file.seek(0)
        return True

else:
    import fcntl

    def _try_lock(file: IO[str]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
