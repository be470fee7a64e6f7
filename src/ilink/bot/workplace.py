"""Where a bot works when somebody else decides for which accounts, and when each of them begins and ends."""

from __future__ import annotations

from asyncio import Event
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field

from ilink.bot.backlog import BacklogHandler
from ilink.bot.blueprint import Blueprint
from ilink.bot.crew import Crew, FindAccounts, OpenRunner
from ilink.bot.equipment import open_runner
from ilink.bot.hooks import Hooks
from ilink.bot.incidents import AccountFailed
from ilink.bot.jobs import Jobs
from ilink.bot.parts.materials import WrapClient
from ilink.bot.rounds import Rounds
from ilink.bot.routing.dispatch import Dispatch
from ilink.bot.runner import Runner
from ilink.bot.states import SessionState
from ilink.bot.store import Store
from ilink.storage.accounts import StoredAccount
from ilink.storage.roles import Role
from ilink.wire.ids import AccountId

__all__ = ["Workplace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """A bot with its store open; made by `Bot.workplace`.

    Attributes:
        blueprint: What the bot is made with.
        store: What lasts.
        dispatch: Which function handles which message.
        hooks: What the program wants to be told.
        jobs: What is done by the clock.
        on_backlog: Handles old messages together; None if they are handled like any others.
        employed: Leads the bot's own methods to the accounts at work, while inside.
        rounds: Goes round the accounts at work.
        role: Which part of the work is done here.
    """

    blueprint: Blueprint
    store: Store
    dispatch: Dispatch = field(repr=False)
    hooks: Hooks = field(repr=False)
    jobs: Jobs = field(repr=False)
    on_backlog: BacklogHandler | None
    employed: Callable[[Crew], AbstractContextManager[None]] = field(repr=False)
    rounds: Rounds = field(repr=False)
    role: Role = Role.ALL

    @property
    def states(self) -> Mapping[AccountId, SessionState]:
        """What each account does."""
        return self.hooks.states

    def crew(self, find: FindAccounts | None = None, open_one: OpenRunner | None = None) -> Crew:
        """Make what works for the accounts.

        Args:
            find: Where accounts are looked for; None for all that are stored.
            open_one: Makes what works for one account; None for `open_runner`.
        """
        return Crew(
            self.store,
            self.blueprint.ours,
            open_runner=open_one or self.open_runner,
            clock=self.blueprint.clock,
            rounds=self.rounds,
            role=self.role,
            on_failed=lambda account, error: self.hooks.note_incident(account, AccountFailed(account, error)),
            on_gone=self.hooks.forget,
            find=find,
        )

    async def employ(self, crew: Crew, first: StoredAccount | None, stop: Event) -> None:
        """Let a crew work until `stop` is set; see `Crew.run`."""
        async with self.dispatch.lifespan():
            with self.employed(crew):
                await crew.run(first, stop)

    def open_runner(
        self, stored: StoredAccount, previous: AccountId | None, wrap: WrapClient | None = None
    ) -> AbstractAsyncContextManager[Runner]:
        """Make what works for one account, and hold what lasts of it until the block ends; see `equipment`.

        Args:
            stored: The account.
            previous: The account before it, from which it inherits; None if there is none.
            wrap: Stands between the work and the client; None for nothing.
        """
        return open_runner(
            stored,
            previous,
            blueprint=self.blueprint,
            store=self.store,
            dispatch=self.dispatch,
            hooks=self.hooks,
            jobs=self.jobs,
            on_backlog=self.on_backlog,
            rounds=self.rounds,
            role=self.role,
            wrap=wrap,
        )
