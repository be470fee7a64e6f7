"""Plain functions of the application, run beside the event loop: each in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from asyncio import CancelledError, Future
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from functools import wraps
from typing import Final, TypeVar, cast

from ilink.bot.routing.signatures import Signature, is_coroutine_function
from ilink.sync.portal import Portal
from ilink.sync.twins import Twin, twin_of

__all__ = ["Threads"]

R = TypeVar("R")

_log = logging.getLogger(__name__)

_GRACE: Final = 5.0
"""Seconds a cancelled function has to come to its end: nothing can stop it from outside."""


class Threads:
    """Turns plain functions into coroutine functions, and bounds how many of them run at a time."""

    def __init__(self) -> None:
        self._places: asyncio.Semaphore | None = None
        self._around: Threads | None = None

    def join(self, around: Threads) -> None:
        """Share the places of others."""
        self._around = around

    def open(self, most: int) -> None:
        """Begin with so many places, all free, in the event loop that is used from now on."""
        self._places = asyncio.Semaphore(most)

    def place(self) -> asyncio.Semaphore:
        """Return what a function waits for before it runs."""
        found = self._places if self._around is None else self._around.place()
        assert found is not None, "opened before anything is called"
        return found

    def asynchronous(
        self, function: Callable[..., R], *, what: str, is_middleware: bool = False
    ) -> Callable[..., Coroutine[object, None, R]]:
        """Return a function that runs another one in a thread, with the twins of its arguments.

        A function whose run is cancelled goes on until it asks something of a twin, which then raises CancelledError.

        Args:
            function: A plain function.
            what: What it is to be, for errors.
            is_middleware: Whether its second argument is to be awaited.

        Raises:
            ConfigError: It is a coroutine function.
        """
        if is_coroutine_function(function):
            raise Signature(function, what=what).refuse("is an `async def` function; use a plain one, or `ilink.Bot`")

        @wraps(function)
        async def run(*args: object, **kwargs: object) -> R:
            portal = Portal(asyncio.get_running_loop())
            given = [_given(portal, argument) for argument in args]
            if is_middleware:
                given[1] = _calling(portal, cast("Callable[[], Awaitable[None]]", args[1]))
            named = {name: _given(portal, value) for name, value in kwargs.items()}
            async with self.place():
                return await _in_thread(lambda: function(*given, **named), portal)

        return run


def _given(portal: Portal, value: object) -> object:
    if isinstance(value, Twin):
        value.move(portal)
        return cast("object", value)
    return twin_of(value, portal)


def _calling(portal: Portal, call_next: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    return lambda: portal.call(call_next)


async def _in_thread(work: Callable[[], R], portal: Portal) -> R:
    """Run a function in a thread of its own; when it is cancelled, wait a while for it to notice."""
    loop = asyncio.get_running_loop()
    done: Future[R] = loop.create_future()
    context = copy_context()

    def settle(result: R | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(cast("R", result))
        elif isinstance(error, CancelledError):
            done.cancel()
        elif isinstance(error, StopIteration):  # a future takes every error but this one
            done.set_exception(RuntimeError(repr(error)))
        else:
            done.set_exception(error)

    def run() -> None:
        result, failure = None, None
        try:
            result = context.run(work)
        except BaseException as error:  # it is raised where the function is awaited  # noqa: BLE001
            failure = error
        with suppress(RuntimeError):  # the loop did not wait for the end of this
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="ilink handler", daemon=True).start()
    try:
        return await asyncio.shield(done)
    except CancelledError:
        portal.close()
        if not done.done():
            await asyncio.wait([done], timeout=_GRACE)
        if not done.done():
            _log.warning("a plain function goes on although its time is over; nothing can stop it")
        elif not done.cancelled():
            done.exception()
        raise
