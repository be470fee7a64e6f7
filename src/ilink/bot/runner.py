"""One account at work: poll, store, handle, send; and its end, in order."""

from __future__ import annotations

import asyncio
import logging
from asyncio import Event, Task, TaskGroup
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from random import Random
from typing import Final, Protocol, TypeVar

from ilink.bot.access import Gate
from ilink.bot.alarm import Alarm
from ilink.bot.backlog import Backlog
from ilink.bot.clock import Clock, SteadyClock, WallClock
from ilink.bot.conversation import ConversationPolicy
from ilink.bot.conversation_book import Book
from ilink.bot.duplicates import Duplicate
from ilink.bot.handling import Handling
from ilink.bot.incidents import ClockSet, Incident, LaneParked, MachineSlept, ProcessStalled
from ilink.bot.intake import Intake, Taken
from ilink.bot.job_keeper import JobKeeper
from ilink.bot.jobs import Jobs
from ilink.bot.lanes import Lanes
from ilink.bot.observing import AccountObservers
from ilink.bot.outbox.files import OutgoingFiles
from ilink.bot.outbox.here import DeliveryHere, notice_others
from ilink.bot.outbox.postbox import Postbox
from ilink.bot.outbox.senders import Senders, SendsMessages
from ilink.bot.poller import Poller, PollsUpdates
from ilink.bot.routing.dispatch import Dispatch
from ilink.bot.settings import Access, Policies
from ilink.bot.states import SessionState
from ilink.bot.typing_indicator import ShowsTyping, TypingIndicators
from ilink.bot.waiting import unless_set
from ilink.bot.watch import Watch
from ilink.client.answers import Batch
from ilink.errors import ConfigError, IlinkError, StoreError
from ilink.flows.clocks import Gap
from ilink.flows.window import Forecast
from ilink.messages.media import MediaMover
from ilink.messages.receipts import Receipt
from ilink.storage.accounts import Accounts, AccountState, StoredAccount
from ilink.storage.agenda import Agenda
from ilink.storage.history import History
from ilink.storage.journal import Counts, Draft, Journal, Letter, Outgoing
from ilink.storage.spool import Spool
from ilink.wire.ids import ClientId, UserId

