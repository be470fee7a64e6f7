"""The accounts a running bot works for, as its own program reaches them."""

from __future__ import annotations

from datetime import datetime, timedelta

from ilink.bot.blueprint import Blueprint
from ilink.bot.crew import Crew
from ilink.bot.jobs import moment_of
from ilink.bot.planning import next_plan
from ilink.bot.runner import Runner
from ilink.errors import ConfigError
from ilink.storage.accounts import StoredAccount
from ilink.storage.journal import Counts
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId

__all__ = ["WorksForAccounts"]


class WorksForAccounts:
    """What a program asks of a bot that runs: of one of its accounts, or of all.

    Args:
        blueprint: What the bot is made with.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self._blueprint = blueprint
        self._crew: Crew | None = None

    async def counts(self, *, account: str | None = None) -> Counts:
        """Return how much waits in the journal, and how much came twice since it began.

        Args:
            account: Of which account; None for all together.

        Raises:
            ConfigError: The bot is not running, or not for this account.
            StoreError: The journal cannot be read.
        """
        if account is not None:
            return await self._runner_of(account).counts()
        self._running()
        assert self._crew is not None
        return await self._crew.store.count(self._crew.runners)

    async def check_store(self) -> None:
        """Look whether the store takes writes, by writing what it holds already, and more after it refused something.

        Raises:
            ConfigError: The bot is not running.
            StoreError: It does not.
        """
        for runner in self._running()[:1]:  # all have one store
            await runner.check_store()

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

            await bot.schedule("remind", in_=3600, data="the tea")

        It is on the agenda when this returns, whatever becomes of the handler or job that plans it: one that fails and
        is run again, or asks and goes on with the answer, finds its plans there and plans nothing twice. One that is
        given up in the end leaves them there; `unschedule` takes them back.

        Args:
            job: The name of a function that was declared with `@bot.job()`, or of any other job.
            at: When, with a time zone.
            in_: Or in how many seconds.
            data: What the job gets as `job.data`; anything that JSON can hold.
            key: Names this time among those of the job: one that is known, or was done of late, is not planned again.
                By default, in a handler or job, one that follows from its message or moment and from how much it has
                planned before, so that it has to plan in the same order in each run; elsewhere a new one.
            replace: Put it in the place of the one with this key instead.
            account: For which of several accounts; by default, in a handler or job, for the one that it works for.

        Returns:
            Whether it was planned.

        Raises:
            ConfigError: The bot is not running, there is no such job, the time or the data cannot be used, or it is not
                clear which account is meant.
            StoreError: It could not be stored.
        """
        at_ms = moment_of(at, in_, self._blueprint.clock.now_ms())
        key = key or next_plan() or f"{self._blueprint.random.getrandbits(80):020x}"
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
        stored = await crew.store.accounts.put(account)
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
        was_there = await crew.store.accounts.remove(AccountId(account))
        crew.look_again()
        return was_there

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
        if not self._blueprint.wanted.is_many:
            message = 'this bot works for one account; make it with Bot(accounts="all") to add and remove some'
            raise ConfigError(message)
        return self._crew
