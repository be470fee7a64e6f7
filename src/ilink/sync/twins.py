"""Twins of what handlers are given: the same names, without `async` and `await`.

Each holds the object it is the twin of, and a portal to the event loop that one lives in. What a member does is said
where it is said for the asynchronous ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Final, Generic, TypeVar, cast, overload

from ilink.bot.context import Context as AsyncContext
from ilink.bot.conversation_run import NO_DEFAULT, POLICY_TIMEOUT
from ilink.bot.conversation_state import State
from ilink.bot.jobs import Job as AsyncJob
from ilink.bot.outbox.outbox import Outbox as AsyncOutbox
from ilink.bot.outbox.postbox import OutboxEntry
from ilink.flows.window import Forecast
from ilink.messages import attachments, incoming
from ilink.messages.items import Item
from ilink.messages.media import MAX_BYTES, MediaKind, MediaReference, SavedMedia, UploadSource
from ilink.messages.quotes import KnownQuote, Quote
from ilink.messages.receipts import Receipt
from ilink.sync.portal import Portal, slowly
from ilink.wire.ids import AccountId, MessageId, Secret, UserId
from ilink.wire.models import WeixinMessage

__all__ = [
    "Context",
    "FileMessage",
    "ImageMessage",
    "IncomingFile",
    "IncomingImage",
    "IncomingMedia",
    "IncomingVideo",
    "IncomingVoice",
    "Job",
    "Message",
    "OtherMessage",
    "Outbox",
    "TextMessage",
    "Twin",
    "VideoMessage",
    "VoiceMessage",
    "kind_of",
    "twin_of",
]

I_co = TypeVar("I_co", covariant=True)
T = TypeVar("T")
S = TypeVar("S", bound=str)


class Twin(Generic[I_co]):
    """What all twins share."""

    __slots__ = ("_inner", "_portal")

    def __init__(self, inner: I_co, portal: Portal) -> None:
        self._inner = inner
        self._portal = portal

    def __repr__(self) -> str:
        return f"sync.{self._inner!r}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Twin) and self._inner == other._inner

    def __hash__(self) -> int:
        return hash(self._inner)

    def move(self, portal: Portal) -> None:
        """Use another way into the event loop from now on."""
        self._portal = portal


class IncomingMedia(Twin[attachments.IncomingMedia]):
    """A file of a message; see `ilink.IncomingMedia`."""

    __slots__ = ()

    @property
    def reference(self) -> MediaReference:
        """Where the bytes are."""
        return self._inner.reference

    @property
    def kind(self) -> MediaKind:
        """What the phone shows it as."""
        return self._inner.kind

    @property
    def name(self) -> str:
        """Its name, made safe to use as a file name in any folder."""
        return self._inner.name

    @property
    def size(self) -> int | None:
        """Its bytes as the message announced them; None when it did not, which only files do."""
        return self._inner.size

    @property
    def md5(self) -> str | None:
        """The MD5 that was announced, in lower-case hexadecimal; what is fetched is compared with it."""
        return self._inner.md5

    @property
    def is_quoted(self) -> bool:
        """Whether it belongs to what the message quotes."""
        return self._inner.is_quoted

    def save(self, to: Path | str, *, max_bytes: int = MAX_BYTES) -> SavedMedia:
        """Fetch it into a file; see `ilink.IncomingMedia.save`."""
        return self._portal.call(lambda: self._inner.save(to, max_bytes=max_bytes))

    def read(self, *, max_bytes: int = MAX_BYTES) -> bytes:
        """Fetch it into memory."""
        return self._portal.call(lambda: self._inner.read(max_bytes=max_bytes))

    @contextmanager
    def stream(self, *, max_bytes: int = MAX_BYTES) -> Generator[Iterator[bytes], None, None]:
        """Fetch it in pieces: `with message.media.stream() as pieces: for piece in pieces: …`."""
        with self._portal.enter(lambda: self._inner.stream(max_bytes=max_bytes)) as pieces:
            yield self._portal.iterate(pieces)

    def read_wav(self) -> bytes:
        """Fetch sound as WAV; see `ilink.IncomingMedia.read_wav`."""
        return self._portal.call(self._inner.read_wav)


class IncomingImage(IncomingMedia):
    """A picture; see `ilink.IncomingImage`."""

    __slots__ = ()
    _inner: attachments.IncomingImage

    @property
    def thumbnail_width(self) -> int | None:
        """Pixels of the small picture that the phone made; or None."""
        return self._inner.thumbnail_width

    @property
    def thumbnail_height(self) -> int | None:
        """The same."""
        return self._inner.thumbnail_height


class IncomingVoice(IncomingMedia):
    """A voice recording; see `ilink.IncomingVoice`."""

    __slots__ = ()
    _inner: attachments.IncomingVoice

    @property
    def seconds(self) -> float | None:
        """How long it plays; None when the message does not say."""
        return self._inner.seconds

    @property
    def transcript(self) -> str:
        """What WeChat heard; empty when it made no transcript."""
        return self._inner.transcript

    @property
    def encoding(self) -> int | None:
        """The announced encoding, which does not tell the truth."""
        return self._inner.encoding


class IncomingFile(IncomingMedia):
    """A file; see `ilink.IncomingFile`."""

    __slots__ = ()
    _inner: attachments.IncomingFile

    @property
    def original_name(self) -> str:
        """The name its sender gave it, unchecked: never use it as a path."""
        return self._inner.original_name


class IncomingVideo(IncomingMedia):
    """A video; see `ilink.IncomingVideo`."""

    __slots__ = ()
    _inner: attachments.IncomingVideo

    @property
    def play_length(self) -> int | None:
        """How long it plays, as the number came; nobody knows its unit."""
        return self._inner.play_length

    @property
    def thumbnail_width(self) -> int | None:
        """Pixels of the small picture that the phone made; or None."""
        return self._inner.thumbnail_width

    @property
    def thumbnail_height(self) -> int | None:
        """The same."""
        return self._inner.thumbnail_height


class Message(Twin[incoming.Message]):
    """One message a user sent; see `ilink.Message`."""

    __slots__ = ()

    @property
    def account(self) -> AccountId:
        """The bot it was sent to."""
        return self._inner.account

    @property
    def user(self) -> UserId:
        """Who sent it; the case of the id is kept."""
        return self._inner.user

    @property
    def id(self) -> MessageId | None:
        """The server's id; None when the server gave none."""
        return self._inner.id

    @property
    def text(self) -> str:
        """What was written: all text parts, line by line; for a voice message WeChat's transcript."""
        return self._inner.text

    @property
    def items(self) -> tuple[Item, ...]:
        """All parts, in order, unknown ones too."""
        return self._inner.items

    @property
    def sequence(self) -> int:
        """Its place in the journal."""
        return self._inner.sequence

    @property
    def attempt(self) -> int:
        """Which run of a handler this is, from 1; above 1 an earlier one failed or was cut off."""
        return self._inner.attempt

    @property
    def suspect_duplicate(self) -> bool:
        """Whether the same was said shortly before, under another id."""
        return self._inner.suspect_duplicate

    @property
    def context_token(self) -> Secret | None:
        """The opaque value for answering."""
        return self._inner.context_token

    @property
    def wire(self) -> WeixinMessage:
        """The protocol's own object."""
        return self._inner.wire

    @property
    def raw(self) -> bytes:
        """The bytes as they came, with fields nobody has documented."""
        return self._inner.raw

    @property
    def known_quote(self) -> KnownQuote | None:
        """What the journal knows of the message it refers to; see `quote`."""
        return self._inner.known_quote

    @property
    def earlier(self) -> tuple[Message, ...]:
        """The messages before it that are handled as one with it."""
        return tuple(_message(message, self._portal) for message in self._inner.earlier)

    @property
    def merged(self) -> tuple[Message, ...]:
        """All messages that are handled as one, in order, this one last."""
        return (*self.earlier, self)

    @property
    def key(self) -> str:
        """The same for every run of a handler for this message, to make effects outside of the bot idempotent."""
        return self._inner.key

    @property
    def sent_at(self) -> datetime | None:
        """When the user sent it, aware, in UTC; None when the server did not say."""
        return self._inner.sent_at

    @property
    def quote(self) -> Quote | None:
        """What it refers to; None when it is no reply."""
        return self._inner.quote

    @property
    def media(self) -> IncomingMedia:
        """The message's first file; see `ilink.Message.media`."""
        return _media(self._inner.media, self._portal)

    @property
    def all_media(self) -> tuple[IncomingMedia, ...]:
        """Every file of the message in its order, those of what it quotes last."""
        return tuple(_media(media, self._portal) for media in self._inner.all_media)

    def reply(self, text: str, *, wait: float | None = None, progress: bool = False) -> Receipt:
        """Answer in this conversation; see `ilink.Message.reply`."""
        return self._portal.call(lambda: self._inner.reply(text, wait=wait, progress=progress))

    def reply_media(
        self,
        source: UploadSource,
        kind: MediaKind | None = None,
        *,
        caption: str = "",
        name: str = "",
        wait: float | None = None,
    ) -> Receipt:
        """Answer with a file; see `ilink.Message.reply_media`."""
        return self._portal.call(lambda: self._inner.reply_media(source, kind, caption=caption, name=name, wait=wait))

    def reply_stream(
        self,
        source: Iterable[str] | AsyncIterable[str],
        *,
        parts: int = 4,
        seconds: float = 6.0,
        markdown: bool = True,
        wait: float | None = None,
    ) -> Receipt:
        """Answer with a text that comes in pieces, also from a plain generator; see `ilink.Message.reply_stream`."""
        pieces = source if isinstance(source, AsyncIterable) else slowly(source)
        return self._portal.call(
            lambda: self._inner.reply_stream(pieces, parts=parts, seconds=seconds, markdown=markdown, wait=wait)
        )

    def extend(self, seconds: float) -> None:
        """Give the handler at least so many seconds from now; see `ilink.Message.extend`."""
        self._portal.do(lambda: self._inner.extend(seconds))

    def progress(self, name: str) -> AbstractContextManager[None]:
        """Show what is being done: `with message.progress("search"): …`; see `ilink.Message.progress`."""
        return self._portal.enter(lambda: self._inner.progress(name))

    def typing(self) -> AbstractContextManager[None]:
        """Show the user that an answer is being written: `with message.typing(): …`."""
        return self._portal.enter(self._inner.typing)


