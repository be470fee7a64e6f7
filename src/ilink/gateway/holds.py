"""Callers who wait: each is ended once, by whatever comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from functools import partial

from ilink.gateway.clock import Clock

__all__ = ["Ending", "Hold", "Waiting"]


class Ending(Enum):
    """Why a wait ended."""

    NEWS = "news"
    TIME = "time"
    RELEASED = "released"
    REVOKED = "revoked"
    GONE = "gone"
    STOPPING = "stopping"


class Hold:
    """One caller's wait.

    Small on purpose: ten thousand of them wait at a time.

    Args:
        watch: Called when the first wait begins, with what is to be called when the caller leaves; what it returns is
            called when the hold is over.
    """

    __slots__ = ("_ending", "_future", "_unwatch", "_watch")

    def __init__(self, watch: Callable[[Callable[[], None]], Callable[[], object]] | None = None) -> None:
        self._watch = watch
        self._unwatch: Callable[[], object] | None = None
        self._future: asyncio.Future[None] | None = None
        self._ending: Ending | None = None

    @property
    def ending(self) -> Ending | None:
        """Why it ended, or None while it goes on."""
        return self._ending

    def end(self, ending: Ending) -> None:
        """End the wait; the first ending counts, but news give way to any other."""
        if self._ending in (None, Ending.NEWS):
            self._ending = ending
            if self._future is not None and not self._future.done():
                self._future.set_result(None)

    def begin_again(self) -> None:
        """Wait once more after news that turned out to be none."""
        if self._ending is Ending.NEWS:
            self._ending = None
            self._future = None

    def close(self) -> None:
        """Stop looking out for a caller who leaves."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None

    @property
    def why(self) -> Ending:
        """Why it ended; only for one that has."""
        assert self._ending is not None
        return self._ending

    def begin(self) -> asyncio.Future[None]:
        """Return what is done when the wait ends, already done if it has ended."""
        if self._watch is not None:
            watch, self._watch = self._watch, None
            self._unwatch = watch(partial(self.end, Ending.GONE))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._ending is None:
            self._future = future
        else:
            future.set_result(None)
        return future


class Waiting:
    """Everybody who waits on this gateway, so that all of them can be let go at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._holds: set[Hold] = set()
        self._is_stopping = False

    def __len__(self) -> int:
        return len(self._holds)

    @property
    def is_stopping(self) -> bool:
        """Whether nobody may wait any more."""
        return self._is_stopping

    def release(self) -> None:
        """Let everybody go who waits now."""
        for hold in tuple(self._holds):
            hold.end(Ending.STOPPING)

    def stop(self) -> None:
        """Let everybody go, and nobody wait from now on."""
        self._is_stopping = True
        self.release()

    async def wait(self, hold: Hold, seconds: float) -> Ending:
        """Wait until somebody ends the hold or a pause of the gateway's clock is over."""
        alarm = self._clock.after(seconds, partial(hold.end, Ending.TIME))
        self._add(hold)
        try:
            await hold.begin()
        finally:
            alarm.cancel()
            self._holds.discard(hold)
        return hold.why

    async def wait_ended(self, hold: Hold) -> Ending:
        """Wait until somebody ends the hold, however long that takes."""
        self._add(hold)
        try:
            await hold.begin()
        finally:
            self._holds.discard(hold)
        return hold.why

    async def wait_real(self, hold: Hold, seconds: float) -> Ending:
        """Wait until somebody ends the hold or so many real seconds are over."""
        timer = asyncio.get_running_loop().call_later(seconds, hold.end, Ending.TIME)
        self._add(hold)
        try:
            await hold.begin()
        finally:
            timer.cancel()
            self._holds.discard(hold)
        return hold.why

    def _add(self, hold: Hold) -> None:
        if self._is_stopping:
            hold.end(Ending.STOPPING)
        self._holds.add(hold)

    async def delay(self, seconds: float) -> None:
        """Hold an answer back, at most until the gateway stops."""
        if seconds > 0:
            await self.wait(Hold(), seconds)
