"""Bots under test: they run as they are, in the test's own loop, on the test's own gateway and time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ilink.errors import LoginError
from ilink.testing.virtual import BotClock
from ilink.wire.ids import AccountId

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ilink.bot import Bot
    from ilink.flows.login import LoginCode
    from ilink.gateway.service import Gateway
    from ilink.storage.accounts import Accounts, StoredAccount

__all__ = ["BotUnderTest"]

_STOP: Final = 15.0
"""Seconds a bot may take to stop; its own deadline comes first."""


class BotUnderTest:
    """A bot that runs on a local gateway, with a folder that lasts as long as the gateway: it may be started again.

    Attributes:
        bot: The bot itself.
        account_id: Who it is on the gateway; None before somebody confirmed its code.
    """

    def __init__(self, bot: Bot, gateway: Gateway, *, api_url: str, folder: Path) -> None:
        self.bot = bot
        self.account_id: AccountId | None = None
        self._gateway = gateway
        self._api_url = api_url
        self._folder = folder
        self._code: asyncio.Future[str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._error: BaseException | None = None

    @property
    def is_running(self) -> bool:
        """Whether it is at work, or waits to be scanned."""
        return self._task is not None and not self._task.done()

    @property
    def ended(self) -> asyncio.Task[None] | None:
        """What is done when it has ended; None when it was not started or was stopped."""
        return self._task

    def start(self) -> None:
        """Start it, or start it again after `stop`; harmless while it runs."""
        if not self.is_running:
            loop = asyncio.get_running_loop()
            self._code = loop.create_future()
            self._task = loop.create_task(self._serve(), name="the bot under test")

    async def stop(self) -> None:
        """Stop it in order, as Ctrl-C does: handlers finish and what they said is sent.

        Raises:
            Exception: What the bot ended with, if it ended by itself and nobody was told yet.
        """
        task, self._task = self._task, None
        if task is None:
            return
        self.bot.stop()
        self._gateway.state.waiting.release()  # nobody has to wait for a held poll to end
        await asyncio.wait({task}, timeout=_STOP)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(task, return_exceptions=True)
        self.check()

    async def qrcode(self, *, timeout: float) -> str:
        """Return the login code that it shows, as soon as it shows one.

        Raises:
            AssertionError: It asked for none in time.
            Exception: What it ended with.
        """
        code, task = self._code, self._task
        assert code is not None, "start the bot first"
        assert task is not None, "start the bot first"
        waited: set[asyncio.Future[str] | asyncio.Task[None]] = {code, task}
        await asyncio.wait(waited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        self.check()
        assert code.done(), f"the bot asked for no login code within {timeout:g} s"
        return code.result()

    def check(self) -> None:
        """Raise what the bot ended with, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    async def _serve(self) -> None:
        """Run the bot; what it raises is kept for the test, where somebody looks."""
        try:
            clock = BotClock(self._gateway)
            with self.bot.relocated(base_url=self._api_url, data=self._folder, clock=clock):
                await self.bot.serve(login=self._sign_in)
        except Exception as error:  # noqa: BLE001  # raised in the test by `check`
            self._error = error

    async def _sign_in(self, accounts: Accounts) -> StoredAccount:
        # Loaded here, because the pytest plugin is loaded in every test run of a user, and most run no bot.
        from ilink.client.client import Client
        from ilink.client.login import log_in
        from ilink.flows.login import AlreadyBound

        async with Client(base_url=self._api_url, environ={}) as client:
            account = await log_in(client, _Prompt(self._gateway, self._note_code), clock=BotClock(self._gateway))
        if isinstance(account, AlreadyBound):
            message = "the gateway says that this bot is bound already"
            raise LoginError(message)
        self.account_id = account.account_id
        return await accounts.put(account)

    def _note_code(self, qrcode: str) -> None:
        loop = asyncio.get_running_loop()
        if self._code is None or self._code.done():
            self._code = loop.create_future()
        self._code.set_result(qrcode)


class _Prompt:
    """Hands codes to the test, and reads digits off the phone as a person would."""

    def __init__(self, gateway: Gateway, note: Callable[[str], None]) -> None:
        self._gateway = gateway
        self._note = note
        self._qrcode = ""

    async def show_code(self, code: LoginCode) -> None:
        self._qrcode = code.qrcode
        self._note(code.qrcode)

    async def show_status(self, status: str, code: LoginCode) -> None:
        """Show nothing: the test knows what it did."""

    async def ask_verify_code(self, *, was_wrong: bool) -> str:  # noqa: ARG002  # a phone's digits are right
        return (await self._gateway.code(self._qrcode)).verify_code or ""
