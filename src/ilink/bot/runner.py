"""One account at work: poll, store, handle, send, or a part of that; and its end, in order."""

from __future__ import annotations

import asyncio
import logging
from asyncio import Task, TaskGroup
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Final, TypeVar

from ilink.bot.clock import Clock, SteadyClock
from ilink.bot.incidents import ClockSet, MachineSlept, ProcessStalled
from ilink.bot.intake import Taken
from ilink.bot.outbox.by_others import DeliveryByOthers
from ilink.bot.outbox.files import OutgoingFiles
from ilink.bot.outbox.noticing import notice_others
from ilink.bot.outbox.postbox import Delivery, Postbox
from ilink.bot.parts.handling import Handlers
from ilink.bot.parts.logins import wait_for_login
from ilink.bot.parts.materials import BotClient, Materials
from ilink.bot.parts.polling import open_poller
from ilink.bot.parts.sending import Sending
from ilink.bot.poller import Poller
from ilink.bot.rounds import Rounds
from ilink.bot.states import SessionState
from ilink.bot.stopping import StopSignal
from ilink.bot.typing_indicator import TypingIndicators
from ilink.client.answers import Batch
from ilink.errors import ConfigError, IlinkError, StoreError
from ilink.flows.clocks import Gap
from ilink.flows.window import Forecast
from ilink.messages.media import MediaMover
from ilink.messages.receipts import Receipt
from ilink.storage.accounts import StoredAccount
from ilink.storage.journal import Counts, Draft, Outgoing
from ilink.storage.roles import Role
from ilink.wire.ids import ClientId, UserId

