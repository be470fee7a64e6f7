"""A person with a phone, as a script."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ilink.testing.virtual import GatewayClock
from ilink.wire.ids import AccountId, MessageId, UserId

if TYPE_CHECKING:
    from ilink.bot import Bot
    from ilink.gateway.peoples_files import MediaWord
    from ilink.gateway.service import Gateway
    from ilink.gateway.views import Entry
    from ilink.testing.bots import BotUnderTest

__all__ = ["Person", "Received"]

_QUIET: Final = 0.02
"""Real seconds in which nothing may happen before time is skipped; a bot's answer takes a fraction of that."""

_IDLE: Final = 0.005
"""Seconds of work that this process may do in that time; a handler, or what is stored for it, does more."""

_LAST: Final = 0.5
"""Real seconds that an answer under way gets when the time is over: a disk may be slow, and a machine busy."""

_STORED: Final = 5.0
"""Real seconds in which a bot has stored that its message was accepted."""

_READ: Final = 256 * 1024


class Received:
    """A message that a bot sent to a person.

    Attributes:
        entry: It as it stands in the transcript: its items, its state, its bytes on the wire.
    """

    def __init__(self, gateway: Gateway, entry: Entry) -> None:
        self._gateway = gateway
        self.entry = entry

    @property
    def id(self) -> MessageId:
        """The server's id; empty for a send that was refused."""
        return MessageId(self.entry.message_id or "")

    @property
    def text(self) -> str:
        """What it says: its texts, and the numbers of its other items in brackets."""
        return text_of(self.entry)

    @property
    def file_name(self) -> str:
        """The name of its file; empty when it has none."""
        return next((item.file_name for item in self.entry.items if isinstance(item.file_name, str)), "")

    async def read(self) -> bytes:
        """Return the bytes of its file, decrypted.

        Raises:
            AssertionError: It carries none that the gateway keeps.
        """
        for item in self.entry.items:
            media_id = getattr(item.media, "media_id", None)
            if isinstance(media_id, str):
                record = await self._gateway.media.record(media_id)
                return b"".join([bytes(chunk) async for chunk in self._gateway.media.plain(record)])
        message = f"this message carries no file: {self.text!r}"
        raise AssertionError(message)


