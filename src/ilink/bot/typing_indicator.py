"""Showing a user that an answer is being written, without ever leaving it on (protocol §3.3)."""

from __future__ import annotations

import logging
from asyncio import Task, TaskGroup
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from ilink.bot.clock import Clock
from ilink.client.answers import TypingConfig
from ilink.errors import IlinkError
from ilink.wire.ids import Secret, UserId

__all__ = ["ShowsTyping", "TypingIndicator", "TypingIndicators"]

_log = logging.getLogger(__name__)

_REFRESH: Final = 5.0
"""Seconds after which the phone forgets the indicator (peer: weixin-bot)."""

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
        self._shown: dict[UserId, tuple[int, Task[None]]] = {}

    def show(self, user: UserId) -> TypingIndicator:
        """Return a block during which a user sees that an answer is being written."""
        return TypingIndicator(self, user)

    def cancel(self) -> None:
        """Stop refreshing at once; the phones forget the indicators by themselves."""
        for _, task in self._shown.values():
            task.cancel()

    def begin(self, user: UserId) -> None:
        """Take note of one more block for a user."""
        count, task = self._shown.get(user, (0, None))
        self._shown[user] = (count + 1, task or self._tasks.create_task(self._refresh(user)))

    async def end(self, user: UserId) -> None:
        """Take note of one block less; the last one hides the indicator."""
        count, task = self._shown[user]
        if count > 1:
            self._shown[user] = (count - 1, task)
            return
        del self._shown[user]
        task.cancel()
        if user in self._tickets:
            await self._tell(user, is_typing=False)

    async def _refresh(self, user: UserId) -> None:
        while await self._tell(user, is_typing=True):
            await self._clock.sleep(_REFRESH)

    async def _tell(self, user: UserId, *, is_typing: bool) -> bool:
        """Show or hide; whatever goes wrong costs the indicator and nothing else."""
        try:
            ticket = await self._ticket(user)
            if ticket is None:
                return False
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
