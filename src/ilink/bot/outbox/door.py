"""The way to the postboxes of a bot's accounts from any task, thread or process."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from ilink.bot.outbox.postbox import Postbox
from ilink.errors import ConfigError
from ilink.wire.ids import AccountId, UserId

__all__ = ["Address", "Door", "choose"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Whose postbox is meant.

    Attributes:
        account: That of this account; None for that which is meant by everything else.
        user: That of the account which knows this user; None for all.
    """

    account: AccountId | None = None
    user: UserId | None = None

    @property
    def is_every(self) -> bool:
        """Whether the postboxes of all accounts are meant."""
        return self.account is None and self.user is None


async def choose(postboxes: Sequence[Postbox], address: Address) -> Sequence[Postbox]:
    """Return those of some postboxes that an address means: all of them for `is_every`, else one.

    Raises:
        ConfigError: There is none, or it takes somebody to say which of several.
        StoreError: It cannot be read who is known.
    """
    if address.account is not None:
        named = [postbox for postbox in postboxes if postbox.account == address.account]
        if not named:
            known = ", ".join(postbox.account for postbox in postboxes)
            message = f"the bot does not work for the account {address.account}; it works for {known or 'none'}"
            raise ConfigError(message)
        return named
    if len(postboxes) == 1 or address.user is None:
        return postboxes
    knowing = [postbox for postbox in postboxes if await postbox.knows(address.user)]
    if len(knowing) == 1:
        return knowing
    names = ", ".join(postbox.account for postbox in knowing or postboxes)
    fact = f"{len(knowing)} accounts know" if knowing else f"none of {len(postboxes)} accounts knows"
    message = f"{fact} {address.user}: say which is meant with account=, one of {names}"
    raise ConfigError(message)


class Door:
    """Does things at postboxes of the bot that runs in this process, in its loop; else at some opened for that.

    Args:
        open_postboxes: Opens what an address means beside whatever process runs the bot.
    """

    def __init__(self, open_postboxes: Callable[[Address], AbstractAsyncContextManager[Sequence[Postbox]]]) -> None:
        self._open_postboxes = open_postboxes
        self._running: tuple[AbstractEventLoop, Callable[[Address], Sequence[Postbox]]] | None = None

    @contextmanager
    def opened(self, find_postboxes: Callable[[Address], Sequence[Postbox]]) -> Generator[None, None, None]:
        """Lead to the postboxes of a bot that runs in this loop, until the block ends.

        Args:
            find_postboxes: Returns those that an address means; none when that has to be looked up, or they are not
                open here.
        """
        self._running = asyncio.get_running_loop(), find_postboxes
        try:
            yield
        finally:
            self._running = None

    async def __call__(self, work: Callable[[Postbox], Awaitable[T]], address: Address, /) -> T:
        """Do something at the one postbox that an address means, from any event loop; see `at_each`."""
        return (await self.at_each(work, address))[0]

    async def at_each(self, work: Callable[[Postbox], Awaitable[T]], address: Address, /) -> list[T]:
        """Do something at every postbox that an address means, one after the other, from any event loop.

        Raises:
            ConfigError: There is no account on this machine to work for, or it takes somebody to say which.
            StoreError: Its journal cannot be opened.

        Cancellation: as for what is done.
        """
        running = self._running
        if running is not None and running[0] is not asyncio.get_running_loop():
            future = asyncio.run_coroutine_threadsafe(self.at_each(work, address), running[0])
            return await asyncio.wrap_future(future)
        found = None if running is None else running[1](address)
        if found:
            return [await work(postbox) for postbox in found]
        async with self._open_postboxes(address) as opened:
            return [await work(postbox) for postbox in opened]

    def from_thread(self, work: Callable[[Postbox], Awaitable[T]], address: Address, /) -> T:
        """Do something at the postbox, and block this thread until it is done; for threads without an event loop.

        Raises:
            ConfigError: This thread runs an event loop, which must not be blocked; or see `__call__`.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            running = self._running
            if running is None:
                return asyncio.run(self(work, address))
            return asyncio.run_coroutine_threadsafe(self(work, address), running[0]).result()
        message = "this would block the event loop of this thread; await the coroutine instead, such as `bot.send`"
        raise ConfigError(message)
