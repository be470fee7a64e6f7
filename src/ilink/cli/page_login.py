"""Signing a bot in on a gateway of this machine, whose page shows the code."""

from __future__ import annotations

from rich.console import Console

from ilink.cli.words import say
from ilink.client.client import Client
from ilink.client.login import log_in
from ilink.client.terminal import TerminalPrompt
from ilink.errors import LoginError
from ilink.flows.login import AlreadyBound, LoginCode
from ilink.storage.accounts import Accounts, StoredAccount

__all__ = ["log_in_on_page"]


async def log_in_on_page(api_url: str, accounts: Accounts, tell: Console) -> StoredAccount:
    """Sign in by a code that the page shows, with a new one for as long as nobody scans."""
    async with Client(base_url=api_url, environ={}) as client:
        while True:
            try:
                account = await log_in(client, _PagePrompt(tell))
            except LoginError:
                continue
            assert not isinstance(account, AlreadyBound), "no tokens were sent along, so none can be bound already"
            stored = await accounts.put(account)
            tell.print(
                say("demo.signed_in", account=account.account_id, owner=account.owner_id), style="green", markup=False
            )
            return stored


class _PagePrompt(TerminalPrompt):
    """The page shows every code by itself; only digits are asked for at the terminal."""

    def __init__(self, tell: Console) -> None:
        super().__init__()
        self._tell = tell

    async def show_code(self, code: LoginCode) -> None:
        """Say once where the code is to be found."""
        if code.number == 1:
            self._tell.print(say("demo.scan"), markup=False)

    async def show_status(self, status: str, code: LoginCode) -> None:
        """Say nothing: whoever scans sees it on the page."""
