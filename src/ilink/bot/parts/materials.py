"""What the parts of the work for one account are made with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from random import Random
from typing import Protocol

from ilink.bot.access import Gate
from ilink.bot.backlog import Backlog
from ilink.bot.clock import Clock
from ilink.bot.conversation import ConversationPolicy
from ilink.bot.hooks import AccountHooks
from ilink.bot.jobs import Jobs
from ilink.bot.observing import AccountObservers
from ilink.bot.outbox.files import OutgoingFiles
from ilink.bot.outbox.senders import SendsMessages
from ilink.bot.poller import PollsUpdates
from ilink.bot.routing.dispatch import Dispatch
from ilink.bot.settings import Access, Policies
from ilink.bot.typing_indicator import ShowsTyping
from ilink.messages.media import MediaMover
from ilink.storage.accounts import Accounts, StoredAccount
from ilink.storage.agenda import Agenda
from ilink.storage.history import History
from ilink.storage.journal import Journal
from ilink.storage.roles import Role

__all__ = ["BotClient", "Materials", "WrapClient"]


class BotClient(PollsUpdates, SendsMessages, ShowsTyping, Protocol):
    """What the work for an account needs of a client."""

    @property
    def media(self) -> MediaMover:
        """What moves files; see `Client.media`."""
        ...


WrapClient = Callable[[BotClient], BotClient]
"""Stands between an account's work and its client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Materials:
    """What the work for one account is made with.

    Attributes:
        role: Which part of the work this process does.
        accounts: Where logins are stored.
        journal: The account's journal, open.
        files: The files of messages that wait to be sent.
        agenda: The account's agenda, beside its journal.
        history: What was said, to find what messages refer to.
        open_client: Opens a client for an account; used again after a new login.
        wrap: Stands between the work and the client; None for nothing.
        dispatch: Which function handles which message.
        access: Who is listened to.
        gate: What a message passes before its handler; None for nothing.
        policies: What happens when something does not work.
        conversations: How questions are asked.
        backlog: What becomes of old messages.
        jobs: What is done by the clock.
        clock: Source of time, which goes on evenly when somebody sets the machine's.
        wall: The clock that jobs follow, also when somebody sets it.
        random: Source of jitter and ids.
        hooks: Is told what happens to the account.
        observers: Tell whoever wants to know of polls, runs and sends; None when nobody does.
    """

    role: Role
    accounts: Accounts
    journal: Journal
    files: OutgoingFiles
    agenda: Agenda
    history: History
    open_client: Callable[[StoredAccount], AbstractAsyncContextManager[BotClient]]
    wrap: WrapClient | None
    dispatch: Dispatch
    access: Access
    gate: Gate | None
    policies: Policies
    conversations: ConversationPolicy
    backlog: Backlog
    jobs: Jobs
    clock: Clock
    wall: Clock
    random: Random
    hooks: AccountHooks
    observers: AccountObservers | None
