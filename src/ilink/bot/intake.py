"""What becomes of the updates a poll brings: all of them are stored, and some are for the handlers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from msgspec import Struct

from ilink.bot.backlog import Backlog
from ilink.bot.clock import Clock
from ilink.bot.duplicates import Duplicate, DuplicateKind, OnSuspect
from ilink.bot.incidents import Incident, StoreFailed, StoreRecovered
from ilink.bot.settings import Access, Policies
from ilink.bot.stopping import StopSignal
from ilink.client.answers import Batch
from ilink.errors import StoreError
from ilink.flows.suspects import Likeness, Said, Suspects
from ilink.messages.identity import content_of, identify, in_order, is_named
from ilink.messages.incoming import read_update
from ilink.storage.journal import Arrival, InboxState, Ingested, Journal, Letter
from ilink.wire.enums import MessageType
from ilink.wire.ids import Secret, UserId
from ilink.wire.models import WeixinMessage, given

__all__ = ["Heard", "Intake", "Taken"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Heard(Struct, frozen=True):
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


class Taken(Struct, frozen=True):
    """What a batch brought, once it is stored.

    Attributes:
        letters: The new updates that are to be handled, in order.
        heard: Who wrote, in order.
        duplicates: What came twice, in order.
        has_moved: Whether the cursor is ours to move.
        foreign: Conversations in which another process had stored something that waits.
    """

    letters: list[Letter]
    heard: list[Heard]
    duplicates: list[Duplicate]
    has_moved: bool
    foreign: tuple[str, ...] = ()


class Intake:
    """Stores what an account receives.

    Args:
        journal: Where it is stored.
        owner: The person who scanned.
        access: Who is listened to.
        policies: What happens to what is old, and how long a failing store is left alone.
        clock: Source of time.
        backlog: What becomes of old messages.
        on_incident: Called when the store fails, and when it works again.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        owner: UserId | None,
        access: Access,
        policies: Policies,
        clock: Clock,
        backlog: Backlog,
        on_incident: Callable[[Incident], None],
    ) -> None:
        self._journal = journal
        self._owner = owner
        self._access = access
        self._policies = policies
        self._clock = clock
        self._backlog = backlog
        self._on_incident = on_incident
        self._suspects = Suspects(window_ms=int(policies.suspect_seconds * 1000))

    async def recall(self) -> None:
        """Remember what came just before this process began, to know it under another id.

        Raises:
            StoreError: The journal cannot be read.
        """
        since_ms = self._clock.now_ms() - int(self._policies.suspect_seconds * 1000)
        for letter in await self._journal.read_recent(since_ms=since_ms):
            wire = read_update(letter.raw)
            if wire is not None and letter.user and is_named(letter.identity):
                self._suspects.remember(_said(letter.raw, wire, letter.identity, letter.received_ms))

    async def take(self, batch: Batch, *, generation: int, stop: StopSignal, is_live: bool = False) -> Taken:
        """Store a batch and the cursor behind it in one step; a store that fails is tried again until it works.

        Args:
            batch: What a poll brought.
            generation: Of the login that polled.
            stop: When it is set, a failing store is not tried again.
            is_live: Whether the poll waited for it, so that the newest message was sent just now.

        Raises:
            StoreError: The store failed and the bot is to stop; the server hands the batch out again, or the cursor
                was not moved past it.
        """
        updates = in_order([(raw, read_update(raw)) for raw in batch.updates])
        identities = identify(updates, cursor=batch.cursor)
        now_ms = self._clock.now_ms()
        newest_ms = max((given(wire.create_time_ms, 0) or 0 for _, wire in updates if wire is not None), default=0)
        if newest_ms:
            self._backlog.learn(newest_ms, now_ms, is_live=is_live)
        arrivals = [
            self._arrival(raw, wire, identity, now_ms)
            for (raw, wire), identity in zip(updates, identities, strict=True)
        ]
        # The server may hand this batch out only once, so it is kept until the store takes it.
        ingested = await self._until_stored(
            lambda: self._journal.ingest(
                arrivals, cursor=batch.cursor, generation=generation, hint_ms=batch.hint_ms, now_ms=now_ms
            ),
            f"{len(arrivals)} updates",
            stop,
        )
        return _taken(arrivals, ingested, now_ms)

    async def sync(self, *, stop: StopSignal) -> None:
        """Make sure that what was taken outlives a power cut, so that the server may be told; tried until it works.

        Args:
            stop: When it is set, a failing store is not tried again.

        Raises:
            StoreError: The store failed and the bot is to stop.
        """
        await self._until_stored(self._journal.sync, "what was received", stop)

    async def _until_stored(self, work: Callable[[], Awaitable[T]], what: str, stop: StopSignal) -> T:
        failed_at: float | None = None
        while True:
            try:
                result = await work()
                break
            except StoreError as error:
                _log.error("cannot store %s, trying again: %s", what, error)
                if failed_at is None:
                    failed_at = self._clock.monotonic()
                    self._on_incident(StoreFailed(error))
                if stop.is_set():
                    raise
                await self._clock.sleep(self._policies.handler_backoff.first)
        if failed_at is not None:
            self._on_incident(StoreRecovered(self._clock.monotonic() - failed_at))
        return result

    def _arrival(self, raw: bytes, wire: WeixinMessage | None, identity: str, now_ms: int) -> Arrival:
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
        likeness = None if is_own else self._likeness(raw, wire, identity, now_ms)
        refusal = self._refusal(user, wire, now_ms, is_own=is_own)
        is_twin = likeness is not None and self._is_dropped(likeness)
        if refusal is None and likeness is not None and is_twin:
            refusal = f"it says the same as {likeness.identity}, which came {likeness.after_ms} ms before"
        return Arrival(
            raw=raw,
            identity=identity,
            conversation=f"g:{group}" if group else f"u:{user}",
            user=user,
            context_token=Secret(token) if token and not is_own else None,
            state=InboxState.WAITING if refusal is None else InboxState.IGNORED,
            error=refusal,
            opens=not is_own and not is_twin,
            resembles=None if likeness is None else likeness.identity,
        )

    def _likeness(self, raw: bytes, wire: WeixinMessage, identity: str, now_ms: int) -> Likeness | None:
        """Return what a message is like that came shortly before it, unless nobody wants to know.

        Messages without any id are told apart by their content already.
        """
        if self._policies.on_suspect is OnSuspect.IGNORE or not is_named(identity):
            return None
        said = _said(raw, wire, identity, now_ms)
        likeness = self._suspects.find(said)
        self._suspects.remember(said)
        return likeness

    def _is_dropped(self, likeness: Likeness) -> bool:
        match self._policies.on_suspect:
            case OnSuspect.DROP:
                return True
            case OnSuspect.JUDGE:
                return likeness.is_same_moment
            case _:
                return False

    def _refusal(self, user: UserId, wire: WeixinMessage, now_ms: int, *, is_own: bool) -> str | None:
        """Return why a message is not handled; None when it is."""
        if is_own:
            return "it is the bot's own"
        if not self._access(user, self._owner):
            return "its sender is not listened to"
        return self._backlog.refusal(given(wire.create_time_ms, 0) or None, now_ms)


