"""What a failed attempt to send means: for the message, for its conversation, for what is known of the user's window.

A refusal keeps the message. Nothing is thrown away because a window is closed, nothing is repeated that would lengthen
a penalty, and nobody is signed out by a refusal of one message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ilink.bot.settings import OnUnknown, Policies
from ilink.errors import (
    ApiError,
    ConfigError,
    ConnectError,
    IlinkError,
    MediaError,
    OutcomeUnknownError,
    RateLimitedError,
    RemoteProtocolError,
    RequestRejectedError,
    ServerError,
    StaleTokenError,
    WindowClosedError,
)
from ilink.messages.receipts import DeferredWhy
from ilink.storage.journal import OutboxState, WindowEvent

__all__ = ["Verdict", "code_of", "judge_send", "judge_unknown", "judge_upload"]

_EDGE: Final = frozenset({502, 504, 524})
"""What something in front of the server answers when it lost the server's answer: nobody knows what became of it."""

_AWAY: Final = 503
"""What a server answers, or something in front of it, that takes nothing now and will again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an attempt to send means.

    Attributes:
        state: What becomes of the message.
        event: What it teaches about the window.
        is_doubtful: Whether the message may have arrived all the same.
        waits_for: What its conversation waits for now; None to go on.
        is_failure: Whether the attempt counts as a failure, after which pauses get longer.
    """

    state: OutboxState
    event: WindowEvent = WindowEvent.NOTHING
    is_doubtful: bool = False
    waits_for: DeferredWhy | None = None
    is_failure: bool = False


_CLOSED: Final = Verdict(state=OutboxState.WAITING, event=WindowEvent.REFUSED, waits_for=DeferredWhy.WINDOW)
_LIMITED: Final = Verdict(state=OutboxState.WAITING, event=WindowEvent.LIMITED)
"""Looked at again at once: the window says how long the pause is."""
_STALE: Final = Verdict(state=OutboxState.WAITING, waits_for=DeferredWhy.ACCOUNT)
_AGAIN: Final = Verdict(state=OutboxState.WAITING, waits_for=DeferredWhy.CONNECTION, is_failure=True)
_REJECTED: Final = Verdict(state=OutboxState.REJECTED)


def judge_send(error: IlinkError, *, failures: int, policies: Policies) -> Verdict:
    """Return what a failed attempt to send a message means.

    Args:
        error: What `Client.send_message` raised.
        failures: How many attempts failed in a row before this one.
        policies: What the bot wants.
    """
    match error:
        case WindowClosedError():
            return _CLOSED
        case RateLimitedError():
            return _LIMITED
        case StaleTokenError():
            return _STALE
        case RequestRejectedError():
            return _REJECTED
        case OutcomeUnknownError() | RemoteProtocolError():
            return judge_unknown(failures=failures, policies=policies)
        case ServerError() if error.http_status in _EDGE:
            return judge_unknown(failures=failures, policies=policies)
        case _ if _is_away(error):
            return _AGAIN
        case _:
            return _REJECTED if failures + 1 >= policies.send_attempts else _AGAIN


def judge_unknown(*, failures: int, policies: Policies) -> Verdict:
    """Return what it means that a message was written and no answer came."""
    match policies.on_unknown:
        case OnUnknown.DROP:
            return Verdict(state=OutboxState.UNKNOWN, is_doubtful=True)
        case OnUnknown.ASK:
            return Verdict(state=OutboxState.ASKED, is_doubtful=True, waits_for=DeferredWhy.DECISION)
        case OnUnknown.RETRY:
            if failures + 1 >= policies.send_attempts:
                return Verdict(state=OutboxState.UNKNOWN, is_doubtful=True)
            return Verdict(
                state=OutboxState.WAITING, is_doubtful=True, waits_for=DeferredWhy.CONNECTION, is_failure=True
            )


def judge_upload(error: IlinkError, *, failures: int, policies: Policies) -> Verdict:
    """Return what a failed attempt to upload a message's file means; nothing was sent, so nothing is doubtful."""
    match error:
        case WindowClosedError():
            return _CLOSED
        case RateLimitedError():
            return _LIMITED
        case StaleTokenError():
            return _STALE
        case RequestRejectedError() | MediaError() | ConfigError():
            return _REJECTED
        case _ if _is_away(error):
            return _AGAIN
        case _:
            return _REJECTED if failures + 1 >= policies.send_attempts else _AGAIN


def _is_away(error: IlinkError) -> bool:
    """Whether the server took nothing and refused nothing: trying again has no end then but the message's own."""
    return isinstance(error, ConnectError) or (isinstance(error, ServerError) and error.http_status == _AWAY)


def code_of(error: IlinkError) -> int | None:
    """Return the server's number."""
    return error.code if isinstance(error, ApiError) else None
