"""The part of an account's work that sends what waits in the outbox."""

from __future__ import annotations

import logging
from asyncio import Task, TaskGroup
from collections.abc import Sequence
from typing import Final

from ilink.bot.intake import Taken
from ilink.bot.outbox.here import DeliveryHere
from ilink.bot.outbox.senders import Senders
from ilink.bot.parts.materials import BotClient, Materials
from ilink.bot.states import SessionState
from ilink.errors import StaleTokenError
from ilink.storage.journal import Outgoing

__all__ = ["Sending"]

_log = logging.getLogger(__name__)

_NEWEST: Final = (1 << 63) - 1

_TRY_AGAIN: Final = 30.0
"""Seconds until a token that was refused is tried again, where nobody polls who could tell that it works."""


class Sending:
    """Sends what the journal of an account holds.

    Args:
        made_with: What its work is made with.
        client: The way to the server.
        tasks: The group that the senders run in.
    """

    def __init__(self, made_with: Materials, client: BotClient, *, tasks: TaskGroup) -> None:
        self._made_with = made_with
        self._journal = made_with.journal
        self._client = client
        self._tasks = tasks
        self._is_alone = not made_with.role.polls
        self._pause: Task[None] | None = None
        self._sent_place: int | None = None
        self._heard_place: int | None = None
        observers = made_with.observers
        self.senders = Senders(
            made_with.journal,
            client,
            files=made_with.files,
            policies=made_with.policies,
            clock=made_with.clock,
            random=made_with.random,
            tasks=tasks,
            on_stale=self._note_stale,
            on_quiet=self._note_quiet,
            on_unknown=made_with.hooks.note_unknown,
            on_outcome=None if observers is None else observers.sent,
            is_shared=self._is_alone,
        )
        self.delivery = DeliveryHere(made_with.journal, self.senders, clock=made_with.clock)

    async def learn(self) -> None:
        """Learn from where on others are noticed; what is older is found by `start`.

        Raises:
            StoreError: It cannot be read.
        """
        _, self._sent_place = await self._journal.find_enqueued(_NEWEST)
        if self._is_alone:
            _, self._heard_place = await self._journal.find_arrived(_NEWEST)

    def start(self) -> None:
        """Begin with what the journal holds from before."""
        self.senders.start()

    def offer(self, outgoing: Sequence[Outgoing]) -> None:
        """Take messages that have just been stored, in their order."""
        self.senders.offer(outgoing)

    def take(self, taken: Taken) -> None:
        """Take note of who wrote, by a poll of this process."""
        for heard in taken.heard:
            if heard.is_new:
                self.senders.hear(heard.user, heard.conversation, heard.token)
            else:
                self.senders.ledger.keep_token(heard.user, heard.token)

    async def notice(self) -> None:
        """Take note of what other processes stored: messages and decisions, and who wrote where they poll.

        Raises:
            StoreError: It cannot be read; it is found by the next call.
        """
        if self._sent_place is None:
            await self.learn()
        assert self._sent_place is not None
        if self._heard_place is not None:
            heard, self._heard_place = await self._journal.find_arrived(self._heard_place)
            await self.senders.heard_elsewhere(heard)
        conversations, self._sent_place = await self._journal.find_enqueued(self._sent_place)
        self.senders.notice(conversations)

    def look_again(self) -> None:
        """Look for what has expired, and for windows that may be tried again."""
        self.senders.look_again()

    def answered(self) -> None:
        """Take note that a poll was answered: a token that sends were refused for may work again."""
        if self.senders.is_stale:
            self.senders.resume(self._client)

    def renew(self, client: BotClient) -> None:
        """Go on after the account was signed in again."""
        self._client = client
        self.senders.resume(client)

    def suspend(self) -> None:
        """Send nothing until the account is signed in again."""
        self.senders.suspend()

    async def drain(self, seconds: float) -> None:
        """Let what can be sent now go out, for so long at most."""
        await self.senders.drain(seconds)

    def cancel(self) -> None:
        """Stop at once; what was being sent stays in the journal."""
        if self._pause is not None:
            self._pause.cancel()
        self.senders.cancel()

    def _note_stale(self, error: StaleTokenError) -> None:
        if not self._is_alone:
            _log.warning("%s; sending waits until a poll works", error)
            return
        # A new login begins the account anew, and the poller notices first if there has to be one.
        _log.warning("%s; it is tried again in %.0f s", error, _TRY_AGAIN)
        if self._pause is None or self._pause.done():
            self._pause = self._tasks.create_task(self._try_again())

    async def _try_again(self) -> None:
        await self._made_with.clock.sleep(_TRY_AGAIN)
        self.senders.resume(self._client)

    def _note_quiet(self, is_quiet: bool) -> None:
        if is_quiet:
            _log.warning("the server stopped confirming messages; progress and typing are left out until it does again")
        self._made_with.hooks.note_state(SessionState.SUSPENDED if is_quiet else SessionState.ACTIVE)
