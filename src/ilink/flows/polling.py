"""When to poll again, for how long, and when to stop: values in, values out.

A poll loop keeps one `PollState`, hands every outcome to `after_batch` or `after_error`, and does what the step says.
Random numbers and times are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from ilink.errors import (
    ApiError,
    IlinkError,
    OutcomeUnknownError,
    RateLimitedError,
    RemoteProtocolError,
    RequestRejectedError,
    StaleTokenError,
    TransportError,
)
from ilink.wire.results import EDGE_TIMEOUT_STATUSES

__all__ = [
    "Backoff",
    "PollAfter",
    "PollState",
    "PollStep",
    "Revive",
    "Stop",
    "after_batch",
    "after_error",
    "is_empty_poll",
    "is_hint",
    "poll_timeout",
    "was_unanswered",
    "zombie_after",
]

DEFAULT_HOLD: Final = 35.0
"""Seconds the server holds a poll without traffic (seed)."""

MIN_SLACK: Final = 5.0
MAX_SLACK: Final = 10.0
"""Seconds added to the server's hint: a client that waits exactly as long as the server loses batches (ocw#267)."""

ZOMBIE_MARGIN: Final = 5.0
"""Seconds beyond the longest time limit after which a poll is dead."""

EDGE_CEILINGS: Final = {"ilinkai.wechat.com": 12.0}
"""Hosts whose edge cuts requests, here after about 16 s; 5 and 10 s succeed (observed: hermes-agent#89983)."""

MAX_HOLD: Final = 300.0
"""A hint above this is no hint; no server has been seen to hold longer than 35 s."""

FAST: Final = 1.0
"""Seconds; a poll that comes back empty sooner than this was not held."""

PATIENCE_WITH_FAST_EMPTIES: Final = 3
"""How many unheld empty polls in a row are taken without a pause: waking up early now and then is normal."""

SHORT: Final = 0.2
"""Share of the time the server names; a poll that it ends empty sooner than this was ended by something else."""

PATIENCE_WITH_SHORT_EMPTIES: Final = 5
"""How many of those are taken without a word: a server that is restarted ends polls too."""

FORGIVEN: Final = 0.1
"""How many of those a poll that brings something makes up for: where people write all the time none is held for long,
and somebody else's polls end ours all the same."""

MAX_REJECTIONS: Final = 5
"""How often in a row a poll may be refused as wrong before the loop ends; a proxy may say 404 for a moment."""

RATE_LIMIT_PAUSE: Final = 30.0
"""Seconds to wait when a refusal for too many calls names none (protocol §6.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential back-off with full jitter.

    Attributes:
        first: Seconds the first pause may last at most.
        ceiling: Seconds any pause may last at most.
        floor: Seconds every pause lasts at least, so that a small random number does not make a tight loop.
    """

    first: float = 2.0
    ceiling: float = 60.0
    floor: float = 0.25

    def delay(self, failures: int, *, jitter: float, retry_after: float | None = None) -> float:
        """Return the seconds to wait before the next attempt.

        Args:
            failures: How many attempts in a row have failed, 1 or more.
            jitter: A random number from 0 up to 1.
            retry_after: What the server asked for; it is waited out in full, with the jitter on top.
        """
        longest = min(self.ceiling, self.first * 2.0 ** min(failures - 1, 32))
        drawn = max(self.floor, longest * jitter)
        return drawn if retry_after is None else retry_after + min(drawn, self.first)


DEFAULT_BACKOFF: Final = Backoff()


@dataclass(frozen=True, slots=True, kw_only=True)
class PollState:
    """What a poll loop remembers from one outcome to the next.

    Attributes:
        failures: How many polls in a row failed.
        rejections: How many of the last ones in a row were refused as wrong.
        fast_empties: How many polls in a row came back empty without having been held.
        short_empties: How many came back empty long before the time the server names since one was held as it should
            be, less a tenth for each that brought something.
        is_revived: Whether notifystart was tried since the token was refused first.
    """

    failures: int = 0
    rejections: int = 0
    fast_empties: int = 0
    short_empties: float = 0.0
    is_revived: bool = False

    @property
    def is_slowed(self) -> bool:
        """Whether polls come back empty at once so often that there are pauses between them."""
        return self.fast_empties > PATIENCE_WITH_FAST_EMPTIES

    @property
    def is_shared(self) -> bool:
        """Whether polls end so often before their time that somebody else seems to end them by polling."""
        return self.short_empties > PATIENCE_WITH_SHORT_EMPTIES


@dataclass(frozen=True, slots=True)
class PollAfter:
    """Poll again after so many seconds; 0 is at once."""

    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Revive:
    """Send notifystart, ignore whether it works, and poll at once: that revives an idle session (ocw#155)."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the loop by raising this error: repeating cannot help, the application chooses."""

    error: IlinkError


