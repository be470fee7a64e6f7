"""What a bot author sees: one message of one user, by its kind."""

from __future__ import annotations

from collections.abc import AsyncIterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from ilink.errors import ConfigError, RemoteProtocolError
from ilink.messages.attachments import (
    IncomingFile,
    IncomingImage,
    IncomingMedia,
    IncomingVideo,
    IncomingVoice,
    find_media,
    read_media,
)
from ilink.messages.items import (
    FileItem,
    ImageItem,
    Item,
    TextItem,
    VideoItem,
    VoiceItem,
    read_item,
    read_items,
)
from ilink.messages.media import MediaKind, MediaMover, UploadSource
from ilink.messages.quotes import KnownQuote, Quote, text_of
from ilink.messages.receipts import Receipt
from ilink.wire.codec import decode
from ilink.wire.ids import AccountId, MessageId, Secret, UserId
from ilink.wire.models import WeixinMessage, given, read_id
from ilink.wire.quotes import find_quote, quoted_message_id

__all__ = [
    "AnyMessage",
    "FileMessage",
    "ImageMessage",
    "Message",
    "OtherMessage",
    "TextMessage",
    "Turn",
    "VideoMessage",
    "VoiceMessage",
    "read_message",
    "read_moment",
    "read_update",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Turn(Protocol):
    """One run of a handler: where the answers of its message go."""

    async def reply(self, text: str, *, wait: float | None, is_progress: bool) -> Receipt:
        """Answer the message this turn is about."""
        ...

    async def reply_media(
        self, source: UploadSource, kind: MediaKind | None, *, caption: str, name: str, wait: float | None
    ) -> Receipt:
        """Answer with a file."""
        ...

    async def reply_stream(
        self, source: AsyncIterable[str], *, parts: int, seconds: float, is_markdown: bool, wait: float | None
    ) -> Receipt:
        """Answer with a text that comes in pieces."""
        ...

    def progress(self, name: str) -> AbstractAsyncContextManager[None]:
        """Show what is being done, until the block ends."""
        ...

    def typing(self) -> AbstractAsyncContextManager[None]:
        """Show that an answer is being written, until the block ends."""
        ...

    def extend(self, seconds: float) -> None:
        """Give the handler more time."""
        ...

    @property
    def media(self) -> MediaMover:
        """What fetches the files of the message."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message a user sent. Handlers get one of its kinds: `TextMessage`, `ImageMessage` and so on.

    Attributes:
        account: The bot it was sent to.
        user: Who sent it; the case of the id is kept.
        id: The server's id; None when the server gave none.
        text: What was written: all text parts, line by line; for a voice message WeChat's transcript.
        items: All parts, in order, unknown ones too.
        sequence: Its place in the journal. `key` names the message for good, across repeated runs.
        attempt: Which run of a handler this is, from 1; above 1 an earlier one failed or was cut off.
        suspect_duplicate: Whether the same was said shortly before, under another id: the server hands some messages
            out twice (observed: hermes-agent#16182), and some people repeat themselves.
        context_token: The opaque value for answering.
        wire: The protocol's own object.
        raw: The bytes as they came, with fields nobody has documented.
        known_quote: What the journal knows of the message it refers to; see `quote`.
        earlier: The messages before it that are handled as one with it; see `merged`.
    """

    account: AccountId
    user: UserId
    id: MessageId | None
    text: str
    items: tuple[Item, ...]
    sequence: int = 0
    attempt: int = 1
    suspect_duplicate: bool = False
    context_token: Secret | None = None
    wire: WeixinMessage = field(repr=False, compare=False)
    raw: bytes = field(repr=False, compare=False)
    turn: Turn | None = field(default=None, repr=False, compare=False)
    known_quote: KnownQuote | None = field(default=None, repr=False, compare=False)
    earlier: tuple[Message, ...] = field(default=(), repr=False)

    @property
    def key(self) -> str:
        """The same for every run of a handler for this message, to make effects outside of the bot idempotent."""
        return f"{self.account}:{self.sequence}"

    @property
    def sent_at(self) -> datetime | None:
        """When the user sent it, aware, in UTC; None when the server did not say."""
        return read_moment(given(self.wire.create_time_ms, None))

    @property
    def quote(self) -> Quote | None:
        """What it refers to; None when it is no reply."""
        quoted = find_quote(given(self.wire.item_list, []))
        if quoted is None:
            return None
        embedded = given(quoted.message_item, None)
        item = None if embedded is None else read_item(embedded)
        if item is None and self.known_quote is not None and self.known_quote.items:
            item = read_item(self.known_quote.items[0])
        return Quote(
            message_id=quoted_message_id(quoted),
            title=given(quoted.title, ""),
            item=item,
            partial=given(quoted.partial_text, None),
            known=self.known_quote,
            _turn=self.turn,
        )

    async def reply(self, text: str, *, wait: float | None = None, progress: bool = False) -> Receipt:
        """Answer in this conversation; long texts go out in as few parts as possible.

        Without `wait` the reply is stored and sent together with the success of the handler: a handler that fails or
        is cut off has said nothing, and one that runs again says nothing twice. With `wait` it is stored and sent at
        once, also if the handler fails later; run again, it is the same reply and is not sent again.

        Args:
            text: What to say; not empty.
            wait: Seconds to wait for the final receipt; None to go on at once.
            progress: This is only a line on the way: it makes room for final answers when few messages are left.

        Returns:
            What is known of it. Until it is final that is `Deferred`, which names what it waits for.

        Raises:
            ConfigError: The text is empty, or the message did not come through a running bot.
        """
        if self.turn is None:
            message = "this message did not come through a running bot, so there is nowhere to reply"
            raise ConfigError(message)
        return await self.turn.reply(text, wait=wait, is_progress=progress)

    @property
    def media(self) -> IncomingMedia:
        """The message's first file, its own before one it quotes: `await message.media.save("cat.jpg")`.

        Raises:
            ConfigError: It has none.
        """
        found = self.all_media
        if not found:
            message = "this message carries no file"
            raise ConfigError(message)
        return found[0]

    @property
    def all_media(self) -> tuple[IncomingMedia, ...]:
        """Every file of the message in its order, those of what it quotes last; each is of one of the four kinds."""
        found = find_media(self.wire, self._mover)
        if self.known_quote is None or any(media.is_quoted for media in found):
            return found
        quote = self.quote
        return found if quote is None else (*found, *quote.all_media)

    @property
    def _mover(self) -> MediaMover | None:
        return None if self.turn is None else self.turn.media

    async def reply_media(
        self,
        source: UploadSource,
        kind: MediaKind | None = None,
        *,
        caption: str = "",
        name: str = "",
        wait: float | None = None,
    ) -> Receipt:
        """Answer with a file, as `reply` answers with a text.

        A private copy of it is on the disk when this returns; it is uploaded when it is its turn to be sent, so that
        the handler does not wait for that, and goes on after a crash.

        Args:
            source: A path, bytes, an open binary file, or an asynchronous iterable of bytes.
            kind: What the phone shall show it as; None decides by content. VOICE goes as a FILE: phones do not show
                voice that a bot sends (observed: ocw#215).
            caption: A text that goes before it as a message of its own, as phones expect it (official 2.4.9).
            name: The name to show; by default that of the path or file.
            wait: As for `reply`.

        Returns:
            What is known of the file and its caption, of the one that fared worst; see `reply`. A file that cannot be
            uploaded is rejected.

        Raises:
            TooLargeError, MediaError: It is too large, or cannot be read.
            StoreError: The disk is full, or `Policies.spool_bytes` wait already. Nothing was stored, nor is the caption
                sent.
            ConfigError: It is nothing that can be sent, or the message did not come through a running bot.
        """
        if self.turn is None:
            message = "this message did not come through a running bot, so there is nowhere to reply"
            raise ConfigError(message)
        return await self.turn.reply_media(source, kind, caption=caption, name=name, wait=wait)

    def extend(self, seconds: float) -> None:
        """Give the handler at least so many seconds from now, however little its time limit has left.

        A handler that takes longer than its limit fails. One that knows that it is getting on, such as one that is
        handed the parts of a long answer, extends it as it goes; one that hangs does not.

        Raises:
            ConfigError: The message did not come through a running bot.
        """
        if self.turn is None:
            message = "this message did not come through a running bot, so no handler of it has a time limit"
            raise ConfigError(message)
        self.turn.extend(seconds)

    @property
    def merged(self) -> tuple[Message, ...]:
        """All messages that are handled as one, in order, this one last; only this one where nothing was merged.

        A handler gets several when its policy says so, see `LanePolicy`: an album comes as one message per picture.
        """
        return (*self.earlier, self)

    async def reply_stream(
        self,
        source: AsyncIterable[str],
        *,
        parts: int = 4,
        seconds: float = 6.0,
        markdown: bool = True,
        wait: float | None = None,
    ) -> Receipt:
        """Answer with a text that comes in pieces, such as what a model writes; few messages go out while it comes.

        WeChat has no message that grows (peer: weixin-bot), and about ten are taken until the user writes again. So
        parts go out where a paragraph, a line or a sentence ends, at longer and longer intervals, never more than the
        user's allowance has left, and the end of the text always has a message of its own. Code blocks and tables stay
        whole as long as they fit. The user sees that something is being written until the end.

        The early parts are sent at once, also if the handler fails later; the last is sent as `reply` sends a text. A
        handler that runs again says again what differs from the first time.

        Args:
            source: The pieces, of any size.
            parts: How many messages it may become.
            seconds: How long the first part gathers text.
            markdown: Make plain what phones do not render; False for a text that is no Markdown.
            wait: Seconds to wait for the receipt of the last part; see `reply`.

        Returns:
            What is known of the last part.

        Raises:
            ConfigError: The source brought no text, or the message did not come through a running bot.
            Exception: What the source raises; what was sent by then stays.
        """
        if self.turn is None:
            message = "this message did not come through a running bot, so there is nowhere to reply"
            raise ConfigError(message)
        return await self.turn.reply_stream(source, parts=parts, seconds=seconds, is_markdown=markdown, wait=wait)

    def progress(self, name: str) -> AbstractAsyncContextManager[None]:
        """Show what is being done: `async with message.progress("search"): …`.

        Sent as the items 11 and 12 of the protocol, which cost messages of the allowance, make room for answers, and
        are not shown by every phone (peer: dsh-bridge saw none); `typing` is shown by all and costs nothing.

        Args:
            name: What is being done, in a word.

        Raises:
            ConfigError: The message did not come through a running bot.
        """
        if self.turn is None:
            message = "this message did not come through a running bot, so there is nowhere to reply"
            raise ConfigError(message)
        return self.turn.progress(name)

    def typing(self) -> AbstractAsyncContextManager[None]:
        """Show the user that an answer is being written: `async with message.typing(): …`.

        It ends with the block, whatever happens in it; where typing cannot be shown, nothing happens.

        Raises:
            ConfigError: The message did not come through a running bot.
        """
        if self.turn is None:
            message = "this message did not come through a running bot, so nobody can be shown typing"
            raise ConfigError(message)
        return self.turn.typing()


class TextMessage(Message):
    """A message that is a text."""

    __slots__ = ()


class ImageMessage(Message):
    """A message with a picture, and perhaps a text beside it."""

    __slots__ = ()

    @property
    def image(self) -> IncomingImage:
        """The first picture: what is known of it, and how to fetch it."""
        return read_media(self.wire, IncomingImage, self._mover)


class VoiceMessage(Message):
    """A message that is a voice recording; `text` is WeChat's transcript, if it made one."""

    __slots__ = ()

    @property
    def voice(self) -> IncomingVoice:
        """The first recording: what is known of it, and how to fetch it."""
        return read_media(self.wire, IncomingVoice, self._mover)


class FileMessage(Message):
    """A message with a file."""

    __slots__ = ()

    @property
    def file(self) -> IncomingFile:
        """The first file: what is known of it, and how to fetch it."""
        return read_media(self.wire, IncomingFile, self._mover)


class VideoMessage(Message):
    """A message with a video."""

    __slots__ = ()

    @property
    def video(self) -> IncomingVideo:
        """The first video: what is known of it, and how to fetch it."""
        return read_media(self.wire, IncomingVideo, self._mover)


class OtherMessage(Message):
    """A message without any part of a known kind."""

    __slots__ = ()


AnyMessage = TextMessage | ImageMessage | VoiceMessage | FileMessage | VideoMessage | OtherMessage
"""The kinds of messages. Matches over it end in `assert_never`."""

_KINDS: Final[dict[type, type[AnyMessage]]] = {
    ImageItem: ImageMessage,
    VoiceItem: VoiceMessage,
    FileItem: FileMessage,
    VideoItem: VideoMessage,
}


def read_update(raw: bytes) -> WeixinMessage | None:
    """Return one update as the protocol's object; None when it is no JSON object. Never raises."""
    try:
        return decode(raw, WeixinMessage).value
    except RemoteProtocolError:
        return None


def read_message(
    raw: bytes,
    wire: WeixinMessage,
    *,
    account: AccountId,
    sequence: int = 0,
    attempt: int = 1,
    suspect_duplicate: bool = False,
    turn: Turn | None = None,
) -> AnyMessage:
    """Return what a bot author sees of an update. Never raises, whatever is in it.

    Its kind is that of its first media part, else text, else other.
    """
    items = read_items(wire, raw)
    token = given(wire.context_token, "")
    return _kind(items)(
        account=account,
        user=UserId(given(wire.from_user_id, "")),
        id=read_id(wire.message_id),
        text=text_of(items),
        items=items,
        sequence=sequence,
        attempt=attempt,
        suspect_duplicate=suspect_duplicate,
        context_token=Secret(token) if token else None,
        wire=wire,
        raw=raw,
        turn=turn,
    )


def _kind(items: tuple[Item, ...]) -> type[AnyMessage]:
    has_text = False
    for item in items:
        if isinstance(item, TextItem):
            has_text = True
        elif (kind := _KINDS.get(type(item))) is not None:
            return kind
    return TextMessage if has_text else OtherMessage


def read_moment(milliseconds: int | None) -> datetime | None:
    """Return a time of the wire, aware and in UTC; None for none, and for one that no calendar has."""
    if not milliseconds:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
