"""The bot: handlers, and what runs them."""

from __future__ import annotations

import asyncio
import inspect
import os
from asyncio import Event
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Literal

from ilink.bot.access import Pairing
from ilink.bot.backlog import Backlog, BacklogHandler
from ilink.bot.blueprint import ACCOUNT_VARIABLE, BASE_URL_VARIABLE, Blueprint
from ilink.bot.clock import Clock, WallClock
from ilink.bot.conversation import ConversationPolicy
from ilink.bot.hooks import DeclaresHooks
from ilink.bot.jobs import DeclaresJobs
from ilink.bot.rounds import Rounds
from ilink.bot.routing.dispatch import Dispatch
from ilink.bot.routing.router import Router
from ilink.bot.runner import BotClient
from ilink.bot.running import Login, is_loading, loop_factory, sign_in, sign_in_at_terminal, until_signalled
from ilink.bot.sending import SendsUnasked
from ilink.bot.settings import Allow, Policies, read_access
from ilink.bot.store import find_place
from ilink.bot.wanted import read_wanted
from ilink.bot.words import Language
from ilink.bot.workplace import Workplace
from ilink.errors import ConfigError
from ilink.process import collecting_seldom
from ilink.storage.accounts import Accounts, StoredAccount
from ilink.storage.roles import Role

__all__ = ["Bot"]


class Bot(SendsUnasked, DeclaresHooks, DeclaresJobs, Router):
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
        data: Folder of accounts and journals, or the address of a PostgreSQL database (`postgresql://…`); else
            `ILINK_DATABASE_URL`; else `ILINK_DATA`; else the user's data folder.
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
        Router.__init__(self)
        DeclaresJobs.__init__(self)
        DeclaresHooks.__init__(self)
        blueprint = Blueprint(
            place=find_place(data, environ=environ),
            base_url=base_url or environ.get(BASE_URL_VARIABLE) or None,
            wanted=read_wanted(account, accounts, variable=environ.get(ACCOUNT_VARIABLE)),
            access=read_access(allow),
            pairing=allow if isinstance(allow, Pairing) else None,
            policies=policies or Policies(),
            conversations=conversations or ConversationPolicy(),
            language=language,
            has_help=has_help,
            name=name,
            way=open_client,
            clock=clock or WallClock(),
            random=random or Random(),  # noqa: S311  # jitter, and ids that need to be new, not secret
        )
        SendsUnasked.__init__(self, blueprint)
        self.provide(Bot, self._itself, scope="app")
        self._backlog_handler: BacklogHandler | None = None
        self._stop = Event()

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
        if is_loading(self):
            return
        with collecting_seldom(), asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(self._serve_until_signalled(login))

    async def serve(self, *, login: Login | None = None) -> None:
        """Run until `stop` is called, in the loop of the caller.

        Args:
            login: Signs in and returns the stored account, when this machine has none that fits; without it that is an
                error. It is never called later: a bot whose token is refused waits for `ilink login` instead.

        Raises:
            See `run`.

        Cancellation: stops at once. Messages whose handlers did not finish are handled by the next run.
        """
        async with AsyncExitStack() as exits:
            exits.callback(self._stop.clear)
            place = await exits.enter_async_context(self.workplace())
            stored = await self._choose_account(place.store.accounts, login)
            if stored is None:
                return
            await place.employ(place.crew(), stored, self._stop)

    @asynccontextmanager
    async def workplace(
        self, adapt: Callable[[Blueprint], Blueprint] | None = None, *, role: Role = Role.ALL
    ) -> AsyncGenerator[Workplace, None]:
        """Open what is needed to work for accounts, for a program that decides itself for which ones, and when.

        Args:
            adapt: Changes what the bot is made with, as long as the block lasts.
            role: Which part of the work is done here.

        Raises:
            ConfigError: There is no handler.
            StoreError: The store cannot be opened.
        """
        blueprint = self._blueprint if adapt is None else adapt(self._blueprint)
        dispatch = Dispatch(self.registered, language=blueprint.language, has_help=blueprint.has_help)
        Backlog(blueprint.policies, self._backlog_handler)  # what does not go together is refused before all begins
        if not dispatch and not self._jobs:
            message = "the bot has no handler; decorate a function with @bot.on_text()"
            raise ConfigError(message)
        before, self._blueprint = self._blueprint, blueprint
        try:
            async with blueprint.open_store() as store:
                yield Workplace(
                    blueprint=blueprint,
                    store=store,
                    dispatch=dispatch,
                    hooks=self._hooks,
                    jobs=self._jobs,
                    on_backlog=self._backlog_handler,
                    employed=self._employed,
                    rounds=Rounds(blueprint.clock),
                    role=role,
                )
        finally:
            self._blueprint = before

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
        before = self._blueprint, self._stop
        self._blueprint = self._blueprint.moved(base_url=base_url, folder=data, account=account, clock=clock)
        # An event that was waited for belongs to the loop it was waited for in, and each test has its own.
        self._stop = Event()
        try:
            yield
        finally:
            self._blueprint, self._stop = before

    def _itself(self) -> Bot:
        return self

    async def _choose_account(self, accounts: Accounts, login: Login | None) -> StoredAccount | None:
        """Return the newest account that fits and may still work, or sign in; None when told to stop before that."""
        ours = self._blueprint.ours
        found = next((stored for stored in await accounts.list() if ours.is_wanted(stored)), None)
        if found is not None:
            return found
        if login is None:
            raise self._blueprint.no_account()
        return await sign_in(accounts, login, self._stop)

    async def _serve_until_signalled(self, login: Login | None) -> None:
        at_terminal = partial(sign_in_at_terminal, blueprint=self._blueprint)
        await until_signalled(asyncio.create_task(self.serve(login=login or at_terminal)), self._stop)
