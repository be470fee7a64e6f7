"""What is known of messages, told to those who wait for it."""

from __future__ import annotations

from asyncio import Future, get_running_loop, wait_for
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from ilink.flows.window import Gate, Window, gate
from ilink.messages.receipts import (
    Accepted,
    AcceptedUnconfirmed,
    Deferred,
    DeferredWhy,
    Expired,
    Receipt,
    Rejected,
    Unknown,
)
from ilink.storage.journal import OutboxState, Outgoing
from ilink.wire.ids import ClientId

__all__ = ["Waiters", "deferred_by", "moment", "receipt_of"]


def receipt_of(message: Outgoing) -> Receipt:
    """Return what is known of a stored message."""
    client_id, reason = message.draft.client_id, message.reason or ""
    match message.state:
        case OutboxState.ACCEPTED if message.message_id is not None:
            return Accepted(client_id=client_id, message_id=message.message_id)
        case OutboxState.ACCEPTED | OutboxState.UNCONFIRMED:
            return AcceptedUnconfirmed(client_id=client_id)
        case OutboxState.REJECTED:
            return Rejected(client_id=client_id, code=message.code, reason=reason)
        case OutboxState.UNKNOWN:
            return Unknown(client_id=client_id, reason=reason)
        case OutboxState.EXPIRED:
            return Expired(client_id=client_id, reason=reason)
        case OutboxState.ASKED:
            return Deferred(client_id=client_id, why=DeferredWhy.DECISION)
        case OutboxState.WAITING | OutboxState.IN_FLIGHT:
            return Deferred(client_id=client_id, why=DeferredWhy.QUEUE)


def deferred_by(receipt: Receipt, window: Window, now_ms: int) -> Receipt:
    """Return a receipt that says more than that its message waits for its turn, if the window tells what for."""
    if not isinstance(receipt, Deferred) or receipt.why is not DeferredWhy.QUEUE:
        return receipt
    match gate(window, now_ms):
        case Gate.OPEN | Gate.HALF_OPEN:
            return receipt
        case Gate.PAUSED:
            return Deferred(client_id=receipt.client_id, why=DeferredWhy.RATE, until=moment(window.paused_until_ms))
        case Gate.CLOSED | Gate.OVER | Gate.USED_UP:
            return Deferred(client_id=receipt.client_id, why=DeferredWhy.WINDOW)


def moment(at_ms: int) -> datetime:
    """Return a time as receipts tell it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


class Waiters:
    """Those who wait for the last word about a message."""

    def __init__(self) -> None:
        self._waiting: dict[ClientId, list[Future[Receipt]]] = {}

    def has(self, client_id: ClientId) -> bool:
        """Whether anybody waits for this message."""
        return client_id in self._waiting

    def tell(self, receipt: Receipt) -> None:
        """Give the last word to those who wait for it."""
        for waiter in self._waiting.get(receipt.client_id, ()):
            if not waiter.done():
                waiter.set_result(receipt)

    async def wait(
        self, client_id: ClientId, look_up: Callable[[ClientId], Awaitable[Receipt | None]], *, seconds: float
    ) -> Receipt | None:
        """Return the final receipt of a message, or what is known when the time is over; None for an unknown one."""
        answer: Future[Receipt] = get_running_loop().create_future()
        waiters = self._waiting.setdefault(client_id, [])
        waiters.append(answer)
        try:
            known = await look_up(client_id)
            if known is None or known.is_final:
                return known
            try:
                return await wait_for(answer, seconds)
            except TimeoutError:
                return await look_up(client_id)
        finally:
            waiters.remove(answer)
            if not waiters:
                self._waiting.pop(client_id, None)
