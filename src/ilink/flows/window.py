"""When a user may be written to: the 24 hours and the messages that their own message opens (protocol §3.4).

A ledger per account and user. All it knows beyond the defaults it learned from the server's refusals. Times are
milliseconds since 1970, passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

__all__ = [
    "ALLOWANCE",
    "WINDOW_MS",
    "Confidence",
    "Forecast",
    "Gate",
    "Window",
    "accepted",
    "forecast",
    "gate",
    "heard",
    "limited",
    "refused",
]

WINDOW_MS: Final = 24 * 3_600_000
"""How long a user's message lets the bot send (observed: ocw#156, ocw#185, ocw#204, maintainers)."""

ALLOWANCE: Final = 10
"""How many messages are accepted until the user writes again (observed: ocw#81, ocw#202, a maintainer)."""

_FIRST_PAUSE_MS: Final = 30_000
_LONGEST_PAUSE_MS: Final = 3_600_000
"""Each attempt during a penalty may lengthen it, so pauses double up to an hour (observed: cc-connect#1643)."""


_FIRST_PROBE_MS: Final = 30 * 60_000
_LONGEST_PROBE_MS: Final = 6 * 3_600_000
"""Some refusals end by themselves after 5 to 30 minutes and more (observed: ocw#270), so one message is tried after
that; each attempt may lengthen a penalty (observed: cc-connect#1643), so the time doubles."""


class Confidence(StrEnum):
    """How sure a forecast is."""

    ASSUMED = "assumed"
    """From what others reported."""
    LEARNED = "learned"
    """This server refused this user's messages in this way before."""
    TOLD = "told"
    """The server said so, and nothing has happened since."""


class Window(Struct, frozen=True, kw_only=True):
    """What is known about sending to one user; a new one for every message, so no dataclass, whose copies are slow.

    Attributes:
        heard_ms: When the user last wrote; None when they never did.
        sent: Messages accepted since then.
        credit: Messages that may still be accepted if every message of the user adds an allowance.
        allowance: Messages accepted per message of the user.
        is_strict: Whether a refusal showed that messages of the user do not add up; then `sent` counts, not `credit`.
        is_closed: Whether the server refused since the user last wrote.
        paused_until_ms: Until when nothing is sent because there were too many calls.
        pauses: How many such pauses came in a row.
        probe_ms: When one message may be tried although the window is closed; 0 when only the user can open it.
        refusals: How many refusals came in a row since a message was accepted or the user wrote.
    """

    heard_ms: int | None = None
    sent: int = 0
    credit: int = ALLOWANCE
    allowance: int = ALLOWANCE
    is_strict: bool = False
    is_closed: bool = False
    paused_until_ms: int = 0
    pauses: int = 0
    probe_ms: int = 0
    refusals: int = 0


class Gate(StrEnum):
    """Whether a message may go out now, or what keeps it."""

    OPEN = "open"
    HALF_OPEN = "half_open"
    """The server refused a while ago, for no reason that is known; one message may be tried."""
    CLOSED = "closed"
    """The server refused; until the user writes, or a message may be tried."""
    USED_UP = "used_up"
    """The allowance is used up; until the user writes."""
    OVER = "over"
    """The 24 hours are over; until the user writes."""
    PAUSED = "paused"
    """Too many calls; until `paused_until_ms`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What will probably happen to a message that is sent now.

    Attributes:
        left: How many messages will be accepted until the user writes again; 0 when they have to write first.
        until_ms: When the window closes or the pause ends; None when that is not known.
        confidence: Where this comes from.
        why: In words.
    """

    left: int
    until_ms: int | None
    confidence: Confidence
    why: str

    @property
    def can_send(self) -> bool:
        """Whether a message sent now will probably be accepted."""
        return self.left > 0


def heard(window: Window, at_ms: int, *, messages: int = 1) -> Window:
    """Take messages of the user: the window is open again. A pause for too many calls stays.

    A learned allowance below the usual one grows by one each time. It may have been learned too low, by a process that
    died before it had counted what was accepted, and one that is never tried again would never be found wrong. If it
    was right, that costs one refusal, and the message waits.
    """
    if window.is_strict and window.allowance < ALLOWANCE:
        window = replace(window, allowance=window.allowance + 1)
    kept = 0 if window.heard_ms is None or _is_over(window, at_ms) or window.is_closed else max(0, window.credit)
    return replace(
        window,
        heard_ms=at_ms,
        sent=0,
        is_closed=False,
        credit=min(kept + messages * window.allowance, 1_000_000),
        probe_ms=0,
        refusals=0,
    )


