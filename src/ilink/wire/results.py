"""What an answer means: success, or which error (protocol §1.6, §6).

One table for all endpoints. Both `ret` and `errcode` are looked at everywhere, because either may be missing.
"""

from __future__ import annotations

from typing import Final

from ilink.errors import (
    ApiError,
    RateLimitedError,
    RequestRejectedError,
    ServerError,
    StaleTokenError,
    WindowClosedError,
)
from ilink.wire.models import Answer, UnsetType, given

__all__ = [
    "EDGE_TIMEOUT_STATUSES",
    "GENERIC_FAILURE",
    "INVALID_ARGUMENTS",
    "PARAMETER_ERROR",
    "RATE_LIMIT",
    "STALE_TOKEN",
    "TICKET_FAILED",
    "read_http_error",
    "read_result",
]

GENERIC_FAILURE: Final = -1
PARAMETER_ERROR: Final = -2
"""The seed's "parameter error"; in practice the window, the allowance, the rate or a restriction (protocol §6.3)."""
INVALID_ARGUMENTS: Final = -3
TICKET_FAILED: Final = -4
RATE_LIMIT: Final = -12
"""Claimed by one peer, unconfirmed (peer: dsh-bridge)."""
STALE_TOKEN: Final = -14

_NO_CODE: Final = 2**31
"""A number of this size is no code: it is kept with the answer's words, not as a number."""

EDGE_TIMEOUT_STATUSES: Final = frozenset({504, 524})
"""What a proxy in front of the server says when it cut a poll: the poll was empty (observed: ocw#44)."""

_MEANING: Final = {
    GENERIC_FAILURE: "the server failed; try again later",
    INVALID_ARGUMENTS: "invalid arguments: a user id in the wrong case or with a prefix such as `user:`, or items that"
    " do not go together",
    TICKET_FAILED: "there is no typing ticket before the user has written",
    RATE_LIMIT: "too many calls; wait at least 30 seconds",
    STALE_TOKEN: "the token stopped working: another login took the account over, or it was idle for long; wait, or"
    " sign in again",
}


def read_result(endpoint: str, answer: Answer) -> ApiError | None:
    """Return None for success, else the error the answer stands for, not raised yet.

    Absent and 0 are success; a null, a text or any other number in `ret` or `errcode` is not (official 2.4.9).
    """
    if _is_success(answer.ret) and _is_success(answer.errcode):
        return None
    ret, errcode = _number(answer.ret), _number(answer.errcode)
    errmsg = given(answer.errmsg, "")
    kind, why = _classify(ret, errcode, errmsg)
    numbers = ", ".join(
        f"{name} {raw!r}"
        for name, raw in (("ret", answer.ret), ("errcode", answer.errcode))
        if not isinstance(raw, UnsetType)
    )
    message = f"{endpoint} was refused: {numbers}" + (f", {errmsg!r}" if errmsg else "") + f"; {why}"
    return kind(message, endpoint=endpoint, ret=ret, errcode=errcode, errmsg=errmsg)


def read_http_error(endpoint: str, http_status: int, *, errmsg: str = "", retry_after: float | None = None) -> ApiError:
    """Return the error that an HTTP status other than 200 stands for (protocol §6.4)."""
    message = f"{endpoint} was answered with HTTP {http_status}" + (f": {errmsg}" if errmsg else "")
    if http_status == 429:
        return RateLimitedError(
            f"{message}; wait before the next attempt",
            endpoint=endpoint,
            http_status=http_status,
            errmsg=errmsg,
            retry_after=retry_after,
        )
    if http_status == 401:
        return StaleTokenError(f"{message}; sign in again", endpoint=endpoint, http_status=http_status, errmsg=errmsg)
    if http_status >= 500:
        return ServerError(f"{message}; try again later", endpoint=endpoint, http_status=http_status, errmsg=errmsg)
    return RequestRejectedError(
        f"{message}; do not repeat it unchanged", endpoint=endpoint, http_status=http_status, errmsg=errmsg
    )


def _is_success(slot: object) -> bool:
    return isinstance(slot, UnsetType) or (slot == 0 and not isinstance(slot, bool | str))


def _number(slot: object) -> int | None:
    number: int | float
    match slot:
        case bool():
            return None
        case int() | float():
            number = slot
        case str() if len(slot) < 20:
            try:
                number = int(slot)
            except ValueError:
                return None
        case _:
            return None
    is_code = abs(number) < _NO_CODE and number == int(number)
    return int(number) if is_code else None


def _classify(ret: int | None, errcode: int | None, errmsg: str) -> tuple[type[ApiError], str]:
    codes = {ret, errcode}
    if STALE_TOKEN in codes:
        return StaleTokenError, _MEANING[STALE_TOKEN]
    if PARAMETER_ERROR in codes:
        return _classify_parameter_error(errmsg)
    for code, kind in (
        (INVALID_ARGUMENTS, RequestRejectedError),
        (TICKET_FAILED, WindowClosedError),
        (RATE_LIMIT, RateLimitedError),
        (GENERIC_FAILURE, ServerError),
    ):
        if code in codes:
            return kind, _MEANING[code]
    return ApiError, "nobody has documented this code"


def _classify_parameter_error(errmsg: str) -> tuple[type[ApiError], str]:
    """Read -2 by its words: the number alone says nothing (protocol §6.3)."""
    words = errmsg.strip().lower()
    if "freq" in words or "rate limit" in words:
        return RateLimitedError, "too many messages; wait at least 30 seconds, each attempt may lengthen the penalty"
    if words in ("", "prepare failed", "unknown error"):
        return (
            WindowClosedError,
            "24 hours or ten messages have passed since the user wrote; wait until they write again",
        )
    return RequestRejectedError, "a field is missing or wrong; do not repeat it unchanged"
