"""Accounts begin one after the other: so many a second towards one server, and few that have not polled yet."""

from __future__ import annotations

from asyncio import Semaphore
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from random import Random

from ilink.fleet.lease import Uptime

__all__ = ["Ramp", "TokenBucket"]


class TokenBucket:
    """Lets things happen at a rate, after a few at once.

    Args:
        rate: How many a second.
        burst: How many at once.
        clock: Source of time.
        random: Source of jitter: processes that begin together do not go on in step.
    """

    def __init__(self, rate: float, *, burst: int, clock: Uptime, random: Random) -> None:
        self._gap = 1.0 / rate
        self._credit = self._gap * max(0, burst - 1)
        self._clock = clock
        self._random = random
        self._next = 0.0

    async def wait(self) -> None:
        """Wait for one's turn; turns are given in the order of the calls."""
        now = self._clock.uptime()
        turn = self._next = max(self._next, now - self._credit) + self._gap * self._random.uniform(0.75, 1.25)
        if turn > now:
            await self._clock.sleep(turn - now)


class Ramp:
    """Spreads the beginnings of accounts, at start, after an outage and when slots change hands.

    Args:
        rate: Accounts a second towards one server.
        at_once: How many may be about to begin, towards all servers together.
        clock: Source of time.
        random: Source of jitter.
    """

    def __init__(self, *, rate: float, at_once: int, clock: Uptime, random: Random) -> None:
        self._rate = rate
        self._burst = at_once
        self._places = Semaphore(at_once)
        self._clock = clock
        self._random = random
        self._buckets: dict[str, TokenBucket] = {}

    @asynccontextmanager
    async def admitted(self, base_url: str, is_needed: Callable[[], bool]) -> AsyncGenerator[Callable[[], None], None]:
        """Wait for a turn towards a server and for one of the places of those who begin.

        Args:
            base_url: The server.
            is_needed: Whether there is still anything to wait for.

        Yields:
            Frees the place; to be called when the account has begun. The end of the block frees it too.
        """
        bucket = self._buckets.get(base_url)
        if bucket is None:
            bucket = TokenBucket(self._rate, burst=self._burst, clock=self._clock, random=self._random)
            self._buckets[base_url] = bucket
        await self._places.acquire()
        is_held = True

        def free() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                self._places.release()

        try:
            if is_needed():
                await bucket.wait()
            yield free
        finally:
            free()
