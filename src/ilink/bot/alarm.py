"""Waiting for the next thing that is due, whatever it is."""

from __future__ import annotations

import asyncio
import logging
from asyncio import Event
from collections.abc import Awaitable, Callable
from typing import Final

from ilink.bot.clock import Clock
from ilink.errors import StoreError

__all__ = ["Alarm"]

_log = logging.getLogger(__name__)

_LOOK_AGAIN: Final = 30.0
"""Seconds after which everything is looked at again: somebody may have set the clock, or written to the store."""

_PAUSE: Final = 1.0
"""Seconds between two looks at the least, when the store fails."""


class Alarm:
    """Calls a function whenever something may be due.

    Args:
        look: Does what is due and returns when the next is, in milliseconds since 1970; None for never.
        clock: Source of time.
    """

    def __init__(self, look: Callable[[], Awaitable[int | None]], *, clock: Clock) -> None:
        self._look = look
        self._clock = clock
        self._next_ms: int | None = None
        self._is_earlier = Event()

    def note(self, due_ms: int) -> None:
        """Take note of something that is due at a moment."""
        if self._next_ms is None or due_ms < self._next_ms:
            self._next_ms = due_ms
            self._is_earlier.set()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self._is_earlier.clear()
            self._next_ms = None
            try:
                found_ms = await self._look()
            except StoreError as error:
                _log.warning("cannot read what is due, trying again: %s", error)
                await self._clock.sleep(_PAUSE)
                continue
            if found_ms is not None and (self._next_ms is None or found_ms < self._next_ms):
                self._next_ms = found_ms  # what was noted meanwhile counts as well
            await self._wait()

    async def _wait(self) -> None:
        """Wait until the next moment, or one that is earlier."""
        seconds = _LOOK_AGAIN
        if self._next_ms is not None:
            seconds = min(seconds, max(0.0, (self._next_ms - self._clock.now_ms()) / 1000))
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        noticing = asyncio.ensure_future(self._is_earlier.wait())
        try:
            await asyncio.wait({sleeping, noticing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            noticing.cancel()
