from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec import UNSET

from ilink import Account, AccountId, Client, Secret, SessionState, UserId
from ilink.storage.accounts_sqlite import SqliteAccounts
from ilink.sync import Bot
from ilink.testing.gateway import LocalGateway
from ilink.testing.person import Person


@dataclass
class Around:
    """A gateway, a person, and the account that person bound, stored for a bot that does not live in this loop."""

    gateway: LocalGateway
    alice: Person
    account: Account
    folder: Path

    async def sends_picture(self, data: bytes) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield data

        await self.gateway.rules.post_media(self.alice.user_id, self.account.account_id, "image", pieces())

    async def pictures_shown(self, count: int) -> list[bytes]:
        """Wait for so many pictures on the phone, and return them."""
        room = self.gateway.rules.media
        while True:
            entries = await self.gateway.rules.transcript(self.account.account_id, self.alice.user_id)
            shown = [
                item.media.media_id
                for entry in entries
                if entry.direction == "out"
                for item in entry.items
                if item.media is not UNSET
            ]
            if len(shown) >= count:
                break
            await asyncio.sleep(0.01)
        return [b"".join([bytes(piece) async for piece in room.plain(await room.record(name))]) for name in shown]

    @asynccontextmanager
    async def running(self, bot: Bot) -> AsyncIterator[None]:
        """Serve a bot in another thread, as a plain program would."""
        active = asyncio.Event()
        loop = asyncio.get_running_loop()

        @bot.on_state
        def note(state: SessionState) -> None:
            if state is SessionState.ACTIVE:
                loop.call_soon_threadsafe(active.set)

        serving = asyncio.ensure_future(asyncio.to_thread(bot.serve))
        waiting = asyncio.ensure_future(active.wait())
        try:
            await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            yield
        finally:
            waiting.cancel()
            await asyncio.to_thread(bot.stop)
            await serving


@pytest.fixture
async def around(tmp_path: Path) -> AsyncIterator[Around]:
    async with LocalGateway() as gateway:
        alice = await gateway.person("alice")
        async with Client(base_url=gateway.api_url) as client:
            code = await client.get_qr_code()
            await alice.befriend(code.qrcode)
            report = await client.get_login_status(code.qrcode)
        account = Account(
            account_id=AccountId(report.account_id or ""),
            token=Secret(report.token or ""),
            base_url=gateway.api_url,
            owner_id=UserId(report.owner_id or ""),
        )
        async with SqliteAccounts(tmp_path) as accounts:
            await accounts.put(account)
        yield Around(gateway, alice, account, tmp_path)


@pytest.fixture
def make_bot(around: Around) -> Callable[..., Bot]:
    return lambda **settings: Bot(data=around.folder, base_url=around.gateway.api_url, **settings)
