"""What a program sees of its bot's outbox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from ilink.bot.outbox.postbox import OutboxEntry, Postbox
from ilink.errors import ConfigError
from ilink.messages.receipts import Receipt
from ilink.wire.ids import ClientId

__all__ = ["AtPostboxes", "Outbox"]

T = TypeVar("T")


class AtPostboxes(Protocol):
    """Does something at the postbox of each account of a bot, wherever the bot runs."""

    async def __call__(self, work: Callable[[Postbox], Awaitable[T]], /) -> list[T]:
        """Do it and return what comes of it, for each account."""
        ...


class Outbox:
    """The messages that wait to be sent, `bot.outbox`, of all accounts of the bot together.

    Its calls work from any task, thread and process that may use the bot's data folder, as `Bot.send` does.
    """

    def __init__(self, at_postboxes: AtPostboxes) -> None:
        self._at_postboxes = at_postboxes

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

        async def look(postbox: Postbox) -> Receipt | None:
            # First without waiting: the message belongs to one account only, and the others would wait in vain.
            known = await postbox.receipt(ClientId(client_id), wait=None)
            is_over = known is None or known.is_final or wait is None
            return known if is_over else await postbox.receipt(ClientId(client_id), wait=wait)

        return next((found for found in await self._at_postboxes(look) if found is not None), None)

    async def asked(self) -> list[OutboxEntry]:
        """Return the messages of which nobody knows whether they arrived, oldest first, with `OnUnknown.ASK`.

        Each holds its conversation up until it is decided about with `retry` or `drop`, or expires.

        Raises:
            StoreError: They cannot be read.
        """
        found = await self._at_postboxes(lambda postbox: postbox.asked())
        return sorted((entry for entries in found for entry in entries), key=lambda entry: entry.created_at)

    async def retry(self, client_id: str) -> OutboxEntry:
        """Send a message again that asked, as the same message; a server that ignores client ids shows it twice.

        Raises:
            ConfigError: It does not ask.
            StoreError: Nothing was decided.
        """
        return await self._decide(client_id, is_retry=True)

    async def drop(self, client_id: str) -> OutboxEntry:
        """Never send a message again that asked; its receipt stays unknown, and its conversation goes on.

        Raises:
            ConfigError: It does not ask.
            StoreError: Nothing was decided.
        """
        return await self._decide(client_id, is_retry=False)

    async def _decide(self, client_id: str, *, is_retry: bool) -> OutboxEntry:
        found = await self._at_postboxes(lambda postbox: postbox.decide(ClientId(client_id), is_retry=is_retry))
        decided = next((entry for entry in found if entry is not None), None)
        if decided is None:
            message = (
                f"the message {client_id} does not wait for a decision; `bot.outbox.asked()` returns those that do"
            )
            raise ConfigError(message)
        return decided
