"""A house for a bot of several accounts: a server in memory for each, and logins of owners of their own."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from bot_house import FAST, Connection, HastyClock, Server

from ilink import Account, AccountId, Bot, Secret, SessionState, UserId
from ilink.bot.store import Store, find_place, open_store
from ilink.storage.accounts import StoredAccount

KEY = base64.urlsafe_b64encode(b"a key of 32 bytes for the tests!").decode()


def account_of(name: str, *, owner: str | None = None) -> Account:
    return Account(
        account_id=AccountId(f"{name}@im.bot"),
        token=Secret(f"token of {name}"),
        base_url="http://x",
        owner_id=UserId(owner or f"owner-{name}@im.wechat"),
    )


class Street:
    """The servers of several accounts, by their names."""

    def __init__(self, folder: Path, *, url: str | None = None, is_sealed: bool = False) -> None:
        self.folder = folder
        self.data: Path | str = url or folder
        self.environ = {"ILINK_STORE_KEY": KEY, "ILINK_DATA": str(folder)} if is_sealed or url else {}
        self.clock = HastyClock()
        self.servers: dict[str, Server] = {}
        self.opened: list[str] = []

    def server(self, name: str) -> Server:
        return self.servers.setdefault(f"{name}@im.bot", Server())

    def open(self, stored: StoredAccount) -> AbstractAsyncContextManager[Connection]:
        account_id = stored.account.account_id
        self.opened.append(account_id)
        return Connection(self.servers.setdefault(account_id, Server()))

    def bot(self, **options: Any) -> Bot:
        options = {"accounts": "all", "policies": FAST, "allow": "anyone", **options}
        options["environ"] = {**self.environ, **options.get("environ", {})}
        return Bot(data=self.data, open_client=self.open, clock=self.clock, **options)

    async def sign_in(self, name: str, *, owner: str | None = None) -> Account:
        """What `ilink login` does, in another process."""
        account = account_of(name, owner=owner)
        async with self.store() as store:
            await store.accounts.put(account)
        return account

    async def sign_out(self, name: str) -> None:
        async with self.store() as store:
            assert await store.accounts.remove(AccountId(f"{name}@im.bot"))

    def store(self) -> AbstractAsyncContextManager[Store]:
        """What lasts, opened beside the bot."""
        return open_store(find_place(self.data, environ=self.environ))

    @asynccontextmanager
    async def running(self, bot: Bot, *names: str) -> AsyncIterator[Bot]:
        """Run a bot for as long as the block lasts, beginning when these accounts work."""
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(bot.serve())
            try:
                await self.until(lambda: task.done() or all(works(bot, name) for name in names))
                yield bot
            finally:
                bot.stop()
                await asyncio.wait([task])

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true that tells nobody."""
        async with asyncio.timeout(45):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.002)


def works(bot: Bot, name: str) -> bool:
    return bot.states.get(AccountId(f"{name}@im.bot")) is SessionState.ACTIVE


def echo(bot: Bot) -> None:
    @bot.on_text()
    async def say_it_again(message: Any) -> None:
        await message.reply(f"{message.account}: {message.text}")
