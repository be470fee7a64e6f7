"""The way from a plain thread into an event loop: calls, blocks and iterations that wait for their end."""

from __future__ import annotations

import asyncio
import threading
from asyncio import AbstractEventLoop, CancelledError
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import Final, Generic, TypeVar, cast

from ilink.errors import ConfigError

__all__ = ["Portal", "open_portal", "slowly"]

T = TypeVar("T")

_NONE_LEFT: Final = object()


class Portal:
    """Lets other threads use what lives in an event loop.

    Args:
        loop: The loop, which runs in a thread of its own.
    """

    __slots__ = ("_is_closed", "_loop")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._is_closed = False

    def close(self) -> None:
        """Let every call from now on raise CancelledError."""
        self._is_closed = True

    def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await something in the loop and return its result; Ctrl-C cancels it.

        Raises:
            ConfigError: This is the loop's own thread, which cannot wait for itself.
            CancelledError: The portal is closed, or what it belongs to was cancelled.
        """
        self._check_thread()
        call = _Call(work)
        coroutine = call.run()
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
        except BaseException:  # Ctrl-C may come at any point of this
            if self._loop.is_closed():
                coroutine.close()
                raise CancelledError from None
            self._loop.call_soon_threadsafe(call.give_up)
            raise

    def do(self, work: Callable[[], T]) -> T:
        """Call a function in the loop and return its result."""

        async def run() -> T:
            return work()

        return self.call(run)

    @contextmanager
    def enter(self, open_block: Callable[[], AbstractAsyncContextManager[T]]) -> Generator[T, None, None]:
        """Be in an asynchronous block; one task enters and leaves it, as blocks that hold tasks demand."""
        visit = self.do(lambda: _Visit(open_block))
        value = self.call(visit.enter)
        try:
            yield value
        except BaseException as error:  # the block decides what becomes of it  # noqa: BLE001
            self.call(partial(visit.leave, error))
        else:
            self.call(partial(visit.leave, None))

    def iterate(self, pieces: AsyncIterable[T]) -> Iterator[T]:
        """Go through what an asynchronous iterable gives."""
        iterator = aiter(pieces)

        async def step() -> T | object:
            return await anext(iterator, _NONE_LEFT)

        while (piece := self.call(step)) is not _NONE_LEFT:
            yield piece  # type: ignore[misc]  # anything but the end is a piece

    def _check_thread(self) -> None:
        if self._is_closed:
            raise CancelledError
        try:
            own = asyncio.get_running_loop()
        except RuntimeError:
            return
        if own is self._loop:
            message = "this runs in the event loop that would have to answer; call it from a plain handler or thread"
            raise ConfigError(message)


class _Call(Generic[T]):
    """One call, which whoever waits for it may give up, before it has begun too."""

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self._task: asyncio.Task[object] | None = None
        self._is_given_up = False

    async def run(self) -> T:
        if self._is_given_up:
            raise CancelledError
        self._task = asyncio.current_task()
        return await self._work()

    def give_up(self) -> None:
        """Cancel what is still running, in the loop."""
        self._is_given_up = True
        if self._task is not None:
            self._task.cancel()


class _Visit(Generic[T]):
    """One visit to an asynchronous block, made in the loop."""

    def __init__(self, open_block: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        loop = asyncio.get_running_loop()
        self._entered: asyncio.Future[T] = loop.create_future()
        self._leaving: asyncio.Future[BaseException | None] = loop.create_future()
        self._task = loop.create_task(self._be(open_block))

    async def _be(self, open_block: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        async with open_block() as value:
            self._entered.set_result(value)
            error = await self._leaving
            if error is not None:
                raise error

    async def enter(self) -> T:
        try:
            both = (self._task, cast("asyncio.Future[None]", self._entered))
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        except CancelledError:
            self._task.cancel()
            raise
        if not self._entered.done():
            await self._task
        return self._entered.result()

    async def leave(self, error: BaseException | None) -> None:
        """Leave as a block is left; what it makes of an error counts."""
        self._leaving.set_result(error)
        await self._task


@contextmanager
def open_portal() -> Generator[Portal, None, None]:
    """Run an event loop in a thread of its own for the time of a block."""
    opened: Future[AbstractEventLoop] = Future()
    ended = threading.Event()

    async def wait() -> None:
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        stop.append(lambda: loop.call_soon_threadsafe(stopping.set))
        opened.set_result(loop)
        await stopping.wait()

    stop: list[Callable[[], object]] = []

    def run() -> None:
        try:
            asyncio.run(wait())
        finally:
            ended.set()

    threading.Thread(target=run, name="ilink", daemon=True).start()
    portal = Portal(opened.result())
    try:
        yield portal
    finally:
        portal.close()
        stop[0]()
        ended.wait()


async def slowly(pieces: Iterable[T]) -> AsyncIterator[T]:
    """Give what an iterable gives, each piece from a thread: it may block."""
    iterator = iter(pieces)
    while (piece := await asyncio.to_thread(next, iterator, _NONE_LEFT)) is not _NONE_LEFT:
        yield piece  # type: ignore[misc]  # anything but the end is a piece
