"""Bots' mailboxes as their operator sees them: what waits, which windows are open, what was issued."""

from __future__ import annotations

from typing import Final

from ilink.gateway.bots import Bot, Bots
from ilink.gateway.chats import Chats
from ilink.gateway.clock import as_datetime
from ilink.gateway.state import GatewayState
from ilink.gateway.views import ContextTokenView, MailboxView, TicketView, WindowView
from ilink.storage.gateway import ChatRecord
from ilink.wire.ids import AccountId

__all__ = ["Mailboxes"]

_SHOWN_PENDING: Final = 100
_SHOWN_TOKENS: Final = 20
_BEGINNING: Final = 8
"""How many characters of a token or ticket are shown: those that all of them share."""


class Mailboxes:
    """The mailboxes of all bots."""

    def __init__(self, state: GatewayState, bots: Bots, chats: Chats) -> None:
        self._state = state
        self._bots = bots
        self._chats = chats

    async def view(self, bot_id: AccountId) -> MailboxView:
        """Look into a bot's mailbox without consuming anything; see `Gateway.mailbox`."""
        bot = await self._bots.get(bot_id)
        store = self._state.store
        depth, pending = await store.pending(bot.number, after_seq=bot.acked_seq, limit=_SHOWN_PENDING)
        tokens = await store.context_tokens(bot.number, limit=_SHOWN_TOKENS)
        tickets = await store.tickets(bot.number, limit=_SHOWN_TOKENS)
        view = self._bots.view(bot)
        return MailboxView(
            bot_id=bot.bot_id,
            generation=bot.generation,
            head_seq=view.head_seq,
            handed_seq=view.handed_seq,
            acked_seq=view.acked_seq,
            waiting_polls=view.waiting_polls,
            depth=depth,
            pending=await self._chats.entries(pending, bot),
            windows=[self._window(bot, chat) for chat in await store.chats(bot.number)],
            context_tokens=[
                ContextTokenView(
                    user_id=one.user_id,
                    beginning=one.token[:_BEGINNING],
                    issued_at=as_datetime(one.issued_ms),
                    is_used=one.is_used,
                )
                for one in tokens
            ],
            typing_tickets=[
                TicketView(user_id=one.user_id, beginning=one.ticket[:_BEGINNING], issued_at=as_datetime(one.issued_ms))
                for one in tickets
            ],
        )

    def _window(self, bot: Bot, chat: ChatRecord) -> WindowView:
        knobs = self._state.knobs_about(bot, chat.user_id)
        closes_ms = chat.last_inbound_ms + knobs.whole("quota.window_s") * 1000
        left = max(0, knobs.whole("quota.per_inbound") - chat.sends)
        return WindowView(
            user_id=chat.user_id,
            is_open=left > 0 and self._state.clock.now_ms() <= closes_ms,
            last_inbound_at=as_datetime(chat.last_inbound_ms),
            closes_at=as_datetime(closes_ms),
            sends=chat.sends,
            sends_left=left,
        )