class TextMessage(Message):
    """A message that is a text."""

    __slots__ = ()


class ImageMessage(Message):
    """A message with a picture, and perhaps a text beside it."""

    __slots__ = ()
    _inner: incoming.ImageMessage

    @property
    def image(self) -> IncomingImage:
        """The first picture: what is known of it, and how to fetch it."""
        return IncomingImage(self._inner.image, self._portal)


class VoiceMessage(Message):
    """A message that is a voice recording; `text` is WeChat's transcript, if it made one."""

    __slots__ = ()
    _inner: incoming.VoiceMessage

    @property
    def voice(self) -> IncomingVoice:
        """The first recording: what is known of it, and how to fetch it."""
        return IncomingVoice(self._inner.voice, self._portal)


class FileMessage(Message):
    """A message with a file."""

    __slots__ = ()
    _inner: incoming.FileMessage

    @property
    def file(self) -> IncomingFile:
        """The first file: what is known of it, and how to fetch it."""
        return IncomingFile(self._inner.file, self._portal)


class VideoMessage(Message):
    """A message with a video."""

    __slots__ = ()
    _inner: incoming.VideoMessage

    @property
    def video(self) -> IncomingVideo:
        """The first video: what is known of it, and how to fetch it."""
        return IncomingVideo(self._inner.video, self._portal)


