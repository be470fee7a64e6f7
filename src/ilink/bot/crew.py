"""The accounts of one bot at work: side by side, each with its lock and journal; they come and go while it runs."""

from __future__ import annotations

import asyncio
import logging
from asyncio import Event, Task, TaskGroup
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from ilink.bot.clock import Clock
from ilink.bot.rounds import Rounds
from ilink.bot.runner import Runner
from ilink.bot.stopping import StopSignal
from ilink.bot.store import Store
from ilink.bot.waiting import unless_set
from ilink.bot.wanted import Wanted
from ilink.errors import IlinkError, StoreError, StoreLockedError, StoreUnavailableError
from ilink.storage.accounts import AccountState, StoredAccount
from ilink.storage.roles import Role
from ilink.wire.ids import AccountId, UserId

__all__ = ["Crew", "FindAccounts", "OpenRunner", "account_at_work"]

_log = logging.getLogger(__name__)

_LOOK: Final = 3.0
"""Seconds between two looks for accounts that were signed in, or removed, by other processes."""

_PAUSE: Final = 60.0
"""Seconds until an account that failed is tried again.

One that another process held, or whose database was away, is tried at the next look.
"""

OpenRunner = Callable[[StoredAccount, AccountId | None], AbstractAsyncContextManager[Runner]]
"""Takes an account's lock, opens its journal, lets it inherit from an account before it, makes what works for it."""

FindAccounts = Callable[[], Awaitable[Iterable[StoredAccount]]]
"""Returns the accounts among which those wanted are worked for; one that is not among them any more is left."""

_at_work: ContextVar[tuple[object, AccountId] | None] = ContextVar("_at_work", default=None)


def account_at_work() -> AccountId | None:
    """Return the account for which the calling task works, of whatever bot; None when it works for none."""
    found = _at_work.get()
    return None if found is None else found[1]


