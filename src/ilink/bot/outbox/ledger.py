"""What is known about sending to users: at hand for those that matter now, in the journal for all."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeVar

from ilink.bot.clock import Clock
from ilink.flows.window import Gate, Window, gate, heard, limited, refused
from ilink.storage.journal import Journal, Outcome, WindowEvent, after_outcome
from ilink.wire.ids import Secret, UserId

__all__ = ["Ledger"]

T = TypeVar("T")

_REMEMBERED: Final = 10_000
"""Users who are kept at hand; the others are read again when they are needed."""


class Ledger:
    """The windows and context tokens of one account's users.

    Args:
        journal: Where they are kept.
        clock: Source of the time of day.
        is_deaf: Whether nobody listens to what users write, so that a window may be open without anybody knowing:
            then only what is refused from here on counts, and pauses for too many calls.
        is_shared: Whether another process stores what users write, and tokens come along without anybody telling.
    """

    def __init__(self, journal: Journal, *, clock: Clock, is_deaf: bool = False, is_shared: bool = False) -> None:
        self._journal = journal
        self._clock = clock
        self._is_deaf = is_deaf
        self._is_shared = is_shared
        self._windows: OrderedDict[UserId, Window] = OrderedDict()
        self._uploads: OrderedDict[UserId, Window] = OrderedDict()
        self._tokens: OrderedDict[UserId, Secret] = OrderedDict()
        self._probed: set[UserId] = set()
        self._changes = 0

    async def window(self, user: UserId) -> Window:
        """Return what is known about sending to a user.

        Raises:
            StoreError: It cannot be read.
        """
        known = self._windows.get(user)
        while known is None:
            changes = self._changes
            known = self._as_heard((await self._journal.read_windows([user])).get(user, Window()))
            if self._windows.get(user) is None and changes == self._changes:
                self._remember(self._windows, user, known)
            else:  # the user wrote while it was read, or something was sent
                known = self._windows.get(user)
        return known

    def _as_heard(self, window: Window) -> Window:
        if not self._is_deaf:
            return window
        return Window(paused_until_ms=window.paused_until_ms, pauses=window.pauses)

    async def context_token(self, user: UserId) -> Secret | None:
        """Return the newest context token of a user.

        Raises:
            StoreError: It cannot be read.
        """
        if self._is_shared:
            return await self._journal.read_context_token(user)
        token = self._tokens.get(user)
        if token is None and (token := await self._journal.read_context_token(user)) is not None:
            token = self._tokens.get(user, token)  # a newer one may have come while it was read
            self._remember(self._tokens, user, token)
        return token

    def keep_token(self, user: UserId, token: Secret | None) -> None:
        """Keep the newest context token of a user; a message that came again may carry a fresher one."""
        if token is not None:
            self._remember(self._tokens, user, token)

    def hear(self, user: UserId, token: Secret | None, *, messages: int = 1) -> None:
        """Take note that a user wrote: their window is open."""
        self.keep_token(user, token)
        self._changes += 1
        self._probed.discard(user)
        self._uploads.pop(user, None)
        if (window := self._windows.get(user)) is not None:
            self._remember(self._windows, user, heard(window, self._clock.now_ms(), messages=messages))

    def forget(self, user: UserId) -> None:
        """Read again what is known of a user: another process stored that they wrote."""
        self._changes += 1
        self._probed.discard(user)
        self._uploads.pop(user, None)
        self._windows.pop(user, None)

    def learn(self, outcome: Outcome, *, now_ms: int) -> None:
        """Take what an attempt to send taught; the journal learns the same from the outcome."""
        if not outcome.event:
            return
        self._changes += 1
        self._probed.discard(outcome.user)
        if (window := self._windows.get(outcome.user)) is not None:
            self._remember(self._windows, outcome.user, after_outcome(window, outcome, now_ms))

    def begin_probe(self, user: UserId) -> bool:
        """Take the one probe of a window that is half open; False if another conversation of the user has it."""
        if user in self._probed:
            return False
        self._probed.add(user)
        return True

    def end_probe(self, user: UserId) -> None:
        """Give the probe back: the attempt taught nothing."""
        self._probed.discard(user)

    def upload_gate(self, user: UserId) -> tuple[Gate, int]:
        """Tell whether a file may be uploaded for a user, and else until when it may not; 0 until they write.

        Uploads have a breaker of their own: their refusals say nothing about texts, and use up no allowance.
        """
        window = self._uploads.get(user)
        if window is None:
            return Gate.OPEN, 0
        now_ms = self._clock.now_ms()
        opening = gate(window, now_ms)
        return opening, window.paused_until_ms if opening is Gate.PAUSED else window.probe_ms

    def learn_upload(self, user: UserId, event: WindowEvent, *, retry_after_ms: int | None = None) -> None:
        """Take what an upload for a user taught."""
        now_ms = self._clock.now_ms()
        window = self._uploads.get(user)
        match event:
            case WindowEvent.ACCEPTED:
                self._uploads.pop(user, None)
            case WindowEvent.REFUSED:
                self._remember(self._uploads, user, refused(window or Window(heard_ms=now_ms), now_ms))
            case WindowEvent.LIMITED:
                known = window or Window(heard_ms=now_ms)
                self._remember(self._uploads, user, limited(known, now_ms, retry_after_ms=retry_after_ms))
            case WindowEvent.NOTHING:
                return

    def _remember(self, cache: OrderedDict[UserId, T], user: UserId, value: T) -> None:
        cache[user] = value
        cache.move_to_end(user)
        if len(cache) > _REMEMBERED:
            cache.popitem(last=False)
