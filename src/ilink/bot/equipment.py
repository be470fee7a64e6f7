"""Puts together what works for one account: from what the bot is made with, and from what lasts of the account."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from ilink.bot.access import Gate
from ilink.bot.backlog import Backlog, BacklogHandler
from ilink.bot.blueprint import Blueprint
from ilink.bot.clock import SteadyClock
from ilink.bot.hooks import Hooks
from ilink.bot.jobs import Jobs
from ilink.bot.outbox.elsewhere import DeliveryElsewhere
from ilink.bot.outbox.files import OutgoingFiles
from ilink.bot.outbox.postbox import Postbox
from ilink.bot.parts.materials import Materials, WrapClient
from ilink.bot.rates import RateLimiter
from ilink.bot.rounds import Rounds
from ilink.bot.routing.dispatch import Dispatch
from ilink.bot.runner import Runner
from ilink.bot.store import AccountStore, Store
from ilink.storage.accounts import StoredAccount
from ilink.storage.roles import Role
from ilink.wire.ids import AccountId

__all__ = ["open_postbox", "open_runner"]


@asynccontextmanager
async def open_runner(
    stored: StoredAccount,
    previous: AccountId | None,
    *,
    blueprint: Blueprint,
    store: Store,
    dispatch: Dispatch,
    hooks: Hooks,
    jobs: Jobs,
    on_backlog: BacklogHandler | None,
    rounds: Rounds,
    role: Role = Role.ALL,
    wrap: WrapClient | None = None,
) -> AsyncGenerator[Runner, None]:
    """Make what works for one account, and hold its lock and its journal until the block ends.

    Args:
        stored: The account.
        previous: The account before it, from which it inherits; None if there is none.
        blueprint: What the bot is made with.
        store: What lasts.
        dispatch: Which function handles which message.
        hooks: What the program wants to be told.
        jobs: What is done by the clock.
        on_backlog: Handles old messages together; None if they are handled like any others.
        rounds: Goes round the accounts of this process.
        role: Which part of the work is done.
        wrap: Stands between the work and the client; None for nothing.

    Raises:
        StoreLockedError: Another process works for the account.
        StoreError: Its journal cannot be opened.
    """
    account_id = stored.account.account_id
    async with store.lock(account_id), store.open_account(account_id) as own:
        if previous is not None:
            await own.journal.inherit(previous)
        clock = SteadyClock(blueprint.clock)
        made_with = Materials(
            role=role,
            accounts=store.accounts,
            journal=own.journal,
            files=OutgoingFiles(own.journal, store.spool, clock=clock),
            open_client=blueprint.open_client,
            wrap=wrap,
            dispatch=dispatch,
            access=blueprint.access,
            policies=blueprint.policies,
            backlog=Backlog(blueprint.policies, on_backlog),
            clock=clock,
            wall=blueprint.clock,
            random=blueprint.random,
            hooks=hooks.of(account_id),
            observers=hooks.observers.of(account_id),
            gate=_gate(stored, own, blueprint),
            agenda=own.agenda,
            conversations=blueprint.conversations,
            jobs=jobs,
            history=own.history,
        )
        yield Runner(stored, made_with, clock=clock, rounds=rounds)


@asynccontextmanager
async def open_postbox(
    stored: StoredAccount, *, blueprint: Blueprint, store: Store, on_written: Callable[[], Awaitable[None]]
) -> AsyncGenerator[Postbox, None]:
    """Open the postbox of an account beside whatever process works for it, until the block ends.

    Args:
        stored: The account.
        blueprint: What the bot is made with.
        store: What lasts.
        on_written: Called when something was stored; see `DeliveryElsewhere`.

    Raises:
        StoreError: Its journal cannot be opened.
    """
    account_id = stored.account.account_id
    async with store.open_account(account_id) as own:
        files = OutgoingFiles(own.journal, store.spool, clock=blueprint.clock)
        delivery = DeliveryElsewhere(
            own.journal,
            lock=store.lock(account_id),
            open_client=lambda: blueprint.open_client(stored),
            files=files,
            policies=blueprint.policies,
            clock=blueprint.clock,
            random=blueprint.random,
            on_written=on_written,
        )
        yield Postbox(
            account_id,
            own.journal,
            delivery,
            owner=stored.account.owner_id,
            files=files,
            policies=blueprint.policies,
            clock=blueprint.clock,
            random=blueprint.random,
        )


def _gate(stored: StoredAccount, own: AccountStore, blueprint: Blueprint) -> Gate | None:
    """Return what a message of an account passes before its handler; None for nothing."""
    rate = blueprint.policies.rate
    if blueprint.pairing is None and rate is None:
        return None
    return Gate(
        owner=stored.account.owner_id,
        pairing=blueprint.pairing,
        pairings=own.pairings,
        limiter=None if rate is None else RateLimiter(rate),
        language=blueprint.language,
        clock=blueprint.clock,
    )
