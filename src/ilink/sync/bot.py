"""The bot for programs without `async`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime, time, timedelta, tzinfo
from pathlib import Path
from random import Random
from typing import Literal, TypeVar

from ilink.bot.bot import Bot as AsyncBot
from ilink.bot.clock import Clock
from ilink.bot.context import Context as AsyncContext
from ilink.bot.conversation import ConversationPolicy
from ilink.bot.hooks import DeadHook, DuplicateHook, IncidentHook, StateHook, UnknownHook
from ilink.bot.incidents import Incident
from ilink.bot.jobs import IfClosed, Missed
from ilink.bot.observing import Observer
from ilink.bot.runner import BotClient
from ilink.bot.running import Login
from ilink.bot.settings import Allow, Policies
from ilink.bot.states import SessionState
from ilink.bot.words import Language
from ilink.errors import ConfigError
from ilink.flows.window import Forecast
from ilink.messages.media import MediaKind, UploadSource
from ilink.messages.receipts import Receipt
from ilink.storage.accounts import StoredAccount
from ilink.storage.journal import Counts
from ilink.sync.portal import Portal, open_portal
from ilink.sync.routing import Router
from ilink.sync.twins import Context, Job, Message, Outbox
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId

__all__ = ["Bot"]

BacklogHandler = Callable[[list[Message]], object]

F = TypeVar("F", bound=Callable[[Job], object])
T = TypeVar("T")


class Bot(Router):
    """A program that answers people, written in plain functions; see `ilink.Bot`, whose promises hold.

        bot = Bot()

        @bot.on_text()
        def echo(message: TextMessage) -> None:
            message.reply(f"You said: {message.text}")

        bot.run()

    A handler runs in a thread of its own, so it may block. Nothing can stop it from outside: one whose time is over,
    or that is still running when the bot has stopped, gets CancelledError from the next thing it asks of the bot.

    Args:
        threads: How many handlers run at a time.
        allow: As for `ilink.Bot`, like all that follow.
        account: Which account.
        accounts: Several accounts side by side instead.
        base_url: Where the API is.
        data: Folder of accounts and journals.
        policies: What happens when something does not work.
        conversations: How questions are asked, and what is kept of conversations.
        name: What the bot calls itself towards the server.
        language: What the bot speaks where it speaks by itself.
        has_help: Whether there is a `/help`.
        open_client: Opens the way to the server for an account.
        clock: Source of time.
        random: Source of jitter and ids.
        environ: Where the variables are looked up.

    Raises:
        ConfigError: `allow` is a word that means nothing, or there are no threads.
    """

    def __init__(
        self,
        *,
        threads: int = 64,
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
        if threads < 1:
            message = f"threads={threads}: no handler could run; give at least 1"
            raise ConfigError(message)
        self._bot = AsyncBot(
            allow=allow,
            account=account,
            accounts=accounts,
            base_url=base_url,
            data=data,
            policies=policies,
            conversations=conversations,
            name=name,
            language=language,
            has_help=has_help,
            open_client=open_client,
            clock=clock,
            random=random,
            environ=environ,
        )
        self._router = self._bot
        self._running: Portal | None = None
        self._bot.provide(Bot, lambda: self, scope="app")
        self._bot.provide(Context, _context)

        async def note_loop() -> None:
            self._threads.open(threads)
            self._running = Portal(asyncio.get_running_loop())

        async def forget_loop() -> None:
            self._running = None

        self._bot.on_startup(note_loop)
        self._bot.on_shutdown(forget_loop)

    @property
    def state(self) -> SessionState:
        """What the bot is doing."""
        return self._bot.state

    @property
    def states(self) -> Mapping[AccountId, SessionState]:
        """What each account does that the bot works for."""
        return self._bot.states

    @property
    def incidents(self) -> Mapping[type[Incident], int]:
        """How often what went wrong, since this object was made."""
        return self._bot.incidents

    @property
    def outbox(self) -> Outbox:
        """The messages that wait to be sent; while the bot runs."""
        return Outbox(self._bot.outbox, self._portal())

    def on_state(self, hook: StateHook) -> StateHook:
        """Call a function when the state changes; in the event loop, so it must not block."""
        return self._bot.on_state(hook)

    def on_dead_letter(self, hook: DeadHook) -> DeadHook:
        """Call a function with every message that was given up; in the event loop, so it must not block."""
        return self._bot.on_dead_letter(hook)

    def on_unknown(self, hook: UnknownHook) -> UnknownHook:
        """Call a function with every message of which nobody knows whether it arrived; it must not block."""
        return self._bot.on_unknown(hook)

    def on_backlog(self, function: BacklogHandler) -> BacklogHandler:
        """Decorate what handles the messages that were sent while the bot was down; see `ilink.Bot.on_backlog`."""
        self._bot.on_backlog(self._threads.asynchronous(function, what="backlog handler"))
        return function

    def on_duplicate(self, hook: DuplicateHook) -> DuplicateHook:
        """Call a function with everything that came twice; in the event loop, so it must not block."""
        return self._bot.on_duplicate(hook)

    def on_incident(self, hook: IncidentHook) -> IncidentHook:
        """Call a function with whatever goes wrong without stopping the bot; it must not block."""
        return self._bot.on_incident(hook)

    def observe(self, observer: Observer) -> None:
        """Tell somebody of every poll, every run of a handler and every attempt to send; see `ilink.telemetry`."""
        self._bot.observe(observer)

    def check_store(self) -> None:
        """Look whether the store takes writes; while the bot runs."""
        self._portal().call(self._bot.check_store)

    def counts(self, *, account: str | None = None) -> Counts:
        """Return how much waits in the journal; while the bot runs."""
        return self._portal().call(lambda: self._bot.counts(account=account))

    def send(self, user: str, text: str, *, account: str | None = None, wait: float | None = None) -> Receipt:
        """Say something to a user without being asked, from any thread or process; see `ilink.Bot.send`."""
        return self._anywhere(lambda: self._bot.send(user, text, account=account, wait=wait))

    def send_media(
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
        """Send a file to a user without being asked, from anywhere; see `ilink.Bot.send_media`."""
        return self._anywhere(
            lambda: self._bot.send_media(user, source, kind, caption=caption, name=name, account=account, wait=wait)
        )

    def can_send(self, user: str, *, account: str | None = None) -> Forecast:
        """Tell what will probably happen to a message to a user; see `ilink.Bot.can_send`."""
        return self._anywhere(lambda: self._bot.can_send(user, account=account))

    def every(
        self,
        *,
        seconds: float = 0.0,
        minutes: float = 0.0,
        hours: float = 0.0,
        days: float = 0.0,
        name: str = "",
        to: str = "owner",
        missed: Missed = "run",
        if_closed: IfClosed | Callable[[Job], object] = "wait",
        run_seconds: float | None = None,
    ) -> Callable[[F], F]:
        """Decorate a function that is called again and again; see `ilink.Bot.every`."""
        declare = self._bot.every(
            seconds=seconds,
            minutes=minutes,
            hours=hours,
            days=days,
            name=name,
            to=to,
            missed=missed,
            if_closed=self._if_closed(if_closed),
            run_seconds=run_seconds,
        )
        return self._job(declare)

    def daily(
        self,
        at: str | time,
        *,
        tz: str | tzinfo | None = None,
        on: str = "",
        name: str = "",
        to: str = "owner",
        missed: Missed = "run",
        if_closed: IfClosed | Callable[[Job], object] = "wait",
        run_seconds: float | None = None,
    ) -> Callable[[F], F]:
        """Decorate a function that is called every day; see `ilink.Bot.daily`."""
        closed = self._if_closed(if_closed)
        declare = self._bot.daily(
            at, tz=tz, on=on, name=name, to=to, missed=missed, if_closed=closed, run_seconds=run_seconds
        )
        return self._job(declare)

    def at(
        self,
        moment: datetime,
        *,
        name: str = "",
        to: str = "owner",
        missed: Missed = "run",
        if_closed: IfClosed | Callable[[Job], object] = "wait",
        run_seconds: float | None = None,
    ) -> Callable[[F], F]:
        """Decorate a function that is called once; see `ilink.Bot.at`."""
        closed = self._if_closed(if_closed)
        declare = self._bot.at(moment, name=name, to=to, missed=missed, if_closed=closed, run_seconds=run_seconds)
        return self._job(declare)

    def job(
        self,
        name: str = "",
        *,
        to: str = "owner",
        missed: Missed = "run",
        if_closed: IfClosed | Callable[[Job], object] = "wait",
        run_seconds: float | None = None,
    ) -> Callable[[F], F]:
        """Decorate a function that `schedule` plans; see `ilink.Bot.job`."""
        closed = self._if_closed(if_closed)
        return self._job(self._bot.job(name, to=to, missed=missed, if_closed=closed, run_seconds=run_seconds))

    def schedule(
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
        """Let a job be done once at a time; while the bot runs. See `ilink.Bot.schedule`."""
        return self._portal().call(
            lambda: self._bot.schedule(job, at=at, in_=in_, data=data, key=key, replace=replace, account=account)
        )

    def unschedule(self, job: str, *, key: str, account: str | None = None) -> bool:
        """Take what was planned with `schedule` off the agenda; while the bot runs."""
        return self._portal().call(lambda: self._bot.unschedule(job, key=key, account=account))

    def add_account(self, account: Account) -> StoredAccount:
        """Store an account whose login has just worked, and work for it too; while the bot runs."""
        return self._portal().call(lambda: self._bot.add_account(account))

    def remove_account(self, account: str) -> bool:
        """Forget the login of an account, and end its work in order; see `ilink.Bot.remove_account`."""
        return self._portal().call(lambda: self._bot.remove_account(account))

    def run(self, *, login: Login | None = None) -> None:
        """Run until Ctrl-C or SIGTERM, in the main thread; see `ilink.Bot.run`."""
        self._bot.run(login=login)

    def serve(self, *, login: Login | None = None) -> None:
        """Run until `stop` is called, in any thread; see `ilink.Bot.serve`."""
        with open_portal() as portal:
            portal.call(lambda: self._bot.serve(login=login))

    def replay(self, sequence: int) -> bool:
        """Let a message be handled again that was given up; while the bot runs. See `ilink.Bot.replay`."""
        return self._portal().call(lambda: self._bot.replay(sequence))

    def drop(self, sequence: int) -> bool:
        """Give a message up for good; while the bot runs. See `ilink.Bot.drop`."""
        return self._portal().call(lambda: self._bot.drop(sequence))

    def stop(self) -> None:
        """Stop in order, from any thread; see `ilink.Bot.stop`."""
        running = self._running
        if running is None:
            self._bot.stop()
        else:
            running.do(self._bot.stop)

    def _portal(self) -> Portal:
        if self._running is None:
            message = "the bot is not running; call this while `serve()` or `run()` runs, from another thread"
            raise ConfigError(message)
        return self._running

    def _anywhere(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something in the loop of the running bot, else in one for that."""
        if self._running is not None:
            return self._running.call(work)
        with open_portal() as portal:
            return portal.call(work)

    def _job(self, declare: Callable[[Callable[..., Awaitable[object]]], object]) -> Callable[[F], F]:
        def decorate(function: F) -> F:
            declare(self._threads.asynchronous(function, what="job"))
            return function

        return decorate

    def _if_closed(self, what: IfClosed | Callable[[Job], object]) -> IfClosed | Callable[..., Awaitable[object]]:
        return self._threads.asynchronous(what, what="fall-back of a job") if callable(what) else what


async def _context(context: AsyncContext) -> Context:
    return Context(context, Portal(asyncio.get_running_loop()))
