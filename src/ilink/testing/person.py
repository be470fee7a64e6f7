"""A person with a phone, as a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilink.wire.ids import AccountId, MessageId, UserId

if TYPE_CHECKING:
    from ilink.gateway.service import Gateway
    from ilink.gateway.views import Entry

__all__ = ["Person"]


class Person:
    """Somebody who scans codes, writes to bots and reads what they answer.

    Attributes:
        user_id: Their id on the gateway.
        name: Their name.
        bot_id: The bot they talk to when a call names none: the last they confirmed.
    """

    def __init__(self, gateway: Gateway, user_id: UserId, name: str) -> None:
        self._gateway = gateway
        self._heard: dict[AccountId, int] = {}
        self.user_id = user_id
        self.name = name
        self.bot_id: AccountId | None = None

    async def scans(self, qrcode: str | None = None, *, timeout: float = 10.0) -> str:
        """Scan a code, or the newest one as soon as there is one, and return its new status.

        Raises:
            AssertionError: Nobody asked for a code in time.
        """
        code = await self._gateway.scan(qrcode or await self._newest_code(timeout), self.user_id)
        return code.status

    async def befriend(self, qrcode: str | None = None, *, timeout: float = 10.0) -> AccountId:
        """Scan a code, or the newest one as soon as there is one, confirm it, and return the bot's id.

        Raises:
            AssertionError: Nobody asked for a code in time.
        """
        code = await self._gateway.confirm(qrcode or await self._newest_code(timeout), user_id=self.user_id)
        assert code.bot_id is not None
        self.bot_id = AccountId(code.bot_id)
        return self.bot_id

    async def says(self, text: str, *, bot_id: AccountId | None = None) -> MessageId:
        """Write a text; when this returns it is in the bot's mailbox."""
        posted = await self._gateway.post_message(self.user_id, self._bot(bot_id), text=text)
        return MessageId(posted.message_id)

    async def hears(self, *, bot_id: AccountId | None = None, timeout: float = 10.0) -> str:
        """Return the text of the bot's next message that was not heard yet, as soon as it is there.

        Raises:
            AssertionError: None came in time; the message shows the chat.
        """
        bot = self._bot(bot_id)
        after = self._heard.get(bot, 0)
        entries = await self._gateway.wait_entries(
            bot, self.user_id, after=after, count=1, direction="out", timeout=timeout
        )
        heard = next((entry for entry in entries if entry.direction == "out"), None)
        if heard is None:
            message = f"{self.name} heard nothing from {bot} within {timeout:g} s; the chat: {await self._chat(bot)}"
            raise AssertionError(message)
        self._heard[bot] = heard.n
        return text_of(heard)

    async def _chat(self, bot: AccountId) -> list[str]:
        return [f"{entry.direction}: {text_of(entry)}" for entry in await self._gateway.transcript(bot, self.user_id)]

    def sees_typing(self, *, bot_id: AccountId | None = None) -> bool:
        """Tell whether the phone shows the bot typing now."""
        return self._gateway.typing(self._bot(bot_id), self.user_id).typing

    def _bot(self, bot_id: AccountId | None) -> AccountId:
        bot = bot_id or self.bot_id
        assert bot is not None, f"{self.name} knows no bot yet: befriend one first, or name its id"
        return bot

    async def _newest_code(self, timeout: float) -> str:
        code = await self._gateway.wait_code(timeout=timeout)
        assert code is not None, f"nobody asked for a login code within {timeout:g} s"
        return code.qrcode


def text_of(entry: Entry) -> str:
    """Return what an entry says: its texts, and the numbers of its other items in brackets."""
    return "".join(item.text if isinstance(item.text, str) else f"[{item.type}]" for item in entry.items)
