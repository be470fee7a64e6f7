"""Chats as people see them: pages of what was said, what is unread, and which words a quote means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import UNSET

from ilink.gateway.bots import Bot, Bots
from ilink.gateway.ids import MESSAGE_ID_BASE
from ilink.gateway.media import MediaRoom
from ilink.gateway.quotes import quoted_words
from ilink.gateway.state import GatewayState
from ilink.gateway.transcripts import entry_view
from ilink.gateway.views import ChatView, Entry, ItemView
from ilink.storage.gateway import EntryRecord
from ilink.wire.codec import is_array, is_object

__all__ = ["Chats"]

_MOST_DIGITS: Final = 19


class Chats:
    """The chats of all bots."""

    def __init__(self, state: GatewayState, bots: Bots, media: MediaRoom) -> None:
        self._state = state
        self._bots = bots
        self._media = media

    async def page(
        self, bot: Bot, user_id: str, *, after: int | None = None, before: int | None = None, limit: int
    ) -> list[Entry]:
        """Return entries of a chat, oldest first: the first ones after a number, or else the newest before one."""
        store = self._state.store
        if after is None:
            newest = 2**63 - 1 if before is None else before
            return await self.entries(await store.newest_entries(bot.number, user_id, before=newest, limit=limit), bot)
        records = await store.entries(bot.number, user_id=user_id, after=after, limit=limit)
        return await self.entries([one for one in records if before is None or one.n < before], bot)

    async def lines(self, *, user_id: str | None, limit: int) -> list[ChatView]:
        """Return the chats of a person or of all, the one with the newest entry first."""
        views: list[ChatView] = []
        for line in await self._state.store.chat_lines(user_id=user_id, limit=limit):
            bot = await self._bots.numbered(line.bot)
            if bot is None:
                continue
            last = [] if line.last is None else await self.entries([line.last], bot)
            views.append(
                ChatView(
                    bot_id=bot.bot_id,
                    user_id=line.user_id,
                    newest=line.newest,
                    read_to=line.read_to,
                    unread=line.unread,
                    last=last[0] if last else None,
                )
            )
        return views

    async def mark_read(self, bot: Bot, user_id: str, n: int) -> None:
        """Note that a person has read a chat up to an entry, and tell every screen."""
        if await self._state.store.mark_read(bot.number, user_id, n):
            self._state.publish("read", {"bot_id": bot.bot_id, "user_id": user_id, "n": n})

    async def entries(self, records: Sequence[EntryRecord], bot: Bot) -> list[Entry]:
        """Return stored entries of a bot as they are shown."""
        media = await self._media.lookup(bot.number, [record.wire for record in records])
        now_ms = self._state.clock.now_ms()
        entries = [entry_view(record, bot, now_ms=now_ms, media=media) for record in records]
        known = {record.n: record for record in records}
        for entry in entries:
            for place, item in enumerate(entry.items):
                if item.quoted_message_id is not UNSET:
                    await self._add_quoted(item, _reference(entry, place), entry, known)
        return entries

    async def _add_quoted(
        self, item: ItemView, reference: dict[str, object], entry: Entry, known: dict[int, EntryRecord]
    ) -> None:
        """Say what a quote means, if it names a message of the same chat: of no other is anything told."""
        n = _number(str(item.quoted_message_id))
        record = known.get(n) or (await self._state.store.entry(n) if n else None)
        bot = None if record is None else await self._bots.numbered(record.bot)
        if record is None or bot is None or (bot.bot_id, record.user_id) != (entry.bot_id, entry.user_id):
            return
        quoted = entry_view(record, bot, now_ms=0, media=lambda _: None)
        first = quoted.items[0] if quoted.items else None
        if first is None:
            return
        item.quoted_n, item.quoted_type = record.n, first.type
        partial = reference.get("partial_text")
        whole = first.text if isinstance(first.text, str) else ""
        words = quoted_words(whole, partial) if is_object(partial) else None
        if words is not None:
            item.quoted_text, item.is_quoted_in_part = words, True
        elif not item.quoted_text and whole:
            item.quoted_text = whole


def _reference(entry: Entry, place: int) -> dict[str, object]:
    """Return an item's `ref_msg` as it was on the wire."""
    items = entry.raw.get("item_list")
    item = items[place] if is_array(items) else None
    reference = item.get("ref_msg") if is_object(item) else None
    return reference if is_object(reference) else {}


def _number(message_id: str) -> int:
    """Return the number of the entry with a message id, or 0."""
    is_number = message_id.isascii() and message_id.isdigit() and len(message_id) <= _MOST_DIGITS
    n = int(message_id) - MESSAGE_ID_BASE if is_number else 0
    return n if 0 < n < MESSAGE_ID_BASE else 0
