"""One account at work: poll, store, handle, send; and its end, in order."""

from __future__ import annotations

import asyncio
import logging
import traceback
from asyncio import Event, Task, TaskGroup
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from enum import StrEnum
from random import Random
from typing import Final, Protocol, TypeVar

from ilink.bot.clock import Clock
from ilink.bot.lanes import Lanes
from ilink.bot.routes import Routes
from ilink.bot.senders import Senders, SendsMessages
from ilink.bot.settings import Access, Policies
from ilink.bot.turn import Turn, drafts_of
from ilink.bot.typing_indicator import ShowsTyping, TypingIndicators
from ilink.client.answers import Batch
from ilink.errors import ConfigError, HandlerError, IlinkError, StaleTokenError, StoreError
from ilink.flows.polling import PollAfter, PollState, Revive, Stop, after_batch, after_error
from ilink.flows.window import Forecast, forecast
from ilink.messages.identity import identify
from ilink.messages.incoming import read_message, read_moment, read_update
from ilink.messages.media import MediaMover
from ilink.messages.receipts import Deferred, DeferredWhy, Receipt
from ilink.storage.accounts import Accounts, AccountState, StoredAccount
from ilink.storage.journal import Arrival, Draft, InboxState, Journal, Letter
from ilink.wire.enums import MessageType
from ilink.wire.ids import Cursor, Secret, UserId
from ilink.wire.models import WeixinMessage, given