@dataclass(slots=True)
class _Berth:
    """The place of an account that works.

    Attributes:
        stored: The account.
        stop: Ends it in order.
    """

    stored: StoredAccount
    stop: StopSignal


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why an account does not work.

    Attributes:
        words: What was said about it.
        generation: Of the login that did not work.
        retry_at: When it is tried again.
    """

    words: str
    generation: int
    retry_at: float


class Crew:
    """Works for accounts until it is told to stop.

    Args:
        store: What lasts of accounts.
        wanted: Which accounts it works for.
        open_runner: Makes what works for one.
        clock: Source of time.
        rounds: Goes round the accounts at work.
        role: Which part of the work is done.
        on_failed: Called when one of several cannot work.
        on_gone: Called with an account that it does not work for any more.
        find: Where accounts are looked for; None for all that are stored.
    """

    def __init__(
        self,
        store: Store,
        wanted: Wanted,
        *,
        open_runner: OpenRunner,
        clock: Clock,
        rounds: Rounds,
        on_failed: Callable[[AccountId, IlinkError], None],
        on_gone: Callable[[AccountId], None],
        find: FindAccounts | None = None,
        role: Role = Role.ALL,
    ) -> None:
        self.store = store
        self._wanted = wanted
        self._open_runner = open_runner
        self._clock = clock
        self._rounds = rounds
        self._role = role
        self._on_failed = on_failed
        self._on_gone = on_gone
        self._find = find or store.accounts.list
        self._runners: dict[AccountId, Runner] = {}
        self._berths: dict[AccountId, _Berth] = {}
        self._failures: dict[AccountId, _Failure] = {}
        self._more: set[AccountId] = set()
        self._previous: dict[AccountId, AccountId] = {}
        self._has_changed = Event()

    @property
    def runners(self) -> Mapping[AccountId, Runner]:
        """What works for each account now."""
        return self._runners

    @property
    def at_work(self) -> Collection[AccountId]:
        """The accounts that have begun, or are about to, and have not ended."""
        return self._berths.keys()

    @property
    def current(self) -> AccountId | None:
        """The account for which the calling task works; None when it works for none of these."""
        found = _at_work.get()
        return found[1] if found is not None and found[0] is self else None

    async def run(self, first: StoredAccount | None, stop: Event) -> None:
        """Work until `stop` is set, then end all accounts in order, side by side.

        With several accounts there may be no first one. One account alone ends the work when it ends; of several, one
        that fails is told of, and tried again.

        Raises:
            IlinkError: The one account cannot go on.
        """
        try:
            async with self._rounds.going(), TaskGroup() as tasks:
                if first is not None:
                    self._more.add(first.account.account_id)
                    self._start(first, tasks)
                await self._keep(stop, tasks)
                for berth in self._berths.values():
                    berth.stop.set()
        except BaseExceptionGroup as group:
            # One thing went wrong nearly always, and whoever runs the bot wants to catch that, not a group of one.
            raise _only_one(group) from None

    def add(self, account: AccountId) -> None:
        """Work for an account that is stored now."""
        self._more.add(account)
        self._failures.pop(account, None)
        self._has_changed.set()

    def look_again(self) -> None:
        """Notice at once what has changed in the store."""
        self._has_changed.set()

    async def candidates(self) -> list[StoredAccount]:
        """Return the accounts that it works for or would, whether or not they work now.

        Raises:
            StoreError: That cannot be read.
        """
        return [stored for stored in await self.store.accounts.list() if self._is_ours(stored)]

    async def _keep(self, stop: Event, tasks: TaskGroup) -> None:
        """Start and end accounts as they come and go, until the bot is to stop or its one account has ended."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._has_changed.clear()
                await self._look(tasks)
                if not self._berths and not self._wanted.is_many:
                    return
                await self._pause(stopping)
        finally:
            stopping.cancel()

    async def _pause(self, stopping: Task[bool]) -> None:
        changing = asyncio.create_task(self._has_changed.wait())
        try:
            await unless_set(stopping, self._clock.sleep(_LOOK), changing)
        finally:
            changing.cancel()

    async def _look(self, tasks: TaskGroup) -> None:
        try:
            found = {stored.account.account_id: stored for stored in await self._find()}
        except StoreError as error:
            _log.warning("cannot look for accounts, trying again: %s", error)
            return
        for account_id, berth in self._berths.items():
            if account_id not in found and not berth.stop.is_set():
                _log.info("the account %s was removed, or is somebody else's; its work ends here", account_id)
                berth.stop.set()
            elif not self._role.polls and _is_signed_in_anew(berth.stored, found.get(account_id)):
                berth.stop.set()  # who polls waits for the new login; this one begins anew with it
        for account_id in self._failures.keys() - found.keys():
            del self._failures[account_id]
            self._on_gone(account_id)
        if self._wanted.is_many:
            awaited = self._awaited(found)
            for stored in found.values():
                if self._may_start(stored) and (stored.account.owner_id, stored.account.base_url) not in awaited:
                    self._start(stored, tasks)

    def _may_start(self, stored: StoredAccount) -> bool:
        account_id = stored.account.account_id
        if account_id in self._berths or not self._is_ours(stored):
            return False
        failure = self._failures.get(account_id)
        if failure is None or failure.generation != stored.generation:
            return True
        return self._clock.monotonic() >= failure.retry_at

    def _is_ours(self, stored: StoredAccount) -> bool:
        if self._wanted.is_wanted(stored):
            return True
        return stored.account.account_id in self._more and stored.state is not AccountState.DISPLACED

    def _awaited(self, found: Mapping[AccountId, StoredAccount]) -> frozenset[tuple[UserId, str]]:
        """Return for whom an account still works that was displaced, and says so when it ends: its heir waits."""
        others = (found[account_id] for account_id in self._berths if account_id in found)
        return frozenset(
            (other.account.owner_id, other.account.base_url)
            for other in others
            if other.state is AccountState.DISPLACED and other.account.owner_id is not None
        )

    def _start(self, stored: StoredAccount, tasks: TaskGroup) -> None:
        account_id = stored.account.account_id
        berth = self._berths[account_id] = _Berth(stored, StopSignal())
        tasks.create_task(self._work(berth, tasks), name=f"account {account_id}")

    async def _work(self, berth: _Berth, tasks: TaskGroup) -> None:
        account_id = berth.stored.account.account_id
        # Every task that is begun from here on knows by this for which account it works.
        _at_work.set((self, account_id))
        try:
            successor = await self._run(berth)
        except (IlinkError, ExceptionGroup) as error:
            if not self._wanted.is_many or (failure := _account_error(error)) is None:
                raise
            self._note_failure(berth, failure)
            return
        finally:
            del self._berths[account_id]
            self._has_changed.set()
        self._failures.pop(account_id, None)
        self._on_gone(account_id)
        if successor is not None and not berth.stop.is_set():
            heir = successor.account.account_id
            self._more.add(heir)
            self._previous[heir] = account_id
            self._start(successor, tasks)

    async def _run(self, berth: _Berth) -> StoredAccount | None:
        account_id = berth.stored.account.account_id
        async with self._open_runner(berth.stored, self._previous.get(account_id)) as runner:
            if berth.stop.is_set():
                return None
            self._previous.pop(account_id, None)  # not before: an account that cannot begin yet still has to inherit
            self._runners[account_id] = runner
            try:
                successor = await runner.run(berth.stop)
            finally:
                del self._runners[account_id]
            return successor if successor is not None and await self._is_here(successor) else None

    async def _is_here(self, successor: StoredAccount) -> bool:
        """Whether it is this crew that works for an account; in a fleet it may be another process."""
        try:
            return successor.account.account_id in {stored.account.account_id for stored in await self._find()}
        except StoreError:
            return True  # beginning with it tells

    def _note_failure(self, berth: _Berth, error: IlinkError) -> None:
        """Tell why an account does not work, once for each reason."""
        account_id = berth.stored.account.account_id
        before = self._failures.get(account_id)
        pause = 0.0 if isinstance(error, StoreLockedError | StoreUnavailableError) else _PAUSE
        failure = _Failure(str(error), berth.stored.generation, self._clock.monotonic() + pause)
        self._failures[account_id] = failure
        if before is None or before.words != failure.words:
            _log.error("the account %s does not work, the others do; it is tried again: %s", account_id, error)
            self._on_failed(account_id, error)


def _only_one(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one thing that went wrong, however many groups it passed through; the group if there were several."""
    inner: list[BaseException] = [*group.exceptions]
    if len(inner) > 1:
        return group
    found = inner[0]
    return _only_one(found) if isinstance(found, BaseExceptionGroup) else found


def _is_signed_in_anew(stored: StoredAccount, found: StoredAccount | None) -> bool:
    """Whether an account has another login than before, or none that may work any more."""
    if found is None:
        return False
    return found.generation != stored.generation or found.state is AccountState.DISPLACED


def _account_error(error: IlinkError | ExceptionGroup[Exception]) -> IlinkError | None:
    """Return what went wrong with one account; None for what is wrong with the program, and must not be passed over."""
    if isinstance(error, IlinkError):
        return error
    _, others = error.split(IlinkError)
    found = None if others is not None else next(iter(error.exceptions))
    return found if isinstance(found, IlinkError) else None
