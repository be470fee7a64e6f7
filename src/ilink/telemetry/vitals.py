"""Whether a bot is well: it polls, and its store takes writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

from ilink.bot import Bot, SessionState
from ilink.errors import ConfigError, StoreError
from ilink.storage.journal import Letter, Outcome, Outgoing
from ilink.wire.ids import AccountId

__all__ = ["Finding", "Vitals"]

_LATE: Final = 90.0
"""Seconds without an answered poll that are too many: two polls that are held as long as they are (official: 35 s)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An answer.

    Attributes:
        is_well: Whether all is as it should be.
        words: What is, for people.
    """

    is_well: bool
    words: str


class Vitals:
    """Watches a bot's polls; give it to `Bot.observe`.

    Args:
        bot: The bot.
        polls: Whether this process polls; one that only handles or sends is well without.
        late_seconds: How long no poll of an account may have been answered.
        now: A clock that only goes forward, in seconds.
    """

    def __init__(
        self,
        bot: Bot,
        *,
        polls: bool = True,
        late_seconds: float = _LATE,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bot = bot
        self._polls = polls
        self._late = late_seconds
        self._now = now
        self._answered: dict[AccountId, float] = {}

    def polled(self, account: AccountId, *, updates: int) -> None:  # noqa: ARG002  # as observers are called
        """Note that a poll was answered."""
        self._answered[account] = self._now()

    def handling(self, account: AccountId, letter: Letter) -> AbstractContextManager[object]:  # noqa: ARG002
        """Nothing is noted."""
        return nullcontext()

    def sent(self, account: AccountId, message: Outgoing, outcome: Outcome) -> None:
        """Nothing is noted."""

    def poll_ages(self) -> dict[AccountId, float]:
        """Return how many seconds ago the last poll of each active account was answered.

        One that has just become active is as old as this question was first asked about it.
        """
        if not self._polls:
            return {}
        active = [account for account, state in self._bot.states.items() if state is SessionState.ACTIVE]
        for account in self._answered.keys() - set(active):
            del self._answered[account]
        now = self._now()
        return {account: now - self._answered.setdefault(account, now) for account in active}

    def health(self) -> Finding:
        """Tell whether every account that can be polled has been, lately; if not, the process is best started anew.

        An account whose owner has to sign in again is no reason to: nothing that a process does helps it.
        """
        if not self._polls:
            return Finding(True, f"this process does not poll; it works for {len(self._bot.states)} accounts")
        ages = self.poll_ages()
        late = {account: age for account, age in ages.items() if age > self._late}
        if not late:
            return Finding(True, f"{len(ages)} of {len(self._bot.states)} accounts are polled")
        worst = max(late.values())
        return Finding(False, f"{len(late)} of {len(ages)} accounts had no poll answered for up to {worst:.0f} s")

    async def readiness(self) -> Finding:
        """Tell whether the store takes writes, by writing."""
        try:
            await self._bot.check_store()
        except (ConfigError, StoreError) as error:
            return Finding(False, str(error))
        return Finding(True, "the store takes writes")
