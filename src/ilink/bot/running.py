"""Running a bot as a program: signals, the event loop, and somebody at the terminal who signs in."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio import Event, Task
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import TYPE_CHECKING

from ilink.bot.blueprint import Blueprint
from ilink.errors import LoginError
from ilink.storage.accounts import Accounts, StoredAccount

if TYPE_CHECKING:
    from ilink.bot.bot import Bot

__all__ = ["Login", "is_loading", "loading_bots", "loop_factory", "sign_in", "sign_in_at_terminal", "until_signalled"]

Login = Callable[[Accounts], Awaitable[StoredAccount]]
"""Signs in and returns the stored account; called only when there is none to work with."""

_started_while_loading: ContextVar[list[Bot] | None] = ContextVar("_started_while_loading", default=None)


@contextmanager
def loading_bots() -> Generator[list[Bot], None, None]:
    """Let `Bot.run` only note its bot in the list, for a program that loads somebody's file and runs its bot itself."""
    started: list[Bot] = []
    token = _started_while_loading.set(started)
    try:
        yield started
    finally:
        _started_while_loading.reset(token)


def is_loading(bot: Bot) -> bool:
    """Note a bot that is about to run, and tell whether somebody else runs it, when its whole file is loaded."""
    started = _started_while_loading.get()
    if started is not None:
        started.append(bot)
    return started is not None


async def until_signalled(serving: Task[None], stop: Event) -> None:
    """Wait for a bot that works; Ctrl-C and SIGTERM stop it in order, a second of them at once."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        if stop.is_set():
            serving.cancel()
        stop.set()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(end)

    # asyncio's own handler would cancel everything on the first Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        await serving
    except asyncio.CancelledError:
        if not stop.is_set():
            raise


async def sign_in(accounts: Accounts, login: Login, stop: Event) -> StoredAccount | None:
    """Sign in; None when the bot is told to stop before anybody has confirmed."""
    signing = asyncio.ensure_future(login(accounts))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({signing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return await signing if signing.done() else None
    finally:
        signing.cancel()
        stopping.cancel()
        await asyncio.gather(signing, stopping, return_exceptions=True)


async def sign_in_at_terminal(accounts: Accounts, blueprint: Blueprint) -> StoredAccount:
    """Draw a QR code at the terminal and wait until somebody has scanned it.

    Raises:
        ConfigError: A certain account is wanted, or there is no terminal.
        LoginError: The server says that there is nothing to sign in.
    """
    if blueprint.wanted.ids is not None or not sys.stderr.isatty():
        raise blueprint.no_account()
    # Loaded late: only the first run of a bot draws a QR code.
    from ilink.client.terminal import sign_in_at_terminal as draw_and_wait

    signed_in = await draw_and_wait(accounts, base_url=blueprint.base_url)
    if not isinstance(signed_in, StoredAccount):
        message = "the server says that this bot is bound here already; run `ilink login` to bind it anew"
        raise LoginError(message)
    return signed_in


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the faster loop where the platform has it."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
