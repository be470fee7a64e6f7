"""The gateway as one object: what bots call through HTTP, and what people, tests and the control API call.

    async with Gateway(folder) as gateway:
        app = ProtocolApp(gateway)          # ilink.gateway.http: an ASGI app for /ilink/bot/*

Methods in the first half answer bots with the protocol's own objects and never raise for what a bot did wrong. Those
in the second half are for the other side: they raise `UnknownThingError`, `ConflictError`, `InvalidRequestError` and
`KnobError`, and everything they changed is stored when they return.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, Self

from ilink.gateway.events import EventStream
from ilink.gateway.views import (
    BotView,
    ClockView,
    CodeView,
    ConfigView,
    Direction,
    Entry,
    MailboxView,
    PersonView,
    Posted,
    Quote,
    TypingView,
    WireEntry,
)
from ilink.wire.ids import AccountId, UserId

__all__ = ["Gateway"]


class Gateway:
    """Everything the gateway knows and does, without HTTP.

    Args:
        folder: Where its database lives; made if missing, readable by nobody else.
        api_url: What `baseurl` says after a login; may be set later with `set_urls`, once the port is known.
        cdn_url: The base of media URLs; likewise.
        seed: Makes ids, tokens and keys follow from it. None: unpredictable, which a reachable gateway needs.
        profile: A named set of knobs.
        knobs: Knobs that differ from the profile.
        synchronous: "FULL" survives a power cut; "NORMAL" the death of the process; "OFF" is for tests.
    """

    def __init__(
        self,
        folder: Path,
        *,
        api_url: str = "",
        cdn_url: str = "",
        seed: int | None = None,
        profile: str = "observed",
        knobs: Mapping[str, object] | None = None,
        synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL",
    ) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Answer every held poll empty, wait for what is being stored, and close."""
        raise NotImplementedError

    def stop_waiting(self) -> None:
        """Answer every held poll and every wait with what there is, now and from now on: the first step of stopping."""
        raise NotImplementedError

    def set_urls(self, *, api_url: str, cdn_url: str) -> None:
        """Say where the gateway is reached, once its listeners know."""
        raise NotImplementedError

    @property
    def events(self) -> EventStream:
        """What happens, as it happens: `async for event in gateway.events.follow(last_id)`."""
        raise NotImplementedError

    # People ----------------------------------------------------------------------------------------------------------

    async def add_person(self, name: str) -> PersonView:
        """Make a person. Names need not differ.

        Raises:
            InvalidRequestError: The name is empty or longer than 64 characters.
        """
        raise NotImplementedError

    async def people(self) -> list[PersonView]:
        """Return all people, oldest first."""
        raise NotImplementedError

    async def codes(self) -> list[CodeView]:
        """Return the login codes that are remembered, newest first."""
        raise NotImplementedError

    async def code(self, qrcode: str) -> CodeView:
        """Return one login code.

        Raises:
            UnknownThingError: There is none.
        """
        raise NotImplementedError

    async def scan(self, qrcode: str, user_id: UserId) -> CodeView:
        """Let a person scan a code: it becomes `scaned`, `need_verifycode` or `binded_redirect`.

        Raises:
            UnknownThingError: There is no such code or person.
            ConflictError: The code is over, or somebody else scanned it.
        """
        raise NotImplementedError

    async def confirm(self, qrcode: str, *, user_id: UserId | None = None) -> CodeView:
        """Let the person tap "confirm": the code becomes `confirmed` and a bot exists, named in `bot_id`.

        Scans first when a person is given and nobody has.

        Raises:
            UnknownThingError: There is no such code or person.
            ConflictError: Nobody scanned it, the digits are still missing, or the code is over.
        """
        raise NotImplementedError

    async def require_code(self, qrcode: str, code: str | None = None) -> CodeView:
        """Ask the client for the digits that the phone shows; None makes some.

        Raises:
            UnknownThingError: There is no such code.
            ConflictError: The code is over.
            InvalidRequestError: The digits are not as many digits as `qr.code_len` says.
        """
        raise NotImplementedError

    async def redirect(self, qrcode: str, host: str) -> CodeView:
        """Send the client to another host, `name` or `name:port`; it always uses HTTPS there.

        Raises:
            UnknownThingError: There is no such code.
            ConflictError: The code is over.
            InvalidRequestError: The host is none.
        """
        raise NotImplementedError

    async def expire_code(self, qrcode: str) -> CodeView:
        """End a code: it becomes `expired`. Cancelling on the phone looks the same.

        Raises:
            UnknownThingError: There is no such code.
        """
        raise NotImplementedError

    async def bots(self) -> list[BotView]:
        """Return all bots, oldest first."""
        raise NotImplementedError

    async def bot(self, bot_id: AccountId) -> BotView:
        """Return one bot.

        Raises:
            UnknownThingError: There is none.
        """
        raise NotImplementedError

    async def mailbox(self, bot_id: AccountId) -> MailboxView:
        """Look into a bot's mailbox without consuming anything.

        Raises:
            UnknownThingError: There is no such bot.
        """
        raise NotImplementedError

    async def expire_bot(self, bot_id: AccountId) -> None:
        """Make a bot's token stale: it answers -14 from now on, held polls included.

        Raises:
            UnknownThingError: There is no such bot.
        """
        raise NotImplementedError

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
        raise NotImplementedError

    async def transcript(self, bot_id: AccountId, user_id: UserId, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        """Return a chat's entries after a number, oldest first, refused sends included.

        Raises:
            UnknownThingError: There is no such bot or person.
        """
        raise NotImplementedError

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
        raise NotImplementedError

    async def wait_code(self, *, timeout: float = 10.0) -> CodeView | None:
        """Return the newest code that nobody has scanned as soon as there is one; None after `timeout` real seconds."""
        raise NotImplementedError

    def typing(self, bot_id: AccountId, user_id: UserId) -> TypingView:
        """Return whether the bot is seen typing to the person now."""
        raise NotImplementedError

    async def message(self, message_id: str) -> Entry:
        """Return the entry with a message id.

        Raises:
            UnknownThingError: There is none.
        """
        raise NotImplementedError

    # The machine -----------------------------------------------------------------------------------------------------

    def config(self) -> ConfigView:
        """Return the profile and every knob."""
        raise NotImplementedError

    async def configure(self, *, profile: str | None = None, knobs: Mapping[str, object] | None = None) -> ConfigView:
        """Choose a profile, which sets every knob, and then set single knobs; all or nothing.

        Raises:
            KnobError: A name or value is wrong; nothing was changed.
        """
        raise NotImplementedError

    def clock(self) -> ClockView:
        """Return the gateway's own time."""
        raise NotImplementedError

    async def advance_clock(self, seconds: float) -> ClockView:
        """Move the time forward; whatever waits for a moment that has come is woken.

        Raises:
            InvalidRequestError: The number is negative or no finite number.
        """
        raise NotImplementedError

    async def freeze_clock(self, *, frozen: bool) -> ClockView:
        """Stop the time, held polls' included, or let it run on from where it stands."""
        raise NotImplementedError

    async def reset(self, seed: int | None = None) -> None:
        """Forget people, codes, bots, messages, wire and events; ids, tokens and keys follow from the seed.

        Held polls and waits end first, with what there is. Knobs stay. The clock runs and shows real time.
        """
        raise NotImplementedError

    def wire_log(
        self, *, since: int = 0, bot_id: str | None = None, endpoint: str | None = None, limit: int = 1000
    ) -> list[WireEntry]:
        """Return what is kept of the wire after an id, oldest first, redacted."""
        raise NotImplementedError

    async def is_writable(self) -> bool:
        """Tell whether the store takes writes: the readiness check."""
        raise NotImplementedError

    @property
    def now(self) -> datetime:
        """The gateway's own time, aware and in UTC."""
        raise NotImplementedError
