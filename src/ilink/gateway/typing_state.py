"""getconfig and sendtyping: the tickets, and who is seen typing (protocol §3.3).

Which process of a gateway is asked last decides: it tells the others until when, and says itself that it is over.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from ilink.gateway.bots import Bot
from ilink.gateway.clock import Alarm, as_datetime
from ilink.gateway.refusals import Reply, refuse, required
from ilink.gateway.state import GatewayState
from ilink.gateway.views import TypingView
from ilink.storage.gateway import TicketRecord
from ilink.wire.enums import TypingStatus
from ilink.wire.models import Answer, ConfigAnswer, ConfigRequest, TypingRequest, given
from ilink.wire.results import INVALID_ARGUMENTS, PARAMETER_ERROR, TICKET_FAILED

__all__ = ["TypingState"]

_NO_TICKET: Final = "GetTypingTicket rpc failed"
"""The words of -4 before the person has written (observed: ocw#268)."""


@dataclass(slots=True)
class _Shown:
    since_ms: int
    alarm: Alarm


class TypingState:
    """The typing of all bots."""

    def __init__(self, state: GatewayState) -> None:
        self._state = state
        self._shown: dict[tuple[str, str], _Shown] = {}

    def forget(self) -> None:
        """Forget who is typing."""
        self._shown.clear()

    async def config(self, bot: Bot, request: ConfigRequest) -> Reply:
        """Answer getconfig with the chat's typing ticket."""
        user_id = given(request.ilink_user_id, "")
        knobs = self._state.knobs_about(bot, user_id)
        if not user_id:
            return required(knobs, "ilink_user_id")
        if await self._state.store.chat(bot.number, user_id) is None:
            if await self._state.store.person(user_id) is None:
                return refuse(knobs, INVALID_ARGUMENTS, "invalid arguments")
            return refuse(knobs, TICKET_FAILED, _NO_TICKET)
        answer = ConfigAnswer(ret=0, typing_ticket=await self._ticket(bot, user_id))
        if knobs.flag("config.return_context_token"):
            token = self._state.ids.context_token()
            await self._state.store.add_context_token(bot.number, user_id, token, at_ms=self._state.clock.now_ms())
            answer.context_token = token
        return Reply(body=answer)

    async def type(self, bot: Bot, request: TypingRequest) -> Reply:
        """Show or end the typing of a bot."""
        user_id, ticket = given(request.ilink_user_id, ""), given(request.typing_ticket, "")
        knobs = self._state.knobs_about(bot, user_id)
        if not user_id:
            return required(knobs, "ilink_user_id")
        if not ticket:
            return required(knobs, "typing_ticket")
        status = given(request.status, TypingStatus.TYPING)
        if status not in (TypingStatus.TYPING, TypingStatus.CANCEL):
            return refuse(knobs, PARAMETER_ERROR, "status invalid")
        if not await self._is_valid(bot, user_id, ticket):
            return refuse(knobs, PARAMETER_ERROR, "typing_ticket invalid", findings=("typing_ticket_invalid",))
        if status == TypingStatus.TYPING:
            self._show(bot, user_id)
        else:
            # Whether or not it is known here: the word of its beginning may have been lost.
            self._state.peers.tell("typing", json.dumps([bot.bot_id, user_id, 0, None]))
            self._end(bot, user_id)
        return Reply(body=Answer(ret=0))

    def hear(self, words: str) -> None:
        """Take up what another process told: since when a bot types and until when, or that it ended."""
        bot_id, user_id, since_ms, until = json.loads(words)

        def end() -> None:
            self._drop(bot_id, user_id)

        end()
        if until is not None:
            self._shown[bot_id, user_id] = _Shown(since_ms, self._state.clock.at(until, end))

    def view(self, bot_id: str, user_id: str) -> TypingView:
        """Return whether the bot is seen typing to the person."""
        shown = self._shown.get((bot_id, user_id))
        return TypingView(typing=False) if shown is None else TypingView(typing=True, since=as_datetime(shown.since_ms))

    async def _ticket(self, bot: Bot, user_id: str) -> str:
        """Return the chat's ticket, a new one when the old one has lived half its life."""
        now_ms = self._state.clock.now_ms()
        ttl_ms = self._ttl_ms(bot, user_id)
        latest = await self._state.store.chat_ticket(bot.number, user_id)
        if latest is not None and now_ms - latest.issued_ms < ttl_ms / 2:
            return latest.ticket
        ticket = self._state.ids.typing_ticket()
        await self._state.store.add_ticket(
            TicketRecord(ticket=ticket, bot=bot.number, user_id=user_id, issued_ms=now_ms)
        )
        return ticket

    async def _is_valid(self, bot: Bot, user_id: str, ticket: str) -> bool:
        record = await self._state.store.ticket(ticket)
        if record is None or record.bot != bot.number or record.user_id != user_id:
            return False
        ttl_ms = self._ttl_ms(bot, user_id)
        return self._state.clock.now_ms() - record.issued_ms <= ttl_ms

    def _ttl_ms(self, bot: Bot, user_id: str) -> float:
        return self._state.knobs_about(bot, user_id).seconds("typing.ticket_ttl_s") * 1000

    def _show(self, bot: Bot, user_id: str) -> None:
        shown = self._drop(bot.bot_id, user_id)
        since_ms = self._state.clock.now_ms() if shown is None else shown.since_ms
        until = self._state.clock.now() + self._state.knobs_about(bot, user_id).seconds("typing.shown_s")
        alarm = self._state.clock.at(until, lambda: self._end(bot, user_id))
        self._shown[bot.bot_id, user_id] = _Shown(since_ms, alarm)
        self._state.peers.tell("typing", json.dumps([bot.bot_id, user_id, since_ms, until]))
        if shown is None:
            self._publish(bot, user_id, is_typing=True)

    def _end(self, bot: Bot, user_id: str) -> None:
        if self._drop(bot.bot_id, user_id) is not None:
            self._publish(bot, user_id, is_typing=False)

    def _drop(self, bot_id: str, user_id: str) -> _Shown | None:
        shown = self._shown.pop((bot_id, user_id), None)
        if shown is not None:
            shown.alarm.cancel()
        return shown

    def _publish(self, bot: Bot, user_id: str, *, is_typing: bool) -> None:
        self._state.publish("typing", {"bot_id": bot.bot_id, "user_id": user_id, "typing": is_typing})
