"""Waiting that ends when the bot is told to stop, or something else asks for attention."""

from __future__ import annotations

import asyncio
from asyncio import Task
from collections.abc import Coroutine
from typing import TypeVar

__all__ = ["unless_set"]

T = TypeVar("T")


async def unless_set(waker: Task[bool], work: Coroutine[None, None, T], *wakers: Task[bool]) -> T | None:
    """Do some work unless one of the wakers is done; what was finished at that moment counts, else it is cancelled."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task, waker, *wakers}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    return None if task.cancelled() else task.result()
