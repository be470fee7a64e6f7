"""Nothing goes to the server for an account unless the lease allows it at that moment: polls least of all."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ilink.bot.runner import BotClient
from ilink.client.answers import Batch, TypingConfig
from ilink.fleet.lease import Lease
from ilink.flows.polling import FAST
from ilink.messages.media import MediaMover
from ilink.messages.outgoing import OutgoingMessage, SendReceipt
from ilink.wire.ids import Cursor, Secret, UserId

__all__ = ["Permits", "PermittedClient", "WatchesPolls"]


class Permits:
    """The permits of one account.

    Args:
        lease: The lease.
        slot: The slot of the account.
    """

    __slots__ = ("_lease", "_slot")

    def __init__(self, lease: Lease, slot: int) -> None:
        self._lease = lease
        self._slot = slot

    def is_wanted(self) -> bool:
        """Return whether the account is to be worked for, by this process."""
        return self._lease.wants(self._slot)

    async def may_poll(self) -> bool:
        """Wait until a poll may begin; False, after a while, when none will any more."""
        while not self._lease.may_poll(self._slot):
            if not self.is_wanted():
                # Whoever polls is about to be told to stop. At once it would look as if somebody else polled too.
                await asyncio.sleep(FAST)
                return False
            await self._lease.wait_changed()
        return True

    async def wait_to_act(self) -> None:
        """Wait until something may be sent; when the slot is lost that is never, and whoever waits is cancelled."""
        while not self._lease.may_act(self._slot):
            await self._lease.wait_changed()


class WatchesPolls(Protocol):
    """Wants to know how it stands with the polls of one account."""

    def begin_poll(self) -> None:
        """A poll begins."""
        ...

    def note_answer(self) -> None:
        """It was answered."""
        ...

    def end_poll(self) -> None:
        """What it brought is stored, or it brought nothing."""
        ...


class PermittedClient:
    """A client that asks before each call; see `BotClient`.

    Args:
        client: The way to the server.
        permits: The permits of the account.
        watch: Is told of every poll.
    """

    __slots__ = ("_client", "_permits", "_watch")

    def __init__(self, client: BotClient, permits: Permits, watch: WatchesPolls) -> None:
        self._client = client
        self._permits = permits
        self._watch = watch

    @property
    def media(self) -> MediaMover:
        """What moves files. Uploading again is harmless, so that it is not asked for."""
        return self._client.media

    async def get_updates(self, cursor: Cursor, *, hint_ms: int | None = None) -> Batch:
        """Poll as soon as that is allowed; when it will not be any more, return as from a poll that was cut."""
        self._watch.end_poll()  # whoever polls again has stored what came before
        if not await self._permits.may_poll():
            return Batch(updates=(), cursor=cursor, hint_ms=hint_ms, is_cut=True)
        self._watch.begin_poll()
        try:
            batch = await self._client.get_updates(cursor, hint_ms=hint_ms)
        except BaseException:
            self._watch.end_poll()
            raise
        self._watch.note_answer()
        return batch

    async def notify_start(self) -> None:
        """See `Client.notify_start`."""
        await self._permits.wait_to_act()
        await self._client.notify_start()

    async def notify_stop(self) -> None:
        """Say nothing: another process polls on, and the server might end its session."""

    async def send_message(self, message: OutgoingMessage) -> SendReceipt:
        """See `Client.send_message`."""
        await self._permits.wait_to_act()
        return await self._client.send_message(message)

    async def get_config(self, user_id: UserId, *, context_token: Secret | None = None) -> TypingConfig:
        """See `Client.get_config`."""
        await self._permits.wait_to_act()
        return await self._client.get_config(user_id, context_token=context_token)

    async def send_typing(self, user_id: UserId, typing_ticket: Secret, *, is_typing: bool = True) -> None:
        """See `Client.send_typing`."""
        await self._permits.wait_to_act()
        await self._client.send_typing(user_id, typing_ticket, is_typing=is_typing)
