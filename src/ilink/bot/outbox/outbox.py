"""What a program sees of its bot's outbox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from ilink.bot.outbox.postbox import OutboxEntry, Postbox
from ilink.messages.receipts import Receipt
from ilink.wire.ids import ClientId

__all__ = ["AtPostbox", "Outbox"]

T = TypeVar("T")


class AtPostbox(Protocol):
    """Does something at the postbox of a bot, wherever the bot runs."""

    async def __call__(self, work: Callable[[Postbox], Awaitable[T]], /) -> T:
        """Do it and return what comes of it."""
        ...


class Outbox:
    """The messages that wait to be sent, `bot.outbox`.

    Its calls work from any task, thread and process that may use the bot's data folder, as `Bot.send` does.
    """

    def __init__(self, at_postbox: AtPostbox) -> None:
        self._at_postbox = at_postbox

    async def receipt(self, client_id: str, *, wait: float | None = None) -> Receipt | None:
        """Return what is known of a message that was sent before.

        Args:
            client_id: The one of its receipt.
            wait: Seconds to wait for the final receipt; None to go on at once.

        Returns:
            Its receipt; None when the message is not known, or no longer: what is done is forgotten after 48 hours.

        Raises:
            StoreError: It cannot be read.
        """
        return await self._at_postbox(lambda postbox: postbox.receipt(ClientId(client_id), wait=wait))

    async def asked(self) -> list[OutboxEntry]:
        """Return the messages of which nobody knows whether they arrived, oldest first, with `OnUnknown.ASK`.

        Each holds its conversation up until it is decided about with `retry` or `drop`, or expires.

        Raises:
            StoreError: They cannot be read.
        """
        return await self._at_postbox(lambda postbox: postbox.asked())

    async def retry(self, client_id: str) -> OutboxEntry:
        """Send a message again that asked, as the same message; a server that ignores client ids shows it twice.

        Raises:
            ConfigError: It does not ask.
            StoreError: Nothing was decided.
        """
        return await self._at_postbox(lambda postbox: postbox.decide(ClientId(client_id), is_retry=True))

    async def drop(self, client_id: str) -> OutboxEntry:
        """Never send a message again that asked; its receipt stays unknown, and its conversation goes on.

        Raises:
            ConfigError: It does not ask.
            StoreError: Nothing was decided.
        """
        return await self._at_postbox(lambda postbox: postbox.decide(ClientId(client_id), is_retry=False))
