"""Distance between messages, so that nothing goes out in bursts."""

from __future__ import annotations

from random import Random
from typing import Final

from ilink.bot.clock import Clock
from ilink.bot.outbox.lane import OutLane

__all__ = ["Pacer"]

_JITTER: Final = 0.25
"""How much longer than asked for a distance may be: a bot that writes like a metronome is easily told from a person."""


class Pacer:
    """Gives every message its place in time.

    Args:
        conversation_seconds: The least distance between two messages of a conversation.
        account_seconds: The least distance between any two messages.
        clock: Source of time.
        random: Source of jitter.
    """

    def __init__(self, *, conversation_seconds: float, account_seconds: float, clock: Clock, random: Random) -> None:
        self._conversation = conversation_seconds
        self._account = account_seconds
        self._clock = clock
        self._random = random
        self._next = 0.0
        self._ready = 0.0
        self._sent: dict[str, float] = {}

    def delay(self, lane: OutLane) -> float:
        """Return for how many seconds a lane's next message has to wait; 0 when it may go out, once."""
        if not self._conversation and not self._account:
            return 0.0
        now = self._clock.monotonic()
        if lane.slot is None:
            lane.slot = max(now, self._sent.get(lane.conversation, now), self._next)
            self._next = lane.slot + self._stretched(self._account)
        # The place, and what the last message needs that went out later than planned.
        left = max(lane.slot, self._ready) - now
        if left > 0:
            return left
        lane.slot = None
        self._ready = now + self._account
        if self._conversation:
            self._forget_old(now)
            self._sent.pop(lane.conversation, None)
            self._sent[lane.conversation] = now + self._stretched(self._conversation)
        return 0.0

    def give_back(self, lane: OutLane) -> None:
        """Take back a place that is not used: a lane that waits for something else must not come back in a burst."""
        lane.slot = None

    def _stretched(self, seconds: float) -> float:
        return seconds * (1 + _JITTER * self._random.random())

    def _forget_old(self, now: float) -> None:
        """Forget conversations that may send again anyway; they are in the order of their last messages, nearly."""
        while self._sent:
            oldest = next(iter(self._sent))
            if self._sent[oldest] > now:
                return
            del self._sent[oldest]
