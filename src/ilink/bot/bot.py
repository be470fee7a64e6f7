"""The bot: handlers, and what runs them."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import signal
import sys
from asyncio import Event
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from types import FrameType
from typing import Final, Literal, TypeVar

from ilink.bot.access import Gate, Pairing
from ilink.bot.backlog import Backlog, BacklogHandler
from ilink.bot.clock import Clock, WallClock
from ilink.bot.conversation import ConversationPolicy
from ilink.bot.crew import Crew
from ilink.bot.hooks import DeadHook, DuplicateHook, Hooks, IncidentHook, StateHook, UnknownHook
from ilink.bot.incidents import AccountFailed, Incident
from ilink.bot.jobs import DeclaresJobs, moment_of
from ilink.bot.outbox.door import Address, Door, choose
from ilink.bot.outbox.elsewhere import DeliveryElsewhere
from ilink.bot.outbox.files import OutgoingFiles
from ilink.bot.outbox.outbox import Outbox
from ilink.bot.outbox.postbox import Postbox
from ilink.bot.rates import RateLimiter
from ilink.bot.routing.dispatch import Dispatch
from ilink.bot.routing.router import Router
from ilink.bot.runner import BotClient, Runner
from ilink.bot.settings import Allow, Policies, read_access
from ilink.bot.states import SessionState
from ilink.bot.wanted import Wanted, read_wanted
from ilink.bot.words import Language
from ilink.client.client import Client
from ilink.errors import ConfigError, LoginError
from ilink.flows.window import Forecast
from ilink.messages.media import MediaKind, UploadSource
from ilink.messages.receipts import Receipt
from ilink.process import collecting_seldom
from ilink.storage.accounts import Accounts, StoredAccount, data_folder, local_database
from ilink.storage.agenda_sqlite import SqliteAgenda
from ilink.storage.history import SqliteHistory
from ilink.storage.journal import Counts, added
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.storage.pairings import Pairings
from ilink.storage.spool import Spool
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, normalize_user_id

__all__ = ["Bot", "Login", "loading_bots"]

_log = logging.getLogger(__name__)

Login = Callable[[Accounts], Awaitable[StoredAccount]]
"""Signs in and returns the stored account; called only when there is none to work with."""

BASE_URL_VARIABLE = "ILINK_BASE_URL"
ACCOUNT_VARIABLE = "ILINK_ACCOUNT"

T = TypeVar("T")

_BEST_FIRST: Final = (SessionState.ACTIVE, SessionState.SUSPENDED, SessionState.EXPIRED, SessionState.DISPLACED)

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
        accounts: Several accounts side by side instead, those with these ids or "all"; also those that are signed in
            while the bot runs. `ILINK_ACCOUNT` may say so too: "all", or ids with commas between.
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
        ConfigError: `allow` is a word that means nothing, or both `account` and `accounts` are given.
    """

    is_root = True

    def __init__(
        self,
        *,
        allow: Allow = "owner",
        account: str | None = None,
        accounts: Literal["all"] | Iterable[str] | None = None,
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
        self._wanted: Wanted = read_wanted(account, accounts, variable=environ.get(ACCOUNT_VARIABLE))
        self._base_url = base_url or environ.get(BASE_URL_VARIABLE) or None
        self._folder: Path = data_folder(None if data is None else Path(data), environ=environ)
        self._policies = policies or Policies()
        self._conversations = conversations or ConversationPolicy()
        self._language: Language | None = language
        self._has_help = has_help
        self._name = name
        self._open_client = open_client or self._open_http_client
        self._clock: Clock = clock or WallClock()
        self._random = random or Random()  # noqa: S311  # jitter, and ids that need to be new, not secret
        self._backlog_handler: BacklogHandler | None = None
        self._hooks = Hooks()
        self._crew: Crew | None = None
        self._door = Door(self._open_postboxes)
        self._stop = Event()

    @property
    def state(self) -> SessionState:
        """What the bot is doing; of several accounts, what the one does that does best."""
        states = set(self._hooks.states.values())
        return next((state for state in _BEST_FIRST if state in states), SessionState.STOPPED)

    @property
    def states(self) -> Mapping[AccountId, SessionState]:
        """What each account does that the bot works for; `stopped` is one that cannot work now."""
        return self._hooks.states

    def on_state(self, hook: StateHook) -> StateHook:
        """Call a function when the state of an account changes; `expired` is when somebody has to sign in again.

        It is told the account, if it takes one argument more: `def changed(state, account)`. So are all hooks. It is
        called in the event loop and must not block; what it raises ends the bot.
        """
        self._hooks.on_state(hook)
        return hook

    def on_dead_letter(self, hook: DeadHook) -> DeadHook:
        """Call a function with every message that was given up, and the last error of its handler.

        It is called in the event loop and must not block; what it raises ends the bot.
        """
        self._hooks.on_dead(hook)
        return hook

    def on_unknown(self, hook: UnknownHook) -> UnknownHook:
        """Call a function with every message of which nobody knows whether it arrived and that is not repeated.

        Its receipt tells whether it waits for a decision, see `Outbox.asked`, or stays unknown. It is called in the
        event loop and must not block; what it raises ends the bot.
        """
        self._hooks.on_unknown(hook)
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

    def on_duplicate(self, hook: DuplicateHook) -> DuplicateHook:
        """Call a function with everything that came twice, and what became of it; `counts` has the sums.

        It is called in the event loop and must not block; what it raises ends the bot.
        """
        self._hooks.on_duplicate(hook)
        return hook

    def on_incident(self, hook: IncidentHook) -> IncidentHook:
        """Call a function with whatever goes wrong without stopping the bot; `incidents` has the sums.

        It is called in the event loop and must not block; what it raises ends the bot.
        """
        self._hooks.on_incident(hook)
        return hook

    @property
    def incidents(self) -> Mapping[type[Incident], int]:
        """How often what went wrong, since this object was made."""
        return self._hooks.incidents

    async def counts(self, *, account: str | None = None) -> Counts:
        """Return how much waits in the journal, and how much came twice since it began.

        Args:
            account: Of which account; None for all together.

        Raises:
            ConfigError: The bot is not running, or not for this account.
            StoreError: The journal cannot be read.
        """
        runners = self._running() if account is None else [self._runner_of(account)]
        return added([await runner.counts() for runner in runners])

    async def send(self, user: str, text: str, *, account: str | None = None, wait: float | None = None) -> Receipt:
        """Say something to a user without being asked.

        The message is in the journal when this returns, and is sent as soon as the user's window lets it. It may be
        called from any task and any event loop, and in a process that does not run the bot: then the process that does
        sends it, or, while there is none and as long as `wait` lasts, this one.

        Args:
            user: Who it is for.
            text: What to say; long texts go out in as few parts as possible.
            account: Which of several accounts says it. By default, in a handler, job or what it starts, the one that it
                works for; elsewhere the one that knows the user.
            wait: Seconds to wait for the final receipt; None to go on at once.

        Returns:
            What is known of it; of a text in parts, of the part that fared worst. `Outbox.receipt` tells it later.

        Raises:
            ConfigError: The text is blank, there is no account on this machine, or several accounts know the user, or
                none of several does.
            StoreError: Nothing was stored, so nothing will be sent.

        Cancellation: the message may be stored, and is sent then.
        """
        to = self._address(user, account)
        return await self._door(lambda postbox: postbox.send(normalize_user_id(user), text, wait=wait), to)

    async def send_media(
        self,
        user: str,
        source: UploadSource,
        kind: MediaKind | None = None,
        *,
        caption: str = "",
        name: str = "",
        account: str | None = None,
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
            account: As for `send`.
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
            ),
            self._address(user, account),
        )

    def send_from_thread(
        self, user: str, text: str, *, account: str | None = None, wait: float | None = None
    ) -> Receipt:
        """Do what `send` does from a thread without event loop, and block it until the message is stored, or known of.

        Raises:
            ConfigError: This thread runs an event loop; await `send` there. Or see `send`.
            StoreError: Nothing was stored, so nothing will be sent.
        """
        to = self._address(user, account)
        return self._door.from_thread(lambda postbox: postbox.send(normalize_user_id(user), text, wait=wait), to)

    async def can_send(self, user: str, *, account: str | None = None) -> Forecast:
        """Tell what will probably happen to a message to a user: how many are left, until when, how sure, and why.

        Raises:
            ConfigError: There is no account on this machine, or it is not clear which of several, as for `send`.
            StoreError: The journal cannot be read.
        """
        to = self._address(user, account)
        return await self._door(lambda postbox: postbox.forecast(normalize_user_id(user)), to)

    @property
    def outbox(self) -> Outbox:
        """The messages that wait to be sent: what became of them, and those that need a decision."""
        return Outbox(self._at_each)

    async def schedule(
        self,
        job: str,
        *,
        at: datetime | None = None,
        in_: float | timedelta | None = None,
        data: object = None,
        key: str = "",
        replace: bool = False,
        account: str | None = None,
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
            account: For which of several accounts; by default, in a handler or job, for the one that it works for.

        Returns:
            Whether it was planned.

        Raises:
            ConfigError: The bot is not running, there is no such job, the time or the data cannot be used, or it is not
                clear which account is meant.
            StoreError: It could not be stored.
        """
        at_ms = moment_of(at, in_, self._clock.now_ms())
        key = key or f"{self._random.getrandbits(80):020x}"
        return await self._runner_of(account).schedule(job, at_ms, key=key, data=data, is_replacing=replace)

    async def unschedule(self, job: str, *, key: str, account: str | None = None) -> bool:
        """Take what was planned with `schedule` off the agenda, and tell whether it was still to be done.

        Raises:
            ConfigError: The bot is not running, or it is not clear which account is meant.
            StoreError: It could not be stored.
        """
        return await self._runner_of(account).unschedule(job, key)

    async def add_account(self, account: Account) -> StoredAccount:
        """Store an account whose login has just worked, and work for it too; `ilink login` elsewhere does the same.

        Raises:
            ConfigError: The bot is not running, or works for one account only.
            StoreError: Nothing was stored.
        """
        crew = self._crew_of_many()
        stored = await crew.accounts.put(account)
        crew.add(account.account_id)
        return stored

    async def remove_account(self, account: str) -> bool:
        """Forget the login of an account, and end its work in order; `ilink logout` elsewhere does the same.

        This returns when the login is forgotten, so that a handler may call it. Handlers finish after that, and what
        they say is sent while `Policies.stop_seconds` lasts. What is not done by then stays in the journal, for when
        the account is signed in again.

        Returns:
            Whether there was such an account.

        Raises:
            ConfigError: The bot is not running, or works for one account only.
            StoreError: Nothing was forgotten.
        """
        crew = self._crew_of_many()
        was_there = await crew.accounts.remove(AccountId(account))
        crew.look_again()
        return was_there

    def run(self, *, login: Login | None = None) -> None:
        """Run until Ctrl-C or SIGTERM, and stop in order; a second Ctrl-C stops at once.

        In a file that `ilink run` loads this returns at once: the bot is run when the whole file is loaded.

        Args:
            login: Signs in when this machine has no account; by default a QR code is shown at the terminal, if there is
                one. A program without a terminal never waits for somebody to scan.

        Raises:
            ConfigError: There is no handler, or no account and no terminal to sign in at.
            StoreLockedError: Another process runs this account; the error says which.
            ApiError, TransportError, RemoteProtocolError: Polling cannot go on. With `accounts` neither this nor a lock
                ends the bot: it is told as an incident, `AccountFailed`, and tried again.
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
            crew = Crew(
                accounts,
                self._wanted.at(self._base_url),
                open_runner=lambda one, previous: self._open_runner(one, accounts, dispatch, previous),
                clock=self._clock,
                on_failed=lambda one, error: self._hooks.note_incident(one, AccountFailed(one, error)),
                on_gone=self._hooks.forget,
            )
            with self._employed(crew):
                await crew.run(stored, self._stop)

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
        # Places are shared by all accounts, so a message is one account's only.
        return any([await runner.replay(sequence) for runner in self._running()])

    async def drop(self, sequence: int) -> bool:
        """Give a message up for good; what waits behind it is handled. See `replay`.

        Raises:
            ConfigError: The bot is not running.
            StoreError: Nothing has changed.
        """
        return any([await runner.drop(sequence) for runner in self._running()])

    def stop(self) -> None:
        """Stop in order: no more polling, handlers finish, what they said is sent; what is not done stays stored.

        Called before `serve`, it lets that end at once.
        """
        self._stop.set()

    @contextmanager
    def relocated(
        self, *, base_url: str, data: Path, account: str | None = None, clock: Clock | None = None
    ) -> Generator[None, None, None]:
        """Let the bot live elsewhere until the block ends, for tests and tools that run somebody's bot as it is.

        Args:
            base_url: Where the API is, whatever the bot was made with.
            data: The folder of its accounts and journals, likewise.
            account: Which account, likewise; None for the newest login, or all if it works for several.
            clock: Source of time; None for the bot's own.

        Raises:
            ConfigError: The bot is running.
        """
        if self._crew is not None:
            message = "the bot is running; stop it before it is moved"
            raise ConfigError(message)
        before = self._base_url, self._folder, self._wanted, self._clock, self._stop
        self._base_url, self._folder = base_url, data
        self._wanted = read_wanted(account, "all" if self._wanted.is_many and not account else None, variable=None)
        self._clock = clock or self._clock
        # An event that was waited for belongs to the loop it was waited for in, and each test has its own.
        self._stop = Event()
        try:
            yield
        finally:
            self._base_url, self._folder, self._wanted, self._clock, self._stop = before

    def _itself(self) -> Bot:
        return self

    def _running(self) -> list[Runner]:
        """Return what works for each account."""
        if self._crew is None:
            message = "the bot is not running; call this while `serve()` or `run()` runs"
            raise ConfigError(message)
        return list(self._crew.runners.values())

    def _runner_of(self, account: str | None) -> Runner:
        """Return what works for an account: the one named, the one the caller works for, or the only one."""
        runners = self._running()
        assert self._crew is not None
        chosen = account or self._crew.current
        if chosen is None and len(runners) == 1:
            return runners[0]
        found = self._crew.runners.get(AccountId(chosen or ""))
        if found is not None:
            return found
        known = ", ".join(self._crew.runners) or "none"
        what = (
            f"the bot does not work for the account {chosen} now"
            if chosen
            else "it is not clear which account is meant"
        )
        message = f"{what}: say with account= which of these is, {known}"
        raise ConfigError(message)

    def _crew_of_many(self) -> Crew:
        self._running()
        assert self._crew is not None
        if not self._wanted.is_many:
            message = 'this bot works for one account; make it with Bot(accounts="all") to add and remove some'
            raise ConfigError(message)
        return self._crew

    @contextmanager
    def _employed(self, crew: Crew) -> Generator[None, None, None]:
        """Lead to the accounts at work until the block ends."""
        self._crew = crew
        try:
            with self._door.opened(self._find_postboxes):
                yield
        finally:
            self._crew = None

    def _address(self, user: str, account: str | None) -> Address:
        current = None if self._crew is None or not self._wanted.is_many else self._crew.current
        return Address(account=AccountId(account) if account else current, user=normalize_user_id(user))

    async def _at_each(self, work: Callable[[Postbox], Awaitable[T]], /) -> list[T]:
        return await self._door.at_each(work, Address())

    def _postboxes_at_work(self) -> dict[AccountId, Postbox]:
        if self._crew is None:
            return {}
        found = {account_id: runner.postbox for account_id, runner in self._crew.runners.items()}
        return {account_id: postbox for account_id, postbox in found.items() if postbox is not None}

    def _find_postboxes(self, address: Address) -> Sequence[Postbox]:
        """Return what an address means if it is at work here; nothing when others may be meant."""
        found = self._postboxes_at_work()
        if address.account is None:
            return [] if self._wanted.is_many else list(found.values())
        return [found[address.account]] if address.account in found else []

    @asynccontextmanager
    async def _open_runner(
        self, stored: StoredAccount, accounts: Accounts, dispatch: Dispatch, previous: AccountId | None
    ) -> AsyncGenerator[Runner, None]:
        """Make what works for one account, and hold its lock and its journal until the block ends."""
        account_id = stored.account.account_id
        hooks = self._hooks
        with accounts.lock(account_id):
            async with SqliteJournal(accounts.database, account_id) as journal:
                if previous is not None:
                    await journal.inherit(previous)
                yield Runner(
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
                    on_state=partial(hooks.note_state, account_id),
                    on_dead=partial(hooks.note_dead, account_id),
                    on_duplicate=partial(hooks.note_duplicate, account_id),
                    on_incident=partial(hooks.note_incident, account_id),
                    gate=self._gate(stored, accounts),
                    agenda=SqliteAgenda(accounts.database, account_id),
                    conversations=self._conversations,
                    jobs=self._jobs,
                    history=SqliteHistory(accounts.database, account_id),
                    on_unknown=partial(hooks.note_unknown, account_id),
                )

    @asynccontextmanager
    async def _open_postboxes(self, address: Address) -> AsyncGenerator[Sequence[Postbox], None]:
        """Open what an address means beside whatever process runs the bot; what is at work here is used as it is."""
        at_work = self._postboxes_at_work()
        async with AsyncExitStack() as exits:
            if self._crew is not None:
                accounts = self._crew.accounts
                candidates = await self._crew.candidates()
            else:
                database = await exits.enter_async_context(local_database(self._folder))
                accounts = await exits.enter_async_context(Accounts(self._folder, database=database))
                candidates = [stored for stored in await accounts.list() if self._is_wanted(stored)]
            if address.account is not None:
                candidates = [one for one in candidates if one.account.account_id == address.account] or candidates
            elif not self._wanted.is_many:
                candidates = candidates[:1]  # the newest
            postboxes: list[Postbox] = []
            for stored in candidates:
                postbox = at_work.get(stored.account.account_id)
                if postbox is None:
                    postbox = await exits.enter_async_context(self._open_one(stored, accounts))
                postboxes.append(postbox)
            if not postboxes:
                raise self._no_account()
            yield await choose(postboxes, address)

    @asynccontextmanager
    async def _open_one(self, stored: StoredAccount, accounts: Accounts) -> AsyncGenerator[Postbox, None]:
        account_id = stored.account.account_id
        async with SqliteJournal(accounts.database, account_id) as journal:
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
                account_id,
                journal,
                delivery,
                owner=stored.account.owner_id,
                files=files,
                policies=self._policies,
                clock=self._clock,
                random=self._random,
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
        return Client(
            stored.account, base_url=self._base_url, bot_agent=self._name, random=self._random, clock=self._clock
        )

    def _is_wanted(self, stored: StoredAccount) -> bool:
        return self._wanted.at(self._base_url).is_wanted(stored)

    async def _choose_account(self, accounts: Accounts) -> StoredAccount | None:
        """Return the newest account that fits the settings and may still work."""
        return next((stored for stored in await accounts.list() if self._is_wanted(stored)), None)

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
        if self._wanted.ids is not None or not sys.stderr.isatty():
            raise self._no_account()
        # Loaded late: only the first run of a bot draws a QR code.
        from ilink.client.terminal import sign_in_at_terminal

        signed_in = await sign_in_at_terminal(accounts, base_url=self._base_url)
        if not isinstance(signed_in, StoredAccount):
            message = "the server says that this bot is bound here already; run `ilink login` to bind it anew"
            raise LoginError(message)
        return signed_in

    def _no_account(self) -> ConfigError:
        return ConfigError(
            f"there is no login of {self._wanted.at(self._base_url)} on this machine; run `ilink login` first"
        )

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


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the faster loop where the platform has it."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
