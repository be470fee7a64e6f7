"""Files written in the background of the event loop, which appear under their name only when they are whole."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence, Sized
from contextlib import suppress
from pathlib import Path
from typing import Final, Generic, Self, TypeVar

from ilink.errors import StoreError

__all__ = ["BATCH_BYTES", "Batches", "Bytes", "PartialFile", "ReadAhead", "finished", "in_thread"]

T = TypeVar("T")
B = TypeVar("B", bound=Sized)

Bytes = bytes | bytearray | memoryview

BATCH_BYTES: Final = 1 << 20
"""How much is gathered for one trip to a thread: the trip then costs little, and two batches little memory."""


async def in_thread(work: Callable[[], T], *, stop: Callable[[], None] | None = None) -> T:
    """Run blocking work in a thread and return its result.

    Cancellation: takes effect when the work has ended, because the work still uses the caller's files until then. So
    the work is short, or `stop` makes it end soon.
    """
    running = asyncio.get_running_loop().run_in_executor(None, work)
    return await finished(running, stop=stop)


async def finished(work: Awaitable[T], *, stop: Callable[[], None] | None = None) -> T:
    """Return the result of work that must not be left half done.

    Cancellation: takes effect when the work has ended; `stop` may make that soon.
    """
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if stop is not None:
            stop()
        await _settle(running)
        raise


async def _settle(running: asyncio.Future[T]) -> None:
    """Wait until a thread is done, whatever its outcome and however often the caller is cancelled."""
    cancelled = False
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            cancelled = True
    if not running.cancelled():
        running.exception()
    if cancelled:
        raise asyncio.CancelledError


class PartialFile:
    """A file that is written under a hidden name and gets its own when it is complete. For use in threads.

    Whoever looks under the final name sees the file that was there before, or the whole new one; a process that dies
    leaves a hidden file, which no reader takes for the real one. The bytes reach the disk when the system likes: a
    power cut may lose them, the death of the process does not.
    """

    def __init__(self, path: Path, *, folder: Path | None = None, mode: int = 0o666) -> None:
        """Name the file.

        Args:
            path: The final name.
            folder: Where the hidden file lives, on the same file system; beside the final name by default.
            mode: Its permissions, before the process's mask takes some away.
        """
        self._path = path
        self._hidden = (folder or path.parent) / f".{path.name[:80]}.{secrets.token_hex(8)}.part"
        self._mode = mode
        self._descriptor: int | None = None

    def open(self) -> None:
        """Create the hidden file.

        Raises:
            StoreError: The folder does not exist or takes no files.
        """
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
        try:
            self._descriptor = os.open(self._hidden, flags, self._mode)
        except OSError as error:
            raise _refused("create", self._path, error) from error

    def write(self, *chunks: Bytes) -> None:
        """Append bytes.

        Raises:
            StoreError: The disk is full, or fails.
        """
        assert self._descriptor is not None, "opened before"
        try:
            for chunk in chunks:
                rest = memoryview(chunk)
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise _refused("write", self._path, error) from error

    def empty(self) -> None:
        """Take back everything that was written.

        Raises:
            StoreError: The disk fails.
        """
        assert self._descriptor is not None, "opened before"
        try:
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        except OSError as error:
            raise _refused("empty", self._path, error) from error

    def stamp(self, at: float) -> None:
        """Set when the file counts as changed, in seconds of Unix time."""
        os.utime(self._hidden, (at, at))

    def sync(self) -> None:
        """Let the bytes reach the disk, so that they survive a power cut.

        Raises:
            StoreError: The disk is full, or fails.
        """
        assert self._descriptor is not None, "opened before"
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise _refused("write", self._path, error) from error

    def commit(self) -> None:
        """Give the file its name, in place of whatever had it.

        Raises:
            StoreError: The disk is full, or something that is no file has the name.
        """
        try:
            self._close()
            self._hidden.replace(self._path)
        except OSError as error:
            raise _refused("write", self._path, error) from error

    def discard(self) -> None:
        """Remove the hidden file, if there is one; never raises. Right after `commit` too, where it does nothing."""
        # What could not be written is about to go away.
        with suppress(OSError):
            self._close()
        self._hidden.unlink(missing_ok=True)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class Batches:
    """Hands chunks to a function in a thread, a batch at a time, while the next batch gathers.

        async with Batches(file.write) as batches:
            async for chunk in chunks:
                await batches.put(chunk)
            await batches.drain()

    Holds at most two batches. The function runs for one batch at a time, in order; what it raises comes out of the
    next `put` or `drain`. Leaving waits for a running batch and drops a gathered one.
    """

    def __init__(self, work: Callable[..., None]) -> None:
        self._work = work
        self._gathered: list[Bytes] = []
        self._gathered_bytes = 0
        self._running: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        running, self._running = self._running, None
        if running is not None:
            await _settle(running)

    async def put(self, chunk: Bytes) -> None:
        """Take a chunk, which must not change any more; waits while two batches are full."""
        self._gathered.append(chunk)
        self._gathered_bytes += len(chunk)
        if self._gathered_bytes >= BATCH_BYTES:
            await self._turn()

    async def drain(self) -> None:
        """Wait until everything taken has been worked on."""
        await self._turn()
        await self._finish_running()

    async def _turn(self) -> None:
        await self._finish_running()
        batch, self._gathered, self._gathered_bytes = self._gathered, [], 0
        if batch:
            self._running = asyncio.get_running_loop().run_in_executor(None, self._run, batch)

    def _run(self, batch: Sequence[Bytes]) -> None:
        self._work(*batch)

    async def _finish_running(self) -> None:
        if self._running is not None:
            # Shielded: a cancelled caller leaves the batch to `__aexit__`, which waits for it.
            await asyncio.shield(self._running)
            self._running = None


class ReadAhead(Generic[B]):
    """Calls a function in a thread for one chunk after another, one ahead of whoever takes them.

        async with ReadAhead(read) as chunks:
            async for chunk in chunks:
                ...

    Args:
        read: Returns the next chunk, and an empty one at the end. What it raises comes out of the loop.

    Holds one chunk beside the one that was taken. Leaving waits for a call that still runs, so that what it reads from
    can be closed then.
    """

    def __init__(self, read: Callable[[], B]) -> None:
        self._read = read
        self._running: asyncio.Future[B] | None = None

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        running, self._running = self._running, None
        if running is not None:
            await _settle(running)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> B:
        if self._running is None:
            raise StopAsyncIteration
        chunk = await asyncio.shield(self._running)
        self._running = None
        if not chunk:
            raise StopAsyncIteration
        self._start()
        return chunk

    def _start(self) -> None:
        self._running = asyncio.get_running_loop().run_in_executor(None, self._read)


def _refused(verb: str, path: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot {verb} {path}: {error.strerror or error}; nothing was left under that name")