__all__ = ["BotClient", "Runner", "SessionState"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_LOOK_FOR_LOGIN: Final = 2.0
"""Seconds between two looks for a new login of an account whose token was refused."""

_KEEP_CURSOR: Final = 30.0
"""Seconds a cursor that came without updates may stay in memory only."""

_PRUNE: Final = 3_600.0
_SWEEP: Final = 60.0
"""Seconds between two looks for dead letters that somebody replays, and for messages that expired."""

_GOODBYE: Final = 3.0


class SessionState(StrEnum):
    """What an account is doing."""

    ACTIVE = "active"
    EXPIRED = "expired"
    """The server refused the token. Nothing is lost; a login of the same person goes on where this stopped."""
    DISPLACED = "displaced"
    """The owner signed in again and got another account, which takes over."""
    SUSPENDED = "suspended"
    """The server takes messages and does not confirm them any more, as it does with accounts under restriction."""
    STOPPED = "stopped"


class BotClient(SendsMessages, ShowsTyping, Protocol):
    """What a runner needs of a client."""

    async def get_updates(self, cursor: Cursor, *, hint_ms: int | None = None) -> Batch:
        """Wait for updates; see `Client.get_updates`."""
        ...

    async def notify_start(self) -> None:
        """Say that polling begins; see `Client.notify_start`."""
        ...

    async def notify_stop(self) -> None:
        """Say that polling ends; see `Client.notify_stop`."""
        ...

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
        open_client: Opens a client for an account; used again after a new login.
        routes: Which function handles which message.
        access: Who is listened to.
        policies: What happens when something does not work.
        clock: Source of time.
        random: Source of jitter and ids.
        on_state: Called when the state changes.
        on_dead: Called with a message that was given up.
    """

    def __init__(
        self,
        stored: StoredAccount,
        *,
        accounts: Accounts,
        journal: Journal,
        open_client: Callable[[StoredAccount], AbstractAsyncContextManager[BotClient]],
        routes: Routes,
        access: Access,
        policies: Policies,
        clock: Clock,
        random: Random,
        on_state: Callable[[SessionState], None],
        on_dead: Callable[[Letter, BaseException | None], None],
    ) -> None:
        self._stored = stored
        self._accounts = accounts
        self._journal = journal
        self._open_client = open_client
        self._routes = routes
        self._access = access
        self._policies = policies
        self._clock = clock
        self._random = random
        self._on_state = on_state
        self._on_dead = on_dead
        self._client: BotClient | None = None
        self._lanes: Lanes | None = None
        self._senders: Senders | None = None
        self._typing: TypingIndicators | None = None
        self._refused = Event()
        self._cursor = Cursor("")
        self._stored_cursor = Cursor("")
        self._hint_ms: int | None = None
        self._cursor_kept_at = 0.0
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

    async def send(self, user: UserId, text: str, *, wait: float | None) -> Receipt:
        """Say something to a user without being asked; see `Bot.send`."""
        name = f"{self._random.getrandbits(120):030x}"
        drafts = drafts_of(
            text,
            conversation=f"u:{user}",
            user=user,
            policies=self._policies,
            now_ms=self._clock.now_ms(),
            name=lambda part: f"{name}{part:02x}",
        )
        return (await self.send_now(drafts, wait=wait or 0.0))[-1]

    async def forecast(self, user: UserId) -> Forecast:
        """Tell what will probably happen to a message to a user; see `Bot.can_send`."""
        return forecast(await self._working(self._senders).window(user), self._clock.now_ms())

    async def wait_stored(self, conversation: str) -> None:
        """Wait until everything that was handled before in a conversation is stored."""
        await self._working(self._lanes).wait_stored(conversation)

    async def send_now(self, drafts: Sequence[Draft], *, wait: float) -> list[Receipt]:
        """Store messages at once, send them, and wait for their receipts."""
        senders = self._working(self._senders)
        stored = await self._journal.enqueue(drafts, now_ms=self._clock.now_ms())
        senders.offer(stored)
        deadline = self._clock.monotonic() + wait
        receipts: list[Receipt] = []
        for draft in drafts:
            left = max(0.0, deadline - self._clock.monotonic())
            receipt = await senders.wait_receipt(draft.client_id, seconds=left)
            receipts.append(receipt or Deferred(client_id=draft.client_id, why=DeferredWhy.QUEUE))
        return receipts

    def typing(self, user: UserId) -> AbstractAsyncContextManager[None]:
        """Show a user that an answer is being written."""
        if self._working(self._senders).is_quiet:
            return nullcontext()
        return self._working(self._typing).show(user)

    def now_ms(self) -> int:
        """Return the time of day."""
        return self._clock.now_ms()

    @property
    def media(self) -> MediaMover:
        """What moves files."""
        return self._working(self._client).media

    def _working(self, part: T | None) -> T:
        if part is None:
            message = "the bot is not running; call this from a handler, or while `serve()` runs"
            raise ConfigError(message)
        return part

    async def _work(self, stop: Event, tasks: TaskGroup) -> None:
        position = await self._accounts.position(self._stored.account.account_id)
        self._cursor = self._stored_cursor = position.cursor
        self._hint_ms = position.hint_ms
        keeping = tasks.create_task(self._keep_house())
        try:
            while True:
                async with self._open_client(self._stored) as client:
                    self._client = client
                    self._begin(client, tasks)
                    is_refused = await self._poll(client, stop)
                    if not is_refused or not await self._wait_for_login(stop):
                        await self._end(client)
                        return
        finally:
            keeping.cancel()
            for part in (self._lanes, self._senders, self._typing):
                if part is not None:
                    part.cancel()
            self._on_state(SessionState.STOPPED)

    def _begin(self, client: BotClient, tasks: TaskGroup) -> None:
        """Start working, or go on with a new login."""
        self._on_state(SessionState.ACTIVE)
        if self._senders is not None:
            self._senders.resume(client)
            return
        self._senders = Senders(
            self._journal,
            client,
            policies=self._policies,
            clock=self._clock,
            random=self._random,
            tasks=tasks,
            on_stale=lambda error: _log.warning("%s; sending waits until a poll works", error),
            on_quiet=self._note_quiet,
        )
        self._lanes = Lanes(
            self._journal,
            self._handle,
            self._senders.offer,
            policies=self._policies,
            clock=self._clock,
            random=self._random,
            tasks=tasks,
            on_dead=self._on_dead,
        )
        self._typing = TypingIndicators(
            lambda: self._working(self._client), self._senders.context_token, clock=self._clock, tasks=tasks
        )
        self._senders.start()
        self._lanes.start()

    def _note_quiet(self, is_quiet: bool) -> None:
        if is_quiet:
            _log.warning("the server stopped confirming messages; progress and typing are left out until it does again")
        self._on_state(SessionState.SUSPENDED if is_quiet else SessionState.ACTIVE)

    async def _poll(self, client: BotClient, stop: Event) -> bool:
        """Poll until the bot is stopped (False) or the token is refused for good (True)."""
        state = PollState()
        stopping = asyncio.create_task(stop.wait())
        try:
            with suppress(IlinkError):  # what it is good for is unknown; the official client ignores failures as well
                await client.notify_start()
            while not stop.is_set():
                began = self._clock.monotonic()
                try:
                    batch = await _unless(stopping, client.get_updates(self._cursor, hint_ms=self._hint_ms))
                    if batch is None:
                        break
                except IlinkError as error:
                    state, step = after_error(state, error, jitter=self._random.random())
                    _log.warning("polling failed: %s", error)
                else:
                    await self._take(batch, stop)
                    self._senders_may_go_on(client, batch)
                    held = self._clock.monotonic() - began
                    state, step = after_batch(
                        state, is_empty=not batch.updates, held=held, jitter=self._random.random()
                    )
                match step:
                    case PollAfter():
                        if step.seconds:
                            await _unless(stopping, self._clock.sleep(step.seconds))
                    case Revive():
                        with suppress(IlinkError):
                            await client.notify_start()
                    case Stop():
                        if isinstance(step.error, StaleTokenError):
                            return True
                        raise step.error
            return False
        finally:
            stopping.cancel()

    def _senders_may_go_on(self, client: BotClient, batch: Batch) -> None:
        """Let sends be tried again after their token was refused, once for each poll that was answered."""
        senders = self._working(self._senders)
        if senders.is_stale and not batch.is_cut:
            senders.resume(client)

    async def _take(self, batch: Batch, stop: Event) -> None:
        """Store what a poll brought, and hand it on; an idle poll writes nothing."""
        self._hint_ms = batch.hint_ms
        if batch.updates:
            await self._store(batch, stop)
        elif batch.cursor != self._stored_cursor:
            now = self._clock.monotonic()
            if self._cursor == self._stored_cursor:
                self._cursor_kept_at = now
            self._cursor = batch.cursor
            if now - self._cursor_kept_at >= _KEEP_CURSOR:
                await self._store_cursor()

    async def _store(self, batch: Batch, stop: Event) -> None:
        updates = [(raw, read_update(raw)) for raw in batch.updates]
        identities = identify(updates, cursor=batch.cursor)
        arrivals = [
            self._arrival(raw, wire, identity) for (raw, wire), identity in zip(updates, identities, strict=True)
        ]
        now_ms = self._clock.now_ms()
        while True:
            try:
                ingested = await self._journal.ingest(
                    arrivals,
                    cursor=batch.cursor,
                    generation=self._stored.generation,
                    hint_ms=batch.hint_ms,
                    now_ms=now_ms,
                )
                break
            except StoreError as error:
                # The server may hand this batch out only once, so it is kept until the store takes it.
                _log.error("cannot store %d updates, trying again: %s", len(arrivals), error)
                if stop.is_set():
                    raise
                await self._clock.sleep(self._policies.handler_backoff.first)
        self._cursor = self._stored_cursor = batch.cursor
        self._hand_on(arrivals, ingested.sequences, now_ms)

    def _hand_on(self, arrivals: Sequence[Arrival], sequences: Sequence[int | None], now_ms: int) -> None:
        lanes, senders = self._working(self._lanes), self._working(self._senders)
        letters: list[Letter] = []
        for arrival, sequence in zip(arrivals, sequences, strict=True):
            if arrival.opens and arrival.user:
                if sequence is None:
                    senders.keep_token(arrival.user, arrival.context_token)
                else:
                    senders.hear(arrival.user, arrival.conversation, arrival.context_token)
            if sequence is not None and arrival.state is InboxState.WAITING:
                letters.append(
                    Letter(
                        sequence=sequence,
                        conversation=arrival.conversation,
                        user=arrival.user,
                        identity=arrival.identity,
                        raw=arrival.raw,
                        received_ms=now_ms,
                    )
                )
        lanes.offer(letters)

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
        if not self._access(user, self._stored.account.owner_id):
            return "its sender is not listened to"
        sent_at = read_moment(given(wire.create_time_ms, None))
        if sent_at is None or self._policies.backlog == "process":
            return None
        age = self._clock.now_ms() / 1000 - sent_at.timestamp()
        if age < self._policies.backlog_seconds:
            return None
        is_kept = callable(self._policies.backlog) and self._policies.backlog(sent_at)
        return None if is_kept else f"it was sent {age:.0f} s before it came"

    async def _handle(self, letter: Letter) -> Sequence[Draft]:
        """Run the handler of a message; return what it says."""
        wire = read_update(letter.raw)
        if wire is None:
            return ()
        account = self._stored.account.account_id
        turn = Turn(account, letter, self, self._policies)
        message = read_message(
            letter.raw,
            wire,
            account=account,
            sequence=letter.sequence,
            attempt=letter.attempts + letter.interrupted + 1,
            turn=turn,
        )
        handler = self._routes.find(message)
        if handler is None:
            _log.info("nobody handles message %d, a %s", letter.sequence, type(message).__name__)
            return ()
        try:
            async with asyncio.timeout(self._policies.handler_seconds):
                await handler.function(message)
        except Exception as error:
            words = f"the handler {handler.name} failed on message {letter.sequence}: {_words(error)}"
            raise HandlerError(words, handler=handler.name, message_id=message.id) from error
        return turn.drafts

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
                    if (successor := await self._find_successor()) is not None:
                        self._on_state(SessionState.DISPLACED)
                        self._successor = successor
                        return False
                await _unless(stopping, self._clock.sleep(_LOOK_FOR_LOGIN))
        finally:
            stopping.cancel()
        return False

    async def _find_successor(self) -> StoredAccount | None:
        """Find the account that the owner's newer login created."""
        ours = self._stored
        for other in await self._accounts.list():
            is_newer = other.signed_in_at > ours.signed_in_at and other.state is AccountState.ACTIVE
            if is_newer and ours.account.owner_id and other.account.owner_id == ours.account.owner_id:
                return other
        return None

    async def _end(self, client: BotClient) -> None:
        """Stop in order: handlers finish, what they said goes out, positions are stored, the server is told."""
        deadline = self._clock.monotonic() + self._policies.stop_seconds
        await self._working(self._lanes).drain(self._policies.stop_seconds)
        await self._working(self._senders).drain(max(0.0, deadline - self._clock.monotonic()))
        if self._cursor != self._stored_cursor:
            with suppress(StoreError):
                await self._store_cursor()
        with suppress(IlinkError, TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                await client.notify_stop()

    async def _store_cursor(self) -> None:
        await self._journal.ingest(
            [],
            cursor=self._cursor,
            generation=self._stored.generation,
            hint_ms=self._hint_ms,
            now_ms=self._clock.now_ms(),
        )
        self._stored_cursor = self._cursor

    async def _keep_house(self) -> None:
        """Look for what other processes put into the journal, and forget what is old, now and then."""
        while True:
            with suppress(StoreError):
                await self._journal.prune(self._clock.now_ms() - int(self._policies.keep_seconds * 1000))
            for _ in range(int(_PRUNE / _SWEEP)):
                await self._clock.sleep(_SWEEP)
                self._working(self._lanes).look_again()
                self._working(self._senders).look_again()


async def _unless(stopping: Task[bool], work: Coroutine[None, None, T]) -> T | None:
    """Do some work unless the bot is stopped; what was finished at that moment counts."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    return None if task.cancelled() else task.result()


def _words(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()
