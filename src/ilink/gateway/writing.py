"""People who write to bots: who may, what travels, and who waits for what is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

from ilink.gateway.bots import Bot, Bots, FreshMail
from ilink.gateway.holds import Ending, Hold
from ilink.gateway.ids import MESSAGE_ID_BASE
from ilink.gateway.knobs import Readings
from ilink.gateway.mail import inbound_outline, text_items
from ilink.gateway.media import MediaRoom, MediaWord
from ilink.gateway.people import People
from ilink.gateway.polls import Polls
from ilink.gateway.problems import ConflictError, InvalidRequestError, UnknownThingError
from ilink.gateway.quotes import quote_of
from ilink.gateway.state import GatewayState
from ilink.gateway.views import Direction, Posted, Quote
from ilink.storage.gateway import EntryRecord, MailDraft, MailRecord
from ilink.wire.ids import AccountId, UserId

__all__ = ["Writing"]

_MOST_WAITED: Final = 1000
"""Entries that a wait returns at most."""


class Writing:
    """What people say to the bots of one gateway.

    Args:
        state: What the rules share.
        bots: The bots.
        people: The people.
        polls: Who is told of new messages.
        media: Returns the room of the blobs, which opens last.
    """

    def __init__(
        self, state: GatewayState, *, bots: Bots, people: People, polls: Polls, media: Callable[[], MediaRoom]
    ) -> None:
        self._state = state
        self._bots = bots
        self._people = people
        self._polls = polls
        self._media = media
        self._entry_watchers: dict[int, set[Hold]] = {}

    async def post(
        self,
        user_id: UserId,
        bot_id: AccountId,
        *,
        text: str | None = None,
        items: Sequence[Mapping[str, object]] | None = None,
        quote: Quote | None = None,
        fields: Mapping[str, object] | None = None,
    ) -> Posted:
        """Put a message into a bot's mailbox; see `Gateway.post_message`."""
        if (text is None) == (items is None):
            message = "give either a text or items"
            raise InvalidRequestError(message)
        bot = await self._writable_bot(bot_id, user_id)
        now_ms = self._state.clock.now_ms()
        content = text_items(text or "", now_ms) if items is None else [dict(item) for item in items]
        if quote is not None:
            await self._add_quote(content, quote, self._state.knobs_about(bot, user_id))
        draft = self._draft(bot, user_id, content, dict(fields or {}), now_ms)
        stored = await self._state.store.append(draft)
        self._polls.deliver(bot, FreshMail(now_ms, MailRecord(stored.seq, stored.wire)))
        self._tell(bot, user_id, stored.n)
        return Posted(message_id=str(MESSAGE_ID_BASE + stored.n), seq=stored.seq, n=stored.n)

    async def post_file(
        self,
        user_id: UserId,
        bot_id: AccountId,
        kind: MediaWord,
        chunks: AsyncIterator[bytes],
        *,
        name: str = "",
        text: str | None = None,
        quote: Quote | None = None,
    ) -> Posted:
        """Store a file and put the message that shows it into a bot's mailbox; see `Gateway.post_media`."""
        bot = await self._writable_bot(bot_id, user_id)
        transcript = text or "" if kind == "voice" else ""
        item = await self._media().add_inbound(
            bot.number, kind, chunks, user_id=user_id, name=name, transcript=transcript
        )
        before = text_items(text, self._state.clock.now_ms()) if text and not transcript else []
        return await self.post(user_id, bot_id, items=[*before, item], quote=quote)

    async def record(self, message_id: str) -> EntryRecord:
        """Return the message with an id.

        Raises:
            UnknownThingError: There is none.
        """
        is_number = message_id.isascii() and message_id.isdigit() and len(message_id) < 20
        n = int(message_id) - MESSAGE_ID_BASE if is_number else 0
        record = await self._state.store.entry(n) if 0 < n < MESSAGE_ID_BASE else None
        if record is None or record.state == "refused":
            raise UnknownThingError("message", message_id)
        return record

    def wake(self, number: int) -> None:
        """Tell whoever waits here for entries of the bot with a number that there is one."""
        for hold in self._entry_watchers.get(number, ()):
            hold.end(Ending.NEWS)

    def note_entry(self, bot: Bot) -> None:
        """Tell whoever waits for entries of a bot, here and in other processes, that there is one."""
        self._state.peers.tell("entry", bot.number)
        self.wake(bot.number)

    def wake_all(self) -> None:
        """Let everybody count again who waits for entries."""
        for number in tuple(self._entry_watchers):
            self.wake(number)

    async def wait(
        self, bot: Bot, user_id: str | None, after: int, count: int, direction: Direction | None, seconds: float
    ) -> list[EntryRecord]:
        """Count, and count what is new at every new entry of the bot; who waits is registered before it counts."""
        deadline = asyncio.get_running_loop().time() + seconds
        is_outgoing = None if direction is None else direction == "out"
        counted_to = after
        watchers = self._entry_watchers.setdefault(bot.number, set())
        while count > 0:
            hold = Hold()
            watchers.add(hold)
            try:
                new, counted_to = await self._state.store.count_entries(
                    bot.number, user_id=user_id, after=counted_to, is_outgoing=is_outgoing
                )
                count -= new
                left = deadline - asyncio.get_running_loop().time()
                if count <= 0 or left <= 0:
                    break
                await self._state.waiting.wait_real(hold, left)
                if hold.ending is Ending.STOPPING:
                    break
            finally:
                watchers.discard(hold)
        return await self._state.store.entries(
            bot.number, user_id=user_id, after=after, limit=_MOST_WAITED, is_outgoing=is_outgoing
        )

    async def _writable_bot(self, bot_id: AccountId, user_id: UserId) -> Bot:
        """Return the bot that a person writes to, if both exist and the person may."""
        bot = self._bots.remembered(bot_id) or await self._bots.get(bot_id)
        if not self._people.remembers(user_id):
            await self._people.require(user_id)
        if self._state.knobs_about(bot, user_id).flag("bind.owner_only") and user_id != bot.owner_user_id:
            message = f"only the owner of {bot_id} may write to it while bind.owner_only is on"
            raise ConflictError(message)
        return bot

    async def _add_quote(self, content: list[dict[str, object]], quote: Quote, knobs: Readings) -> None:
        if not content:
            message = "a quote needs an item to stand on"
            raise InvalidRequestError(message)
        record = await self.record(quote.message_id)
        content[0] = {**content[0], "ref_msg": quote_of(record, partial=quote.partial, knobs=knobs)}

    def _draft(
        self, bot: Bot, user_id: str, content: list[dict[str, object]], fields: dict[str, object], now_ms: int
    ) -> MailDraft:
        client_id = self._state.ids.draw("client_id", 8).hex()
        context_token = self._state.ids.context_token()
        if self._state.knobs_about(bot, user_id).flag("groups.enabled"):
            fields = {"group_id": f"{bot.bot_id}:{user_id}", **fields}

        return MailDraft(
            bot=bot.number,
            user_id=user_id,
            client_id=client_id,
            at_ms=now_ms,
            context_token=context_token,
            outline=inbound_outline(
                user_id=user_id,
                bot_id=bot.bot_id,
                bot_number=bot.number,
                client_id=client_id,
                context_token=context_token,
                at_ms=now_ms,
                items=content,
                fields=fields,
            ),
        )

    def _tell(self, bot: Bot, user_id: str, n: int) -> None:
        data: dict[str, object] = {"bot_id": bot.bot_id, "user_id": user_id, "n": n, "direction": "in"}
        self._state.publish("message", {**data, "state": "stored"})
        self.wake(bot.number)
