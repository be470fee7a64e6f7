"""Delivery from a process of a fleet that does not send: through the journal, to the process that does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from ilink.bot.clock import Clock
from ilink.bot.outbox.known import deferred_by, receipt_of
from ilink.flows.window import Forecast, Window, forecast
from ilink.messages.receipts import Deferred, DeferredWhy, Receipt
from ilink.storage.journal import Draft, Journal, Outgoing
from ilink.wire.ids import ClientId, UserId

__all__ = ["DeliveryByOthers"]


class DeliveryByOthers:
    """Stores messages where the sender finds them, and reads what became of them.

    Args:
        journal: Where messages wait.
        clock: Source of time.
    """

    def __init__(self, journal: Journal, *, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    async def deliver(self, drafts: Sequence[Draft], *, wait: float) -> list[Receipt]:
        """Store messages at once, and wait until the sender has settled them; see `Delivery`."""
        await self._journal.enqueue(drafts, now_ms=self._clock.now_ms())
        deadline = self._clock.monotonic() + wait
        receipts: list[Receipt] = []
        for draft in drafts:
            left = max(0.0, deadline - self._clock.monotonic())
            receipt = await self.find(draft.client_id, wait=left)
            receipts.append(receipt or Deferred(client_id=draft.client_id, why=DeferredWhy.QUEUE))
        return receipts

    async def find(self, client_id: ClientId, *, wait: float) -> Receipt | None:
        """Return what is known of a message; see `Delivery`."""
        deadline = self._clock.monotonic() + wait
        changes = 0
        while True:
            receipt = await self._known(client_id)
            left = deadline - self._clock.monotonic()
            if receipt is None or receipt.is_final or left <= 0:
                return receipt
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    changes = await self._journal.wait_changed(changes)

    async def forecast(self, user: UserId) -> Forecast:
        """Tell what will probably happen to a message to a user; see `Delivery`."""
        windows = await self._journal.read_windows([user])
        return forecast(windows.get(user, Window()), self._clock.now_ms())

    async def decided(self, message: Outgoing) -> None:
        """Leave it to the sender, which notices; see `Delivery`."""

    async def _known(self, client_id: ClientId) -> Receipt | None:
        message = await self._journal.read_sent(client_id)
        if message is None:
            return None
        receipt = receipt_of(message)
        if receipt.is_final:
            return receipt
        windows = await self._journal.read_windows([message.draft.user])
        return deferred_by(receipt, windows.get(message.draft.user, Window()), self._clock.now_ms())
