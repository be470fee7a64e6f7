"""`ilink.Bot` as its README has it: the journal on disk, each commit synchronised; its handler may wait for long."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from ilink import Bot, Message
from ilink.client.client import Client
from ilink.client.login import log_in
from ilink.wire.accounts import Account

if TYPE_CHECKING:
    from ilink.flows.login import LoginCode
    from ilink.storage.accounts import Accounts, StoredAccount

_WAIT = float(os.environ.get("HANDLER_SECONDS", "0"))

bot = Bot(allow="anyone", data=os.environ["STATE_DIR"])


@bot.on_text()
async def echo(message: Message) -> None:
    if _WAIT:
        await asyncio.sleep(_WAIT)
    await message.reply(f"echo: {message.text}")


class Prompt:
    """Says that there is a code; the bench scans it."""

    async def show_code(self, code: LoginCode) -> None:
        print("QRCODE", code.link, flush=True)

    async def show_status(self, status: str, code: LoginCode) -> None:
        """Nobody watches."""

    async def ask_verify_code(self, *, was_wrong: bool) -> str:
        raise NotImplementedError


async def sign_in(accounts: Accounts) -> StoredAccount:
    async with Client() as client:
        account = await log_in(client, Prompt())
    assert isinstance(account, Account)
    stored = await accounts.put(account)
    print("LOGGED_IN", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    return stored


bot.run(login=sign_in)