class OtherMessage(Message):
    """A message without any part of a known kind."""

    __slots__ = ()


class Context(Twin[AsyncContext]):
    """The conversation a handler is in; see `ilink.Context`."""

    __slots__ = ()

    @property
    def message(self) -> Message:
        """The message the handler was called for, also after questions."""
        return _message(self._inner.message, self._portal)

    @property
    def account(self) -> AccountId:
        """The bot."""
        return self._inner.account

    @property
    def user(self) -> UserId:
        """Who wrote."""
        return self._inner.user

    @overload
    def ask(
        self,
        question: str,
        kind: type[T],
        *,
        hint: str = "",
        timeout: float | None = ...,
        tries: int | None = None,
        default: T = ...,
        name: str = "",
    ) -> T: ...
    @overload
    def ask(
        self,
        question: str,
        *,
        hint: str = "",
        timeout: float | None = ...,
        tries: int | None = None,
        default: str = ...,
        name: str = "",
    ) -> str: ...
    @overload
    def ask(
        self,
        question: str,
        kind: Mapping[str, T],
        *,
        hint: str = "",
        timeout: float | None = ...,
        tries: int | None = None,
        default: T = ...,
        name: str = "",
    ) -> T: ...
    @overload
    def ask(
        self,
        question: str,
        kind: Sequence[S],
        *,
        hint: str = "",
        timeout: float | None = ...,
        tries: int | None = None,
        default: S = ...,
        name: str = "",
    ) -> S: ...
    @overload
    def ask(
        self,
        question: str,
        kind: Callable[[str], T],
        *,
        hint: str = "",
        timeout: float | None = ...,
        tries: int | None = None,
        default: T = ...,
        name: str = "",
    ) -> T: ...
    def ask(
        self,
        question: str,
        kind: object = str,
        *,
        hint: str = "",
        timeout: float | None = POLICY_TIMEOUT,
        tries: int | None = None,
        default: object = NO_DEFAULT,
        name: str = "",
    ) -> object:
        """Ask the user something and return the answer, however long that takes; see `ilink.Context.ask`.

        The handler is run again for each answer, as an asynchronous one is: do not catch what this raises but by its
        name.
        """
        wanted = cast("type[object]", _KINDS.get(kind, kind) if isinstance(kind, type) else kind)
        return self._portal.call(
            lambda: self._inner.ask(
                question, wanted, hint=hint, timeout=timeout, tries=tries, default=default, name=name
            )
        )

    def confirm(self, question: str, *, timeout: float | None = POLICY_TIMEOUT, name: str = "") -> bool:
        """Ask for yes or no, in Chinese or English."""
        return self._portal.call(lambda: self._inner.confirm(question, timeout=timeout, name=name))

    def fill(self, form: type[T], *, timeout: float | None = POLICY_TIMEOUT) -> T:
        """Ask for every field of a form, one after the other, and return it filled; see `ilink.Context.fill`."""
        return self._portal.call(lambda: self._inner.fill(form, timeout=timeout))

    def once(self, name: str, function: Callable[[], T]) -> T:
        """Call a function once for this message, however often the handler is run; see `ilink.Context.once`."""
        return self._portal.call(lambda: self._inner.once(name, _beside(function)))

    def state(self, kind: type[T], *, expire: float | None = None) -> State[T]:
        """Return a state of this conversation; see `ilink.Context.state`."""
        return self._portal.call(lambda: self._inner.state(kind, expire=expire))


