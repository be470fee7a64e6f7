"""The way out: one sender per conversation, first in first out, side by side, as fast as each user's window lets it.

Every message is a row of the journal before it comes here. What cannot be sent now stays a row: nothing is thrown away
because a window is closed, and nothing is tried again that would only lengthen a penalty.
"""

from __future__ import annotations

import logging
from asyncio import Event, Future, Task, TaskGroup, get_running_loop, wait, wait_for
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Final, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from ilink.bot.clock import Clock
from ilink.bot.settings import OnUnknown, Policies
from ilink.errors import (
    ApiError,
    ConnectError,
    IlinkError,
    OutcomeUnknownError,
    RateLimitedError,
    RemoteProtocolError,
    RequestRejectedError,
    StaleTokenError,
    StoreError,
    WindowClosedError,
)
from ilink.flows.window import Gate, Window, gate, heard
from ilink.messages.outgoing import OutgoingMessage, SendReceipt
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
from ilink.storage.journal import Journal, OutboxState, Outcome, Outgoing, WindowEvent, after_outcome
from ilink.wire.ids import ClientId, MessageId, Secret, UserId
from ilink.wire.models import MessageItem

__all__ = ["Senders", "SendsMessages", "receipt_of"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_PAGE: Final = 50
_REMEMBERED: Final = 10_000
"""Users whose window and context token are kept at hand; the others are read again when they are needed."""

_RESERVED: Final = 2
"""Messages of the allowance that progress never uses."""

_STREAK: Final = 5
"""Messages in a row that were not confirmed, after which only what matters is sent."""

_items: Final = msgspec.json.Decoder(MessageItem)


class SendsMessages(Protocol):
    """What a sender needs of a client."""

    async def send_message(self, message: OutgoingMessage) -> SendReceipt:
        """Send one message; see `Client.send_message`."""
        ...


@dataclass(slots=True)
class _Lane:
    """The sender of one conversation: a page of its messages in memory, the others in the journal."""

    conversation: str
    waiting: deque[Outgoing] = field(default_factory=deque[Outgoing])
    read_to: int = 0
    has_more: bool = False
    is_behind: bool = False
    is_running: bool = False
    failures: int = 0
    wakes: int = 0
    why: Deferred | None = None
    unsettled: dict[int, Outcome] = field(default_factory=dict[int, Outcome])
    settling: Future[None] | None = None
    has_lost: bool = False


@dataclass(frozen=True, slots=True)
class _Pause:
    """A sender has to wait: for seconds, or until somebody wakes it."""

    why: DeferredWhy
    seconds: float | None = None


class Senders:
    """Sends what the journal holds for one account.

    Args:
        journal: Where messages wait.
        client: The way to the server.
        policies: What happens when something does not work.
        clock: Source of time.
        random: Source of jitter.
        tasks: The group the senders run in; its owner waits for them.
        on_stale: Called when the server refuses the token.
        on_quiet: Called with True when messages that used to be confirmed are not any more, and with False when they
            are again.
    """

    def __init__(
        self,
        journal: Journal,
        client: SendsMessages,
        *,
        policies: Policies,
        clock: Clock,
        random: Random,
        tasks: TaskGroup,
        on_stale: Callable[[StaleTokenError], None],
        on_quiet: Callable[[bool], None],
    ) -> None:
        self._journal = journal
        self._client = client
        self._policies = policies
        self._clock = clock
        self._random = random
        self._tasks = tasks
        self._on_stale = on_stale
        self._on_quiet = on_quiet
        self._unconfirmed: int | None = None
        self._lanes: dict[str, _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self._running = 0
        self._backlog: str | None = ""
        self._is_refilling = False
        self._windows: OrderedDict[UserId, Window] = OrderedDict()
        self._tokens: OrderedDict[UserId, Secret] = OrderedDict()
        self._waiters: dict[ClientId, list[Future[Receipt]]] = {}
        self._is_stopped = False
        self._is_stale = False
        self._idle = Event()
        self._idle.set()
        self._started: set[Task[None]] = set()

    def start(self) -> None:
        """Begin with what the journal holds from before."""
        self._pump()

    def look_again(self) -> None:
        """Look through the journal for what others put there and what has expired."""
        if self._backlog is None:
            self._backlog = ""
            for lane in self._lanes.values():
                if lane.why is not None and lane.why.until is None:
                    lane.wakes += 1
                    lane.why = None
                    self._wake(lane)
            self._pump()

    def offer(self, outgoing: Sequence[Outgoing]) -> None:
        """Take messages that have just been stored, in their order."""
        for message in outgoing:
            lane = self._lane(message.draft.conversation)
            if lane.has_more or len(lane.waiting) >= _PAGE or self._is_in_backlog(lane):
                lane.has_more = lane.is_behind = True
            elif message.out_sequence > lane.read_to:  # a page may have been read after it was stored
                lane.waiting.append(message)
                lane.read_to = message.out_sequence
            self._wake(lane)
        self._pump()

    def hear(self, user: UserId, conversation: str, token: Secret | None, *, messages: int = 1) -> None:
        """Take note that a user wrote: their window is open, and what waited for it goes out."""
        self.keep_token(user, token)
        if (window := self._windows.get(user)) is not None:
            self._remember(self._windows, user, heard(window, self._clock.now_ms(), messages=messages))
        lane = self._lanes.get(conversation)
        if lane is not None:
            lane.wakes += 1
            if lane.why is not None and lane.why.why is DeferredWhy.WINDOW:
                lane.why = None
                self._wake(lane)
                self._pump()

    def keep_token(self, user: UserId, token: Secret | None) -> None:
        """Keep the newest context token of a user; a message that came again may carry a fresher one."""
        if token is not None:
            self._remember(self._tokens, user, token)

    @property
    def is_stale(self) -> bool:
        """Whether nothing is sent because the server refused the token."""
        return self._is_stale

    def suspend(self) -> None:
        """Send nothing until `resume`: the server refused the token."""
        self._is_stale = True

    def resume(self, client: SendsMessages) -> None:
        """Go on after the account was signed in again."""
        self._client = client
        self._is_stale = False
        for lane in self._lanes.values():
            lane.wakes += 1
            lane.why = None
            self._wake(lane)
        self._pump()

    async def window(self, user: UserId) -> Window:
        """Return what is known about sending to a user."""
        known = self._windows.get(user)
        if known is None:
            known = (await self._journal.read_windows([user])).get(user, Window())
            self._remember(self._windows, user, known)
        return known

    async def wait_receipt(self, client_id: ClientId, *, seconds: float) -> Receipt | None:
        """Return the final receipt of a message, or what is known when the time is over; None for an unknown one."""
        answer: Future[Receipt] = get_running_loop().create_future()
        waiters = self._waiters.setdefault(client_id, [])
        waiters.append(answer)
        try:
            known = await self._look_up(client_id)
            if known is None or known.is_final:
                return known
            try:
                return await wait_for(answer, seconds)
            except TimeoutError:
                return await self._look_up(client_id)
        finally:
            waiters.remove(answer)
            if not waiters:
                self._waiters.pop(client_id, None)

    async def _look_up(self, client_id: ClientId) -> Receipt | None:
        """Return what is known of a message, also while its last word is on the way to the journal."""
        stored = await self._journal.read_sent(client_id)
        if stored is not None and stored.state in _UNSENT:
            lane = self._lanes.get(stored.draft.conversation)
            outcome = lane.unsettled.get(stored.out_sequence) if lane is not None else None
            if outcome is not None:
                stored = replace(
                    stored,
                    state=outcome.state,
                    message_id=outcome.message_id,
                    code=outcome.code,
                    reason=outcome.reason,
                )
            if stored.state in _UNSENT and lane is not None and lane.why is not None:
                return Deferred(client_id=client_id, why=lane.why.why, until=lane.why.until)
            if stored.state is OutboxState.WAITING:
                # Its last word may have reached the journal while the journal was read.
                stored = await self._journal.read_sent(client_id)
        return None if stored is None else receipt_of(stored)

    async def drain(self, seconds: float) -> None:
        """Let what can be sent now go out, for so long at most, then begin nothing new."""
        try:
            await wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            _log.info("stopping with %d conversations that still had messages to send", self._running)
        self._is_stopped = True

    def cancel(self) -> None:
        """Stop at once: what was being sent stays in the journal and is sent again, as the same message."""
        self._is_stopped = True
        for task in self._started:
            task.cancel()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._tasks.create_task(work)
        self._started.add(task)
        task.add_done_callback(self._started.discard)

    def _lane(self, conversation: str) -> _Lane:
        lane = self._lanes.get(conversation)
        if lane is None:
            lane = self._lanes[conversation] = _Lane(conversation)
        return lane

    def _is_in_backlog(self, lane: _Lane) -> bool:
        """Whether the journal may hold older messages of this conversation that nobody has looked for yet."""
        return self._backlog is not None and not lane.read_to and lane.conversation > self._backlog

    def _wake(self, lane: _Lane) -> None:
        if not lane.is_running and lane.why is None:
            lane.is_running = True
            self._ready.append(lane)

    def _pump(self) -> None:
        """Start senders that are ready, as many as may run; look for more work when there is room."""
        if self._is_stopped or self._is_stale:
            return
        while self._ready and self._running < self._policies.sends:
            self._running += 1
            self._idle.clear()
            self._spawn(self._run(self._ready.popleft()))
        if self._backlog is not None and not self._ready and not self._is_refilling:
            self._is_refilling = True
            self._idle.clear()
            self._spawn(self._refill(self._backlog))

    async def _refill(self, after: str) -> None:
        """Find the next conversations that have had messages waiting since before this process began."""
        names: list[str] | None = None
        while names is None:
            try:
                names = await self._journal.outgoing_conversations(after=after)
            except StoreError as error:
                _log.warning("cannot read the outbox, trying again: %s", error)
                await self._clock.sleep(self._policies.send_backoff.first)
        self._backlog = names[-1] if names else None
        self._is_refilling = False
        for name in names:
            lane = self._lane(name)
            lane.has_more = True
            self._wake(lane)
        self._pump()
        self._note_idle()

    async def _run(self, lane: _Lane) -> None:
        pause = None
        try:
            pause = await self._send_waiting(lane)
        finally:
            self._running -= 1
            lane.is_running = False
            if pause is not None:
                self._hold(lane, pause)
            else:
                self._forget(lane)
            self._pump()
            self._note_idle()

    def _forget(self, lane: _Lane) -> None:
        """Drop a lane that has nothing to do, once the journal knows all it did."""
        is_busy = lane.is_running or lane.waiting or lane.has_more or lane.unsettled or lane.why is not None
        if not is_busy:
            self._lanes.pop(lane.conversation, None)

    def _note_idle(self) -> None:
        if not self._running and not self._is_refilling and not self._ready:
            self._idle.set()

    def _hold(self, lane: _Lane, pause: _Pause) -> None:
        until = None
        if pause.seconds is not None:
            until = datetime.fromtimestamp(self._clock.now_ms() / 1000 + pause.seconds, UTC)
            self._spawn(self._wake_after(lane, pause.seconds))
        else:
            # It may take days until somebody wakes it: what it holds is read again then.
            if lane.waiting:
                lane.read_to = lane.waiting[0].out_sequence - 1
            lane.waiting.clear()
            lane.has_more = True
        lane.why = Deferred(client_id=ClientId(""), why=pause.why, until=until)

    async def _wake_after(self, lane: _Lane, seconds: float) -> None:
        await self._clock.sleep(seconds)
        lane.why = None
        self._wake(lane)
        self._pump()

    async def _send_waiting(self, lane: _Lane) -> _Pause | None:
        """Send a conversation's messages in order, until there is none or something keeps it."""
        while not self._is_stopped and not self._is_stale:
            if lane.has_lost or (lane.has_more and not lane.waiting):
                # A page is read only when the journal knows all that was sent, so that nothing is sent twice.
                await self._finish_settling(lane)
            if not lane.waiting and not await self._read_page(lane):
                return None
            wakes = lane.wakes
            try:
                pause = await self._send_first(lane)
            except StoreError as error:
                # Only what is read before a message is sent raises this, so nothing was sent.
                _log.warning("cannot read what a message needs, trying again: %s", error)
                pause = _Pause(DeferredWhy.CONNECTION, self._policies.send_backoff.first)
            if pause is not None:
                await self._finish_settling(lane)
                # Whoever woke the sender meanwhile could not know that it was about to fall asleep.
                if lane.wakes == wakes:
                    return pause
        await self._finish_settling(lane)
        return _Pause(DeferredWhy.ACCOUNT if self._is_stale else DeferredWhy.QUEUE)

    async def _read_page(self, lane: _Lane) -> bool:
        """Read the next messages of a conversation from the journal; False when there is none."""
        while lane.has_more:
            lane.is_behind = False
            try:
                page = await self._journal.read_outgoing(lane.conversation, after=lane.read_to, limit=_PAGE)
            except StoreError as error:
                _log.warning("cannot read the outbox, trying again: %s", error)
                await self._clock.sleep(self._policies.send_backoff.first)
                continue
            # What was offered while the page was read may be behind it.
            lane.has_more = len(page) == _PAGE or lane.is_behind
            lane.waiting.extend(page)
            if page:
                lane.read_to = page[-1].out_sequence
                return True
        return False

    async def _send_first(self, lane: _Lane) -> _Pause | None:
        message = lane.waiting[0]
        draft = message.draft
        now_ms = self._clock.now_ms()
        window = await self.window(draft.user)
        if draft.is_progress and self._makes_room(lane, window, now_ms):
            self._finish(lane, message, OutboxState.EXPIRED, reason="left out: something more important is to be said")
            return None
        if draft.expires_ms is not None and draft.expires_ms <= now_ms:
            self._finish(lane, message, OutboxState.EXPIRED, reason="it waited too long to be sent")
            return None
        if message.state is OutboxState.ASKED:
            return _Pause(DeferredWhy.DECISION)
        if message.state is OutboxState.IN_FLIGHT:
            return self._take_unknown(lane, message, "the process died while it was being sent")
        match gate(window, now_ms):
            case Gate.OPEN:
                return await self._send(lane, message)
            case Gate.PAUSED:
                return _Pause(DeferredWhy.RATE, (window.paused_until_ms - now_ms) / 1000)
            case Gate.CLOSED | Gate.OVER | Gate.USED_UP:
                return _Pause(DeferredWhy.WINDOW)

    async def _send(self, lane: _Lane, message: Outgoing) -> _Pause | None:
        draft = message.draft
        outgoing = OutgoingMessage(
            to=draft.user,
            item=_items.decode(draft.item),
            client_id=draft.client_id,
            context_token=await self.context_token(draft.user),
            run_id=draft.run_id,
        )
        if self._policies.on_unknown is not OnUnknown.RETRY:
            self._settle(lane, message, OutboxState.IN_FLIGHT, was_tried=False)
            await self._finish_settling(lane)
        try:
            receipt = await self._client.send_message(outgoing)
        except IlinkError as error:
            return self._take_error(lane, message, error)
        lane.failures = 0
        self._watch_confirmations(is_confirmed=receipt.is_confirmed)
        state = OutboxState.ACCEPTED if receipt.is_confirmed else OutboxState.UNCONFIRMED
        self._finish(lane, message, state, event=WindowEvent.ACCEPTED, message_id=receipt.message_id)
        return None

    def _makes_room(self, lane: _Lane, window: Window, now_ms: int) -> bool:
        """Tell whether a line of progress is left out: it is late already, or the last messages are for answers."""
        is_late = len(lane.waiting) > 1 or lane.has_more
        return is_late or self.is_quiet or gate(window, now_ms) is not Gate.OPEN or _left(window) <= _RESERVED

    @property
    def is_quiet(self) -> bool:
        """Whether only what matters is sent: the server takes messages and does not confirm them any more."""
        return self._unconfirmed is not None and self._unconfirmed >= _STREAK

    def _watch_confirmations(self, *, is_confirmed: bool) -> None:
        """Notice when a server that used to confirm stops to: its messages will hardly arrive (observed: ocw#263)."""
        was_quiet = self.is_quiet
        if is_confirmed:
            self._unconfirmed = 0
        elif self._unconfirmed is not None:
            self._unconfirmed += 1
        if self.is_quiet != was_quiet:
            self._on_quiet(self.is_quiet)

    def _take_error(self, lane: _Lane, message: Outgoing, error: IlinkError) -> _Pause | None:
        """Decide what a failed attempt means; a refusal keeps the message, and nobody is logged out by it."""
        code = error.code if isinstance(error, ApiError) else None
        match error:
            case WindowClosedError():
                self._settle(
                    lane, message, OutboxState.WAITING, event=WindowEvent.REFUSED, code=code, reason=str(error)
                )
                return _Pause(DeferredWhy.WINDOW)
            case RateLimitedError():
                asked = None if error.retry_after is None else int(error.retry_after * 1000)
                self._settle(
                    lane,
                    message,
                    OutboxState.WAITING,
                    event=WindowEvent.LIMITED,
                    retry_after_ms=asked,
                    code=code,
                    reason=str(error),
                )
                # Looked at again at once: the window says how long the pause is.
                return None
            case StaleTokenError():
                self._settle(lane, message, OutboxState.WAITING, code=code, reason=str(error))
                self._is_stale = True
                self._on_stale(error)
                return _Pause(DeferredWhy.ACCOUNT)
            case RequestRejectedError():
                self._finish(lane, message, OutboxState.REJECTED, code=code, reason=str(error))
                return None
            case OutcomeUnknownError() | RemoteProtocolError():
                return self._take_unknown(lane, message, str(error))
            case _:
                return self._try_again(lane, message, error, code)

    def _take_unknown(self, lane: _Lane, message: Outgoing, reason: str) -> _Pause | None:
        match self._policies.on_unknown:
            case OnUnknown.DROP:
                self._finish(lane, message, OutboxState.UNKNOWN, reason=reason)
                return None
            case OnUnknown.ASK:
                self._settle(lane, message, OutboxState.ASKED, reason=reason)
                return _Pause(DeferredWhy.DECISION)
            case OnUnknown.RETRY:
                lane.failures += 1
                if lane.failures >= self._policies.send_attempts:
                    lane.failures = 0
                    self._finish(lane, message, OutboxState.UNKNOWN, reason=reason)
                    return None
                self._settle(lane, message, OutboxState.WAITING, reason=reason)
                return self._back_off(lane)

    def _try_again(self, lane: _Lane, message: Outgoing, error: IlinkError, code: int | None) -> _Pause | None:
        """Back off; while the server cannot be reached that never ends, since nothing was refused."""
        lane.failures += 1
        if lane.failures >= self._policies.send_attempts and not isinstance(error, ConnectError):
            lane.failures = 0
            self._finish(lane, message, OutboxState.REJECTED, code=code, reason=str(error))
            return None
        self._settle(lane, message, OutboxState.WAITING, code=code, reason=str(error))
        return self._back_off(lane)

    def _back_off(self, lane: _Lane) -> _Pause:
        delay = self._policies.send_backoff.delay(lane.failures, jitter=self._random.random())
        return _Pause(DeferredWhy.CONNECTION, delay)

    def _finish(
        self,
        lane: _Lane,
        message: Outgoing,
        state: OutboxState,
        *,
        event: WindowEvent = WindowEvent.NOTHING,
        message_id: MessageId | None = None,
        code: int | None = None,
        reason: str | None = None,
    ) -> None:
        """Take note of a message's last word and go on to the next."""
        lane.waiting.popleft()
        was_tried = state is not OutboxState.EXPIRED
        self._settle(
            lane,
            message,
            state,
            event=event,
            message_id=message_id,
            code=code,
            reason=reason,
            was_tried=was_tried,
        )
        waiters = self._waiters.get(message.draft.client_id, ())
        if waiters:
            finished = replace(message, state=state, message_id=message_id, code=code, reason=reason)
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(receipt_of(finished))

    def _settle(
        self,
        lane: _Lane,
        message: Outgoing,
        state: OutboxState,
        *,
        event: WindowEvent = WindowEvent.NOTHING,
        retry_after_ms: int | None = None,
        was_tried: bool = True,
        message_id: MessageId | None = None,
        code: int | None = None,
        reason: str | None = None,
    ) -> None:
        now_ms = self._clock.now_ms()
        outcome = Outcome(
            out_sequence=message.out_sequence,
            user=message.draft.user,
            state=state,
            event=event,
            retry_after_ms=retry_after_ms,
            was_tried=was_tried,
            message_id=message_id,
            code=code,
            reason=reason,
        )
        self._hand_over(lane, outcome)
        if event and (window := self._windows.get(outcome.user)) is not None:
            self._remember(self._windows, outcome.user, after_outcome(window, outcome, now_ms))

    def _hand_over(self, lane: _Lane, outcome: Outcome) -> None:
        """Give an outcome to the journal; what it cannot store is stored again by the next run of the lane."""

        def look(settling: Future[None]) -> None:
            if settling.cancelled() or settling.exception() is not None:
                lane.has_lost = True
                if not self._is_stopped:
                    self._wake(lane)
                    self._pump()
            elif lane.unsettled.get(outcome.out_sequence) is outcome:
                del lane.unsettled[outcome.out_sequence]
                self._forget(lane)

        lane.unsettled[outcome.out_sequence] = outcome
        lane.settling = self._journal.settle(outcome, now_ms=self._clock.now_ms())
        lane.settling.add_done_callback(look)

    async def _finish_settling(self, lane: _Lane) -> None:
        """Wait until the journal knows every outcome."""
        while lane.unsettled and lane.settling is not None:
            await wait([lane.settling])
            if lane.has_lost:
                _log.warning("cannot store what became of %d messages, trying again", len(lane.unsettled))
                await self._clock.sleep(self._policies.send_backoff.first)
                lane.has_lost = False
                for outcome in list(lane.unsettled.values()):
                    self._hand_over(lane, outcome)
        lane.has_lost = False

    async def context_token(self, user: UserId) -> Secret | None:
        """Return the newest context token of a user."""
        token = self._tokens.get(user)
        if token is None and (token := await self._journal.read_context_token(user)) is not None:
            self._remember(self._tokens, user, token)
        return token

    def _remember(self, cache: OrderedDict[UserId, T], user: UserId, value: T) -> None:
        cache[user] = value
        cache.move_to_end(user)
        if len(cache) > _REMEMBERED:
            cache.popitem(last=False)


def _left(window: Window) -> int:
    return window.allowance - window.sent


_UNSENT: Final = (OutboxState.WAITING, OutboxState.IN_FLIGHT, OutboxState.ASKED)


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
