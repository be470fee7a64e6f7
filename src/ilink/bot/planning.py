"""Names for what a handler or a job plans, the same in every run of it."""

from __future__ import annotations

import hashlib
from contextvars import ContextVar, Token

__all__ = ["next_plan", "planning_for"]


class _Plans:
    """Counts what one run plans.

    Args:
        cause: Names what it runs for, the same in every run.
    """

    __slots__ = ("_cause", "_count")

    def __init__(self, cause: str) -> None:
        self._cause = cause
        self._count = 0

    def next(self) -> str:
        self._count += 1
        return hashlib.sha256(f"{self._cause}\0{self._count}".encode()).hexdigest()[:20]


_at_hand: ContextVar[_Plans | None] = ContextVar("_at_hand", default=None)


class planning_for:  # noqa: N801  # reads as a statement; entered for every message, so no generator
    """Name what is planned in this block, and by tasks that begin in it, by its cause and in its order."""

    __slots__ = ("_plans", "_token")

    def __init__(self, cause: str) -> None:
        self._plans = _Plans(cause)

    def __enter__(self) -> None:
        self._token: Token[_Plans | None] = _at_hand.set(self._plans)

    def __exit__(self, *exc_info: object) -> None:
        _at_hand.reset(self._token)


def next_plan() -> str | None:
    """Return the name of what is planned now; None outside of handlers and jobs."""
    plans = _at_hand.get()
    return None if plans is None else plans.next()
