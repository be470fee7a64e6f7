"""The bot: handlers, and what runs them."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import signal
import sys
from asyncio import Event
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from types import FrameType

from ilink.bot.access import Gate, Pairing
from ilink.bot.backlog import Backlog, BacklogHandler
from ilink.bot.clock import Clock, WallClock
from ilink.bot.conversation import ConversationPolicy
from ilink.bot.duplicates import Duplicate
from ilink.bot.incidents import Incident
from ilink.bot.jobs import DeclaresJobs, moment_of
from ilink.bot.outbox.door import Door
from ilink.bot.outbox.elsewhere import DeliveryElsewhere
from ilink.bot.outbox.files import OutgoingFiles
from ilink.bot.outbox.outbox import Outbox
from ilink.bot.outbox.postbox import OutboxEntry, Postbox, entry_of
from ilink.bot.rates import RateLimiter
from ilink.bot.routing.dispatch import Dispatch
from ilink.bot.routing.router import Router
from ilink.bot.runner import BotClient, Runner
from ilink.bot.settings import Allow, Policies, read_access
from ilink.bot.states import SessionState
from ilink.bot.words import Language
from ilink.client.client import Client
from ilink.errors import ConfigError, LoginError
from ilink.flows.window import Forecast
from ilink.messages.media import MediaKind, UploadSource
from ilink.messages.receipts import Receipt
from ilink.process import collecting_seldom
from ilink.storage.accounts import Accounts, AccountState, StoredAccount, data_folder, local_database
from ilink.storage.agenda_sqlite import SqliteAgenda
from ilink.storage.history import SqliteHistory
from ilink.storage.journal import Counts, Letter, Outgoing
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.storage.pairings import Pairings
from ilink.storage.spool import Spool
from ilink.wire.ids import AccountId, normalize_user_id

__all__ = ["Bot", "Login", "loading_bots"]

_log = logging.getLogger(__name__)

Login = Callable[[Accounts], Awaitable[StoredAccount]]
"""Signs in and returns the stored account; called only when there is none to work with."""

BASE_URL_VARIABLE = "ILINK_BASE_URL"
ACCOUNT_VARIABLE = "ILINK_ACCOUNT"

_started_while_loading: ContextVar[list[Bot] | None] = ContextVar("_started_while_loading", default=None)


@contextmanager
def loading_bots() -> Generator[list[Bot], None, None]:
    """Let `Bot.run` only note its bot in the list, for a program that loads somebody's file and runs its bot itself."""
    started: list[Bot] = []
    token = _started_while_loading.set(started)
    try:
        yield started
    finally:
        _started_while_loading.reset(token)


