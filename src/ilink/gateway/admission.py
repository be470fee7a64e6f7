"""How much one address may ask of the gateway, before anything about it is known."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from math import ceil
from typing import Final

from ilink.gateway.knobs import Knobs

__all__ = ["Admission"]

_REMEMBERED: Final = 10_000
"""Addresses whose requests are counted; of more, those that were quiet longest begin anew."""


class Admission:
    """Counts connections and requests by address, in real time.

    Both limits are off by default: on a laptop all bots come from one address, and behind a balancer too.

    Args:
        knobs: `limits.connections` and `limits.requests`.
        monotonic: The clock.
    """

    def __init__(self, knobs: Knobs, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._knobs = knobs
        self._monotonic = monotonic
        self._connections: dict[str, int] = {}
        self._requests: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def connect(self, address: str) -> bool:
        """Count a connection in, unless its address has as many as it may; each that is taken is counted out once."""
        taken = self._connections.get(address, 0)
        most = self._knobs.number("limits.connections")
        if most is not None and taken >= most:
            return False
        self._connections[address] = taken + 1
        return True

    def disconnect(self, address: str) -> None:
        """Count a connection out."""
        left = self._connections.pop(address, 0) - 1
        if left > 0:
            self._connections[address] = left

    def request(self, address: str) -> int | None:
        """Count a request; return None if it may be served, else in how many seconds another one may."""
        rate = self._knobs.rate("limits.requests")
        if rate is None:
            return None
        most, seconds = rate
        now = self._monotonic()
        left, since = self._requests.pop(address, (float(most), now))
        left = min(float(most), left + (now - since) * most / seconds)
        may = left >= 1.0
        self._requests[address] = (left - 1.0 if may else left, now)
        if len(self._requests) > _REMEMBERED:
            self._requests.popitem(last=False)
        return None if may else ceil((1.0 - left) * seconds / most)
