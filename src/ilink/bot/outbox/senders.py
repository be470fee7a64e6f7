"""One sender per conversation, first in first out, side by side, as fast as each user's window lets it.

Every message is a row of the journal before it comes here. What cannot be sent now stays a row: nothing is thrown away
because a window is closed, and nothing is tried again that would only lengthen a penalty.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from asyncio import TaskGroup
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from ilink.bot.clock import Clock
from ilink.bot.error_text import storable
from ilink.bot.outbox.confirmations import Confirmations
from ilink.bot.outbox.files import OutgoingFiles
from ilink.bot.outbox.known import Waiters, deferred_by, moment, receipt_of
from ilink.bot.outbox.lane import OutLane
from ilink.bot.outbox.ledger import Ledger
from ilink.bot.outbox.pacing import Pacer
from ilink.bot.outbox.settling import Settling
from ilink.bot.outbox.verdicts import Verdict, code_of, judge_send, judge_unknown, judge_upload
from ilink.bot.scheduler import Pause, Scheduler
from ilink.bot.settings import OnUnknown, Policies
from ilink.errors import IlinkError, RateLimitedError, StaleTokenError, StoreError, StoreLockedError
from ilink.flows.window import Gate, Window, gate
from ilink.messages.media import MediaMover
from ilink.messages.outgoing import OutgoingMessage, SendReceipt
from ilink.messages.receipts import Deferred, DeferredWhy, Receipt
from ilink.storage.journal import Journal, OutboxState, Outcome, Outgoing, WindowEvent
from ilink.wire.ids import ClientId, Secret, UserId
from ilink.wire.models import MessageItem

__all__ = ["Senders", "SendsMessages"]

_log = logging.getLogger(__name__)

_RESERVED: Final = 2
"""Messages of the allowance that progress never uses."""

_LEAVE: Final = 0.2
"""The share of the time for stopping that is kept for messages that are on their way then."""

_items: Final = msgspec.json.Decoder(MessageItem)


class SendsMessages(Protocol):
    """What a sender needs of a client."""

    async def send_message(self, message: OutgoingMessage) -> SendReceipt:
        """Send one message; see `Client.send_message`."""
        ...

    @property
    def media(self) -> MediaMover:
        """What moves files; see `Client.media`."""
        ...


class Senders:
    """Sends what the journal holds for one account.

    Args:
        journal: Where messages wait.
        client: The way to the server.
        files: The files of messages.
        policies: What happens when something does not work.
        clock: Source of time.
        random: Source of jitter.
        tasks: The group the senders run in; its owner waits for them.
        on_stale: Called when the server refuses the token.
        on_quiet: Called with True when messages that used to be confirmed are not any more, and with False when they
            are again.
        on_unknown: Called with a message of which nobody knows whether it arrived, when nothing more is done about it
            without a decision: it asks, or is unknown for good.
        on_outcome: Called with a message and what became of an attempt to send it; None for nobody.
        is_deaf: Whether nobody polls for what users write; see `Ledger`.
        is_shared: Whether another process polls; see `Ledger`.
    """

    def __init__(
        self,
        journal: Journal,
        client: SendsMessages,
        *,
        files: OutgoingFiles,
        policies: Policies,
        clock: Clock,
        random: Random,
        tasks: TaskGroup,
        on_stale: Callable[[StaleTokenError], None],
        on_quiet: Callable[[bool], None],
        on_unknown: Callable[[Outgoing], None],
        on_outcome: Callable[[Outgoing, Outcome], None] | None = None,
        is_deaf: bool = False,
        is_shared: bool = False,
    ) -> None:
        self._journal = journal
        self._client = client
        self._files = files
        self._policies = policies
        self._clock = clock
        self._random = random
        self._on_stale = on_stale
        self._on_unknown = on_unknown
        self._on_outcome = on_outcome
        self._confirmations = Confirmations(on_quiet)
        self._waiters = Waiters()
        self._is_stale = False
        self._has_left = False
        self.ledger = Ledger(journal, clock=clock, is_deaf=is_deaf, is_shared=is_shared)
        self._pacer = Pacer(
            conversation_seconds=policies.spacing_seconds,
            account_seconds=policies.account_spacing_seconds,
            clock=clock,
            random=random,
        )
        self._settling = Settling(
            journal,
            clock=clock,
            backoff=policies.send_backoff.first,
            on_stored=self._stored,
            on_lost=self._lost,
        )
        self._scheduler: Scheduler[Outgoing, OutLane] = Scheduler(
            self, most=policies.sends, backoff=policies.send_backoff.first, clock=clock, tasks=tasks
        )

    def start(self) -> None:
        """Begin with what the journal holds from before."""
        self._scheduler.start()

    def look_again(self) -> None:
        """Look through the journal for what has expired, and for windows that may be tried again."""
        self._scheduler.look_again()

    def offer(self, outgoing: Sequence[Outgoing]) -> None:
        """Take messages that have just been stored, in their order."""
        self._scheduler.offer(outgoing)

    def notice(self, conversations: Sequence[str]) -> None:
        """Take note that somebody else wrote to the journal: messages of these conversations, and perhaps decisions."""
        for lane in list(self._scheduler.lanes):
            if lane.pause is not None and lane.pause.why == DeferredWhy.DECISION:
                self._scheduler.wake(lane)
        self._scheduler.expect(conversations)

    def decided(self, message: Outgoing) -> None:
        """Go on with a conversation whose message was decided about."""
        if message.state.is_final:
            self._waiters.tell(receipt_of(message))
        self._scheduler.start_over(message.draft.conversation)

    def hear(self, user: UserId, conversation: str, token: Secret | None, *, messages: int = 1) -> None:
        """Take note that a user wrote: their window is open, and what waited for it goes out."""
        self.ledger.hear(user, token, messages=messages)
        self._rouse(conversation)

    def _rouse(self, conversation: str) -> None:
        """Let a conversation go on that waits for its user."""
        lane = self._scheduler.find(conversation)
        if lane is not None:
            lane.wakes += 1
            if lane.pause is not None and lane.pause.why == DeferredWhy.WINDOW:
                self._scheduler.wake(lane)

    async def heard_elsewhere(self, heard: Iterable[tuple[str, UserId]]) -> None:
        """Take note that another process stored what users wrote, each in a conversation: see `hear`."""
        for conversation, user in heard:
            lane = self._scheduler.find(conversation)
            if lane is not None:
                await self._settling.finish(lane)  # so that the window that is read again knows of all that was sent
            self.ledger.forget(user)
            self._rouse(conversation)

    @property
    def is_stale(self) -> bool:
        """Whether nothing is sent because the server refused the token."""
        return self._is_stale

    @property
    def is_quiet(self) -> bool:
        """Whether only what matters is sent: the server takes messages and does not confirm them any more."""
        return self._confirmations.is_quiet

    def suspend(self) -> None:
        """Send nothing until `resume`: the server refused the token."""
        self._is_stale = True
        self._scheduler.hold()

    def resume(self, client: SendsMessages) -> None:
        """Go on after the account was signed in again."""
        self._client = client
        self._is_stale = False
        self._scheduler.release()

    async def wait_receipt(self, client_id: ClientId, *, seconds: float) -> Receipt | None:
        """Return the final receipt of a message, or what is known when the time is over; None for an unknown one.

        Raises:
            StoreError: It cannot be read.
        """
        return await self._waiters.wait(client_id, self._look_up, seconds=seconds)

    async def wait_settled(self, conversation: str, *, seconds: float) -> None:
        """Wait until the journal knows what became of the message that is on its way, and of those before it.

        For so long at most. What waits for anything else than its answer is not waited for.

        Raises:
            StoreError: It cannot be read.
        """
        lane = self._scheduler.find(conversation)
        if lane is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if lane.waiting and lane.pause is None:
                    await self.wait_receipt(lane.waiting[0].draft.client_id, seconds=seconds)
                await self._settling.finish(lane)

    async def drain(self, seconds: float) -> None:
        """Let what can be sent now go out, for so long at most, then begin nothing new."""
        if not await self._scheduler.wait_idle(seconds * (1 - _LEAVE)):
            _log.info("stopping with %d conversations that still had messages to send", self._scheduler.running)
        await self.leave(seconds * _LEAVE)

    async def leave(self, seconds: float) -> None:
        """Begin nothing new; let what is on its way arrive and be stored, for so long at most."""
        self._scheduler.stop()
        try:
            async with asyncio.timeout(seconds):
                await self._scheduler.wait_idle(seconds)
                for lane in list(self._scheduler.lanes):
                    await self._settling.finish(lane)
                await self._scheduler.wait_idle(seconds)
        except TimeoutError:
            _log.warning("stopping before all is sent and stored; the rest is sent when the bot runs again")
        self._has_left = True

    def cancel(self) -> None:
        """Stop at once: what was being sent stays in the journal and is sent again, as the same message."""
        self._has_left = True
        self._scheduler.cancel()

    def open_lane(self, conversation: str) -> OutLane:
        """Return an empty lane; see `Work`."""
        return OutLane(conversation)

    def conversation_of(self, item: Outgoing) -> str:
        """Return the lane of a message; see `Work`."""
        return item.draft.conversation

    def place_of(self, item: Outgoing) -> int:
        """Return the place of a message; see `Work`."""
        return item.out_sequence

    async def find_conversations(self, *, after: str) -> Sequence[str]:
        """Return conversations with messages that wait; see `Work`."""
        return await self._journal.outgoing_conversations(after=after)

    async def read_page(self, lane: OutLane, *, limit: int) -> Sequence[Outgoing]:
        """Return the next messages that wait; see `Work`."""
        return await self._journal.read_outgoing(lane.conversation, after=lane.read_to, limit=limit)

    async def settle(self, lane: OutLane) -> None:
        """Wait until the journal knows every outcome of a lane; see `Work`."""
        await self._settling.finish(lane)

    def is_unsettled(self, lane: OutLane) -> bool:
        """Whether the journal does not know every outcome yet; see `Work`."""
        return bool(lane.unsettled)

    async def take_first(self, lane: OutLane) -> Pause | None:
        """Send a lane's first message, or finish it otherwise; see `Work`."""
        if lane.has_lost:
            await self._settling.finish(lane)
        try:
            pause = await self._take(lane, lane.waiting[0])
        except StoreError as error:
            # Only what is read or stored before a message is sent raises this, so nothing was sent.
            _log.warning("the journal fails before a message is sent, trying again: %s", error)
            pause = Pause(DeferredWhy.CONNECTION, self._policies.send_backoff.first)
        if pause is not None:
            await self._settling.finish(lane)
            if pause.why != DeferredWhy.QUEUE:
                self._pacer.give_back(lane)
        return pause

    async def _take(self, lane: OutLane, message: Outgoing) -> Pause | None:
        draft, now_ms = message.draft, self._clock.now_ms()
        window = await self.ledger.window(draft.user)
        if message.state is OutboxState.IN_FLIGHT:
            verdict = judge_unknown(failures=lane.failures, policies=self._policies)
            return self._follow(lane, message, verdict, "the process died while it was being sent")
        if draft.expires_ms is not None and draft.expires_ms <= now_ms:
            self._leave_out(lane, message, "it waited too long to be sent")
            return None
        if message.state is OutboxState.ASKED:
            return Pause(DeferredWhy.DECISION)
        if draft.is_progress and await self._makes_room(lane, window, now_ms):
            self._leave_out(lane, message, "left out: something more important is to be said")
            return None
        match gate(window, now_ms):
            case Gate.OPEN:
                return await self._send_in_turn(lane, message)
            case Gate.HALF_OPEN if self.ledger.begin_probe(draft.user):
                try:
                    return await self._send_in_turn(lane, message)
                finally:
                    self.ledger.end_probe(draft.user)
            case Gate.PAUSED:
                return Pause(DeferredWhy.RATE, (window.paused_until_ms - now_ms) / 1000)
            case _:
                return Pause(DeferredWhy.WINDOW)

    async def _send_in_turn(self, lane: OutLane, message: Outgoing) -> Pause | None:
        """Send a message that may be sent, when its file is uploaded and its time has come."""
        if not self._files.is_ready(message):
            return await self._upload(lane, message)
        if (seconds := self._pacer.delay(lane)) > 0:
            return Pause(DeferredWhy.QUEUE, seconds)
        return await self._send(lane, message)

    async def _upload(self, lane: OutLane, message: Outgoing) -> Pause | None:
        """Upload a message's file; the lane then finds it ready to be sent, unless something changed meanwhile."""
        user = message.draft.user
        opening, until_ms = self.ledger.upload_gate(user)
        if opening is Gate.PAUSED:
            return Pause(DeferredWhy.RATE, max(0.0, (until_ms - self._clock.now_ms()) / 1000))
        if opening is Gate.CLOSED:
            return Pause(DeferredWhy.WINDOW)
        try:
            item = await self._files.upload(message, self._client.media)
        except StoreError:
            raise
        except IlinkError as error:
            verdict = judge_upload(error, failures=lane.failures, policies=self._policies)
            self.ledger.learn_upload(user, verdict.event, retry_after_ms=_retry_after_ms(error))
            words = f"its file could not be uploaded: {error}"
            return self._follow(lane, message, verdict, words, error, teaches=False)
        lane.failures = 0
        self.ledger.learn_upload(user, WindowEvent.ACCEPTED)
        draft = replace(message.draft, item=item)
        lane.waiting[0] = replace(message, draft=draft, uploaded_ms=self._clock.now_ms())
        return None

    async def _send(self, lane: OutLane, message: Outgoing) -> Pause | None:
        draft = message.draft
        outgoing = OutgoingMessage(
            to=draft.user,
            item=_items.decode(draft.item),
            client_id=draft.client_id,
            context_token=await self.ledger.context_token(draft.user),
            run_id=draft.run_id,
        )
        if self._policies.on_unknown is not OnUnknown.RETRY:
            self._hand_over(lane, message, OutboxState.IN_FLIGHT, was_tried=False)
            await self._settling.finish(lane)
            if not await self._journal.is_ours():  # then nothing was marked, and whoever has it now may send it too
                taken = "another process took the journal of this account over; nothing is sent any more"
                raise StoreLockedError(taken)
        try:
            receipt = await self._client.send_message(outgoing)
        except IlinkError as error:
            verdict = judge_send(error, failures=lane.failures, policies=self._policies)
            return self._follow(lane, message, verdict, str(error), error)
        self._confirmations.take(is_confirmed=receipt.is_confirmed)
        state = OutboxState.ACCEPTED if receipt.is_confirmed else OutboxState.UNCONFIRMED
        accepted = replace(message, state=state, message_id=receipt.message_id, code=None, reason=None)
        self._finish(lane, accepted, event=WindowEvent.ACCEPTED)
        return None

    async def _makes_room(self, lane: OutLane, window: Window, now_ms: int) -> bool:
        """Tell whether a line of progress is left out: it is late already, or the last messages are for answers."""
        if self.is_quiet or gate(window, now_ms) is not Gate.OPEN or _left(window) <= _RESERVED:
            return True
        if len(lane.waiting) == 1 and lane.has_more:  # which only says that the journal may hold more
            await self._scheduler.read_more(lane)
        return len(lane.waiting) > 1

    def _leave_out(self, lane: OutLane, message: Outgoing, reason: str) -> None:
        """Finish a message that is not sent any more."""
        self._finish(lane, replace(message, state=OutboxState.EXPIRED, reason=reason), was_tried=False)

    def _follow(
        self,
        lane: OutLane,
        message: Outgoing,
        verdict: Verdict,
        reason: str,
        error: IlinkError | None = None,
        *,
        teaches: bool = True,
    ) -> Pause | None:
        """Do what a failed attempt means; a refusal keeps the message, and teaches about the window unless told not."""
        event = verdict.event if teaches else WindowEvent.NOTHING
        code = None if error is None else code_of(error)
        is_doubtful = message.is_doubtful or verdict.is_doubtful
        judged = replace(message, state=verdict.state, is_doubtful=is_doubtful, code=code, reason=storable(reason))
        lane.failures = lane.failures + 1 if verdict.is_failure else 0
        if verdict.state.is_final:
            self._finish(lane, judged, event=event)
            return None
        lane.waiting[0] = replace(judged, attempts=message.attempts + 1)
        self._hand_over(lane, judged, verdict.state, event=event, retry_after_ms=_retry_after_ms(error))
        if verdict.state is OutboxState.ASKED:
            self._on_unknown(judged)
        if isinstance(error, StaleTokenError):
            self.suspend()
            self._on_stale(error)
        if verdict.waits_for is None:
            return None
        seconds = None
        if verdict.waits_for is DeferredWhy.CONNECTION:
            seconds = self._policies.send_backoff.delay(lane.failures, jitter=self._random.random())
        return Pause(verdict.waits_for, seconds)

    def _finish(
        self,
        lane: OutLane,
        message: Outgoing,
        *,
        event: WindowEvent = WindowEvent.NOTHING,
        was_tried: bool = True,
    ) -> None:
        """Take note of a message's last word and go on to the next."""
        if message.is_doubtful and message.state in (OutboxState.REJECTED, OutboxState.EXPIRED):
            # An earlier attempt may have worked, so nobody can say that it was never accepted.
            reason = f"it was written once without an answer; after that: {message.reason}"
            message = replace(message, state=OutboxState.UNKNOWN, code=None, reason=reason)
        lane.failures = 0
        lane.waiting.popleft()
        if message.draft.file is not None:
            lane.files[message.out_sequence] = message.draft.client_id
        self._hand_over(lane, message, message.state, event=event, was_tried=was_tried)
        if self._waiters.has(message.draft.client_id):
            self._waiters.tell(receipt_of(message))
        if message.state is OutboxState.UNKNOWN:
            self._on_unknown(message)

    def _hand_over(
        self,
        lane: OutLane,
        message: Outgoing,
        state: OutboxState,
        *,
        event: WindowEvent = WindowEvent.NOTHING,
        retry_after_ms: int | None = None,
        was_tried: bool = True,
    ) -> None:
        outcome = Outcome(
            out_sequence=message.out_sequence,
            user=message.draft.user,
            state=state,
            event=event,
            retry_after_ms=retry_after_ms,
            was_tried=was_tried,
            is_doubtful=message.is_doubtful,
            message_id=message.message_id,
            code=message.code,
            reason=message.reason,
        )
        now_ms = self._clock.now_ms()
        self._settling.hand_over(lane, outcome, now_ms=now_ms)
        self.ledger.learn(outcome, now_ms=now_ms)
        if self._on_outcome is not None and state is not OutboxState.IN_FLIGHT:
            self._on_outcome(message, outcome)

    def _stored(self, lane: OutLane, outcome: Outcome) -> None:
        if outcome.state.is_final and (name := lane.files.pop(outcome.out_sequence, None)) is not None:
            self._drop_file(name)
        self._scheduler.forget(lane)

    def _drop_file(self, name: ClientId) -> None:
        if not self._has_left:  # a copy that stays is swept away later
            self._scheduler.run_beside(lambda: self._files.drop(name))

    def _lost(self, lane: OutLane) -> None:
        if not self._scheduler.is_stopped:
            self._scheduler.expect([lane.conversation])

    async def _look_up(self, client_id: ClientId) -> Receipt | None:
        """Return what is known of a message, also while its last word is on the way to the journal."""
        stored = await self._journal.read_sent(client_id)
        if stored is None or stored.state.is_final:
            return None if stored is None else receipt_of(stored)
        lane = self._scheduler.find(stored.draft.conversation)
        outcome = None if lane is None else lane.unsettled.get(stored.out_sequence)
        if outcome is not None:
            stored = replace(
                stored,
                state=outcome.state,
                message_id=outcome.message_id,
                code=outcome.code,
                reason=outcome.reason,
            )
        elif stored.state is OutboxState.WAITING:
            # Its last word may have reached the journal while the journal was read.
            stored = await self._journal.read_sent(client_id) or stored
        receipt = receipt_of(stored)
        if receipt.is_final:
            return receipt
        if lane is not None and lane.pause is not None:
            until = None if lane.until_ms is None else moment(lane.until_ms)
            receipt = Deferred(client_id=client_id, why=DeferredWhy(lane.pause.why), until=until)
        elif lane is not None and lane.failures:
            receipt = Deferred(client_id=client_id, why=DeferredWhy.CONNECTION)
        elif self._is_stale:
            receipt = Deferred(client_id=client_id, why=DeferredWhy.ACCOUNT)
        return deferred_by(receipt, await self.ledger.window(stored.draft.user), self._clock.now_ms())


def _left(window: Window) -> int:
    return window.allowance - window.sent


def _retry_after_ms(error: IlinkError | None) -> int | None:
    asked = error.retry_after if isinstance(error, RateLimitedError) else None
    return None if asked is None else int(asked * 1000)
