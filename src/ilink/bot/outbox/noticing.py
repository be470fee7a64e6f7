"""Noticing what other processes put into an account's journal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ilink.bot.clock import Clock
from ilink.errors import StoreError
from ilink.storage.journal import Journal

__all__ = ["notice_others"]


async def notice_others(
    journal: Journal, looks: Sequence[Callable[[], Awaitable[None]]], *, clock: Clock, pause: float
) -> None:
    """Look at what other processes stored, as soon as they did; runs until cancelled.

    Args:
        journal: Where they put it.
        looks: What looks.
        clock: Source of time.
        pause: Seconds before a journal that cannot be read is looked at again.
    """
    changes = 0
    while True:
        try:
            changes = await journal.wait_changed(changes)
            for look in looks:
                await look()
        except StoreError:  # whoever writes is told what is wrong
            changes = -1
            await clock.sleep(pause)
