"""An account of a fleet: it begins in its turn, and what becomes of its polls is known."""

from __future__ import annotations

from asyncio import Event
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from ilink.bot.parts.materials import BotClient, WrapClient
from ilink.bot.runner import Runner
from ilink.fleet.lease import Uptime
from ilink.fleet.permits import Permits, PermittedClient
from ilink.fleet.ramp import Admission
from ilink.wire.ids import AccountId

__all__ = ["Beginning", "Polls"]


class Polls:
    """The polls of a process: which are held or have an answer that is not stored yet, and when each account had one.

    Args:
        clock: Source of time.
    """

    def __init__(self, clock: Uptime) -> None:
        self._clock = clock
        self._under_way: set[AccountId] = set()
        self._answered: dict[AccountId, float] = {}
        self._changed = Event()

    def begin(self, account: AccountId) -> None:
        """A poll for an account begins."""
        self._under_way.add(account)
        self._answered.setdefault(account, self._clock.uptime())

    def note_answer(self, account: AccountId) -> None:
        """It was answered."""
        self._answered[account] = self._clock.uptime()

    def end(self, account: AccountId) -> None:
        """What the last poll for an account brought is stored, or it brought nothing."""
        self._under_way.discard(account)
        self._changed.set()

    def forget(self, account: AccountId) -> None:
        """Nothing polls for an account any more."""
        self._answered.pop(account, None)
        self.end(account)

    def ages(self) -> list[float]:
        """Return the seconds since each account that is polled for had an answer."""
        now = self._clock.uptime()
        return [now - at for at in self._answered.values()]

    async def wait_ended(self) -> None:
        """Wait until none is under way."""
        while self._under_way:
            self._changed.clear()
            await self._changed.wait()


class Beginning:
    """Makes what works for an account, when it is its turn to begin, and ends it with its block.

    It is no generator, and what watches its polls has no functions of its own: a process holds thousands.

    Args:
        account: The account.
        permits: What it may do.
        admission: Its turn.
        polls: The polls of this process.
        open_runner: Makes what works for it; asked with what stands between that and its client.
        is_polled: Whether this process polls for it.
    """

    __slots__ = ("_account", "_admission", "_is_polled", "_opened", "_permits", "_polls")

    def __init__(
        self,
        account: AccountId,
        *,
        permits: Permits,
        admission: Admission,
        polls: Polls,
        open_runner: Callable[[WrapClient], AbstractAsyncContextManager[Runner]],
        is_polled: bool,
    ) -> None:
        self._account = account
        self._permits = permits
        self._admission = admission
        self._polls = polls
        self._opened = open_runner(self._wrap)
        self._is_polled = is_polled

    async def __aenter__(self) -> Runner:
        await self._admission.__aenter__()
        try:
            if self._permits.is_wanted():
                # Whoever takes a journal over ends the work of its owner: with a lease that ran out that is wrong.
                await self._permits.wait_to_act()
            runner = await self._opened.__aenter__()
        except BaseException:
            self._admission.end()
            raise
        if not self._is_polled:
            self._admission.end()  # it opens no connection until there is something to send
        return runner

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._opened.__aexit__(kind, error, trace)
        finally:
            self._polls.forget(self._account)
            self._admission.end()

    def begin_poll(self) -> None:
        """See `WatchesPolls`."""
        self._admission.end()
        self._polls.begin(self._account)

    def note_answer(self) -> None:
        """See `WatchesPolls`."""
        self._polls.note_answer(self._account)

    def end_poll(self) -> None:
        """See `WatchesPolls`."""
        self._polls.end(self._account)

    def _wrap(self, client: BotClient) -> BotClient:
        return PermittedClient(client, self._permits, self)
