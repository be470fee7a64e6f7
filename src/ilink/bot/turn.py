"""One run of a handler for one message: what it says is kept here until it succeeds."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, Protocol

from ilink.bot.clock import Clock
from ilink.bot.outbox.drafts import drafts_of, file_draft
from ilink.bot.outbox.files import OutgoingFiles
from ilink.bot.settings import Policies
from ilink.bot.streaming import ProgressNote, fold_stream
from ilink.errors import ConfigError
from ilink.flows.folding import FoldRules
from ilink.flows.window import Forecast
from ilink.messages.media import MediaKind, MediaMover, UploadSource
from ilink.messages.receipts import Deferred, DeferredWhy, Receipt, Unknown, weakest
from ilink.storage.journal import Draft, Letter
from ilink.wire.codec import encode
from ilink.wire.ids import AccountId, ClientId, UserId
from ilink.wire.models import MessageItem

if TYPE_CHECKING:
    from ilink.bot.conversation_run import Talk

__all__ = ["Outlet", "Turn", "run_id_of"]


_NOTE_MS: Final = 60_000
"""Milliseconds after which nobody wants to see what was being done."""


def run_id_of(account: AccountId, identity: str) -> str:
    """Return what ties all that is said to one message together: a UUID that follows from the message."""
    name = hashlib.sha256(f"{account}\0{identity}".encode()).hexdigest()
    # The shape of a random UUID, version 4.
    return f"{name[:8]}-{name[8:12]}-4{name[13:16]}-a{name[17:20]}-{name[20:32]}"


class Outlet(Protocol):
    """What a turn needs of the bot around it."""

    async def wait_stored(self, conversation: str) -> None:
        """Wait until everything that was handled before in a conversation is stored.

        Raises:
            StoreError: It could not be stored, so it will be handled again before this.
        """
        ...

    async def send_now(self, drafts: Sequence[Draft], *, wait: float) -> list[Receipt]:
        """Store messages at once, send them, and wait for their receipts."""
        ...

    async def wait_sent(self, conversation: str) -> None:
        """Wait, for a moment at most, until the journal knows what became of what is on its way in a conversation.

        Raises:
            StoreError: The journal cannot be read.
        """
        ...

    async def find_receipt(self, client_id: ClientId, *, wait: float) -> Receipt | None:
        """Return what is known of a message, its last word if it comes in time; None when it is not known."""
        ...

    async def forecast(self, user: UserId) -> Forecast:
        """Tell what will probably happen to a message to a user."""
        ...

    def typing(self, user: UserId) -> AbstractAsyncContextManager[None]:
        """Show a user that an answer is being written."""
        ...

    def now_ms(self) -> int:
        """Return the time of day."""
        ...

    @property
    def clock(self) -> Clock:
        """Source of time."""
        ...

    @property
    def media(self) -> MediaMover:
        """What fetches files."""
        ...

    @property
    def files(self) -> OutgoingFiles:
        """What keeps files until they are sent."""
        ...


class Turn:
    """Where the answers of one message go during one run of its handler.

    Client ids are derived from the message and the place of the answer, so that a run that is repeated says the same
    messages, not new ones. They hold across databases too: a message keeps its identity, its place in a journal not.

    Args:
        account: The bot.
        letter: The message.
        outlet: What a run needs of the bot around it.
        policies: How long texts are cut, and how long messages are worth sending.
        said: How many answers an earlier run gave, whose success is stored: they are not given again, also when the
            journal has forgotten them.
    """

    __slots__ = (
        "_account",
        "_is_over",
        "_letter",
        "_notes",
        "_ordinal",
        "_outlet",
        "_policies",
        "_run_id",
        "_said",
        "drafts",
        "rewrite",
        "talk",
        "time_limit",
    )

    def __init__(
        self, account: AccountId, letter: Letter, outlet: Outlet, policies: Policies, *, said: int = 0
    ) -> None:
        self._account = account
        self._letter = letter
        self._outlet = outlet
        self._policies = policies
        self._ordinal = 0
        self._notes = 0
        self._run_id: str | None = None
        self._said = said
        self._is_over = False
        self.drafts: list[Draft] = []
        """What goes out with the success of the handler."""
        self.talk: Talk | None = None
        """The conversation it is a part of."""
        self.time_limit: asyncio.Timeout | None = None
        """What ends the handler when it takes too long."""
        self.rewrite: Callable[[str], str] | None = None
        """Changes every text before it is split and stored."""

    async def reply(self, text: str, *, wait: float | None, is_progress: bool) -> Receipt:
        """Answer the message; see `Message.reply`."""
        is_known = self._ordinal < self._said
        drafts = self._draft(text, is_progress=is_progress)
        return await self._recall(drafts[-1].client_id, wait) if is_known else await self._say(drafts, wait=wait)

    async def reply_media(
        self, source: UploadSource, kind: MediaKind | None, *, caption: str, name: str, wait: float | None
    ) -> Receipt:
        """Answer with a file; see `Message.reply_media`."""
        if self._ordinal < self._said:
            self._ordinal += 1 if caption.strip() else 0
            return await self._recall(ClientId(f"ilink-{self._next_name()(0)}"), wait)
        drafts = self._draft(caption, is_progress=False) if caption.strip() else []
        drafts.append(
            await file_draft(
                source,
                kind,
                shown_name=name,
                conversation=self._letter.conversation,
                user=self._letter.user,
                files=self._outlet.files,
                policies=self._policies,
                now_ms=self._outlet.now_ms(),
                name=self._next_name(),
                cause=self._letter.sequence,
                run_id=self.run_id,
            )
        )
        return await self._say(drafts, wait=wait)

    async def reply_stream(
        self, source: AsyncIterable[str], *, parts: int, seconds: float, is_markdown: bool, wait: float | None
    ) -> Receipt:
        """Answer with a text that comes in pieces; see `Message.reply_stream`."""
        place, self._ordinal = self._ordinal, self._ordinal + 1
        if place < self._said:
            return await self._recall(ClientId(f"ilink-{self._name(str(place))(0)}"), wait)
        left = (await self._outlet.forecast(self._letter.user)).left - len(self.drafts)
        rules = FoldRules(parts=max(1, min(parts, left)), seconds=seconds, limit=self._policies.text_bytes)
        number = 0

        async def say(text: str, *, is_last: bool) -> Receipt:
            # Named by what it says: a run that is repeated says what it says anew, and not what was said already.
            nonlocal number
            number += 1
            drafts = self._draft(text, is_progress=False, name=self._name(f"{place} {number} {text}"))
            return await self._say(drafts, wait=wait if is_last else 0.0)

        async with self.typing():
            clock = self._outlet.clock
            receipt = await fold_stream(source, say, rules=rules, is_markdown=is_markdown, clock=clock)
        if receipt is None:
            message = "there is nothing to send: the stream brought no text"
            raise ConfigError(message)
        return receipt

    def progress(self, name: str) -> AbstractAsyncContextManager[None]:
        """Show what is done; see `Message.progress`."""
        self._notes += 1
        call_id = f"{self.run_id}:{self._notes}"

        async def say(item: MessageItem) -> None:
            label = f"progress {call_id} {item.type}"
            note = Draft(
                client_id=ClientId(f"ilink-{self._name(label)(0)}"),
                conversation=self._letter.conversation,
                user=self._letter.user,
                item=encode(item),
                cause=self._letter.sequence,
                is_progress=True,
                run_id=self.run_id,
                expires_ms=self._outlet.now_ms() + _NOTE_MS,
            )
            await self._outlet.send_now([note], wait=0.0)

        return ProgressNote(name, call_id, say, self._outlet.now_ms)

    def say_as(self, place: str, text: str, *, is_last: bool = False) -> None:
        """Say a text that has a place of its own, such as a question, so that it does not count as an answer.

        Args:
            place: Its place.
            text: What to say.
            is_last: Leave out what is said after it: the handler stops here, and will say that when it goes on.
        """
        self.drafts += self._draft(text, is_progress=False, name=self._name(place))
        self._is_over = self._is_over or is_last

    def forget(self) -> None:
        """Leave out what was said and not sent yet; what is said from here on is not taken for it when run again."""
        self.drafts = []

    def extend(self, seconds: float) -> None:
        """Give the handler more time; see `Message.extend`."""
        limit = self.time_limit
        if limit is not None and not limit.expired() and (when := limit.when()) is not None:
            limit.reschedule(max(when, asyncio.get_running_loop().time() + seconds))

    @property
    def said(self) -> int:
        """How many answers were given, those of earlier runs included."""
        return max(self._ordinal, self._said)

    @property
    def media(self) -> MediaMover:
        """What fetches files."""
        return self._outlet.media

    async def _recall(self, client_id: ClientId, wait: float | None) -> Receipt:
        """Return what is known of an answer that an earlier run gave."""
        if wait is None:
            return Deferred(client_id=client_id, why=DeferredWhy.HANDLER)
        known = await self._outlet.find_receipt(client_id, wait=wait)
        return known or Unknown(client_id=client_id, reason="it was said by an earlier run, and is forgotten by now")

    async def _say(self, drafts: list[Draft], *, wait: float | None) -> Receipt:
        if self._is_over:
            return Deferred(client_id=drafts[-1].client_id, why=DeferredWhy.HANDLER)
        self.drafts += drafts
        if wait is None:
            return Deferred(client_id=drafts[-1].client_id, why=DeferredWhy.HANDLER)
        # What was said before goes out before, in this run and in those of the messages before this one.
        await self._outlet.wait_stored(self._letter.conversation)
        sent, self.drafts = self.drafts, []
        receipts = await self._outlet.send_now(sent, wait=wait)
        return weakest(receipts[-len(drafts) :])

    def typing(self) -> AbstractAsyncContextManager[None]:
        """Show that an answer is being written, until the block ends."""
        return self._outlet.typing(self._letter.user)

    @property
    def run_id(self) -> str:
        """What ties the messages of this turn together, in every run the same (official 2.4.9: one UUID a turn)."""
        if self._run_id is None:
            self._run_id = run_id_of(self._account, self._letter.identity)
        return self._run_id

    def _next_name(self) -> Callable[[int], str]:
        """Return what names the parts of the next answer."""
        ordinal, self._ordinal = self._ordinal, self._ordinal + 1
        return self._name(str(ordinal))

    def _name(self, place: str) -> Callable[[int], str]:
        cause = f"{self._account}\0{self._letter.identity}\0{place}\0"
        return lambda part: hashlib.sha256(f"{cause}{part}".encode()).hexdigest()[:32]

    def _draft(self, text: str, *, is_progress: bool, name: Callable[[int], str] | None = None) -> list[Draft]:
        return drafts_of(
            text if self.rewrite is None else self.rewrite(text),
            conversation=self._letter.conversation,
            user=self._letter.user,
            policies=self._policies,
            now_ms=self._outlet.now_ms(),
            name=name or self._next_name(),
            cause=self._letter.sequence,
            is_progress=is_progress,
            run_id=self.run_id,
        )
