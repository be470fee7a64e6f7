"""Telling one account that it is to stop: an event that costs next to nothing where there are ten thousand of them."""

from __future__ import annotations

from asyncio import Future, get_running_loop
from collections.abc import Callable

__all__ = ["StopSignal"]


class StopSignal:
    """Set once, for good."""

    __slots__ = ("_callbacks", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._callbacks: tuple[Callable[[], None], ...] = ()

    def is_set(self) -> bool:
        """Whether the account is to stop."""
        return self._is_set

    def set(self) -> None:
        """Let the account stop."""
        if not self._is_set:
            self._is_set = True
            for callback in self._callbacks:
                callback()

    def add_callback(self, callback: Callable[[], None]) -> None:
        """Call something when the account is to stop; not if that is so already."""
        self._callbacks += (callback,)

    def remove_callback(self, callback: Callable[[], None]) -> None:
        """Call it no more."""
        self._callbacks = tuple(one for one in self._callbacks if one != callback)

    async def wait(self) -> bool:
        """Wait until the account is to stop."""
        if not self._is_set:
            stopped: Future[None] = get_running_loop().create_future()

            def wake() -> None:
                if not stopped.done():
                    stopped.set_result(None)

            self.add_callback(wake)
            try:
                await stopped
            finally:
                self.remove_callback(wake)
        return True