class Job(Twin[AsyncJob]):
    """One time that something is due; see `ilink.Job`."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Which job."""
        return self._inner.name

    @property
    def account(self) -> AccountId:
        """The bot it is done for."""
        return self._inner.account

    @property
    def user(self) -> UserId | None:
        """Whom it concerns; None when there is nobody."""
        return self._inner.user

    @property
    def moment(self) -> datetime:
        """When it was due, aware, in UTC."""
        return self._inner.moment

    @property
    def data(self) -> object:
        """What `Bot.schedule` was given; None for a declared job."""
        return self._inner.data

    @property
    def attempt(self) -> int:
        """Which run this is, from 1."""
        return self._inner.attempt

    @property
    def key(self) -> str:
        """The same for every run for this moment."""
        return self._inner.key

    def send(self, text: str, *, to: str | None = None, wait: float | None = None) -> Receipt:
        """Say something, to `user` or to somebody else; see `ilink.Job.send`."""
        return self._portal.call(lambda: self._inner.send(text, to=to, wait=wait))

    def send_media(
        self,
        source: UploadSource,
        kind: MediaKind | None = None,
        *,
        to: str | None = None,
        caption: str = "",
        name: str = "",
        wait: float | None = None,
    ) -> Receipt:
        """Send a file, as `send` sends a text."""
        return self._portal.call(
            lambda: self._inner.send_media(source, kind, to=to, caption=caption, name=name, wait=wait)
        )

    def can_send(self, user: str | None = None) -> Forecast:
        """Tell what will probably happen to a message to `user`, or to somebody else."""
        return self._portal.call(lambda: self._inner.can_send(user))

    def once(self, name: str, function: Callable[[], T]) -> T:
        """Call a function once for this moment, however often the job is run."""
        return self._portal.call(lambda: self._inner.once(name, _beside(function)))


