"""What was sent while the bot was down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

from ilink.bot.lane_policy import LanePolicy
from ilink.bot.settings import Policies
from ilink.errors import ConfigError
from ilink.messages.incoming import Message, read_moment, read_update
from ilink.storage.journal import Letter
from ilink.wire.models import given

__all__ = ["SUMMARY", "Backlog", "BacklogHandler"]

BacklogHandler = Callable[[Sequence[Message]], Awaitable[object]]
"""Handles the old messages of one person in one conversation at once; what it replies to the last of them is its
answer to all."""

SUMMARY: Final = LanePolicy(mode="merge", merge_seconds=2.0, merge_most_seconds=20.0, merge_most_messages=100)
"""How old messages go through their lane when they are summarised: as one, when no more came for a moment."""

_SKEW: Final = 60_000
"""Milliseconds by which our clock and the server's may differ without anybody noticing."""


class Backlog:
    """Tells which messages are old, and what becomes of them.

    Args:
        policies: What that is, and from what age on.
        handler: Who handles them when they are summarised.

    Raises:
        ConfigError: They are to be summarised and nobody does it, or somebody would who is never asked.
    """

    def __init__(self, policies: Policies, handler: BacklogHandler | None) -> None:
        if (policies.backlog == "summarise") != (handler is not None):
            message = 'a handler with @bot.on_backlog goes with Policies(backlog="summarise"), and the other way round'
            raise ConfigError(message)
        self._policies = policies
        self._skew_ms = 0
        self.handler = handler

    def learn(self, sent_ms: int, now_ms: int, *, is_live: bool) -> None:
        """Compare the clocks: a message that a waiting poll brought was sent just now, and none was in the future."""
        apart_ms = now_ms - sent_ms
        if is_live or apart_ms < -_SKEW:
            self._skew_ms = apart_ms if abs(apart_ms) > _SKEW else 0

    def refusal(self, sent_ms: int | None, now_ms: int) -> str | None:
        """Return why a message is not handled at all; None when it is."""
        sent_at = read_moment(sent_ms)
        if sent_ms is None or sent_at is None or self._policies.backlog in ("process", "summarise"):
            return None
        if not self._is_old(sent_ms, now_ms) or self._is_kept(sent_at):
            return None
        return f"it was sent {(now_ms - sent_ms) / 1000:.0f} s before it came"

    def is_summarised(self, letter: Letter) -> bool:
        """Tell whether a stored message is one of those that are summarised."""
        if self.handler is None:
            return False
        wire = read_update(letter.raw)
        sent_ms = None if wire is None else given(wire.create_time_ms, 0) or None
        return sent_ms is not None and self._is_old(sent_ms, letter.received_ms)

    def _is_old(self, sent_ms: int, now_ms: int) -> bool:
        return now_ms - sent_ms - self._skew_ms >= self._policies.backlog_seconds * 1000

    def _is_kept(self, sent_at: datetime) -> bool:
        return callable(self._policies.backlog) and self._policies.backlog(sent_at)