PollStep = PollAfter | Revive | Stop


def poll_timeout(hint_ms: int | None, *, base_url: str, slack: float = MIN_SLACK) -> float:
    """Return how long the client waits for the next poll, in seconds.

    Args:
        hint_ms: The server's newest `longpolling_timeout_ms`; None before there is one.
        base_url: Where the poll goes; the international host's ceiling is kept.
        slack: Seconds on top of the hint, 5 to 10; others are brought into that range.
    """
    wanted = _hold(hint_ms) + min(max(slack, MIN_SLACK), MAX_SLACK)
    ceiling = EDGE_CEILINGS.get((urlsplit(base_url).hostname or "").rstrip("."))
    return wanted if ceiling is None else min(wanted, ceiling)


def is_hint(milliseconds: int) -> bool:
    """Tell whether a server can mean this as the time limit of a poll."""
    return 0 < milliseconds <= MAX_HOLD * 1000


def zombie_after(hint_ms: int | None) -> float:
    """Return after how many seconds a poll is given up that should have been answered or have timed out long before.

    A poll's own time limit ends it sooner. Where that does not work, as on a connection that died unnoticed, this does.
    """
    return _hold(hint_ms) + MAX_SLACK + ZOMBIE_MARGIN


def was_unanswered(held: float, hint_ms: int | None) -> bool:
    """Tell whether a poll that was cut short ended by our own time limit though the server should have answered it.

    An edge that cuts polls does so earlier, and so do we where an edge is known to (observed: hermes-agent#89983).
    """
    return held >= _hold(hint_ms) + MIN_SLACK / 2


def is_empty_poll(error: IlinkError) -> bool:
    """Tell whether a failed poll only found nothing: our time limit or the edge's ended it (protocol §6.4)."""
    if isinstance(error, ApiError):
        return error.http_status in EDGE_TIMEOUT_STATUSES
    return isinstance(error, OutcomeUnknownError) and error.timed_out


def after_batch(
    state: PollState,
    *,
    is_empty: bool,
    held: float,
    jitter: float,
    hint_ms: int | None = None,
    backoff: Backoff = DEFAULT_BACKOFF,
) -> tuple[PollState, PollStep]:
    """Take a poll that worked.

    Args:
        state: What the loop remembers.
        is_empty: Whether it brought no update.
        held: Seconds it took.
        jitter: A random number from 0 up to 1.
        hint_ms: The time the server names for a poll; None where it names none, or something else may have cut it.
        backoff: How pauses grow.

    Returns:
        The next state, and when to poll again. A server that answers empty at once, again and again, is slowed down:
        it may be broken, or another process polls with the same token (observed: Lingtai-AI/lingtai#83). One that
        holds polls for a moment before it ends them for another's is not slowed down, and noticed.
    """
    if not is_empty:
        return PollState(short_empties=max(0.0, state.short_empties - FORGIVEN)), PollAfter()
    if held >= FAST:
        is_short = hint_ms is not None and held < SHORT * _hold(hint_ms)
        return PollState(short_empties=state.short_empties + 1 if is_short else 0.0), PollAfter()
    empties = state.fast_empties + 1
    too_many = empties - PATIENCE_WITH_FAST_EMPTIES
    pause = backoff.delay(too_many, jitter=jitter) if too_many > 0 else 0.0
    return PollState(fast_empties=empties, short_empties=state.short_empties), PollAfter(pause)


def after_error(
    state: PollState, error: IlinkError, *, jitter: float, backoff: Backoff = DEFAULT_BACKOFF
) -> tuple[PollState, PollStep]:
    """Take a poll that failed; repeating a poll is harmless, so every passing failure is repeated with back-off.

    A refused token is revived once and then ends the loop, and so does a request that is refused again and again.
    """
    if isinstance(error, StaleTokenError):
        if state.is_revived:
            return state, Stop(error)
        return replace(state, failures=state.failures + 1, is_revived=True), Revive()
    if not isinstance(error, ApiError | TransportError | RemoteProtocolError):
        return state, Stop(error)
    rejections = state.rejections + 1 if isinstance(error, RequestRejectedError) else 0
    if rejections >= MAX_REJECTIONS:
        return state, Stop(error)
    failures = state.failures + 1
    pause = backoff.delay(failures, jitter=jitter, retry_after=_asked_pause(error))
    return replace(state, failures=failures, rejections=rejections, fast_empties=0), PollAfter(pause)


def _hold(hint_ms: int | None) -> float:
    return DEFAULT_HOLD if hint_ms is None or not is_hint(hint_ms) else hint_ms / 1000


def _asked_pause(error: IlinkError) -> float | None:
    if not isinstance(error, RateLimitedError):
        return None
    return RATE_LIMIT_PAUSE if error.retry_after is None else error.retry_after
