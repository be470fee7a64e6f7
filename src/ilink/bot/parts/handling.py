"""The part of an account's work that runs handlers: lanes, questions and jobs."""

from __future__ import annotations

from asyncio import Task, TaskGroup
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from ilink.bot.alarm import Alarm
from ilink.bot.conversation_book import Book
from ilink.bot.handling import Handling
from ilink.bot.incidents import LaneParked
from ilink.bot.intake import Taken
from ilink.bot.job_keeper import JobKeeper
from ilink.bot.lanes import Lanes
from ilink.bot.parts.materials import Materials
from ilink.bot.turn import Outlet
from ilink.errors import ConfigError, StoreError
from ilink.storage.journal import Letter, Outgoing
from ilink.wire.accounts import Account

__all__ = ["Handlers"]

_NEWEST: Final = (1 << 63) - 1
_PAGE: Final = 200


class Handlers:
    """Handles what the journal of an account holds.

    Args:
        account: The account.
        made_with: What its work is made with.
        outlet: What a run needs of the bot around it.
        send: Called with what is to be sent once it is stored.
    """

    def __init__(
        self, account: Account, made_with: Materials, *, outlet: Outlet, send: Callable[[Sequence[Outgoing]], None]
    ) -> None:
        self._account = account
        self._made_with = made_with
        self._outlet = outlet
        self._send = send
        self._journal = made_with.journal
        self._book = Book(made_with.journal, made_with.agenda, clock=made_with.clock, wait_stored=self.wait_stored)
        self._jobs = JobKeeper(
            account.account_id,
            owner=account.owner_id,
            jobs=made_with.jobs,
            agenda=made_with.agenda,
            outlet=outlet,
            results=self._book,
            policies=made_with.policies,
            clock=made_with.wall,
        )
        self._alarm = Alarm(self._look_for_due, clock=made_with.clock)
        self._lanes: Lanes | None = None
        self._ringing: Task[None] | None = None
        self._place = 0

    async def open(self) -> None:
        """Learn who waits for answers, and plan what the program declares.

        Raises:
            StoreError: That could not be read or stored.
        """
        await self._book.open()
        await self._jobs.open()
        if not self._made_with.role.polls:
            _, self._place = await self._journal.find_arrived(_NEWEST)  # before lanes look for what is older

    def start(self, tasks: TaskGroup) -> None:
        """Begin with what the journal holds from before."""
        made_with = self._made_with
        handling = Handling(
            self._account.account_id,
            dispatch=made_with.dispatch,
            outlet=self._outlet,
            policies=made_with.policies,
            book=self._book,
            conversations=made_with.conversations,
            jobs=self._jobs,
            history=made_with.history,
            backlog=made_with.backlog,
            gate=made_with.gate,
        )
        observers = made_with.observers
        self._lanes = Lanes(
            self._journal,
            handling.handle if observers is None else observers.around(handling.handle),
            self._send,
            policies=made_with.policies,
            clock=made_with.clock,
            random=made_with.random,
            tasks=tasks,
            on_dead=made_with.hooks.note_dead,
            on_due=self._alarm.note,
            on_parked=self._note_parked,
            plan=handling.plan if handling.has_plans else None,
        )
        self._lanes.start()
        self._ringing = tasks.create_task(self._alarm.run())

    @property
    def lanes(self) -> Lanes:
        """The lanes.

        Raises:
            ConfigError: They have not begun.
        """
        if self._lanes is None:
            message = "the bot is not running; call this from a handler, or while `serve()` runs"
            raise ConfigError(message)
        return self._lanes

    def take(self, taken: Taken) -> None:
        """Take what a poll of this process brought."""
        self.lanes.wake(taken.foreign)
        self.lanes.offer(taken.letters)

    async def notice(self) -> None:
        """Take what other processes that poll have stored.

        Where this one polls it is told what it polled, and looks for what those have stored whose lease was over.

        Raises:
            StoreError: It cannot be read; it is found by the next call.
        """
        if self._made_with.role.polls:
            self.look_again()
            return
        while letters := await self._journal.read_arrived(self._place, limit=_PAGE):
            self._place = letters[-1].sequence
            self.lanes.arrived(letters)
            if len(letters) < _PAGE:
                return

    def look_again(self) -> None:
        """Look for what others put into the journal, such as dead letters that are replayed."""
        if self._lanes is not None:
            self._lanes.look_again()

    async def wait_stored(self, conversation: str) -> None:
        """Wait until everything that was handled before in a conversation is stored."""
        await self.lanes.wait_stored(conversation)

    async def schedule(self, handler: str, at_ms: int, *, key: str, data: object, is_replacing: bool) -> bool:
        """Plan a job; see `Bot.schedule`."""
        planned = await self._jobs.schedule(handler, at_ms, key=key, data=data, is_replacing=is_replacing)
        self._alarm.note(at_ms)
        return planned

    async def unschedule(self, handler: str, key: str) -> bool:
        """Take a job off the agenda; see `Bot.unschedule`."""
        return await self._jobs.unschedule(handler, key)

    async def prune(self, before_ms: int) -> None:
        """Forget what was over before a moment."""
        with suppress(StoreError):  # the next one forgets it
            await self._journal.prune(before_ms)
            await self._made_with.agenda.prune(before_ms)

    async def drain(self, seconds: float) -> None:
        """Begin nothing new, and let running handlers finish, for so long at most."""
        await self.lanes.drain(seconds)

    def cancel(self) -> None:
        """Stop at once."""
        if self._ringing is not None:
            self._ringing.cancel()
        if self._lanes is not None:
            self._lanes.cancel()

    async def _look_for_due(self) -> int | None:
        """Hand on what is due, and return when the next is."""
        posted = [*await self._book.post_overdue(), *await self._jobs.post_due()]
        # From the beginning, because what was received meanwhile may have been handed on already.
        self.lanes.wake([letter.conversation for letter in posted])
        due = (await self._book.next_deadline(), await self._jobs.next_due())
        return min((at_ms for at_ms in due if at_ms is not None), default=None)

    def _note_parked(self, letter: Letter) -> None:
        self._made_with.hooks.note_incident(LaneParked(letter.conversation, letter.sequence, letter.error or ""))
