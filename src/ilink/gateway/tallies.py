"""Counts of what happened since the gateway opened, under few fixed names: no ids, nothing that callers chose."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Final

from ilink.wire.results import (
    GENERIC_FAILURE,
    INVALID_ARGUMENTS,
    PARAMETER_ERROR,
    RATE_LIMIT,
    STALE_TOKEN,
    TICKET_FAILED,
)

if TYPE_CHECKING:
    from ilink.gateway.wire_log import Exchange

__all__ = ["Tallies"]

_CODES: Final = {
    code: str(code)
    for code in (0, GENERIC_FAILURE, PARAMETER_ERROR, INVALID_ARGUMENTS, TICKET_FAILED, RATE_LIMIT, STALE_TOKEN)
}


class Tallies:
    """What is counted of one gateway; it only ever grows, through resets too, as those who read it expect.

    Attributes:
        answers: By endpoint, class of the HTTP status (`gone` where nobody was answered) and code in the answer
            (`none` where it has none, `other` where it is none of the protocol's: a fault can answer with any number).
        refusals: By endpoint and code: answers that are failures in the protocol's own numbers.
        faults: How many struck, by action.
        findings: By code.
        media_bytes: What went through the CDN, by direction: `up` from bots and `down` to them, encrypted.
    """

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, ...]] = Counter()
        self.refusals: Counter[tuple[str, ...]] = Counter()
        self.faults: Counter[tuple[str, ...]] = Counter()
        self.findings: Counter[tuple[str, ...]] = Counter()
        self.media_bytes: Counter[tuple[str, ...]] = Counter()

    def add(self, exchange: Exchange) -> None:
        """Count a finished exchange."""
        code = _code(exchange)
        self.answers[exchange.endpoint, _class(exchange.status), code] += 1
        if exchange.is_refused:
            self.refusals[exchange.endpoint, code] += 1
        for _, action in exchange.faults:
            self.faults[action,] += 1
        for finding in exchange.findings:
            self.findings[finding,] += 1

    def add_turned_away(self) -> None:
        """Count a request that was not read, because its address had made too many."""
        self.answers["?", _class(429), str(GENERIC_FAILURE)] += 1

    def add_media(self, *, up: int, down: int) -> None:
        """Count the bytes of a finished transfer."""
        self.media_bytes["up",] += up
        self.media_bytes["down",] += down


@cache
def _class(status: int) -> str:
    return f"{status // 100}xx" if status else "gone"


def _code(exchange: Exchange) -> str:
    if exchange.is_stale:  # some answers say it in `errcode` alone
        return str(STALE_TOKEN)
    if exchange.ret is None:
        return "none"
    return _CODES.get(exchange.ret, "other")
