"""Time as it is passed in, so that tests can hold it."""

from __future__ import annotations

import asyncio
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Where the client takes its seconds from."""

    def monotonic(self) -> float:
        """Return seconds since some fixed moment; they never run backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The clock of the running event loop."""

    def monotonic(self) -> float:
        """Return the loop's own time in seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Wait in the loop."""
        await asyncio.sleep(seconds)
