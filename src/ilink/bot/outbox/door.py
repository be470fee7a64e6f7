"""The way to a bot's postbox from any task, thread or process."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

from ilink.bot.outbox.postbox import Postbox
from ilink.errors import ConfigError

__all__ = ["Door"]

T = TypeVar("T")


class Door:
    """Does things at the postbox of the bot that runs in this process, in its loop; else at one opened for that.

    Args:
        open_postbox: Opens a postbox beside whatever process runs the bot.
    """

    def __init__(self, open_postbox: Callable[[], AbstractAsyncContextManager[Postbox]]) -> None:
        self._open_postbox = open_postbox
        self._running: tuple[AbstractEventLoop, Callable[[], Postbox | None]] | None = None

    @contextmanager
    def opened(self, find_postbox: Callable[[], Postbox | None]) -> Generator[None, None, None]:
        """Lead to the postbox of a bot that runs in this loop, until the block ends.

        Args:
            find_postbox: Returns it; None before the bot has begun.
        """
        self._running = asyncio.get_running_loop(), find_postbox
        try:
            yield
        finally:
            self._running = None

    async def __call__(self, work: Callable[[Postbox], Awaitable[T]], /) -> T:
        """Do something at the postbox, from any event loop.

        Raises:
            ConfigError: There is no account on this machine to work for.
            StoreError: Its journal cannot be opened.

        Cancellation: as for what is done.
        """
        running = self._running
        if running is not None and running[0] is not asyncio.get_running_loop():
            future = asyncio.run_coroutine_threadsafe(self(work), running[0])
            return await asyncio.wrap_future(future)
        postbox = None if running is None else running[1]()
        if postbox is not None:
            return await work(postbox)
        async with self._open_postbox() as opened:
            return await work(opened)

    def from_thread(self, work: Callable[[Postbox], Awaitable[T]], /) -> T:
        """Do something at the postbox, and block this thread until it is done; for threads without an event loop.

        Raises:
            ConfigError: This thread runs an event loop, which must not be blocked; or see `__call__`.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            running = self._running
            if running is None:
                return asyncio.run(self(work))
            return asyncio.run_coroutine_threadsafe(self(work), running[0]).result()
        message = "this would block the event loop of this thread; await the coroutine instead, such as `bot.send`"
        raise ConfigError(message)
