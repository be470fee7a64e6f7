"""The gateway's own time: it can be moved forward and stopped, and whoever waits for it is woken.

Two kinds of waiting differ. A *moment* is a point of this time, the end of a code's life say: it comes when the time
gets there, also by a jump. A *pause* is a length of real waiting, a held poll say: a jump does not shorten it, but
while the time is frozen only jumps count, so that a test decides when a poll is answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from heapq import heapify, heappop, heappush
from math import isfinite
from typing import Final

__all__ = ["Alarm", "Clock", "as_datetime"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ROUNDING: Final = 1e-5
"""What sums of seconds since 1970 may lose; an alarm that is due by less is due."""
_SWEEP_FROM: Final = 1024
"""How many cancelled alarms may lie about before they are swept out."""


def as_datetime(milliseconds: int) -> datetime:
    """Return the aware time in UTC of milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


class Alarm:
    """A call that is to come; `cancel()` makes it not come."""

    __slots__ = ("_line", "call")

    def __init__(self, line: _Line, call: Callable[[], None]) -> None:
        self._line = line
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Make the call not come; harmless afterwards and twice."""
        if self.call is not None:
            self.call = None
            self._line.forget_one()


class Clock:
    """Time in seconds since 1970, real until somebody moves or stops it.

    Args:
        wall: The real time; asked once.
        monotonic: Real time that never jumps, in seconds.
    """

    def __init__(
        self, *, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._start()

    def _start(self) -> None:
        self._ahead = self._wall() - self._monotonic()
        self._stopped_at: float | None = None
        self._moments = _Line(self.now)
        self._pauses = _Line(self._waited)
        self._pause_shift = 0.0

    @property
    def is_frozen(self) -> bool:
        """Whether the time stands still."""
        return self._stopped_at is not None

    def now(self) -> float:
        """Return the seconds since 1970."""
        return (self._monotonic() if self._stopped_at is None else self._stopped_at) + self._ahead

    def now_ms(self) -> int:
        """Return the milliseconds since 1970."""
        # Spelled out, not by `now`: it is asked a dozen times for each message.
        return int(((self._monotonic() if self._stopped_at is None else self._stopped_at) + self._ahead) * 1000)

    def advance(self, seconds: float) -> None:
        """Move the time forward and make the calls whose moment has come.

        Raises:
            ValueError: Time only moves forward.
        """
        if not isfinite(seconds) or seconds < 0:
            message = f"the clock moves forward by a number of seconds, not by {seconds}"
            raise ValueError(message)
        self._ahead += seconds
        if self.is_frozen:
            self._pause_shift += seconds
            self._pauses.ring()
        self._moments.ring()

    def freeze(self) -> None:
        """Stop the time; only `advance` moves it."""
        if self._stopped_at is None:
            self._stopped_at = self._monotonic()
            self._moments.stop()
            self._pauses.stop()

    def unfreeze(self) -> None:
        """Let the time run on from where it stands."""
        if self._stopped_at is not None:
            still = self._monotonic() - self._stopped_at
            self._ahead -= still
            self._pause_shift -= still
            self._stopped_at = None
            self._moments.run()
            self._pauses.run()

    def align(self, moment: float, *, is_frozen: bool) -> None:
        """Show what another clock of the same gateway shows, and make the calls whose moment has come."""
        if is_frozen:
            self.freeze()
        else:
            self.unfreeze()
        step = moment - self.now()
        self._ahead += step
        if is_frozen and step > 0:
            self._pause_shift += step
            self._pauses.ring()
        self._moments.ring()

    def reset(self, now: float | None = None) -> None:
        """Forget every alarm and show real time again; or stand still at a moment, in seconds since 1970."""
        self._moments.stop()
        self._pauses.stop()
        self._start()
        if now is not None:
            self.freeze()
            # Not at what the real clocks show: sums of those would round differently in every run.
            self._stopped_at, self._ahead = 0.0, now

    def at(self, moment: float, call: Callable[[], None]) -> Alarm:
        """Call when the time reaches a moment, in seconds since 1970."""
        return self._moments.add(moment, call)

    def after(self, seconds: float, call: Callable[[], None]) -> Alarm:
        """Call after a pause of real seconds; of the gateway's own while the time is frozen."""
        return self._pauses.add(self._waited() + seconds, call)

    async def pause(self, seconds: float) -> None:
        """Wait as long as `after` would."""
        if seconds > 0:
            done = asyncio.Event()
            alarm = self.after(seconds, done.set)
            try:
                await done.wait()
            finally:
                alarm.cancel()

    def _waited(self) -> float:
        """Return how far pauses have come: real seconds while the time runs, jumps while it is frozen."""
        return (self._monotonic() if self._stopped_at is None else self._stopped_at) + self._pause_shift


class _Line:
    """Calls in the order of their time, with one timer of the event loop for the first of them."""

    __slots__ = ("_count", "_dead", "_heap", "_is_stopped", "_now", "_timer", "_timer_due")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._heap: list[tuple[float, int, Alarm]] = []
        self._count = 0
        self._dead = 0
        self._is_stopped = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    def add(self, due: float, call: Callable[[], None]) -> Alarm:
        alarm = Alarm(self, call)
        self._count += 1
        heappush(self._heap, (due, self._count, alarm))
        self._set_timer()
        return alarm

    def forget_one(self) -> None:
        """Count a cancelled alarm; polls that end early would pile up otherwise."""
        self._dead += 1
        if self._dead > _SWEEP_FROM and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].call is not None]
            heapify(self._heap)
            self._dead = 0

    def stop(self) -> None:
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def run(self) -> None:
        self._is_stopped = False
        self.ring()

    def ring(self) -> None:
        """Make every call that is due and set the timer for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._now() + _ROUNDING
        while self._heap and self._heap[0][0] <= now:
            _, _, alarm = heappop(self._heap)
            call, alarm.call = alarm.call, None
            if call is None:
                self._dead = max(0, self._dead - 1)
            else:
                call()
        self._set_timer()

    def _set_timer(self) -> None:
        if not self._heap or self._is_stopped:
            return
        due = self._heap[0][0]
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = asyncio.get_running_loop().call_later(max(0.0, due - self._now()), self.ring)
