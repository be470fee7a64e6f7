"""Where messages are handed in that answer nobody, and where one asks what became of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Final, Protocol

import msgspec

from ilink.bot.clock import Clock
from ilink.bot.outbox.drafts import conversation_with, drafts_of, file_draft
from ilink.bot.outbox.files import OutgoingFiles
from ilink.bot.outbox.known import moment, receipt_of
from ilink.bot.settings import Policies
from ilink.flows.window import Forecast
from ilink.messages.media import MediaKind, UploadSource
from ilink.messages.receipts import Receipt, weakest
from ilink.storage.journal import Draft, Journal, OutboxState, Outgoing
from ilink.wire.ids import AccountId, ClientId, UserId
from ilink.wire.models import MessageItem, given

__all__ = ["Delivery", "OutboxEntry", "Postbox", "entry_of"]

_PAGE: Final = 100

_items: Final = msgspec.json.Decoder(MessageItem)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """A message that waits in the outbox, or waited there.

    Attributes:
        account: Which account says it.
        client_id: Its name, by which it is asked after and decided about.
        user: Who it is for.
        text: What it says; for a file its name.
        attempts: How often it was tried.
        created_at: When it was said.
        expires_at: When it is not worth sending any more; None for never.
        reason: What the last attempt came to, in words.
        receipt: What is known of it.
    """

    account: AccountId
    client_id: ClientId
    user: UserId
    text: str
    attempts: int
    created_at: datetime
    expires_at: datetime | None
    reason: str
    receipt: Receipt


def entry_of(message: Outgoing, account: AccountId) -> OutboxEntry:
    """Return what people see of a stored message of an account."""
    draft = message.draft
    return OutboxEntry(
        account=account,
        client_id=draft.client_id,
        user=draft.user,
        text=_text(draft),
        attempts=message.attempts,
        created_at=moment(message.created_ms),
        expires_at=None if draft.expires_ms is None else moment(draft.expires_ms),
        reason=message.reason or "",
        receipt=receipt_of(message),
    )


def _text(draft: Draft) -> str:
    if draft.file is not None:
        return draft.file.name
    item = given(_items.decode(draft.item).text_item, None)
    return "" if item is None else given(item.text, "")


class Delivery(Protocol):
    """How messages that were handed in get to the server."""

    async def deliver(self, drafts: Sequence[Draft], *, wait: float) -> list[Receipt]:
        """Store messages and let them be sent; return what is known of each when all are final, or the time is over.

        Raises:
            StoreError: Nothing was stored.
        """
        ...

    async def find(self, client_id: ClientId, *, wait: float) -> Receipt | None:
        """Return what is known of a message, its last word if it comes in time; None for one that is not known."""
        ...

    async def forecast(self, user: UserId) -> Forecast:
        """Tell what will probably happen to a message to a user."""
        ...

    async def decided(self, message: Outgoing) -> None:
        """Take note that it was decided about a message."""
        ...


class Postbox:
    """Takes messages in for one account.

    Args:
        account: The account.
        owner: Who scanned; None when that is not known.
        journal: Where they wait.
        delivery: How they get to the server.
        files: What keeps their files.
        policies: How texts are cut, and how long messages may wait.
        clock: Source of the time of day.
        random: Source of ids.
    """

    def __init__(
        self,
        account: AccountId,
        journal: Journal,
        delivery: Delivery,
        *,
        owner: UserId | None,
        files: OutgoingFiles,
        policies: Policies,
        clock: Clock,
        random: Random,
    ) -> None:
        self.account = account
        self._owner = owner
        self._journal = journal
        self._delivery = delivery
        self._files = files
        self._policies = policies
        self._clock = clock
        self._random = random

    async def knows(self, user: UserId) -> bool:
        """Tell whether a user is the account's owner, or wrote to it or was written to."""
        if user == self._owner or await self._journal.read_windows([user]):
            return True
        return await self._journal.read_context_token(user) is not None

    async def send(self, user: UserId, text: str, *, wait: float | None) -> Receipt:
        """Say something to a user without being asked; see `Bot.send`."""
        return weakest(await self._delivery.deliver(self._text(user, text), wait=wait or 0.0))

    async def send_media(
        self,
        user: UserId,
        source: UploadSource,
        kind: MediaKind | None,
        *,
        caption: str,
        name: str,
        wait: float | None,
    ) -> Receipt:
        """Send a file to a user without being asked; see `Bot.send_media`."""
        drafts = self._text(user, caption) if caption.strip() else []
        drafts.append(
            await file_draft(
                source,
                kind,
                shown_name=name,
                conversation=conversation_with(user),
                user=user,
                files=self._files,
                policies=self._policies,
                now_ms=self._clock.now_ms(),
                name=self._new_name(),
            )
        )
        # A copy whose message could not be stored is swept away later: nobody can tell here whether it was.
        return weakest(await self._delivery.deliver(drafts, wait=wait or 0.0))

    async def receipt(self, client_id: ClientId, *, wait: float | None) -> Receipt | None:
        """Return what is known of a message; see `Outbox.receipt`."""
        return await self._delivery.find(client_id, wait=wait or 0.0)

    async def forecast(self, user: UserId) -> Forecast:
        """Tell what will probably happen to a message to a user; see `Bot.can_send`."""
        return await self._delivery.forecast(user)

    async def asked(self) -> list[OutboxEntry]:
        """Return the messages that wait for a decision; see `Outbox.asked`."""
        found: list[Outgoing] = []
        while page := await self._journal.read_outbox(
            [OutboxState.ASKED], after=found[-1].out_sequence if found else 0, limit=_PAGE
        ):
            found += page
        return [entry_of(message, self.account) for message in found]

    async def decide(self, client_id: ClientId, *, is_retry: bool) -> OutboxEntry | None:
        """Decide about a message that asked; see `Outbox.retry` and `Outbox.drop`. None for one that does not ask."""
        message = await self._journal.decide(client_id, is_retry=is_retry, now_ms=self._clock.now_ms())
        if message is None:
            return None
        await self._delivery.decided(message)
        if message.state.is_final and message.draft.file is not None:
            await self._files.drop(client_id)
        return entry_of(message, self.account)

    def _text(self, user: UserId, text: str) -> list[Draft]:
        return drafts_of(
            text,
            conversation=conversation_with(user),
            user=user,
            policies=self._policies,
            now_ms=self._clock.now_ms(),
            name=self._new_name(),
        )

    def _new_name(self) -> Callable[[int], str]:
        name = f"{self._random.getrandbits(120):030x}"
        return lambda part: f"{name}{part:02x}"
