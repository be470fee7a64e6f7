"""What a message refers to: what its phone sends of it, and what the journal knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from ilink.errors import RemoteProtocolError
from ilink.messages.attachments import IncomingMedia, find_media
from ilink.messages.items import Item, TextItem, VoiceItem, read_item
from ilink.messages.media import MediaMover
from ilink.wire.codec import decode
from ilink.wire.ids import MessageId
from ilink.wire.models import MessageItem, PartialText, QuotedMessage, WeixinMessage, given
from ilink.wire.quotes import select_quoted_text

__all__ = ["KnownQuote", "Quote", "known_quote", "text_of"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Fetches(Protocol):
    """What is needed to fetch files."""

    @property
    def media(self) -> MediaMover:
        """What moves files."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownQuote:
    """A quoted message as the journal knows it.

    Attributes:
        items: All its parts.
        is_ours: Whether the bot said it.
        at: When it was received, or accepted by the server; aware, in UTC.
    """

    items: tuple[MessageItem, ...] = field(repr=False)
    is_ours: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a message refers to, as far as it is known.

    What phones send of it changed over time: its content, its id with a type, and now its id alone (observed: ocw#222,
    official 2.4.9). So it is looked up in the journal, which knows what was said for `Policies.keep_seconds`.

    Attributes:
        message_id: The quoted message; None on phones that send only its content.
        title: A summary the phone made; often empty.
        item: The quoted part itself, where the phone sent it or the journal knows it; else None.
        partial: Which of its words were selected; None for all of it.
        known: The quoted message as the journal knows it; None when it does not, such as one from long ago.
    """

    message_id: MessageId | None
    title: str
    item: Item | None
    partial: PartialText | None
    known: KnownQuote | None = None
    _turn: _Fetches | None = field(default=None, repr=False, compare=False)

    @property
    def is_known(self) -> bool:
        """Whether its content is known, from the phone or from the journal; when not, `text` is empty."""
        return self.known is not None or self.item is not None or bool(self.title)

    @property
    def is_ours(self) -> bool | None:
        """Whether the bot said it; None when that is not known."""
        return None if self.known is None else self.known.is_ours

    @property
    def text(self) -> str:
        """The quoted words: those that were selected, if the phone said which, else all of them."""
        whole = self.whole_text
        return whole if self.partial is None else select_quoted_text(whole, self.partial)

    @property
    def whole_text(self) -> str:
        """All text of the quoted message, whatever was selected."""
        if self.known is not None:
            parts = (read_item(item) for item in self.known.items)
            return text_of(tuple(part for part in parts if part is not None))
        return self.item.text if isinstance(self.item, TextItem) else self.title

    @property
    def all_media(self) -> tuple[IncomingMedia, ...]:
        """The files of the quoted message that the journal knows, to be fetched like those of any message."""
        items = () if self.known is None else self.known.items
        quotes = [MessageItem(ref_msg=QuotedMessage(message_item=item)) for item in items]
        return find_media(WeixinMessage(item_list=quotes), None if self._turn is None else self._turn.media)


def known_quote(raw: bytes, *, is_ours: bool, at_ms: int) -> KnownQuote | None:
    """Return what is known of a message by its bytes, an update or one item of ours; None when they tell nothing."""
    try:
        if is_ours:
            items: tuple[MessageItem, ...] = (decode(raw, MessageItem).value,) if raw else ()
        else:
            items = tuple(given(decode(raw, WeixinMessage).value.item_list, []))
    except RemoteProtocolError:
        return None
    return KnownQuote(items=items, is_ours=is_ours, at=_EPOCH + timedelta(milliseconds=at_ms)) if items else None


def text_of(items: tuple[Item, ...]) -> str:
    """Return what some parts say: all texts, line by line; without any, the transcript of a voice message."""
    if len(items) == 1 and isinstance(items[0], TextItem):
        return items[0].text
    lines = [item.text for item in items if isinstance(item, TextItem)]
    return "\n".join(lines) if lines else next((item.transcript for item in items if isinstance(item, VoiceItem)), "")
