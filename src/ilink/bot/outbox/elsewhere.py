"""Delivery from a process that does not run the bot: through the journal, to whoever runs it, else on one's own."""

from __future__ import annotations

import asyncio
import logging
from asyncio import TaskGroup
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from random import Random
from typing import Final

from ilink.bot.clock import Clock
from ilink.bot.outbox.files import OutgoingFiles
from ilink.bot.outbox.known import deferred_by, receipt_of
from ilink.bot.outbox.senders import Senders, SendsMessages
from ilink.bot.settings import Policies
from ilink.errors import StoreLockedError
from ilink.flows.window import Forecast, Window, forecast
from ilink.messages.receipts import Deferred, DeferredWhy, Receipt
from ilink.storage.journal import Draft, Journal, Outgoing
from ilink.storage.locks import AccountLock
from ilink.wire.ids import ClientId, UserId

__all__ = ["DeliveryElsewhere"]

_log = logging.getLogger(__name__)

_LOOK: Final = 1.0
"""Seconds between two looks whether the process that ran the bot has gone; what it does is noticed sooner."""

_HOPELESS: Final = frozenset({DeferredWhy.WINDOW, DeferredWhy.ACCOUNT, DeferredWhy.DECISION})
"""What does not end by waiting here."""

_LEAVE: Final = 5.0
"""Seconds for what is on its way, so that its outcome is known."""


class DeliveryElsewhere:
    """Stores messages where the bot's process finds them, and sends them itself while there is no such process.

    Args:
        journal: Where messages wait; open, and not taken over.
        lock: The lock that the process which runs the bot holds.
        open_client: Opens the way to the server.
        files: What keeps the files of messages.
        policies: What happens when something does not work.
        clock: Source of time.
        random: Source of jitter.
        on_written: Called when something was stored: a bot that works in this process uses the same store, so that it
            does not notice as it does with other processes.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        lock: AccountLock,
        open_client: Callable[[], AbstractAsyncContextManager[SendsMessages]],
        files: OutgoingFiles,
        policies: Policies,
        clock: Clock,
        random: Random,
        on_written: Callable[[], Awaitable[None]],
    ) -> None:
        self._journal = journal
        self._lock = lock
        self._open_client = open_client
        self._files = files
        self._policies = policies
        self._clock = clock
        self._random = random
        self._on_written = on_written

    async def deliver(self, drafts: Sequence[Draft], *, wait: float) -> list[Receipt]:
        """Store messages, and see to it that they are sent while there is time; see `Delivery`."""
        await self._journal.enqueue(drafts, now_ms=self._clock.now_ms())
        await self._on_written()
        return await self._see_to([draft.client_id for draft in drafts], wait=wait)

    async def find(self, client_id: ClientId, *, wait: float) -> Receipt | None:
        """Return what is known of a message; see `Delivery`."""
        if await self._journal.read_sent(client_id) is None:
            return None
        return (await self._see_to([client_id], wait=wait))[0]

    async def forecast(self, user: UserId) -> Forecast:
        """Tell what will probably happen to a message to a user; see `Delivery`."""
        windows = await self._journal.read_windows([user])
        return forecast(windows.get(user, Window()), self._clock.now_ms())

    async def decided(self, message: Outgoing) -> None:
        """Leave it to the process that runs the bot, which notices; see `Delivery`."""
        _log.debug("message %d was decided about", message.out_sequence)
        await self._on_written()

    async def _see_to(self, client_ids: Sequence[ClientId], *, wait: float) -> list[Receipt]:
        deadline = self._clock.monotonic() + wait
        changes, looks = 0, 0
        while True:
            receipts = [await self._known(client_id) for client_id in client_ids]
            left = deadline - self._clock.monotonic()
            if left <= 0 or all(receipt.is_final for receipt in receipts):
                return receipts
            try:
                async with self._lock:
                    return await self._send_here(client_ids, left)
            except StoreLockedError:
                # Not at the first look: the other process may be one that only sends, and does not know of windows.
                if looks and all(_is_over(receipt) for receipt in receipts):
                    return receipts
            looks += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, _LOOK)):
                    changes = await self._journal.wait_changed(changes)

    async def _send_here(self, client_ids: Sequence[ClientId], seconds: float) -> list[Receipt]:
        """Send as the bot would, as long as there is something to wait for; the caller holds the lock."""
        deadline = self._clock.monotonic() + seconds
        async with self._senders() as senders:
            senders.start()
            while True:
                receipts: list[Receipt] = []
                for client_id in client_ids:
                    left = max(0.0, deadline - self._clock.monotonic())
                    receipt = await senders.wait_receipt(client_id, seconds=min(left, _LOOK / 5))
                    receipts.append(receipt or Deferred(client_id=client_id, why=DeferredWhy.QUEUE))
                if self._clock.monotonic() >= deadline or all(_is_over(receipt) for receipt in receipts):
                    return receipts

    @asynccontextmanager
    async def _senders(self) -> AsyncGenerator[Senders, None]:
        await self._journal.adopt()
        try:
            async with self._open_client() as client, TaskGroup() as tasks:
                senders = Senders(
                    self._journal,
                    client,
                    files=self._files,
                    policies=self._policies,
                    clock=self._clock,
                    random=self._random,
                    tasks=tasks,
                    on_stale=lambda error: _log.warning("%s; sign in again with `ilink login`", error),
                    on_quiet=lambda _is_quiet: None,
                    on_unknown=lambda _message: None,
                    is_deaf=True,
                )
                try:
                    yield senders
                    await senders.leave(_LEAVE)
                finally:
                    senders.cancel()
        finally:
            await self._journal.release()

    async def _known(self, client_id: ClientId) -> Receipt:
        """Return what the journal and the window tell of a message."""
        message = await self._journal.read_sent(client_id)
        if message is None:
            return Deferred(client_id=client_id, why=DeferredWhy.QUEUE)
        receipt = receipt_of(message)
        if receipt.is_final:
            return receipt
        user = message.draft.user
        window = (await self._journal.read_windows([user])).get(user, Window())
        return deferred_by(receipt, window, self._clock.now_ms())


def _is_over(receipt: Receipt) -> bool:
    """Whether there is nothing to wait for."""
    return receipt.is_final or (isinstance(receipt, Deferred) and receipt.why in _HOPELESS)