def _said(raw: bytes, wire: WeixinMessage, identity: str, received_ms: int) -> Said:
    return Said(
        identity=identity,
        content=content_of(raw, wire),
        received_ms=received_ms,
        sent_ms=given(wire.create_time_ms, 0) or None,
        place=given(wire.seq, 0) or None,
    )


def _taken(arrivals: Sequence[Arrival], ingested: Ingested, now_ms: int) -> Taken:
    """Return what a stored batch means to lanes and senders."""
    taken = Taken([], [], [], ingested.has_moved, ingested.foreign)
    for place, (arrival, sequence) in enumerate(zip(arrivals, ingested.sequences, strict=True)):
        if (duplicate := _duplicate(arrival, is_new=sequence is not None)) is not None:
            taken.duplicates.append(duplicate)
        if arrival.user and (arrival.opens or arrival.resembles is not None):
            token = None if place in ingested.outdated else arrival.context_token
            is_new = sequence is not None and arrival.opens
            taken.heard.append(Heard(arrival.user, arrival.conversation, token, is_new))
        if sequence is not None and arrival.state is InboxState.WAITING:
            taken.letters.append(_letter(arrival, sequence, now_ms))
    return taken


def _letter(arrival: Arrival, sequence: int, now_ms: int) -> Letter:
    return Letter(
        sequence=sequence,
        conversation=arrival.conversation,
        user=arrival.user,
        identity=arrival.identity,
        raw=arrival.raw,
        received_ms=now_ms,
        resembles=arrival.resembles,
    )


def _duplicate(arrival: Arrival, *, is_new: bool) -> Duplicate | None:
    """Return in what way an update came twice; None when it did not."""
    if not is_new:
        kind, original = DuplicateKind.KNOWN, arrival.identity
    elif arrival.resembles is not None:
        is_dropped = arrival.state is InboxState.IGNORED
        kind, original = DuplicateKind.DROPPED if is_dropped else DuplicateKind.MARKED, arrival.resembles
    else:
        return None
    return Duplicate(
        kind=kind,
        user=arrival.user,
        conversation=arrival.conversation,
        identity=arrival.identity,
        original=original,
    )