__all__ = ["BotClient", "Runner"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_LOOK_FOR_LOGIN: Final = 2.0
"""Seconds between two looks for a new login of an account whose token was refused."""

_PRUNE: Final = 3_600.0
_SWEEP: Final = 60.0
"""Seconds between two looks for dead letters that somebody replays, and for messages that expired."""

_GOODBYE: Final = 3.0

_ON_ITS_WAY: Final = 2.0
"""Seconds for which a message waits for what it may refer to."""


class BotClient(PollsUpdates, SendsMessages, ShowsTyping, Protocol):
    """What a runner needs of a client."""

    @property
    def media(self) -> MediaMover:
        """What moves files; see `Client.media`."""
        ...


class Runner:
    """Works for one account until it is told to stop.

    Args:
        stored: The account.
        accounts: Where logins are stored.
        journal: The account's journal, open.
        spool: Where copies of files wait that are to be sent.
        open_client: Opens a client for an account; used again after a new login.
        dispatch: Which function handles which message.
        access: Who is listened to.
        policies: What happens when something does not work.
        backlog: What becomes of old messages.
        clock: Source of time.
        random: Source of jitter and ids.
        on_state: Called when the state changes.
        on_dead: Called with a message that was given up.
        on_duplicate: Called with what came twice.
        on_incident: Called with what goes wrong without ending the work.
        on_unknown: Called with a message that waits for a decision or stays unknown.
        observers: Tell whoever wants to know of polls, runs and sends; None when nobody does.
        gate: What a message passes before its handler; None for nothing.
        agenda: The account's agenda, beside its journal.
        conversations: How questions are asked.
        jobs: What is done by the clock.
        history: What was said, to find what messages refer to.
    """

    def __init__(
        self,
        stored: StoredAccount,
        *,
        accounts: Accounts,
        journal: Journal,
        spool: Spool,
        open_client: Callable[[StoredAccount], AbstractAsyncContextManager[BotClient]],
        dispatch: Dispatch,
        access: Access,
        policies: Policies,
        backlog: Backlog,
        clock: Clock,
        random: Random,
        on_state: Callable[[SessionState], None],
        on_dead: Callable[[Letter, BaseException | None], None],
        on_duplicate: Callable[[Duplicate], None],
        on_incident: Callable[[Incident], None],
        on_unknown: Callable[[Outgoing], None],
        observers: AccountObservers | None,
        gate: Gate | None,
        agenda: Agenda,
        conversations: ConversationPolicy,
        jobs: Jobs,
        history: History,
    ) -> None:
        self._stored = stored
        self._accounts = accounts
        self._journal = journal
        self._open_client = open_client
        self._dispatch = dispatch
        self._access = access
        self._policies = policies
        self._backlog = backlog
        self._clock = SteadyClock(clock)
        # Only the machine's clocks tell what the machine did; a test's own is moved on purpose.
        machine = clock if isinstance(clock, WallClock) else WallClock()
        self._watch = Watch(machine, on_gap=self._note_gap, on_look=self._look)
        self._random = random
        self._on_state = on_state
        self._on_dead = on_dead
        self._on_duplicate = on_duplicate
        self._on_incident = on_incident
        self._gate = gate
        self._agenda = agenda
        self._conversations = conversations
        self._history = history
        self._book = Book(journal, agenda, clock=self._clock, wait_stored=self.wait_stored)
        self._jobs = JobKeeper(
            stored.account.account_id,
            owner=stored.account.owner_id,
            jobs=jobs,
            agenda=agenda,
            outlet=self,
            results=self._book,
            policies=policies,
            clock=clock,
        )
        self._alarm = Alarm(self._look_for_due, clock=self._clock)
        self._on_unknown = on_unknown
        self._observers = observers
        self._files = OutgoingFiles(journal, spool, clock=self._clock)
        self._delivery: DeliveryHere | None = None
        self._postbox: Postbox | None = None
        self._poller: Poller | None = None
        self._wants_gap_stored = False
        self._client: BotClient | None = None
        self._lanes: Lanes | None = None
        self._senders: Senders | None = None
        self._noticing: Task[None] | None = None
        self._ringing: Task[None] | None = None
        self._typing: TypingIndicators | None = None
        self._successor: StoredAccount | None = None

    async def run(self, stop: Event) -> StoredAccount | None:
        """Work until `stop` is set, then end in order.

        Returns:
            The account that takes over when the owner signed in again and got another one; None when it was stopped.

        Raises:
            ApiError, TransportError, RemoteProtocolError: Polling cannot go on, and repeating it does not help.
            StoreError: The journal cannot be opened.
        """
        await self._journal.adopt()
        try:
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
        return self._postbox

    async def replay(self, sequence: int) -> bool:
        """Let a message be handled again; see `Bot.replay`."""
        conversations = await self._journal.replay([sequence])
        self._working(self._lanes).wake(conversations)
        return bool(conversations)

    async def drop(self, sequence: int) -> bool:
        """Give a message up for good; see `Bot.drop`."""
        letter = await self._journal.read_letter(sequence)
        if letter is None or not await self._journal.drop([sequence]):
            return False
        self._working(self._lanes).wake([letter.conversation])
        return True

    async def counts(self) -> Counts:
        """Return how much there is in the journal; see `Bot.counts`."""
        return await self._journal.count()

    async def wait_stored(self, conversation: str) -> None:
        """Wait until everything that was handled before in a conversation is stored."""
        await self._working(self._lanes).wait_stored(conversation)

    async def wait_sent(self, conversation: str) -> None:
        """Wait, for a moment at most, until the journal knows what became of what is on its way in a conversation."""
        await self._working(self._senders).wait_settled(conversation, seconds=_ON_ITS_WAY)

    async def send_now(self, drafts: Sequence[Draft], *, wait: float) -> list[Receipt]:
        """Store messages at once, send them, and wait for their receipts."""
        return await self._working(self._delivery).deliver(drafts, wait=wait)

    async def find_receipt(self, client_id: ClientId, *, wait: float) -> Receipt | None:
        """Return what is known of a message, its last word if it comes in time; None when it is not known."""
        return await self._working(self._delivery).find(client_id, wait=wait)

    @property
    def files(self) -> OutgoingFiles:
        """What keeps files until they are sent."""
        return self._files

    async def forecast(self, user: UserId) -> Forecast:
        """Tell what will probably happen to a message to a user."""
        return await self._working(self._delivery).forecast(user)

    def typing(self, user: UserId) -> AbstractAsyncContextManager[None]:
        """Show a user that an answer is being written."""
        if self._working(self._senders).is_quiet:
            return nullcontext()
        return self._working(self._typing).show(user)

    async def _look_for_due(self) -> int | None:
        """Hand on what is due, and return when the next is."""
        posted = [*await self._book.post_overdue(), *await self._jobs.post_due()]
        # From the beginning, because what was received meanwhile may have been handed on already.
        self._working(self._lanes).wake([letter.conversation for letter in posted])
        due = (await self._book.next_deadline(), await self._jobs.next_due())
        return min((at_ms for at_ms in due if at_ms is not None), default=None)

    async def schedule(self, handler: str, at_ms: int, *, key: str, data: object, is_replacing: bool) -> bool:
        """Plan a job; see `Bot.schedule`."""
        planned = await self._jobs.schedule(handler, at_ms, key=key, data=data, is_replacing=is_replacing)
        self._alarm.note(at_ms)
        return planned

    async def unschedule(self, handler: str, key: str) -> bool:
        """Take a job off the agenda; see `Bot.unschedule`."""
        return await self._jobs.unschedule(handler, key)

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

    def _working(self, part: T | None) -> T:
        if part is None:
            message = "the bot is not running; call this from a handler, or while `serve()` runs"
            raise ConfigError(message)
        return part

    async def _work(self, stop: Event, tasks: TaskGroup) -> None:
        poller = self._poller = await self._open_poller()
        await self._book.open()
        await self._jobs.open()
        background = [tasks.create_task(self._keep_house()), tasks.create_task(self._watch.run())]
        try:
            while True:
                async with self._open_client(self._stored) as client:
                    self._client = client
                    self._begin(client, tasks)
                    is_refused = await poller.poll(client, generation=self._stored.generation, stop=stop)
                    if not is_refused or not await self._wait_for_login(stop):
                        await self._end(client, poller)
                        return
        finally:
            for task in [*background, self._noticing, self._ringing]:
                if task is not None:
                    task.cancel()
            for part in (self._lanes, self._senders, self._typing):
                if part is not None:
                    part.cancel()
            self._on_state(SessionState.STOPPED)

    async def _open_poller(self) -> Poller:
        intake = Intake(
            self._journal,
            owner=self._stored.account.owner_id,
            access=self._access,
            policies=self._policies,
            clock=self._clock,
            backlog=self._backlog,
            on_incident=self._on_incident,
        )
        await intake.recall()
        return Poller(
            await self._accounts.position(self._stored.account.account_id),
            intake=intake,
            journal=self._journal,
            clock=self._clock,
            random=self._random,
            last_seconds=self._policies.last_poll_seconds,
            on_taken=self._hand_on,
            on_answer=self._senders_may_go_on,
            on_incident=self._on_incident,
        )

    def _hand_on(self, taken: Taken) -> None:
        """Let senders know who wrote, and lanes what there is to handle."""
        senders = self._working(self._senders)
        for heard in taken.heard:
            if heard.is_new:
                senders.hear(heard.user, heard.conversation, heard.token)
            else:
                senders.ledger.keep_token(heard.user, heard.token)
        for duplicate in taken.duplicates:
            self._on_duplicate(duplicate)
        lanes = self._working(self._lanes)
        lanes.wake(taken.foreign)
        lanes.offer(taken.letters)

    def _senders_may_go_on(self, batch: Batch) -> None:
        """Let sends be tried again after their token was refused, once for each poll that was answered."""
        senders = self._working(self._senders)
        if senders.is_stale and not batch.is_cut:
            senders.resume(self._working(self._client))
        if self._observers is not None:
            self._observers.polled(updates=len(batch.updates))

    def _begin(self, client: BotClient, tasks: TaskGroup) -> None:
        """Start working, or go on with a new login."""
        self._on_state(SessionState.ACTIVE)
        if self._senders is not None:
            self._senders.resume(client)
            return
        senders = self._senders = Senders(
            self._journal,
            client,
            files=self._files,
            policies=self._policies,
            clock=self._clock,
            random=self._random,
            tasks=tasks,
            on_stale=lambda error: _log.warning("%s; sending waits until a poll works", error),
            on_quiet=self._note_quiet,
            on_unknown=self._on_unknown,
            on_outcome=None if self._observers is None else self._observers.sent,
        )
        self._delivery = DeliveryHere(self._journal, senders, clock=self._clock)
        self._postbox = Postbox(
            self._stored.account.account_id,
            self._journal,
            self._delivery,
            owner=self._stored.account.owner_id,
            files=self._files,
            policies=self._policies,
            clock=self._clock,
            random=self._random,
        )
        handling = Handling(
            self._stored.account.account_id,
            dispatch=self._dispatch,
            outlet=self,
            policies=self._policies,
            book=self._book,
            conversations=self._conversations,
            jobs=self._jobs,
            history=self._history,
            backlog=self._backlog,
            gate=self._gate,
        )
        self._lanes = Lanes(
            self._journal,
            handling.handle if self._observers is None else self._observers.around(handling.handle),
            senders.offer,
            policies=self._policies,
            clock=self._clock,
            random=self._random,
            tasks=tasks,
            on_dead=self._on_dead,
            on_due=self._alarm.note,
            on_parked=self._note_parked,
            plan=handling.plan if handling.has_plans else None,
        )
        self._typing = TypingIndicators(
            lambda: self._working(self._client), senders.ledger.context_token, clock=self._clock, tasks=tasks
        )
        self._noticing = tasks.create_task(
            notice_others(self._journal, senders, clock=self._clock, pause=self._policies.send_backoff.first)
        )
        senders.start()
        self._lanes.start()
        self._ringing = tasks.create_task(self._alarm.run())

    async def check_store(self) -> None:
        """Look whether the store takes writes, by writing what it holds already.

        Raises:
            StoreError: It does not.
        """
        await self._journal.note_clock_gap(self._clock.gap_ms())

    def _note_parked(self, letter: Letter) -> None:
        self._on_incident(LaneParked(letter.conversation, letter.sequence, letter.error or ""))

    def _note_quiet(self, is_quiet: bool) -> None:
        if is_quiet:
            _log.warning("the server stopped confirming messages; progress and typing are left out until it does again")
        self._on_state(SessionState.SUSPENDED if is_quiet else SessionState.ACTIVE)

    async def _wait_for_login(self, stop: Event) -> bool:
        """Wait until the person signed in again; False when the bot is stopped or another account takes over.

        Polling has stopped and the journal stays. No code is shown from here: nobody may be there to scan it.
        """
        account = self._stored.account
        _log.error("the token of %s was refused; sign in again with `ilink login`", account.account_id)
        with suppress(StoreError):  # the note is for people only
            await self._accounts.mark(self._stored, AccountState.STALE)
        self._working(self._senders).suspend()
        self._on_state(SessionState.EXPIRED)
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                with suppress(StoreError):  # looked at again
                    found = await self._accounts.find(account.account_id)
                    if found is not None and found.state is AccountState.ACTIVE:
                        self._stored = found
                        return True
                    if (successor := await self._find_successor(found)) is not None:
                        self._on_state(SessionState.DISPLACED)
                        self._successor = successor
                        return False
                await unless_set(stopping, self._clock.sleep(_LOOK_FOR_LOGIN))
        finally:
            stopping.cancel()
        return False

    async def _find_successor(self, found: StoredAccount | None) -> StoredAccount | None:
        """Find the account that the owner's newer login created; times of logins say nothing when a clock was set."""
        ours = self._stored.account
        if ours.owner_id is None or (found is not None and found.state is not AccountState.DISPLACED):
            return None
        for other in await self._accounts.list():
            account = other.account
            is_heir = account.account_id != ours.account_id and account.owner_id == ours.owner_id
            if is_heir and account.base_url == ours.base_url and other.state is AccountState.ACTIVE:
                return other
        return None

    async def _end(self, client: BotClient, poller: Poller) -> None:
        """Stop in order: handlers finish, what they said goes out, positions are stored, the server is told."""
        deadline = self._clock.monotonic() + self._policies.stop_seconds
        await self._working(self._lanes).drain(self._policies.stop_seconds)
        await self._working(self._senders).drain(max(0.0, deadline - self._clock.monotonic()))
        with suppress(StoreError):  # the server hands out again what came since then, and it is recognised
            await poller.store_cursor()
        with suppress(IlinkError, TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                await client.notify_stop()

    def _note_gap(self, gap: Gap) -> None:
        """Tell what the clocks showed; after an absence poll anew, because what was waited for may never come."""
        if gap.slept:
            _log.warning("the machine slept for %.0f s; polling anew", gap.slept)
            self._on_incident(MachineSlept(gap.slept))
        if gap.stalled:
            _log.warning("this program stood still for %.0f s; polling anew", gap.stalled)
            self._on_incident(ProcessStalled(gap.stalled))
        if gap.jumped:
            _log.warning("the clock was set by %+.0f s; windows and due times go on as before", gap.jumped)
            self._on_incident(ClockSet(gap.jumped))
            self._wants_gap_stored = True
        if gap.is_absence:
            self._working(self._poller).renew()

    async def _look(self) -> None:
        self._working(self._poller).look()
        if self._wants_gap_stored:
            await self._store_gap()

    async def _store_gap(self) -> None:
        """Tell the next process how far the times stored by this one are from those of a clock that was set."""
        try:
            await self._journal.note_clock_gap(self._clock.gap_ms())
        except StoreError as error:
            _log.warning("cannot store that the clock was set, trying again: %s", error)
        else:
            self._wants_gap_stored = False

    async def _keep_house(self) -> None:
        """Look for what other processes put into the journal, and forget what is old, now and then."""
        while True:
            with suppress(StoreError):
                await self._files.sweep()
                before_ms = self._clock.now_ms() - int(self._policies.keep_seconds * 1000)
                await self._journal.prune(before_ms)
                await self._agenda.prune(before_ms)
            for _ in range(int(_PRUNE / _SWEEP)):
                await self._clock.sleep(_SWEEP)
                self._working(self._lanes).look_again()
                self._working(self._senders).look_again()
