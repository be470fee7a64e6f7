"""What becomes of the updates a poll brings: all of them are stored, and some are for the handlers."""

from __future__ import annotations

import logging
from asyncio import Event
from collections.abc import Sequence
from dataclasses import dataclass

from ilink.bot.clock import Clock
from ilink.bot.settings import Access, Policies
from ilink.client.answers import Batch
from ilink.errors import StoreError
from ilink.messages.identity import identify
from ilink.messages.incoming import read_moment, read_update
from ilink.storage.journal import Arrival, InboxState, Journal, Letter
from ilink.wire.enums import MessageType
from ilink.wire.ids import Secret, UserId
from ilink.wire.models import WeixinMessage, given

__all__ = ["Heard", "Intake", "Taken"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Heard:
    """Somebody wrote, which opens their window.

    Attributes:
        user: Who.
        conversation: Where.
        token: The context token that came along.
        is_new: Whether the update had not been stored before.
    """

    user: UserId
    conversation: str
    token: Secret | None
    is_new: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """What a batch brought, once it is stored.

    Attributes:
        letters: The new updates that are to be handled, in order.
        heard: Who wrote, in order.
    """

    letters: list[Letter]
    heard: list[Heard]


class Intake:
    """Stores what an account receives.

    Args:
        journal: Where it is stored.
        owner: The person who scanned.
        access: Who is listened to.
        policies: What happens to what is old, and how long a failing store is left alone.
        clock: Source of time.
    """

    def __init__(
        self, journal: Journal, *, owner: UserId | None, access: Access, policies: Policies, clock: Clock
    ) -> None:
        self._journal = journal
        self._owner = owner
        self._access = access
        self._policies = policies
        self._clock = clock

    async def take(self, batch: Batch, *, generation: int, stop: Event) -> Taken:
        """Store a batch and the cursor behind it in one step; a store that fails is tried again until it works.

        Args:
            batch: What a poll brought.
            generation: Of the login that polled.
            stop: When it is set, a failing store is not tried again.

        Raises:
            StoreError: The store failed and the bot is to stop; the server hands the batch out again, or the cursor
                was not moved past it.
        """
        updates = [(raw, read_update(raw)) for raw in batch.updates]
        identities = identify(updates, cursor=batch.cursor)
        arrivals = [
            self._arrival(raw, wire, identity) for (raw, wire), identity in zip(updates, identities, strict=True)
        ]
        now_ms = self._clock.now_ms()
        while True:
            try:
                ingested = await self._journal.ingest(
                    arrivals, cursor=batch.cursor, generation=generation, hint_ms=batch.hint_ms, now_ms=now_ms
                )
                return _taken(arrivals, ingested.sequences, now_ms)
            except StoreError as error:
                # The server may hand this batch out only once, so it is kept until the store takes it.
                _log.error("cannot store %d updates, trying again: %s", len(arrivals), error)
                if stop.is_set():
                    raise
                await self._clock.sleep(self._policies.handler_backoff.first)

    def _arrival(self, raw: bytes, wire: WeixinMessage | None, identity: str) -> Arrival:
        """Decide what becomes of an update; everything is stored, whether anybody can read it or not."""
        user = UserId("" if wire is None else given(wire.from_user_id, ""))
        if wire is None or not user:
            error = "it is no JSON object" if wire is None else "it names no sender"
            return Arrival(
                raw=raw,
                identity=identity,
                conversation="?",
                user=user,
                state=InboxState.DEAD,
                error=f"this update cannot be read: {error}",
                opens=False,
            )
        group = given(wire.group_id, "")
        token = given(wire.context_token, "")
        is_own = given(wire.message_type, MessageType.USER) == MessageType.BOT
        refusal = self._refusal(user, wire, is_own=is_own)
        return Arrival(
            raw=raw,
            identity=identity,
            conversation=f"g:{group}" if group else f"u:{user}",
            user=user,
            context_token=Secret(token) if token and not is_own else None,
            state=InboxState.WAITING if refusal is None else InboxState.IGNORED,
            error=refusal,
            opens=not is_own,
        )

    def _refusal(self, user: UserId, wire: WeixinMessage, *, is_own: bool) -> str | None:
        """Return why a message is not handled; None when it is."""
        if is_own:
            return "it is the bot's own"
        if not self._access(user, self._owner):
            return "its sender is not listened to"
        sent_at = read_moment(given(wire.create_time_ms, None))
        if sent_at is None or self._policies.backlog == "process":
            return None
        age = self._clock.now_ms() / 1000 - sent_at.timestamp()
        if age < self._policies.backlog_seconds:
            return None
        is_kept = callable(self._policies.backlog) and self._policies.backlog(sent_at)
        return None if is_kept else f"it was sent {age:.0f} s before it came"


def _taken(arrivals: Sequence[Arrival], sequences: Sequence[int | None], now_ms: int) -> Taken:
    """Return what a stored batch means to lanes and senders."""
    taken = Taken([], [])
    for arrival, sequence in zip(arrivals, sequences, strict=True):
        is_new = sequence is not None
        if arrival.opens and arrival.user:
            taken.heard.append(Heard(arrival.user, arrival.conversation, arrival.context_token, is_new))
        if sequence is not None and arrival.state is InboxState.WAITING:
            letter = Letter(
                sequence=sequence,
                conversation=arrival.conversation,
                user=arrival.user,
                identity=arrival.identity,
                raw=arrival.raw,
                received_ms=now_ms,
            )
            taken.letters.append(letter)
    return taken