__all__ = ["BotClient", "Runner"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_GOODBYE: Final = 3.0

_FOR_SENDS: Final = 0.2
"""The share of the time for stopping that no handler takes from messages that are on their way."""

_ON_ITS_WAY: Final = 2.0
"""Seconds for which a message waits for what it may refer to."""


class Runner:
    """Works for one account until it is told to stop.

    Its parts are made only where its role has them. Where all of them are in one process they hand on what they have to
    each other; else each finds in the journal what the others have stored.

    Args:
        stored: The account.
        made_with: What its work is made with.
        clock: The clock in `made_with`.
        rounds: Comes by now and again.
    """

    def __init__(self, stored: StoredAccount, made_with: Materials, *, clock: SteadyClock, rounds: Rounds) -> None:
        self._stored = stored
        self._made_with = made_with
        self._role = made_with.role
        self._journal = made_with.journal
        self._clock = clock
        self._rounds = rounds
        self._handlers: Handlers | None = None
        self._sending: Sending | None = None
        self._poller: Poller | None = None
        self._delivery: Delivery | None = None
        self._postbox: Postbox | None = None
        self._typing: TypingIndicators | None = None
        self._client: BotClient | None = None
        self._noticing: Task[None] | None = None
        self._wants_gap_stored = False
        self._tasks: TaskGroup | None = None
        self._successor: StoredAccount | None = None

    async def run(self, stop: StopSignal) -> StoredAccount | None:
        """Work until `stop` is set, then end in order.

        Returns:
            The account that takes over when the owner signed in again and got another one; None when it was stopped.

        Raises:
            ApiError, TransportError, RemoteProtocolError: Polling cannot go on, and repeating it does not help.
            StoreError: The journal cannot be opened.
        """
        await self._journal.adopt(self._role)
        try:
            if self._role is Role.POLLER:  # which begins nothing beside its poll
                await self._work(stop, None)
            else:
                async with TaskGroup() as tasks:
                    await self._work(stop, tasks)
        except BaseExceptionGroup as group:
            # One thing went wrong nearly always, and whoever runs the bot wants to catch that, not a group of one.
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise
        with suppress(StoreError):  # then the next process looks more closely at what was being handled
            await self._journal.release()
        return self._successor

    @property
    def postbox(self) -> Postbox | None:
        """Where messages are handed in that answer nobody; None before the work has begun."""
        if self._postbox is None and self._delivery is not None:
            self._postbox = Postbox(
                self._stored.account.account_id,
                self._journal,
                self._delivery,
                owner=self._stored.account.owner_id,
                files=self.files,
                policies=self._made_with.policies,
                clock=self._clock,
                random=self._made_with.random,
            )
        return self._postbox

    async def replay(self, sequence: int) -> bool:
        """Let a message be handled again; see `Bot.replay`."""
        conversations = await self._journal.replay([sequence])
        self._look_through(conversations)
        return bool(conversations)

    async def drop(self, sequence: int) -> bool:
        """Give a message up for good; see `Bot.drop`."""
        letter = await self._journal.read_letter(sequence)
        if letter is None or not await self._journal.drop([sequence]):
            return False
        self._look_through([letter.conversation])
        return True

    async def counts(self) -> Counts:
        """Return how much there is in the journal; see `Bot.counts`."""
        return await self._journal.count()

    async def wait_stored(self, conversation: str) -> None:
        """Wait until everything that was handled before in a conversation is stored."""
        await self._working(self._handlers).wait_stored(conversation)

    async def wait_sent(self, conversation: str) -> None:
        """Wait, for a moment at most, until the journal knows what became of what is on its way in a conversation."""
        if self._sending is not None:  # else that is another process's, whose word comes with what it stores
            await self._sending.senders.wait_settled(conversation, seconds=_ON_ITS_WAY)

    async def notice(self) -> None:
        """Find what was handed in beside this work through the same store, before anything that is handed in later."""
        if self._sending is not None:  # else it is found when sending begins
            with suppress(StoreError):  # then it is found within a minute
                await self._sending.notice()

    async def send_now(self, drafts: Sequence[Draft], *, wait: float) -> list[Receipt]:
        """Store messages at once, send them, and wait for their receipts."""
        return await self._working(self._delivery).deliver(drafts, wait=wait)

    async def find_receipt(self, client_id: ClientId, *, wait: float) -> Receipt | None:
        """Return what is known of a message, its last word if it comes in time; None when it is not known."""
        return await self._working(self._delivery).find(client_id, wait=wait)

    @property
    def files(self) -> OutgoingFiles:
        """What keeps files until they are sent."""
        return self._made_with.files

    async def forecast(self, user: UserId) -> Forecast:
        """Tell what will probably happen to a message to a user."""
        return await self._working(self._delivery).forecast(user)

    def typing(self, user: UserId) -> AbstractAsyncContextManager[None]:
        """Show a user that an answer is being written."""
        if self._sending is not None and self._sending.senders.is_quiet:
            return nullcontext()
        if self._typing is None:
            ledger = None if self._sending is None else self._sending.senders.ledger
            self._typing = TypingIndicators(
                lambda: self._working(self._client),
                self._journal.read_context_token if ledger is None else ledger.context_token,
                clock=self._clock,
                tasks=self._working(self._tasks),
            )
        return self._typing.show(user)

    async def schedule(self, handler: str, at_ms: int, *, key: str, data: object, is_replacing: bool) -> bool:
        """Plan a job; see `Bot.schedule`."""
        return await self._working(self._handlers).schedule(
            handler, at_ms, key=key, data=data, is_replacing=is_replacing
        )

    async def unschedule(self, handler: str, key: str) -> bool:
        """Take a job off the agenda; see `Bot.unschedule`."""
        return await self._working(self._handlers).unschedule(handler, key)

    def now_ms(self) -> int:
        """Return the time of day."""
        return self._clock.now_ms()

    @property
    def clock(self) -> Clock:
        """Source of time."""
        return self._clock

    @property
    def media(self) -> MediaMover:
        """What fetches files."""
        return self._working(self._client).media

    async def check_store(self) -> None:
        """Look whether the store takes writes, by writing what it holds already, and more after it refused something.

        Raises:
            StoreError: It does not.
        """
        await self._journal.check(gap_ms=self._clock.gap_ms())

    def note_gap(self, gap: Gap) -> None:
        """Tell what the clocks showed; after an absence poll anew, because what was waited for may never come."""
        on_incident = self._made_with.hooks.note_incident
        if gap.slept:
            _log.warning("the machine slept for %.0f s; polling anew", gap.slept)
            on_incident(MachineSlept(gap.slept))
        if gap.stalled:
            _log.warning("this program stood still for %.0f s; polling anew", gap.stalled)
            on_incident(ProcessStalled(gap.stalled))
        if gap.jumped:
            _log.warning("the clock was set by %+.0f s; windows and due times go on as before", gap.jumped)
            on_incident(ClockSet(gap.jumped))
            self._wants_gap_stored = True
        if gap.is_absence and self._poller is not None:
            self._poller.renew()

    async def look(self) -> None:
        """Look whether the poll that is held still lives; see `Looks`."""
        if self._poller is not None:
            self._poller.look()
        if self._wants_gap_stored:
            await self._store_gap()

    def look_again(self) -> None:
        """Look for what other processes put into the journal; see `Looks`."""
        for part in (self._handlers, self._sending):
            if part is not None:
                part.look_again()

    async def keep_house(self) -> None:
        """Forget what is old; see `Looks`."""
        if self._role.sends:
            await self.files.sweep()
        if self._handlers is not None:
            await self._handlers.prune(self._clock.now_ms() - int(self._made_with.policies.keep_seconds * 1000))

    def _working(self, part: T | None) -> T:
        if part is None:
            message = "the bot is not running; call this from a handler, or while `serve()` runs"
            if self._delivery is not None:
                message = f"this process is a {self._role.value} only; call this where handlers run"
            raise ConfigError(message)
        return part

    def _look_through(self, conversations: Sequence[str]) -> None:
        """Let lanes notice what has changed; in another process they do so within a minute."""
        if self._handlers is not None:
            self._handlers.lanes.wake(conversations)

    async def _work(self, stop: StopSignal, tasks: TaskGroup | None) -> None:
        self._tasks = tasks
        if self._role.polls:
            self._poller = await open_poller(
                self._stored, self._made_with, on_taken=self._hand_on, on_answer=self._note_answer
            )
        if self._role.handles:
            handlers = Handlers(self._stored.account, self._made_with, outlet=self, send=self._send)
            await handlers.open()
            self._handlers = handlers
        try:
            with self._rounds.joined(self):
                await self._work_through_logins(stop)
        finally:
            if self._noticing is not None:
                self._noticing.cancel()
            for part in (self._handlers, self._sending, self._typing):
                if part is not None:
                    part.cancel()
            self._made_with.hooks.note_state(SessionState.STOPPED)

    async def _work_through_logins(self, stop: StopSignal) -> None:
        while True:
            async with self._made_with.open_client(self._stored) as client:
                if self._made_with.wrap is not None:
                    client = self._made_with.wrap(client)
                self._client = client
                await self._begin(client)
                if self._poller is None:
                    await stop.wait()
                elif await self._poller.poll(
                    client, generation=self._stored.generation, stop=stop
                ) and await self._wait_for_login(stop):
                    continue
                await self._end(client)
                return

    def _hand_on(self, taken: Taken) -> None:
        """Let senders know who wrote, and lanes what there is to handle."""
        if self._sending is not None:
            self._sending.take(taken)
        for duplicate in taken.duplicates:
            self._made_with.hooks.note_duplicate(duplicate)
        if self._handlers is not None:
            self._handlers.take(taken)

    def _note_answer(self, batch: Batch) -> None:
        """Let sends be tried again after their token was refused, once for each poll that was answered."""
        if self._sending is not None and not batch.is_cut:
            self._sending.answered()
        if self._made_with.observers is not None:
            self._made_with.observers.polled(updates=len(batch.updates))

    def _send(self, outgoing: Sequence[Outgoing]) -> None:
        if self._sending is not None:  # else the sender finds it
            self._sending.offer(outgoing)

    async def _begin(self, client: BotClient) -> None:
        """Start working, or go on with a new login."""
        self._made_with.hooks.note_state(SessionState.ACTIVE)
        if self._delivery is not None:
            if self._sending is not None:
                self._sending.renew(client)
            return
        if self._tasks is None:
            self._delivery = DeliveryByOthers(self._journal, clock=self._clock)
            return
        if self._role.sends:
            self._sending = Sending(self._made_with, client, tasks=self._tasks)
            await self._sending.learn()
            self._delivery = self._sending.delivery
            self._sending.start()
        else:
            self._delivery = DeliveryByOthers(self._journal, clock=self._clock)
        if self._handlers is not None:
            self._handlers.start(self._tasks)
        looks = [part.notice for part in (self._handlers, self._sending) if part is not None]
        if looks:
            pause = self._made_with.policies.send_backoff.first
            self._noticing = self._tasks.create_task(
                notice_others(self._journal, looks, clock=self._clock, pause=pause)
            )

    async def _wait_for_login(self, stop: StopSignal) -> bool:
        """Wait until the person signed in again; False when the bot is stopped or another account takes over."""
        if self._sending is not None:
            self._sending.suspend()
        self._made_with.hooks.note_state(SessionState.EXPIRED)
        found = await wait_for_login(self._stored, self._made_with.accounts, clock=self._clock, stop=stop)
        if found is None:
            return False
        if found.account.account_id != self._stored.account.account_id:
            self._made_with.hooks.note_state(SessionState.DISPLACED)
            self._successor = found
            return False
        self._stored = found
        return True

    async def _end(self, client: BotClient) -> None:
        """Stop in order: handlers finish, what they said goes out, positions are stored, the server is told."""
        seconds = self._made_with.policies.stop_seconds
        deadline = self._clock.monotonic() + seconds
        if self._handlers is not None:
            await self._handlers.drain(seconds if self._sending is None else seconds * (1 - _FOR_SENDS))
        if self._sending is not None:
            await self._sending.drain(max(0.0, deadline - self._clock.monotonic()))
        if self._poller is None:
            return
        with suppress(StoreError):  # the server hands out again what came since then, and it is recognised
            await self._poller.store_cursor()
        with suppress(IlinkError, TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                await client.notify_stop()

    async def _store_gap(self) -> None:
        """Tell the next process how far the times stored by this one are from those of a clock that was set."""
        try:
            await self._journal.note_clock_gap(self._clock.gap_ms())
        except StoreError as error:
            _log.warning("cannot store that the clock was set, trying again: %s", error)
        else:
            self._wants_gap_stored = False
