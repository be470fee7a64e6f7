"""The gateway's time as its operator moves it, stored so that a restart does not go back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from ilink.gateway.clock import Clock
from ilink.gateway.problems import InvalidRequestError
from ilink.gateway.state import GatewayState
from ilink.gateway.views import ClockView

__all__ = ["Timekeeping"]

_BEGINNING_OF_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
_END: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""The clock, and whatever expires after it, stays within the years that dates can have."""


_CLOCKS_DIFFER: Final = 0.5
"""Seconds by which the clocks of two machines may differ, and nobody has moved the time."""


class Timekeeping:
    """The clock of one open gateway."""

    def __init__(self, state: GatewayState) -> None:
        self._state = state

    def view(self) -> ClockView:
        """Return the gateway's own time."""
        return ClockView(now=self._state.now, frozen=self._state.clock.is_frozen)

    async def advance(self, seconds: float) -> ClockView:
        """Move the time forward; see `Gateway.advance_clock`."""
        if seconds > (_END - self._state.now).total_seconds():
            message = f"the clock goes no further than the year {_END.year}; a reset brings it back to now"
            raise InvalidRequestError(message)
        try:
            self._state.clock.advance(seconds)
        except ValueError as error:
            raise InvalidRequestError(str(error)) from error
        return await self._changed()

    async def freeze(self, *, frozen: bool) -> ClockView:
        """Stop the time, held polls' included, or let it run on from where it stands."""
        if frozen:
            self._state.clock.freeze()
        else:
            self._state.clock.unfreeze()
        return await self._changed()

    def check(self, now: datetime | None) -> None:
        """Refuse a moment that the clock cannot show.

        Raises:
            InvalidRequestError: It is before 1970 or after 9000.
        """
        if now is not None and not _BEGINNING_OF_TIME <= now <= _END:
            message = f"now: the clock shows times from {_BEGINNING_OF_TIME.year} to {_END.year}, not {now.isoformat()}"
            raise InvalidRequestError(message)

    async def begin(self, now: datetime | None) -> None:
        """Show real time again, or stand still at a moment."""
        self._state.clock.reset(None if now is None else now.timestamp())
        await self._state.store.put_meta({"clock_ahead": "0", **self._position()})

    def take_up(self, meta: Mapping[str, str]) -> None:
        """Show the time that another process stored."""
        frozen_at = meta.get("clock_frozen_at", "")
        clock = self._state.clock
        if frozen_at:
            clock.align(float(frozen_at), is_frozen=True)
        else:
            moment = Clock().now() + float(meta.get("clock_offset", "0"))
            if clock.is_frozen or abs(moment - clock.now()) > _CLOCKS_DIFFER:
                clock.align(moment, is_frozen=False)

    def _position(self) -> dict[str, str]:
        """Return what other processes need to show the same time."""
        clock = self._state.clock
        return {
            "clock_offset": f"{clock.now() - Clock().now():.3f}",
            "clock_frozen_at": f"{clock.now():.6f}" if clock.is_frozen else "",
        }

    async def _changed(self) -> ClockView:
        """Store how far ahead of real time the gateway is, so that a restart does not go back in time."""
        view = self.view()
        ahead = max(0.0, self._state.clock.now() - Clock().now())
        await self._state.store.put_meta({"clock_ahead": f"{ahead:.3f}", **self._position()})
        self._state.publish("clock", {"now": view.now.isoformat(), "frozen": view.frozen})
        return view
