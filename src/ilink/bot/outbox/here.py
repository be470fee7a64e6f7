"""Delivery by the bot that runs in this process."""

from __future__ import annotations

from collections.abc import Sequence

from ilink.bot.clock import Clock
from ilink.bot.outbox.senders import Senders
from ilink.flows.window import Forecast, forecast
from ilink.messages.receipts import Deferred, DeferredWhy, Receipt
from ilink.storage.journal import Draft, Journal, Outgoing
from ilink.wire.ids import ClientId, UserId

__all__ = ["DeliveryHere"]


class DeliveryHere:
    """Hands messages to the senders of this process.

    Args:
        journal: Where they wait.
        senders: Who sends them.
        clock: Source of time.
    """

    def __init__(self, journal: Journal, senders: Senders, *, clock: Clock) -> None:
        self._journal = journal
        self._senders = senders
        self._clock = clock

    async def deliver(self, drafts: Sequence[Draft], *, wait: float) -> list[Receipt]:
        """Store messages at once, send them, and wait for their receipts; see `Delivery`."""
        stored = await self._journal.enqueue(drafts, now_ms=self._clock.now_ms())
        self._senders.offer(stored)
        deadline = self._clock.monotonic() + wait
        receipts: list[Receipt] = []
        for draft in drafts:
            left = max(0.0, deadline - self._clock.monotonic())
            receipt = await self.find(draft.client_id, wait=left)
            receipts.append(receipt or Deferred(client_id=draft.client_id, why=DeferredWhy.QUEUE))
        return receipts

    async def find(self, client_id: ClientId, *, wait: float) -> Receipt | None:
        """Return what is known of a message; see `Delivery`."""
        return await self._senders.wait_receipt(client_id, seconds=wait)

    async def forecast(self, user: UserId) -> Forecast:
        """Tell what will probably happen to a message to a user; see `Delivery`."""
        return forecast(await self._senders.ledger.window(user), self._clock.now_ms())

    async def decided(self, message: Outgoing) -> None:
        """Go on with the conversation of a message; see `Delivery`."""
        self._senders.decided(message)
