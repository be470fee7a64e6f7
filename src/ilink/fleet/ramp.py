"""Accounts begin one after the other: so many a second towards one server, and few that have not polled yet."""

from __future__ import annotations

from asyncio import Semaphore
from collections.abc import Callable
from random import Random
from typing import Self

from ilink.fleet.lease import Uptime

__all__ = ["Admission", "Ramp", "TokenBucket"]


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

    def admission(self, base_url: str, is_needed: Callable[[], bool]) -> Admission:
        """Return what lets an account begin when it is its turn towards a server.

        Args:
            base_url: The server.
            is_needed: Whether there is still anything to wait for.
        """
        bucket = self._buckets.get(base_url)
        if bucket is None:
            bucket = TokenBucket(self._rate, burst=self._burst, clock=self._clock, random=self._random)
            self._buckets[base_url] = bucket
        return Admission(self._places, bucket, is_needed)


class Admission:
    """Waits for a turn towards a server and for one of the places of those who begin, and keeps that until its end.

    Args:
        places: The places.
        bucket: The turns.
        is_needed: Whether there is still anything to wait for.
    """

    __slots__ = ("_bucket", "_is_held", "_is_needed", "_places")

    def __init__(self, places: Semaphore, bucket: TokenBucket, is_needed: Callable[[], bool]) -> None:
        self._places = places
        self._bucket = bucket
        self._is_needed = is_needed
        self._is_held = False

    async def __aenter__(self) -> Self:
        await self._places.acquire()
        self._is_held = True
        try:
            if self._is_needed():
                await self._bucket.wait()
        except BaseException:
            self.end()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.end()

    def end(self) -> None:
        """Free the place, as soon as the account has begun."""
        if self._is_held:
            self._is_held = False
            self._places.release()
