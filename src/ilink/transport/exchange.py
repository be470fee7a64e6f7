"""One request on its way and what has come of its answer: filled by a connection, awaited by one coroutine."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from ilink.transport.answers import late, too_large
from ilink.transport.seam import Request

__all__ = ["Exchange"]

_MUCH: Final = 512 << 10
_LITTLE: Final = 128 << 10
"""Bytes of an answer that wait for their reader: above the one the server is kept waiting, below the other no more."""

_MANY: Final = 256
"""Pieces that wait, likewise: a server may send them one byte each."""


class Exchange:
    """One request under way.

    Args:
        request: The request.
        loop: The loop it runs in.
        max_bytes: The largest body that is gathered as a whole; None for one that is read in pieces.

    Attributes:
        status: Of the answer; 0 until its head has come.
        headers: Of the answer, names in lower case.
        is_headed: Whether the head has come.
        is_whole: Whether everything has come.
        size: How many bytes of the body have come.
        error: Why it failed.
    """

    __slots__ = (
        "_body",
        "_is_held",
        "_is_idle",
        "_loop",
        "_max_bytes",
        "_moved_at",
        "_pieces",
        "_seconds",
        "_source",
        "_timer",
        "_waiter",
        "_waiting",
        "error",
        "headers",
        "is_headed",
        "is_whole",
        "request",
        "size",
        "status",
    )

    def __init__(self, request: Request, loop: asyncio.AbstractEventLoop, *, max_bytes: int | None) -> None:
        self.request = request
        self.status = 0
        self.headers: dict[str, str] = {}
        self.is_headed = False
        self.is_whole = False
        self.size = 0
        self.error: Exception | None = None
        self._loop = loop
        self._max_bytes = max_bytes
        self._body: bytes | bytearray = b""
        self._pieces: deque[bytes] | None = None  # polls are many and held for long, and an empty queue is not small
        self._waiting = 0
        self._is_held = False
        self._source: asyncio.ReadTransport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_idle = False
        self._seconds = 0.0
        self._moved_at = 0.0

    @property
    def is_over(self) -> bool:
        """Whether nothing more is awaited of the other side."""
        return self.is_whole or self.error is not None

    @property
    def is_read_in_pieces(self) -> bool:
        """Whether somebody reads the answer while it comes."""
        return self._max_bytes is None

    def begin(self, source: asyncio.ReadTransport) -> None:
        """Take note of where the answer comes from, which is told to wait when nobody reads."""
        self._source = source

    def take_head(self, status: int) -> None:
        """Take the head of the answer."""
        self.status = status
        self.is_headed = True
        if self._max_bytes is None:
            self._wake()

    def take(self, data: bytes) -> None:
        """Take a piece of the body."""
        self.size += len(data)
        if self._max_bytes is None:
            self._keep(data)
        elif self.size > self._max_bytes:
            self.fail(too_large(self.request, self._max_bytes))
        elif self._body:
            if not isinstance(self._body, bytearray):
                self._body = bytearray(self._body)
            self._body += data
        else:
            self._body = data

    def finish(self) -> None:
        """Take note that everything has come."""
        if self.error is None:
            self.is_whole = True
            self._wake()

    def fail(self, error: Exception) -> None:
        """Give up, unless it is over already."""
        if not self.is_over:
            self.error = error
            self._wake()

    def limit(self, seconds: float, *, left: float | None = None, is_idle: bool = False) -> None:
        """Fail after so many seconds, or what is left of them; an idle limit counts from the last progress."""
        self._seconds = seconds
        self._is_idle = is_idle
        self._moved_at = self._loop.time()
        self._timer = self._loop.call_later(seconds if left is None else max(0.0, left), self._expire)

    def unlimit(self) -> None:
        """Wait as long as it takes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def progress(self) -> None:
        """Note that something moved."""
        self._moved_at = self._loop.time()

    async def wait_whole(self) -> bytes:
        """Return the whole body, as it came."""
        while not self.is_over:
            await self._wait()
        if self.error is not None:
            raise self.error
        return bytes(self._body)

    async def wait_head(self) -> None:
        """Wait for the head of the answer."""
        while not self.is_headed and self.error is None:
            await self._wait()
        if not self.is_headed and self.error is not None:
            raise self.error

    async def next_piece(self, seconds: float) -> bytes:
        """Return the next piece of the body as it came, and nothing at its end; it must come in so many seconds."""
        if not self._pieces and not self.is_over:
            self.limit(seconds)
            try:
                while not self._pieces and not self.is_over:
                    await self._wait()
            finally:
                self.unlimit()
        if not self._pieces:
            if self.error is not None:
                raise self.error
            return b""
        piece = self._pieces.popleft()
        self._waiting -= len(piece)
        if self._is_held and self._waiting <= _LITTLE and len(self._pieces) <= _MANY // 4:
            self.let_go()
        return piece

    def let_go(self) -> None:
        """Let a server that was kept waiting go on."""
        if self._is_held and self._source is not None:
            self._is_held = False
            self._source.resume_reading()

    def _keep(self, data: bytes) -> None:
        if self._pieces is None:
            self._pieces = deque()
        self._pieces.append(data)
        self._waiting += len(data)
        is_enough = self._waiting >= _MUCH or len(self._pieces) >= _MANY
        if is_enough and not self._is_held and self._source is not None:
            self._is_held = True
            self._source.pause_reading()
        self._wake()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _expire(self) -> None:
        left = self._moved_at + self._seconds - self._loop.time() if self._is_idle else 0.0
        if left > 0:
            self._timer = self._loop.call_later(left, self._expire)
        else:
            self._timer = None
            self.fail(late(self.request, self._seconds))
