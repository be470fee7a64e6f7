"""Waiting that ends when the bot is told to stop."""

from __future__ import annotations

import asyncio
from asyncio import Task
from collections.abc import Coroutine
from typing import TypeVar

__all__ = ["unless_set"]

T = TypeVar("T")


async def unless_set(stopping: Task[bool], work: Coroutine[None, None, T]) -> T | None:
    """Do some work unless the bot is stopped; what was finished at that moment counts."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    return None if task.cancelled() else task.result()
