"""Showing a user that an answer is being written, without ever leaving it on (protocol §3.3)."""

from __future__ import annotations

import asyncio
import logging
from asyncio import Task, TaskGroup
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from ilink.bot.clock import Clock
from ilink.client.answers import TypingConfig
from ilink.errors import IlinkError
from ilink.wire.ids import Secret, UserId

__all__ = ["ShowsTyping", "TypingIndicator", "TypingIndicators"]

_log = logging.getLogger(__name__)

_REFRESH: Final = 5.0
"""Seconds after which the phone forgets the indicator (peer: weixin-bot)."""

_TRIES: Final = 3
"""How often in a row showing or hiding is tried."""

_TICKET_SECONDS: Final = 600.0
"""How long a ticket is used; its life on the server was never measured, peers keep it for 60 s to 24 h."""


class ShowsTyping(Protocol):
    """What is needed of a client."""

    async def get_config(self, user_id: UserId, *, context_token: Secret | None = None) -> TypingConfig:
        """Fetch a ticket; see `Client.get_config`."""
        ...

    async def send_typing(self, user_id: UserId, typing_ticket: Secret, *, is_typing: bool = True) -> None:
        """Show or hide the indicator; see `Client.send_typing`."""
        ...


@dataclass(slots=True)
class _Shown:
    """A user who is shown that an answer is being written.

    Attributes:
        task: What refreshes it.
        blocks: How many blocks want it.
        was_asked_for: Whether it may be shown, so that it has to be hidden.
    """

    task: Task[None]
    blocks: int = 1
    was_asked_for: bool = False


class TypingIndicators:
    """The indicators of one account; blocks for the same user share one.

    Args:
        client: Returns the client of the moment.
        context_token: Finds the newest context token of a user.
        clock: Source of time.
        tasks: The group that the refreshing runs in.
    """

    def __init__(
        self,
        client: Callable[[], ShowsTyping],
        context_token: Callable[[UserId], Awaitable[Secret | None]],
        *,
        clock: Clock,
        tasks: TaskGroup,
    ) -> None:
        self._client = client
        self._context_token = context_token
        self._clock = clock
        self._tasks = tasks
        self._tickets: dict[UserId, tuple[float, Secret]] = {}
        self._shown: dict[UserId, _Shown] = {}

    def show(self, user: UserId) -> TypingIndicator:
        """Return a block during which a user sees that an answer is being written."""
        return TypingIndicator(self, user)

    def cancel(self) -> None:
        """Stop refreshing at once; the phones forget the indicators by themselves."""
        for shown in self._shown.values():
            shown.task.cancel()

    def begin(self, user: UserId) -> None:
        """Take note of one more block for a user."""
        if (shown := self._shown.get(user)) is not None:
            shown.blocks += 1
            return
        self._shown[user] = _Shown(self._tasks.create_task(self._refresh(user)))

    async def end(self, user: UserId) -> None:
        """Take note of one block less; the last one hides the indicator, also when its handler is being cancelled."""
        shown = self._shown[user]
        shown.blocks -= 1
        if shown.blocks:
            return
        del self._shown[user]
        shown.task.cancel()
        if shown.was_asked_for or user in self._tickets:
            await asyncio.shield(self._tasks.create_task(self._hide(user)))

    async def _refresh(self, user: UserId) -> None:
        """Show the indicator again and again; a ticket that died is replaced, and a server that fails is left alone."""
        failures = 0
        while failures < _TRIES:
            self._shown[user].was_asked_for = True
            is_shown = await self._tell(user, is_typing=True)
            if is_shown is None:
                return
            failures = 0 if is_shown else failures + 1
            await self._clock.sleep(_REFRESH)

    async def _hide(self, user: UserId) -> None:
        """Hide the indicator; a ticket that died is replaced, because an indicator that is not hidden may stay."""
        for _ in range(_TRIES):
            if await self._tell(user, is_typing=False) is not False:
                return

    async def _tell(self, user: UserId, *, is_typing: bool) -> bool | None:
        """Show or hide, and tell whether that worked; None without a ticket. What goes wrong costs nothing else."""
        try:
            ticket = await self._ticket(user)
            if ticket is None:
                return None
            await self._client().send_typing(user, ticket, is_typing=is_typing)
        except IlinkError as error:
            self._tickets.pop(user, None)
            _log.debug("typing is not shown: %s", error)
            return False
        return True

    async def _ticket(self, user: UserId) -> Secret | None:
        now = self._clock.monotonic()
        taken_at, ticket = self._tickets.get(user, (0.0, None))
        if ticket is None or now - taken_at > _TICKET_SECONDS:
            config = await self._client().get_config(user, context_token=await self._context_token(user))
            ticket = config.typing_ticket
            if ticket is not None:
                self._tickets[user] = (now, ticket)
        return ticket


class TypingIndicator:
    """A block during which a user sees that an answer is being written."""

    def __init__(self, indicators: TypingIndicators, user: UserId) -> None:
        self._indicators = indicators
        self._user = user

    async def __aenter__(self) -> None:
        self._indicators.begin(self._user)

    async def __aexit__(self, *exc_info: object) -> None:
        await self._indicators.end(self._user)
