"""What the gateway shows of itself: people, codes, bots, mailboxes, transcripts, typing, the wire.

Field names are those of the control API, so that `msgspec.json.encode` of any of these is its answer. Times are aware
and in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

__all__ = [
    "BotView",
    "ChatView",
    "ClockView",
    "CodeView",
    "ConfigView",
    "ContextTokenView",
    "Direction",
    "Entry",
    "EntryState",
    "ItemView",
    "MailboxView",
    "MediaView",
    "OverrideView",
    "PersonView",
    "Posted",
    "Quote",
    "TicketView",
    "TypingView",
    "WindowView",
    "WireEntry",
]

Direction = Literal["in", "out"]
"""`in` is from a person to a bot, `out` from a bot to a person."""

EntryState = Literal["stored", "handed_out", "acked", "shown", "not_shown", "refused"]
"""The first three are an incoming message's, the others an outgoing one's; `stored` also while a delay runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonView:
    """A person on the gateway."""

    user_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeView:
    """A QR login code.

    Attributes:
        qrcode: The token that the client polls with.
        url: What is shown as a QR image (`qrcode_img_content`).
        status: The status in the wire's spelling, as the next poll would answer it.
        created_at: When the client asked for it.
        expires_at: When it stops working by itself.
        user_id: Who scanned it, or None.
        verify_code: The digits that the phone shows, while the client has to send them.
        redirect_host: Where the client was sent, or None.
        bot_id: The bot that it made, once confirmed.
    """

    qrcode: str
    url: str
    status: str
    created_at: datetime
    expires_at: datetime
    user_id: str | None = None
    verify_code: str | None = None
    redirect_host: str | None = None
    bot_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BotView:
    """A bot: who it belongs to, and how far it has read.

    Attributes:
        bot_id: `…@im.bot`.
        owner_user_id: Who confirmed its code.
        state: `live`; `replaced` by a newer login of its owner; `expired` by command, age or knob.
        generation: Raised by a reset of its stream; older cursors stop counting.
        last_poll_at: When it last called getupdates, or None.
        waiting_polls: How many of its polls are held now.
        head_seq: The newest message's number in its mailbox; 0 when there is none.
        handed_seq: The newest that went out in an answer.
        acked_seq: The newest that a later poll acknowledged.
        is_notified: Whether notifystart came and notifystop did not.
    """

    bot_id: str
    owner_user_id: str
    state: Literal["live", "replaced", "expired"]
    generation: int
    last_poll_at: datetime | None
    waiting_polls: int
    head_seq: int
    handed_seq: int
    acked_seq: int
    is_notified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowView:
    """What a bot may still send to one person."""

    user_id: str
    is_open: bool
    last_inbound_at: datetime | None
    closes_at: datetime | None
    sends: int
    sends_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextTokenView:
    """A context token that was given to a bot; the token itself is not shown."""

    user_id: str
    beginning: str
    issued_at: datetime
    is_used: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketView:
    """A typing ticket that was given to a bot; the ticket itself is not shown."""

    user_id: str
    beginning: str
    issued_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxView:
    """A bot's mailbox, looked at without consuming anything."""

    bot_id: str
    generation: int
    head_seq: int
    handed_seq: int
    acked_seq: int
    waiting_polls: int
    depth: int
    pending: list[Entry]
    windows: list[WindowView]
    context_tokens: list[ContextTokenView]
    typing_tickets: list[TicketView]


class MediaView(Struct, kw_only=True, omit_defaults=True):
    """One media file of a message; sizes and hashes are of the decrypted bytes.

    A reference to something that the gateway does not keep has only `aes_key_form`.
    """

    media_id: str | UnsetType = UNSET
    size: int | UnsetType = UNSET
    sha256: str | UnsetType = UNSET
    md5: str | UnsetType = UNSET
    mime: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    aes_key_form: Literal["hex", "base64_raw", "base64_hex", "unreadable"] | UnsetType = UNSET


