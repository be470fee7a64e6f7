"""What tests of the outbox share: a bot of alice's on a gateway, and a look at what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot_house import FAST, HastyClock, running

from ilink import Account, AccountId, Bot, Client, Message, Policies, Secret, UserId
from ilink.storage.accounts import StoredAccount
from ilink.storage.accounts_sqlite import SqliteAccounts
from ilink.storage.journal import Counts, OutboxState, Outgoing
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.testing import LocalGateway
from ilink.testing.faults import Fault
from ilink.testing.person import Person
from ilink.wire.ids import ClientId


@dataclass
class House:
    gateway: LocalGateway
    alice: Person
    folder: Path
    clock: HastyClock
    account: AccountId

    def bot(self, policies: Policies = FAST, **options: Any) -> Bot:
        options.setdefault("clock", self.clock)
        return Bot(data=self.folder, allow="anyone", policies=policies, environ={}, **options)

    async def row(self, client_id: str) -> Outgoing:
        """What is stored of a message, as another process sees it."""
        async with SqliteAccounts(self.folder) as accounts, SqliteJournal(accounts.database, self.account) as journal:
            found = await journal.read_sent(ClientId(client_id))
        assert found is not None
        return found

    async def counts(self) -> Counts:
        """How much is stored."""
        async with SqliteAccounts(self.folder) as accounts, SqliteJournal(accounts.database, self.account) as journal:
            return await journal.count()

    async def until_state(self, client_id: str, state: OutboxState) -> Outgoing:
        """Wait until a message is stored in a state: that is moments after its receipt."""

        async def is_so() -> bool:
            return (await self.row(client_id)).state is state

        try:
            await self.until(is_so)
        except TimeoutError:
            assert (await self.row(client_id)).state is state
        return await self.row(client_id)

    async def shown(self) -> list[str]:
        assert self.alice.bot_id is not None
        entries = await self.gateway.rules.transcript(self.alice.bot_id, self.alice.user_id)
        return [_text(entry) for entry in entries if entry.direction == "out" and entry.state == "shown"]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something is true that tells nobody."""
        async with asyncio.timeout(45):
            while not await condition():  # noqa: ASYNC110  # as it says
                await asyncio.sleep(0.01)

    async def until_shown(self, *texts: str) -> None:
        async def is_so() -> bool:
            return await self.shown() == list(texts)

        try:
            await self.until(is_so)
        except TimeoutError:
            assert await self.shown() == list(texts)

    def spooled(self) -> list[Path]:
        folder = self.folder / "spool"
        return sorted(folder.iterdir()) if folder.exists() else []

    def watch_uploads(self) -> Fault:
        """Something whose `hits` are the uploads from now on."""
        return self.gateway.fault("cdn_upload", delay_ms=1)


def _text(entry: Any) -> str:
    return "".join(item.text if isinstance(item.text, str) else f"[{item.type}]" for item in entry.items)


@asynccontextmanager
async def house(folder: Path, **knobs: object) -> AsyncIterator[House]:
    """A gateway, and alice, who is signed in and has said hi; no bot runs."""
    async with LocalGateway(knobs={key.replace("__", "."): value for key, value in knobs.items()}) as gateway:
        alice = await gateway.person("alice")
        stored = await sign_in(gateway, alice, folder)
        await alice.says("hi")
        yield House(gateway, alice, folder, HastyClock(), stored.account.account_id)


async def sign_in(gateway: LocalGateway, person: Person, folder: Path) -> StoredAccount:
    async with Client(base_url=gateway.api_url) as client:
        code = await client.get_qr_code()
        await person.befriend(code.qrcode)
        report = await client.get_login_status(code.qrcode)
    async with SqliteAccounts(folder) as accounts:
        return await accounts.put(
            Account(
                account_id=AccountId(str(report.account_id)),
                token=Secret(str(report.token)),
                base_url=gateway.api_url,
                owner_id=UserId(str(report.owner_id)),
            )
        )


@asynccontextmanager
async def quiet_bot(home: House, policies: Policies = FAST, **options: Any) -> AsyncIterator[Bot]:
    """A bot that runs, has heard alice, and answers nobody."""
    bot = home.bot(policies, **options)
    heard = asyncio.Event()

    @bot.on_any()
    async def listen(message: Message) -> None:
        heard.set()

    async with running(bot, login=None):
        async with asyncio.timeout(45):
            if not options.get("has_heard"):
                await home.until(lambda: _has_heard(bot, home))
        yield bot


async def _has_heard(bot: Bot, home: House) -> bool:
    return (await bot.can_send(home.alice.user_id)).until_ms is not None
