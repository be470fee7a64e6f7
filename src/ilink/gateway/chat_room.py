"""Bots, their mailboxes, and what people and bots say to each other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from ilink.gateway.bots import Bot, Bots
from ilink.gateway.chats import Chats
from ilink.gateway.mailboxes import Mailboxes
from ilink.gateway.media import MediaWord
from ilink.gateway.people import People
from ilink.gateway.problems import UnknownThingError
from ilink.gateway.typing_state import TypingState
from ilink.gateway.views import BotView, ChatView, Direction, Entry, MailboxView, Posted, Quote, TypingView
from ilink.gateway.writing import Writing
from ilink.wire.ids import AccountId, UserId

__all__ = ["ChatRoom"]


class ChatRoom:
    """The part of a gateway that is about bots and what is said."""

    _bots: Bots
    _chats: Chats
    _mailboxes: Mailboxes
    _people: People
    _typing: TypingState
    _writing: Writing

    async def bots(self) -> list[BotView]:
        """Return all bots, oldest first."""
        return [self._bots.view(bot) for bot in await self._bots.all()]

    async def bot(self, bot_id: AccountId) -> BotView:
        """Return one bot.

        Raises:
            UnknownThingError: There is none.
        """
        return self._bots.view(await self._bots.get(bot_id))

    async def bot_numbered(self, number: int) -> Bot | None:
        """Return the bot that has a number in the store, or None."""
        return await self._bots.numbered(number)

    async def mailbox(self, bot_id: AccountId) -> MailboxView:
        """Look into a bot's mailbox without consuming anything.

        Raises:
            UnknownThingError: There is no such bot.
        """
        return await self._mailboxes.view(bot_id)

    async def expire_bot(self, bot_id: AccountId) -> None:
        """Make a bot's token stale: it answers -14 from now on, held polls included.

        Raises:
            UnknownThingError: There is no such bot.
        """
        await self._bots.expire(bot_id)

    async def rebind_bot(self, bot_id: AccountId) -> None:
        """Let a bot's owner sign in somewhere else: its token dies as `bind.revoke_delay_s` says, held polls included.

        Raises:
            UnknownThingError: There is no such bot.
            ConflictError: Its token is dead already.
        """
        await self._bots.rebind(bot_id)

    async def rotate_bot(self, bot_id: AccountId) -> None:
        """Begin a new generation of a bot's stream: cursors from before stop counting.

        Raises:
            UnknownThingError: There is no such bot.
        """
        await self._bots.rotate(bot_id)

    async def post_message(
        self,
        user_id: UserId,
        bot_id: AccountId,
        *,
        text: str | None = None,
        items: Sequence[Mapping[str, object]] | None = None,
        quote: Quote | None = None,
        fields: Mapping[str, object] | None = None,
    ) -> Posted:
        """Let a person write to a bot; it is in the bot's mailbox when this returns, and a held poll is woken.

        Args:
            user_id: Who writes.
            bot_id: To whom.
            text: A text; or
            items: items as they shall travel, unread and unchanged, whatever they hold.
            quote: The message that is quoted, in the form that `quote.style` says; put on the first item.
            fields: Fields of the message to add or replace, to send what a well-behaved server would not.

        Raises:
            UnknownThingError: There is no such person, bot or quoted message.
            ConflictError: `bind.owner_only` is on and the person is not the bot's owner.
            InvalidRequestError: Neither or both of text and items were given.
        """
        return await self._writing.post(user_id, bot_id, text=text, items=items, quote=quote, fields=fields)

    async def post_media(
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
        """Let a person send a file to a bot: it is encrypted and stored in pieces, and then posted as a message.

        Args:
            user_id: Who sends it.
            bot_id: To whom.
            kind: What the phone sends it as.
            chunks: The plain bytes. Voice comes as WAV, which becomes SILK, or as it shall travel.
            name: Its file name.
            text: A text before it in the same message; with voice, what the phone understood.
            quote: As for `post_message`.

        Raises:
            UnknownThingError, ConflictError: As for `post_message`; nothing was read.
            InvalidRequestError: It is larger than `cdn.max_bytes`, or a WAV file that cannot be converted.
        """
        return await self._writing.post_file(user_id, bot_id, kind, chunks, name=name, text=text, quote=quote)

    async def transcript(
        self,
        bot_id: AccountId,
        user_id: UserId,
        *,
        after: int | None = 0,
        before: int | None = None,
        limit: int = 1000,
    ) -> list[Entry]:
        """Return a chat's entries, oldest first, refused sends included.

        Args:
            bot_id: The bot.
            user_id: The person.
            after: Only entries with a higher number, the first `limit` of them; None for the newest `limit`.
            before: Only entries with a lower number.
            limit: How many at most.

        Raises:
            UnknownThingError: There is no such bot or person.
        """
        bot = await self._bots.get(bot_id)
        await self._people.require(user_id)
        return await self._chats.page(bot, user_id, after=after, before=before, limit=limit)

    async def chats(self, *, user_id: UserId | None = None, limit: int = 500) -> list[ChatView]:
        """Return the chats in which somebody has written, of one person or of all, newest first."""
        return await self._chats.lines(user_id=user_id, limit=limit)

    async def mark_read(self, bot_id: AccountId, user_id: UserId, n: int) -> None:
        """Note that a person has seen a chat up to an entry; it never goes back.

        Raises:
            UnknownThingError: There is no such bot or person.
        """
        bot = await self._bots.get(bot_id)
        await self._people.require(user_id)
        await self._chats.mark_read(bot, user_id, n)

    async def wait_entries(
        self,
        bot_id: AccountId,
        user_id: UserId | None = None,
        *,
        after: int = 0,
        count: int = 1,
        direction: Direction | None = None,
        timeout: float = 10.0,
    ) -> list[Entry]:
        """Return as `transcript` as soon as `count` entries of the direction exist, or what there is after `timeout`.

        The timeout is in real seconds, whatever the gateway's clock does. Without a person: any chat of the bot.

        Raises:
            UnknownThingError: There is no such bot or person.
        """
        bot = await self._bots.get(bot_id)
        if user_id is not None:
            await self._people.require(user_id)
        records = await self._writing.wait(bot, user_id, after, count, direction, timeout)
        return await self._chats.entries(records, bot)

    def typing(self, bot_id: AccountId, user_id: UserId) -> TypingView:
        """Return whether the bot is seen typing to the person now; a bot or person that is none types never."""
        return self._typing.view(bot_id, user_id)

    async def message(self, message_id: str) -> Entry:
        """Return the entry with a message id.

        Raises:
            UnknownThingError: There is none.
        """
        record = await self._writing.record(message_id)
        bot = next((bot for bot in await self._bots.all() if bot.number == record.bot), None)
        if bot is None:
            raise UnknownThingError("message", message_id)
        (entry,) = await self._chats.entries([record], bot)
        return entry
