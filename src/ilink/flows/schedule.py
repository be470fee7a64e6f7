"""When something is to be done: again and again, every day, or once; values in, moments out.

Moments are milliseconds since 1970 in UTC, passed in. A day is a day of a time zone: through a change of the clocks a
daily moment stays at its time of day. A time that such a change skips is the moment the clocks would have shown it had
they not been changed, and a time that comes twice is its first: every day has exactly one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ilink.errors import ConfigError

__all__ = ["Daily", "Every", "Once", "Plan", "read_time", "read_zone", "to_ms"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_LONGEST: Final = 366


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """Again and again, so many seconds apart, counted from when it was planned first.

    Attributes:
        seconds: How far apart; at least 1.
    """

    seconds: float

    def __post_init__(self) -> None:
        """Refuse what would never rest."""
        if not 1 <= self.seconds <= _LONGEST * 86_400:
            message = f"every {self.seconds:g} s is too often or too seldom; use 1 second to {_LONGEST} days"
            raise ConfigError(message)

    @property
    def text(self) -> str:
        """What it is stored as, to see whether it changed."""
        return f"every {self.seconds:g}"

    def first(self, now_ms: int) -> int | None:
        """Return the first moment of something that is planned now."""
        return now_ms + self._step

    def following(self, moment_ms: int, now_ms: int) -> int | None:
        """Return the next moment after one, later than now: those that were missed are not made up for."""
        missed = max(0, now_ms - moment_ms) // self._step
        return moment_ms + (missed + 1) * self._step

    @property
    def _step(self) -> int:
        return int(self.seconds * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Daily:
    """Every day at a time of day.

    Attributes:
        at: The time of day, without a zone.
        zone: Where that is the time; None for the zone of this machine.
        weekdays: On which days, Monday is 0; empty for all.
    """

    at: time
    zone: tzinfo | None = None
    weekdays: frozenset[int] = frozenset()

    @property
    def text(self) -> str:
        """What it is stored as, to see whether it changed."""
        days = "".join(str(day) for day in sorted(self.weekdays)) or "all"
        return f"daily {self.at.isoformat()} {self.zone or 'local'} {days}"

    def first(self, now_ms: int) -> int | None:
        """Return the first moment of something that is planned now."""
        return self.following(now_ms, now_ms)

    def following(self, moment_ms: int, now_ms: int) -> int | None:
        """Return the next moment after one, later than now."""
        after = max(moment_ms, now_ms)
        today = _to_datetime(after).astimezone(self.zone).date()
        days = (today + timedelta(days=number) for number in range(9))
        moments = (to_ms(self._moment(day)) for day in days if not self.weekdays or day.weekday() in self.weekdays)
        return next((moment for moment in moments if moment > after), None)

    def _moment(self, day: date) -> datetime:
        return datetime.combine(day, self.at, tzinfo=self.zone).astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """Once, at a moment.

    Attributes:
        at_ms: When.
    """

    at_ms: int

    @property
    def text(self) -> str:
        """What it is stored as, to see whether it changed."""
        return f"once {self.at_ms}"

    def first(self, now_ms: int) -> int | None:
        """Return the moment, unless it is over when this is planned."""
        return self.at_ms if self.at_ms > now_ms else None

    def following(self, moment_ms: int, now_ms: int) -> int | None:  # noqa: ARG002  # the other plans need them
        """Return nothing: once is once."""
        return None


Plan = Every | Daily | Once
"""When something is to be done."""


def read_time(text: str | time) -> time:
    """Return a time of day such as `08:00`.

    Raises:
        ConfigError: It is none, or has a zone of its own.
    """
    try:
        at = time.fromisoformat(text.strip()) if isinstance(text, str) else text
    except ValueError as error:
        message = f'{text!r} is no time of day; write it as "08:00"'
        raise ConfigError(message) from error
    if at.tzinfo is not None:
        message = f"{text!r} has a zone of its own; give the time without it, and the zone as tz="
        raise ConfigError(message)
    return at


def read_zone(zone: str | tzinfo | None) -> tzinfo | None:
    """Return a time zone by its name, such as `Asia/Shanghai`; None stays None, the zone of this machine.

    Raises:
        ConfigError: This machine knows no such zone.
    """
    if not isinstance(zone, str):
        return zone
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f'{zone!r} is no time zone that this machine knows; use a name such as "Asia/Shanghai"'
        raise ConfigError(message) from error


def to_ms(moment: datetime) -> int:
    """Return a moment in milliseconds since 1970.

    Raises:
        ConfigError: It has no time zone.
    """
    if moment.tzinfo is None:
        message = f"{moment} has no time zone, so nobody knows when that is; give it one with tzinfo="
        raise ConfigError(message)
    return (moment - _EPOCH) // _MILLISECOND


def _to_datetime(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)