class Outbox(Twin[AsyncOutbox]):
    """The messages that wait to be sent; see `ilink.Outbox`."""

    __slots__ = ()

    def receipt(self, client_id: str, *, wait: float | None = None) -> Receipt | None:
        """Return what is known of a message; see `ilink.Outbox.receipt`."""
        return self._portal.call(lambda: self._inner.receipt(client_id, wait=wait))

    def asked(self) -> list[OutboxEntry]:
        """Return the messages that wait for a decision."""
        return self._portal.call(self._inner.asked)

    def retry(self, client_id: str) -> OutboxEntry:
        """Decide that a message is sent again."""
        return self._portal.call(lambda: self._inner.retry(client_id))

    def drop(self, client_id: str) -> OutboxEntry:
        """Decide that a message is not sent again."""
        return self._portal.call(lambda: self._inner.drop(client_id))


_MESSAGES: Final[dict[type[incoming.Message], type[Message]]] = {
    incoming.TextMessage: TextMessage,
    incoming.ImageMessage: ImageMessage,
    incoming.VoiceMessage: VoiceMessage,
    incoming.FileMessage: FileMessage,
    incoming.VideoMessage: VideoMessage,
    incoming.OtherMessage: OtherMessage,
    incoming.Message: Message,
}
_KINDS: Final[dict[type[object], type[incoming.Message]]] = {twin: kind for kind, twin in _MESSAGES.items()}
_MEDIA: Final[dict[type[attachments.IncomingMedia], type[IncomingMedia]]] = {
    attachments.IncomingImage: IncomingImage,
    attachments.IncomingVoice: IncomingVoice,
    attachments.IncomingFile: IncomingFile,
    attachments.IncomingVideo: IncomingVideo,
}


def kind_of(twin: type[Message]) -> type[incoming.Message]:
    """Return the kind of messages that a twin is of."""
    return _KINDS[twin]


def twin_of(value: object, portal: Portal) -> object:
    """Return the twin of what has one, and anything else as it is."""
    if isinstance(value, incoming.Message):
        return _message(value, portal)
    if isinstance(value, Sequence):
        several: Sequence[object] = value
        if several and isinstance(several[0], incoming.Message):
            return [twin_of(one, portal) for one in several]
    if isinstance(value, AsyncContext):
        return Context(value, portal)
    if isinstance(value, AsyncJob):
        return Job(value, portal)
    return value


def _message(message: incoming.Message, portal: Portal) -> Message:
    return _MESSAGES[type(message)](message, portal)


def _media(media: attachments.IncomingMedia, portal: Portal) -> IncomingMedia:
    return _MEDIA.get(type(media), IncomingMedia)(media, portal)


def _beside(function: Callable[[], T]) -> Callable[[], Awaitable[T]] | Callable[[], T]:
    """Return what calls a function in a thread: it may block."""

    @wraps(function)
    async def call() -> T:
        return await asyncio.to_thread(function)

    return call