class Person:
    """Somebody who scans codes, writes to bots and reads what they answer.

    Attributes:
        user_id: Their id on the gateway.
        name: Their name.
        bot_id: The bot they talk to when a call names none: the last they befriended.
    """

    def __init__(
        self, gateway: Gateway, user_id: UserId, name: str, *, find_bot: Callable[[Bot], BotUnderTest] | None = None
    ) -> None:
        self._gateway = gateway
        self._heard: dict[AccountId, int] = {}
        self._find_bot = find_bot
        self._bots: dict[AccountId, BotUnderTest] = {}
        self.user_id = user_id
        self.name = name
        self.bot_id: AccountId | None = None

    async def scans(self, qrcode: str | None = None, *, timeout: float = 30.0) -> str:
        """Scan a code, or the newest one as soon as there is one, and return its new status.

        Raises:
            AssertionError: Nobody asked for a code in time.
        """
        code = await self._gateway.scan(qrcode or await self._newest_code(timeout), self.user_id)
        return code.status

    async def befriend(self, bot: Bot | str | None = None, *, timeout: float = 30.0) -> AccountId:
        """Scan a bot's code, confirm it, and return the bot's id; further calls say or hear something of this bot.

        Args:
            bot: A bot, which is started if it does not run yet. Or the code of another program; None for the newest
                code, as soon as there is one. A bot that somebody else has befriended stays theirs, and is written to:
                WeChat would not allow that, the gateway does unless `bind.owner_only` is on.
            timeout: Real seconds until there has to be a code, and until the digits are sent if the phone shows some.

        Raises:
            AssertionError: Nobody asked for a code in time.
            TimeoutError: Nobody sent the digits in time.
            Exception: What the bot ended with.
        """
        if bot is None or isinstance(bot, str):
            return await self._confirm(bot or await self._newest_code(timeout), timeout)
        assert self._find_bot is not None, "people of a LocalGateway can start bots; this one was made without"
        under_test = self._find_bot(bot)
        if under_test.account_id is None:
            under_test.account_id = await self._confirm(await under_test.qrcode(timeout=timeout), timeout)
        self.bot_id = under_test.account_id
        self._bots[self.bot_id] = under_test
        return self.bot_id

    async def says(self, text: str, *, bot_id: AccountId | None = None) -> MessageId:
        """Write a text; when this returns it is in the bot's mailbox."""
        posted = await self._gateway.post_message(self.user_id, self._bot(bot_id), text=text)
        return MessageId(posted.message_id)

    async def quotes(
        self, quoted: Received | MessageId, text: str, *, partial: str | None = None, bot_id: AccountId | None = None
    ) -> MessageId:
        """Write a text that refers to a message of either side.

        Args:
            quoted: What it refers to: what was received, or the id that saying something returned.
            text: What is said about it.
            partial: The words of it that were selected; None for all of it.
            bot_id: To whom, if not to the last bot that was befriended.
        """
        from ilink.gateway.views import Quote  # loaded with the first gateway, not with the plugin

        bot = self._bot(bot_id)
        quote = Quote(message_id=quoted.id if isinstance(quoted, Received) else quoted, partial=partial)
        if isinstance(quoted, Received) and bot in self._bots and self._bots[bot].is_running:
            # No person is so quick that the bot has not stored yet what became of its own message.
            await self._bots[bot].bot.outbox.receipt(quoted.entry.client_id, wait=_STORED)
        posted = await self._gateway.post_message(self.user_id, bot, text=text, quote=quote)
        return MessageId(posted.message_id)

    async def sends(self, *items: Mapping[str, object], bot_id: AccountId | None = None, **fields: object) -> MessageId:
        """Send items as they shall travel, whatever they hold: `ilink.testing.updates` has some of every kind.

        Args:
            items: The items of one message.
            bot_id: To whom, if not to the last bot that was befriended.
            fields: Fields of the message to add or replace, to send what a well-behaved server would not.
        """
        listed: Sequence[Mapping[str, object]] = items
        posted = await self._gateway.post_message(self.user_id, self._bot(bot_id), items=listed, fields=fields)
        return MessageId(posted.message_id)

    async def sends_image(
        self, image: bytes | Path, *, text: str = "", name: str = "", bot_id: AccountId | None = None
    ) -> MessageId:
        """Send a picture, with a text before it in the same message if there is one."""
        return await self._send_file("image", image, text=text, name=name, bot_id=bot_id)

    async def sends_voice(
        self, recording: bytes | Path, *, transcript: str = "", bot_id: AccountId | None = None
    ) -> MessageId:
        """Send a recording: a WAV file, which becomes SILK as on phones, or as it shall travel.

        Args:
            recording: The sound.
            transcript: What WeChat understood of it.
            bot_id: To whom, if not to the last bot that was befriended.
        """
        return await self._send_file("voice", recording, text=transcript, name="", bot_id=bot_id)

    async def sends_file(
        self, file: bytes | Path, *, text: str = "", name: str = "", bot_id: AccountId | None = None
    ) -> MessageId:
        """Send a file; its name is that of the path, or the one that is given."""
        return await self._send_file("file", file, text=text, name=name, bot_id=bot_id)

    async def sends_video(
        self, video: bytes | Path, *, text: str = "", name: str = "", bot_id: AccountId | None = None
    ) -> MessageId:
        """Send a video."""
        return await self._send_file("video", video, text=text, name=name, bot_id=bot_id)

    async def hears(
        self, *, bot_id: AccountId | None = None, within: float | None = None, timeout: float = 30.0
    ) -> str:
        """Return the text of the bot's next message that was not heard yet, as soon as it is there; see `receives`."""
        return (await self.receives(bot_id=bot_id, within=within, timeout=timeout)).text

    async def receives(
        self, *, bot_id: AccountId | None = None, within: float | None = None, timeout: float = 30.0
    ) -> Received:
        """Return the bot's next message that was not heard yet, as soon as it is there.

        Args:
            bot_id: From whom, if not from the last bot that was befriended.
            within: Seconds of the gateway's time in which it has to come. Those in which nothing happens are skipped,
                so that an hour takes a moment. None to let the time run as it does.
            timeout: Real seconds to wait at most, without `within`.

        Raises:
            AssertionError: None came in time; the message shows the chat.
            Exception: What the bot under test ended with.
        """
        bot = self._bot(bot_id)
        received = await self._await_entry(bot, timeout) if within is None else await self._skip_to_entry(bot, within)
        if received is None:
            limit = f"{timeout:g} s" if within is None else f"{within:g} s of the gateway's time"
            message = f"{self.name} heard nothing from {bot} within {limit}; the chat: {await self._chat(bot)}"
            raise AssertionError(message)
        self._heard[bot] = received.n
        return Received(self._gateway, received)

    async def hears_nothing(self, *, bot_id: AccountId | None = None, within: float = 60.0) -> None:
        """Make sure that the bot says nothing in so many seconds of the gateway's time, which are skipped.

        Raises:
            AssertionError: It says something.
        """
        bot = self._bot(bot_id)
        received = await self._skip_to_entry(bot, within)
        assert received is None, f"{self.name} was to hear nothing from {bot}, and heard {text_of(received)!r}"

    def sees_typing(self, *, bot_id: AccountId | None = None) -> bool:
        """Tell whether the phone shows the bot typing now."""
        return self._gateway.typing(self._bot(bot_id), self.user_id).typing

    async def _await_entry(self, bot: AccountId, timeout: float) -> Entry | None:
        """Wait for the next message, or for the bot under test to end."""
        waiting = asyncio.ensure_future(self._next_entry(bot, timeout))
        under_test = self._bots.get(bot)
        ended = None if under_test is None else under_test.ended
        try:
            await asyncio.wait({waiting} if ended is None else {waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
            if under_test is not None and not waiting.done():
                under_test.check()
            return await waiting
        finally:
            waiting.cancel()

    async def _skip_to_entry(self, bot: AccountId, within: float) -> Entry | None:
        """Move the time on whenever nothing happens, by more and more, until there is a message or it is over."""
        clock = self._gateway.state.clock
        end = clock.now() + within
        step = 1.0
        while True:
            received = await self._await_quiet(bot)
            left = end - clock.now()
            if received is not None:
                return received
            if left <= 0:
                return await self._await_entry(bot, _LAST)
            await GatewayClock(self._gateway).advance(seconds=min(step, left))
            step *= 2

    async def _await_quiet(self, bot: AccountId) -> Entry | None:
        """Wait until nothing happens on the gateway and this process has nothing to do, or there is a message."""
        while True:
            newest, worked = self._gateway.events.newest, time.process_time()
            received = await self._await_entry(bot, _QUIET)
            is_quiet = self._gateway.events.newest == newest and time.process_time() - worked < _IDLE
            if received is not None or is_quiet:
                return received

    async def _next_entry(self, bot: AccountId, timeout: float) -> Entry | None:
        """Return the next message that the phone shows; one that was refused, or is never shown, is no answer."""
        heard = self._heard.get(bot, 0)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                position: int | None = self._gateway.events.newest
                while position is not None:
                    entries = await self._gateway.transcript(bot, self.user_id, after=heard)
                    for entry in entries:
                        if entry.direction == "out" and entry.state == "shown":
                            return entry
                    position = await self._await_news(position)
        return None

    async def _await_news(self, position: int) -> int | None:
        """Wait for anything to happen after an event; None when nothing will, because the gateway stops."""
        async with aclosing(self._gateway.events.follow(position)) as events:
            async for event in events:
                return event.id
        return None

    async def _send_file(
        self, kind: MediaWord, content: bytes | Path, *, text: str, name: str, bot_id: AccountId | None
    ) -> MessageId:
        if isinstance(content, Path):
            name = name or content.name
            content = await asyncio.to_thread(content.read_bytes)
        posted = await self._gateway.post_media(
            self.user_id, self._bot(bot_id), kind, _chunks(content), name=name, text=text or None
        )
        return MessageId(posted.message_id)

    async def _confirm(self, qrcode: str, timeout: float) -> AccountId:
        code = await self._gateway.code(qrcode)
        if code.user_id is None:
            code = await self._gateway.scan(qrcode, self.user_id)
        position: int | None = 0
        async with asyncio.timeout(timeout):
            while code.status == "need_verifycode" and position is not None:
                position = await self._await_news(position)
                code = await self._gateway.code(qrcode)
        code = await self._gateway.confirm(qrcode, user_id=self.user_id)
        assert code.bot_id is not None
        self.bot_id = AccountId(code.bot_id)
        return self.bot_id

    async def _chat(self, bot: AccountId) -> list[str]:
        return [f"{entry.direction}: {text_of(entry)}" for entry in await self._gateway.transcript(bot, self.user_id)]

    def _bot(self, bot_id: AccountId | None) -> AccountId:
        bot = bot_id or self.bot_id
        assert bot is not None, f"{self.name} knows no bot yet: befriend one first, or name its id"
        return bot

    async def _newest_code(self, timeout: float) -> str:
        code = await self._gateway.wait_code(timeout=timeout)
        assert code is not None, f"nobody asked for a login code within {timeout:g} s"
        return code.qrcode


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _READ):
        yield content[start : start + _READ]


def text_of(entry: Entry) -> str:
    """Return what an entry says: its texts, and the numbers of its other items in brackets."""
    return "".join(item.text if isinstance(item.text, str) else f"[{item.type}]" for item in entry.items)
