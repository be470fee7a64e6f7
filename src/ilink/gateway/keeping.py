"""How long the gateway keeps what it stored: messages and tokens by `history.keep_s`, on its own clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

from ilink.errors import StoreError
from ilink.gateway.state import GatewayState
from ilink.storage.gateway import DAY_MS

__all__ = ["Keeping"]

_log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 60.0
"""How often it is looked whether a day is over; nothing is asked of the store before that."""


class Keeping:
    """Forgets what is old, once a day of the gateway's clock.

    Each process of a gateway does so; what another one did already is nothing to do any more.

    Args:
        state: What the rules share.
    """

    def __init__(self, state: GatewayState) -> None:
        self._state = state
        self._done: tuple[int, int] | None = None

    async def keep(self) -> None:
        """Forget what is old by now; without `history.keep_s` nothing ever is.

        A store that takes nothing is told to the log, and asked again later.
        """
        kept = self._state.knobs.number("history.keep_s")
        if kept is None:
            return
        now_ms = self._state.clock.now_ms()
        # Whole days, so that a store may keep each day by itself and drop it whole.
        before_ms = (now_ms - int(kept * 1000)) // DAY_MS * DAY_MS
        if self._done == (now_ms // DAY_MS, before_ms):
            return
        try:
            await self._state.store.forget(now_ms=now_ms, before_ms=before_ms)
        except StoreError as error:
            _log.warning("what is old will be forgotten later: %s", error)
        else:
            self._done = now_ms // DAY_MS, before_ms

    def forget(self) -> None:
        """Look anew, because there is another state or time."""
        self._done = None

    @asynccontextmanager
    async def at_work(self) -> AsyncGenerator[None]:
        """Forget what is old whenever a day is over, while inside."""
        worker = asyncio.create_task(self._work())
        try:
            yield
        finally:
            worker.cancel()
            with suppress(asyncio.CancelledError):
                await worker

    async def _work(self) -> None:
        while True:
            await self.keep()
            await asyncio.sleep(_LOOK_SECONDS)