class Bot(Router, DeclaresJobs):
    """A program that answers people.

        bot = Bot()

        @bot.on_text()
        async def echo(message: Message) -> None:
            await message.reply(f"You said: {message.text}")

        bot.run()

    A message is written to the journal before a handler sees it, and handled until a handler succeeds or it has failed
    too often. Messages of one conversation are handled in order, conversations side by side. What a handler replies is
    written down together with its success and carries ids derived from the message, so that a handler that runs again
    after a crash answers once.

    Args:
        allow: Who is listened to: "owner", the person who scanned; "anyone"; user ids; a function of a user id; or
            `Pairing()`, whoever the owner lets in.
        account: Which account, if this machine has several; else `ILINK_ACCOUNT`; else the newest login.
        base_url: Where the API is; else `ILINK_BASE_URL`; else where the account was signed in.
        data: Folder of accounts and journals; else `ILINK_DATA`; else the user's data folder.
        policies: What happens when something does not work.
        conversations: How questions are asked, and what is kept of conversations.
        name: What the bot calls itself towards the server, as `name/version`.
        language: What the bot speaks where it speaks by itself; None for that of the person it talks to.
        has_help: Whether there is a `/help` when there are commands and none is called so.
        open_client: Opens the way to the server for an account; the client over HTTP by default.
        clock: Source of time.
        random: Source of jitter and ids.
        environ: Where the variables are looked up.

    Raises:
        ConfigError: `allow` is a word that means nothing.
    """

    is_root = True

    def __init__(
        self,
        *,
        allow: Allow = "owner",
        account: str | None = None,
        base_url: str | None = None,
        data: Path | str | None = None,
        policies: Policies | None = None,
        conversations: ConversationPolicy | None = None,
        name: str = "",
        language: Language | None = None,
        has_help: bool = True,
        open_client: Callable[[StoredAccount], AbstractAsyncContextManager[BotClient]] | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        super().__init__()
        DeclaresJobs.__init__(self)
        self.provide(Bot, self._itself, scope="app")
        self._access = read_access(allow)
        self._pairing = allow if isinstance(allow, Pairing) else None
        self._account = account or environ.get(ACCOUNT_VARIABLE) or None
        self._base_url = base_url or environ.get(BASE_URL_VARIABLE) or None
        self._folder = data_folder(None if data is None else Path(data), environ=environ)
        self._policies = policies or Policies()
        self._conversations = conversations or ConversationPolicy()
        self._language: Language | None = language
        self._has_help = has_help
        self._name = name
        self._open_client = open_client or self._open_http_client
        self._clock: Clock = clock or WallClock()
        self._random = random or Random()  # noqa: S311  # jitter, and ids that need to be new, not secret
        self._state_hooks: list[Callable[[SessionState], None]] = []
        self._backlog_handler: BacklogHandler | None = None
        self._incident_hooks: list[Callable[[Incident], None]] = []
        self._incidents: Counter[type[Incident]] = Counter()
        self._duplicate_hooks: list[Callable[[Duplicate], None]] = []
        self._dead_hooks: list[Callable[[Letter, BaseException | None], None]] = []
        self._unknown_hooks: list[Callable[[OutboxEntry], None]] = []
        self._runner: Runner | None = None
        self._door = Door(self._open_postbox)
        self._stop = Event()
        self._state = SessionState.STOPPED

    @property
    def state(self) -> SessionState:
        """What the bot is doing."""
        return self._state

    def on_state(self, hook: Callable[[SessionState], None]) -> Callable[[SessionState], None]:
        """Call a function when the state changes; `expired` is when somebody has to sign in again.

        It is called in the event loop and must not block; what it raises ends the bot.
        """
        self._state_hooks.append(hook)
        return hook

    def on_dead_letter(
        self, hook: Callable[[Letter, BaseException | None], None]
    ) -> Callable[[Letter, BaseException | None], None]:
        """Call a function with every message that was given up, and the last error of its handler.

        It is called in the event loop and must not block; what it raises ends the bot.
        """
        self._dead_hooks.append(hook)
        return hook

    def on_unknown(self, hook: Callable[[OutboxEntry], None]) -> Callable[[OutboxEntry], None]:
        """Call a function with every message of which nobody knows whether it arrived and that is not repeated.

        Its receipt tells whether it waits for a decision, see `Outbox.asked`, or stays unknown. It is called in the
        event loop and must not block; what it raises ends the bot.
        """
        self._unknown_hooks.append(hook)
        return hook

    def on_backlog(self, function: BacklogHandler) -> BacklogHandler:
        """Decorate what handles the messages that were sent while the bot was down, with `backlog="summarise"`.

        It gets those of one person in one conversation together, in order, a hundred at most, and answers with
        `messages[-1].reply(...)`: one answer, not forty. They are done together when it succeeds, and run again
        together when it fails, like any message. Which messages are old is in `Policies.backlog_seconds`.

        Raises:
            ConfigError: It is no `async def`, or there is one already.
        """
        if not inspect.iscoroutinefunction(function) or self._backlog_handler is not None:
            message = "@bot.on_backlog takes one `async def` function, and there is one for a bot"
            raise ConfigError(message)
        self._backlog_handler = function
        return function

    def on_duplicate(self, hook: Callable[[Duplicate], None]) -> Callable[[Duplicate], None]:
        """Call a function with everything that came twice, and what became of it; `counts` has the sums.

        It is called in the event loop and must not block; what it raises ends the bot.
        """
        self._duplicate_hooks.append(hook)
        return hook

    def on_incident(self, hook: Callable[[Incident], None]) -> Callable[[Incident], None]:
        """Call a function with whatever goes wrong without stopping the bot; `incidents` has the sums.

        It is called in the event loop and must not block; what it raises ends the bot.
        """
        self._incident_hooks.append(hook)
        return hook

    @property
    def incidents(self) -> Mapping[type[Incident], int]:
        """How often what went wrong, since this object was made."""
        return dict(self._incidents)

    async def counts(self) -> Counts:
        """Return how much waits in the journal, and how much came twice since it began.

        Raises:
            ConfigError: The bot is not running.
            StoreError: The journal cannot be read.
        """
        return await self._running().counts()

    async def send(self, user: str, text: str, *, wait: float | None = None) -> Receipt:
        """Say something to a user without being asked.

        The message is in the journal when this returns, and is sent as soon as the user's window lets it. It may be
        called from any task and any event loop, and in a process that does not run the bot: then the process that does
        sends it, or, while there is none and as long as `wait` lasts, this one.

        Args:
            user: Who it is for.
            text: What to say; long texts go out in as few parts as possible.
            wait: Seconds to wait for the final receipt; None to go on at once.

        Returns:
            What is known of it; of a text in parts, of the part that fared worst. `Outbox.receipt` tells it later.

        Raises:
            ConfigError: The text is blank, or there is no account on this machine.
            StoreError: Nothing was stored, so nothing will be sent.

        Cancellation: the message may be stored, and is sent then.
        """
        return await self._door(lambda postbox: postbox.send(normalize_user_id(user), text, wait=wait))

    async def send_media(
        self,
        user: str,
        source: UploadSource,
        kind: MediaKind | None = None,
        *,
        caption: str = "",
        name: str = "",
        wait: float | None = None,
    ) -> Receipt:
        """Send a file to a user without being asked, from anywhere, as `send` does.

        A private copy of the file and the message are on the disk when this returns. It is uploaded when it is its
        turn, and again if that is so late that the link has run out.

        Args:
            user: Who it is for.
            source: A path, bytes, an open binary file, or an asynchronous iterable of bytes.
            kind: What the phone shall show it as; None decides by content. VOICE goes as a FILE: phones do not show
                voice that a bot sends (observed: ocw#215).
            caption: A text that goes before it as a message of its own, as phones expect it (official 2.4.9).
            name: The name to show; by default that of the path or file.
            wait: As for `send`.

        Returns:
            What is known of the file and its caption, of the one that fared worst. A file that cannot be uploaded is
            rejected.

        Raises:
            TooLargeError, MediaError: It is too large, or cannot be read.
            StoreError: The disk is full, or `Policies.spool_bytes` wait already; nothing was stored.
            ConfigError: It is nothing that can be sent, or there is no account on this machine.

        Cancellation: the message may be stored, and is sent then.
        """
        return await self._door(
            lambda postbox: postbox.send_media(
                normalize_user_id(user), source, kind, caption=caption, name=name, wait=wait
            )
        )

    def send_from_thread(self, user: str, text: str, *, wait: float | None = None) -> Receipt:
        """Do what `send` does from a thread without event loop, and block it until the message is stored, or known of.

        Raises:
            ConfigError: This thread runs an event loop; await `send` there. Or see `send`.
            StoreError: Nothing was stored, so nothing will be sent.
        """
        return self._door.from_thread(lambda postbox: postbox.send(normalize_user_id(user), text, wait=wait))

    async def can_send(self, user: str) -> Forecast:
        """Tell what will probably happen to a message to a user: how many are left, until when, how sure, and why.

        Raises:
            ConfigError: There is no account on this machine.
            StoreError: The journal cannot be read.
        """
        return await self._door(lambda postbox: postbox.forecast(normalize_user_id(user)))

    @property
    def outbox(self) -> Outbox:
        """The messages that wait to be sent: what became of them, and those that need a decision."""
        return Outbox(self._door)

    async def schedule(
        self,
        job: str,
        *,
        at: datetime | None = None,
        in_: float | timedelta | None = None,
        data: object = None,
        key: str = "",
        replace: bool = False,
    ) -> bool:
        """Let a job be done once at a time, also if the bot is started again in between.

            @bot.job()
            async def remind(job: Job) -> None:
                await job.send(f"Do not forget: {job.data}")

            await bot.schedule("remind", in_=3600, data="the tea", key=message.key)

        Args:
            job: The name of a function that was declared with `@bot.job()`, or of any other job.
            at: When, with a time zone.
            in_: Or in how many seconds.
            data: What the job gets as `job.data`; anything that JSON can hold.
            key: Names this time among those of the job: one that is known, or was done of late, is not planned again.
                A handler that gives one derived from its message plans once, however often it is run. By default a new
                one.
            replace: Put it in the place of the one with this key instead.

        Returns:
            Whether it was planned.

        Raises:
            ConfigError: The bot is not running, there is no such job, or the time or the data cannot be used.
            StoreError: It could not be stored.
        """
        at_ms = moment_of(at, in_, self._clock.now_ms())
        key = key or f"{self._random.getrandbits(80):020x}"
        return await self._running().schedule(job, at_ms, key=key, data=data, is_replacing=replace)

    async def unschedule(self, job: str, *, key: str) -> bool:
        """Take what was planned with `schedule` off the agenda, and tell whether it was still to be done.

        Raises:
            ConfigError: The bot is not running.
            StoreError: It could not be stored.
        """
        return await self._running().unschedule(job, key)

    def run(self, *, login: Login | None = None) -> None:
        """Run until Ctrl-C or SIGTERM, and stop in order; a second Ctrl-C stops at once.

        In a file that `ilink run` loads this returns at once: the bot is run when the whole file is loaded.

        Args:
            login: Signs in when this machine has no account; by default a QR code is shown at the terminal, if there is
                one. A program without a terminal never waits for somebody to scan.

        Raises:
            ConfigError: There is no handler, or no account and no terminal to sign in at.
            StoreLockedError: Another process runs this account; the error says which.
            ApiError, TransportError, RemoteProtocolError: Polling cannot go on.
        """
        started = _started_while_loading.get()
        if started is not None:
            started.append(self)
            return
        with collecting_seldom(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self._serve_until_signalled(login or self._sign_in_at_terminal))

    async def serve(self, *, login: Login | None = None) -> None:
        """Run until `stop` is called, in the loop of the caller.

        Args:
            login: Signs in and returns the stored account, when this machine has none that fits; without it that is an
                error. It is never called later: a bot whose token is refused waits for `ilink login` instead.

        Raises:
            See `run`.

        Cancellation: stops at once. Messages whose handlers did not finish are handled by the next run.
        """
        dispatch = Dispatch(self, language=self._language, has_help=self._has_help)
        Backlog(self._policies, self._backlog_handler)  # what does not go together is refused before anything begins
        if not dispatch and not self._jobs:
            message = "the bot has no handler; decorate a function with @bot.on_text()"
            raise ConfigError(message)
        async with AsyncExitStack() as exits:
            exits.callback(self._stop.clear)
            database = await exits.enter_async_context(local_database(self._folder))
            accounts = await exits.enter_async_context(Accounts(self._folder, database=database))
            stored = await self._choose_account(accounts) or await self._sign_in(accounts, login)
            if stored is None:
                return
            await exits.enter_async_context(dispatch.lifespan())
            successor = await self._serve_account(stored, accounts, dispatch, None)
            while successor is not None:
                previous, stored = stored.account.account_id, successor
                successor = await self._serve_account(stored, accounts, dispatch, previous)

    async def replay(self, sequence: int) -> bool:
        """Let a message be handled again that was given up or holds its conversation up: `ilink journal replay`.

        Args:
            sequence: Its place, as `on_dead_letter` and `LaneParked` have it.

        Returns:
            Whether there was such a message.

        Raises:
            ConfigError: The bot is not running.
            StoreError: Nothing has changed.
        """
        return await self._running().replay(sequence)

    async def drop(self, sequence: int) -> bool:
        """Give a message up for good; what waits behind it is handled. See `replay`.

        Raises:
            ConfigError: The bot is not running.
            StoreError: Nothing has changed.
        """
        return await self._running().drop(sequence)

    def stop(self) -> None:
        """Stop in order: no more polling, handlers finish, what they said is sent; what is not done stays stored.

        Called before `serve`, it lets that end at once.
        """
        self._stop.set()

    def _itself(self) -> Bot:
        return self

    def _running(self) -> Runner:
        if self._runner is None:
            message = "the bot is not running; call this while `serve()` or `run()` runs"
            raise ConfigError(message)
        return self._runner

    async def _serve_account(
        self, stored: StoredAccount, accounts: Accounts, dispatch: Dispatch, previous: AccountId | None
    ) -> StoredAccount | None:
        """Run one account; return the one that takes over from it."""
        account_id = stored.account.account_id
        with accounts.lock(account_id):
            async with SqliteJournal(accounts.database, account_id) as journal:
                if previous is not None:
                    await journal.inherit(previous)
                runner = self._runner = Runner(
                    stored,
                    accounts=accounts,
                    journal=journal,
                    spool=self._spool(),
                    open_client=self._open_client,
                    dispatch=dispatch,
                    access=self._access,
                    policies=self._policies,
                    backlog=Backlog(self._policies, self._backlog_handler),
                    clock=self._clock,
                    random=self._random,
                    on_state=self._note_state,
                    on_dead=self._note_dead,
                    on_duplicate=self._note_duplicate,
                    on_incident=self._note_incident,
                    gate=self._gate(stored, accounts),
                    agenda=SqliteAgenda(accounts.database, account_id),
                    conversations=self._conversations,
                    jobs=self._jobs,
                    history=SqliteHistory(accounts.database, account_id),
                    on_unknown=self._note_unknown,
                )
                try:
                    with self._door.opened(lambda: runner.postbox):
                        return await runner.run(self._stop)
                finally:
                    self._runner = None

    @asynccontextmanager
    async def _open_postbox(self) -> AsyncGenerator[Postbox, None]:
        """Open a postbox beside whatever process runs the bot."""
        async with AsyncExitStack() as exits:
            database = await exits.enter_async_context(local_database(self._folder))
            accounts = await exits.enter_async_context(Accounts(self._folder, database=database))
            stored = await self._choose_account(accounts)
            if stored is None:
                raise self._no_account()
            account_id = stored.account.account_id
            journal = await exits.enter_async_context(SqliteJournal(database, account_id))
            files = OutgoingFiles(journal, self._spool(), clock=self._clock)
            delivery = DeliveryElsewhere(
                journal,
                lock=accounts.lock(account_id),
                open_client=lambda: self._open_client(stored),
                files=files,
                policies=self._policies,
                clock=self._clock,
                random=self._random,
            )
            yield Postbox(
                journal, delivery, files=files, policies=self._policies, clock=self._clock, random=self._random
            )

    def _spool(self) -> Spool:
        return Spool(self._folder / "spool", most_bytes=self._policies.spool_bytes)

    def _gate(self, stored: StoredAccount, accounts: Accounts) -> Gate | None:
        rate = self._policies.rate
        if self._pairing is None and rate is None:
            return None
        return Gate(
            owner=stored.account.owner_id,
            pairing=self._pairing,
            pairings=Pairings(accounts.database, stored.account.account_id),
            limiter=None if rate is None else RateLimiter(rate),
            language=self._language,
            clock=self._clock,
        )

    def _open_http_client(self, stored: StoredAccount) -> AbstractAsyncContextManager[BotClient]:
        return Client(stored.account, base_url=self._base_url, bot_agent=self._name, random=self._random)

    async def _choose_account(self, accounts: Accounts) -> StoredAccount | None:
        """Return the newest account that fits the settings and may still work."""
        for stored in await accounts.list():
            account = stored.account
            if self._account is not None and account.account_id != self._account:
                continue
            if self._base_url is not None and account.base_url.rstrip("/") != self._base_url.rstrip("/"):
                continue
            if stored.state is not AccountState.DISPLACED:
                return stored
        return None

    async def _sign_in(self, accounts: Accounts, login: Login | None) -> StoredAccount | None:
        """Sign in; None when the bot is told to stop before anybody has confirmed."""
        if login is None:
            raise self._no_account()
        signing = asyncio.ensure_future(login(accounts))
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({signing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return await signing if signing.done() else None
        finally:
            signing.cancel()
            stopping.cancel()
            await asyncio.gather(signing, stopping, return_exceptions=True)

    async def _sign_in_at_terminal(self, accounts: Accounts) -> StoredAccount:
        if self._account is not None or not sys.stderr.isatty():
            raise self._no_account()
        # Loaded late: only the first run of a bot draws a QR code.
        from ilink.client.terminal import sign_in_at_terminal

        signed_in = await sign_in_at_terminal(accounts, base_url=self._base_url)
        if not isinstance(signed_in, StoredAccount):
            message = "the server says that this bot is bound here already; run `ilink login` to bind it anew"
            raise LoginError(message)
        return signed_in

    def _no_account(self) -> ConfigError:
        wanted = f"the account {self._account}" if self._account else "an account"
        where = f" at {self._base_url}" if self._base_url else ""
        return ConfigError(f"there is no login of {wanted}{where} on this machine; run `ilink login` first")

    async def _serve_until_signalled(self, login: Login) -> None:
        loop = asyncio.get_running_loop()
        serving = asyncio.ensure_future(self.serve(login=login))

        def stop() -> None:
            if self._stop.is_set():
                serving.cancel()
            self._stop.set()

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(stop)

        # asyncio's own handler would cancel everything on the first Ctrl-C.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, on_signal)
        try:
            await serving
        except asyncio.CancelledError:
            if not self._stop.is_set():
                raise

    def _note_state(self, state: SessionState) -> None:
        if state is not self._state:
            _log.info("the bot is %s", state)
            self._state = state
            for hook in self._state_hooks:
                hook(state)

    def _note_incident(self, incident: Incident) -> None:
        self._incidents[type(incident)] += 1
        for hook in self._incident_hooks:
            hook(incident)

    def _note_unknown(self, message: Outgoing) -> None:
        for hook in self._unknown_hooks:
            hook(entry_of(message))

    def _note_duplicate(self, duplicate: Duplicate) -> None:
        for hook in self._duplicate_hooks:
            hook(duplicate)

    def _note_dead(self, letter: Letter, error: BaseException | None) -> None:
        for hook in self._dead_hooks:
            hook(letter, error)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the faster loop where the platform has it."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
