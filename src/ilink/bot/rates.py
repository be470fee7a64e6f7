"""How much one person may say: a bucket of tokens for each, in memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from ilink.errors import ConfigError
from ilink.wire.ids import UserId

__all__ = ["Rate", "RateLimiter"]

_MOST_PEOPLE: Final = 10_000
"""Buckets that are kept; the person who was quiet longest has a full one by then, or gets one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How many messages of one person are handled.

    A person may say `messages` at once; they come back evenly over `seconds`. What is too much is not handled, and the
    person is told once. It is counted in memory, so a restart forgives everybody.

    Attributes:
        messages: How many at once.
        seconds: How long it takes until all of them may be said again.

    Raises:
        ConfigError: One of them is not above zero.
    """

    messages: int
    seconds: float

    def __post_init__(self) -> None:
        """Refuse what lets nobody say anything."""
        if self.messages < 1 or self.seconds <= 0:
            message = f"a rate of {self.messages} messages in {self.seconds} seconds lets nobody speak"
            raise ConfigError(message)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float
    is_told: bool = False


class RateLimiter:
    """Counts what people say.

    Args:
        rate: How much one of them may say.
    """

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._buckets: OrderedDict[UserId, _Bucket] = OrderedDict()

    def wait_for(self, user: UserId, now: float) -> tuple[float, bool]:
        """Count one message.

        Args:
            user: Who said it.
            now: Seconds on a clock that does not go back.

        Returns:
            How long until the person may say something, 0 when this message is all right; and whether the person has
            to be told, which is so for the first one that is too much.
        """
        bucket = self._bucket(user, now)
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            bucket.is_told = False
            return 0.0, False
        must_tell, bucket.is_told = not bucket.is_told, True
        return (1 - bucket.tokens) * self._rate.seconds / self._rate.messages, must_tell

    def _bucket(self, user: UserId, now: float) -> _Bucket:
        full = float(self._rate.messages)
        bucket = self._buckets.get(user)
        if bucket is None:
            bucket = self._buckets[user] = _Bucket(full, now)
            if len(self._buckets) > _MOST_PEOPLE:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(user)
        bucket.tokens = min(full, bucket.tokens + (now - bucket.filled_at) * full / self._rate.seconds)
        bucket.filled_at = now
        return bucket