def accepted(window: Window) -> Window:
    """Take a message the server accepted; what was learned to be too little is corrected."""
    sent = window.sent + 1
    if window.is_closed:
        # The refusal has ended by itself, so it was not the allowance that it seemed to teach.
        window = replace(window, is_closed=False, allowance=ALLOWANCE, credit=ALLOWANCE - window.sent)
    return replace(
        window,
        sent=sent,
        credit=window.credit - 1,
        allowance=max(window.allowance, sent) if window.is_strict else window.allowance,
        pauses=0,
        paused_until_ms=0,
        probe_ms=0,
        refusals=0,
    )


def refused(window: Window, at_ms: int) -> Window:
    """Take a refusal that lasts until the user writes; one within the 24 hours teaches the allowance.

    One that comes before the usual allowance is used up may end by itself: some time later one message may be tried.
    """
    if window.is_closed:
        is_probe = 0 < window.probe_ms <= at_ms
        return replace(window, **_next_probe(window, at_ms)) if is_probe else window
    is_within = window.heard_ms is not None and not _is_over(window, at_ms)
    teaches = is_within and window.sent > 0
    probe = _next_probe(window, at_ms) if is_within and window.sent < ALLOWANCE else {}
    return replace(
        window,
        is_closed=True,
        is_strict=window.is_strict or teaches,
        allowance=min(window.allowance, window.sent) if teaches else window.allowance,
        credit=0,
        **probe,
    )


def _next_probe(window: Window, at_ms: int) -> dict[str, int]:
    pause = min(_FIRST_PROBE_MS << min(window.refusals, 10), _LONGEST_PROBE_MS)
    return {"probe_ms": at_ms + pause, "refusals": window.refusals + 1}


def limited(window: Window, at_ms: int, *, retry_after_ms: int | None) -> Window:
    """Take a refusal for too many calls; without a time from the server the pause doubles from 30 s."""
    pause = min(_FIRST_PAUSE_MS << min(window.pauses, 10), _LONGEST_PAUSE_MS)
    return replace(window, paused_until_ms=at_ms + max(pause, retry_after_ms or 0), pauses=window.pauses + 1)


def gate(window: Window, at_ms: int) -> Gate:
    """Tell whether a message may go out now.

    Who never wrote may be tried: the server decides. Until a refusal shows otherwise, a user who wrote several messages
    may get the allowance for each; holding replies back that would have been accepted is worse than one refusal
    (observed: cc-connect#1742).
    """
    if window.paused_until_ms > at_ms:
        return Gate.PAUSED
    is_over = _is_over(window, at_ms)
    if window.is_closed:
        return Gate.HALF_OPEN if 0 < window.probe_ms <= at_ms and not is_over else Gate.CLOSED
    if is_over:
        return Gate.OVER
    if (window.sent >= window.allowance) if window.is_strict else (window.credit <= 0):
        return Gate.USED_UP
    return Gate.OPEN


def forecast(window: Window, at_ms: int) -> Forecast:
    """Tell what will probably happen to a message that is sent now. It promises nothing: WeChat has more limits."""
    match gate(window, at_ms):
        case Gate.PAUSED:
            return Forecast(
                left=0, until_ms=window.paused_until_ms, confidence=Confidence.TOLD, why="there were too many calls"
            )
        case Gate.CLOSED:
            why = "the server refused the last message; the user has to write first"
            if window.probe_ms and not _is_over(window, at_ms):
                why += ", or some time has to pass until one message is tried"
                return Forecast(left=0, until_ms=window.probe_ms, confidence=Confidence.TOLD, why=why)
            return Forecast(left=0, until_ms=None, confidence=Confidence.TOLD, why=why)
        case Gate.HALF_OPEN:
            why = "the server refused a message some time ago; one may be tried now"
            return Forecast(left=1, until_ms=None, confidence=Confidence.ASSUMED, why=why)
        case Gate.OVER:
            why = "the user last wrote more than 24 hours ago and has to write first"
            return Forecast(left=0, until_ms=None, confidence=Confidence.ASSUMED, why=why)
        case Gate.USED_UP:
            why = f"{window.sent} messages were sent since the user last wrote; they have to write first"
            return Forecast(left=0, until_ms=None, confidence=_confidence(window), why=why)
        case Gate.OPEN:
            left = max(1, window.allowance - window.sent)
            if window.heard_ms is None:
                why = "the user has never written to this bot; the server may refuse"
                return Forecast(left=left, until_ms=None, confidence=Confidence.ASSUMED, why=why)
            why = f"{window.sent} of {window.allowance} messages were sent since the user last wrote"
            until = window.heard_ms + WINDOW_MS
            return Forecast(left=left, until_ms=until, confidence=_confidence(window), why=why)


def _is_over(window: Window, at_ms: int) -> bool:
    return window.heard_ms is not None and at_ms - window.heard_ms >= WINDOW_MS


def _confidence(window: Window) -> Confidence:
    return Confidence.LEARNED if window.is_strict else Confidence.ASSUMED