class ItemView(Struct, kw_only=True, omit_defaults=True):
    """One item of a message: its number, its text or media, and the fields of its kind.

    Of a quote, `quoted_text` is what it means, just the selected words if `is_quoted_in_part`; `quoted_n` and
    `quoted_type` are the entry and the kind of item, where they are known.
    """

    type: int
    text: str | UnsetType = UNSET
    media: MediaView | UnsetType = UNSET
    file_name: str | UnsetType = UNSET
    playtime: int | UnsetType = UNSET
    play_length: int | UnsetType = UNSET
    width: int | UnsetType = UNSET
    height: int | UnsetType = UNSET
    tool_name: str | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    quoted_message_id: str | UnsetType = UNSET
    quoted_text: str | UnsetType = UNSET
    quoted_n: int | UnsetType = UNSET
    quoted_type: int | UnsetType = UNSET
    is_quoted_in_part: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a transcript.

    Attributes:
        n: Its number, increasing over the whole gateway; what `after` counts in.
        direction: Who spoke.
        user_id: The person of the chat.
        bot_id: The bot of the chat.
        message_id: The server's id as text, or None for a refused send.
        client_id: The sender's id, or an empty text.
        at: When it was stored.
        state: How far it came.
        why: The reason of `refused` and `not_shown`, and remarks such as a cut text; else None.
        items: What it holds.
        raw: The message as it was on the wire.
        seq: An incoming message's number in the mailbox.
    """

    n: int
    direction: Direction
    user_id: str
    bot_id: str
    message_id: str | None
    client_id: str
    at: datetime
    state: EntryState
    why: str | None
    items: list[ItemView]
    raw: dict[str, object]
    seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatView:
    """A chat as a list shows it.

    Attributes:
        bot_id: The bot.
        user_id: The person.
        newest: The number of its newest entry.
        read_to: The number of the newest entry that the person has seen, on any screen.
        unread: How many messages of the bot came after that one, up to 1,000.
        last: The newest entry that a phone shows, or None.
    """

    bot_id: str
    user_id: str
    newest: int
    read_to: int
    unread: int
    last: Entry | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Which message a person quotes, and optionally which words of it."""

    message_id: str
    partial: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A person's message, stored in the bot's mailbox."""

    message_id: str
    seq: int
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TypingView:
    """Whether a bot is seen typing to a person, and since when."""

    typing: bool
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideView:
    """What differs for one bot or for one person, the other of the two being null."""

    bot_id: str | None
    user_id: str | None
    profile: str | None
    knobs: dict[str, int | float | bool | str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigView:
    """The profile that was chosen last, the value of every knob, and what differs for bots and people."""

    profile: str
    knobs: dict[str, int | float | bool | str | None]
    overrides: list[OverrideView] = field(default_factory=list[OverrideView])


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockView:
    """The gateway's own time."""

    now: datetime
    frozen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultNote:
    """A fault that struck an exchange: its id, and what it did."""

    id: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WireEntry:
    """One exchange on the wire, redacted.

    Attributes:
        id: Increasing.
        at: When the request came.
        endpoint: Its short name, such as `getupdates`; `?` for a path that is none.
        bot_id: Who asked, or None when the token was none of ours.
        status: The HTTP status, or 0 when the caller left before an answer.
        ret: The answer's `ret`, or None.
        held_ms: From the request to the answer, in real milliseconds.
        method: The HTTP method.
        path: The path with its redacted query.
        headers: The request's headers; those that may hold secrets are masked.
        request: The request's body as JSON, or None.
        response: The answer's body as JSON, or None.
        why: Why the gateway refused, for people, or None.
        findings: The codes of what the protocol says should have been otherwise; see the reference page of findings.
        faults: What was made to fail on purpose.
    """

    id: int
    at: datetime
    endpoint: str
    bot_id: str | None
    status: int
    ret: int | None
    held_ms: int
    method: str
    path: str
    headers: dict[str, str]
    request: object
    response: object
    why: str | None = None
    findings: list[str] = field(default_factory=list[str])
    faults: list[FaultNote] = field(default_factory=list[FaultNote])
