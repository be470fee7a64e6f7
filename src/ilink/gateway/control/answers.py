"""What the calls answer, field by field. Times are aware and in UTC; ids are texts."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from ilink.gateway.control.requests import KnobValue

__all__ = [
    "BotList",
    "BotView",
    "Bound",
    "ClockView",
    "CodeList",
    "CodeView",
    "ConfigView",
    "EntryView",
    "Health",
    "Info",
    "ItemView",
    "MailboxView",
    "MediaView",
    "PendingMessage",
    "PersonList",
    "PersonView",
    "Said",
    "TicketView",
    "Transcript",
    "TypingView",
    "WindowView",
    "WireEntry",
    "WireLog",
]


class Answer(Struct, kw_only=True):
    """What all of them share."""


class Health(Answer):
    """The process answers."""

    status: Literal["ok"] = "ok"
    version: str


class Info(Answer):
    """The fields of the ready line; the key is told to those only who presented it."""

    version: str
    api_url: str
    cdn_url: str
    control_url: str
    phone_url: str
    control_key: str | None
    pid: int


class PersonView(Answer):
    """Somebody with a phone."""

    user_id: str
    name: str


class PersonList(Answer):
    """Everybody, oldest first."""

    people: list[PersonView]


class CodeView(Answer):
    """One login code; `user_id` is who scanned it."""

    qrcode: str
    status: str
    expires_at: datetime
    user_id: str | None


class CodeList(Answer):
    """Login codes, newest first."""

    codes: list[CodeView]


class Bound(Answer):
    """A confirmed code: the bot, and whose it is."""

    bot_id: str
    user_id: str


class BotView(Answer):
    """One bot; `head_seq` is the newest message in its mailbox, `acked_seq` the newest it has acknowledged."""

    bot_id: str
    owner_user_id: str
    state: str
    generation: int
    last_poll_at: datetime | None
    waiting_polls: int
    head_seq: int
    acked_seq: int


class BotList(Answer):
    """Bots, oldest first."""

    bots: list[BotView]


class PendingMessage(Answer):
    """A message that waits in a mailbox."""

    message_id: str
    seq: int
    user_id: str
    state: str
    at: datetime


class WindowView(Answer):
    """What a bot may still send to a person; `sends` counts since the person wrote."""

    user_id: str
    is_open: bool
    opened_at: datetime
    closes_at: datetime
    sends: int
    allowance: int


class TicketView(Answer):
    """A typing ticket, without its text."""

    user_id: str
    issued_at: datetime
    expires_at: datetime | None


class MailboxView(Answer):
    """A look into a bot's mailbox that consumes nothing."""

    bot_id: str
    head_seq: int
    acked_seq: int
    waiting_polls: int
    pending: list[PendingMessage]
    windows: list[WindowView]
    typing_tickets: list[TicketView]


class Said(Answer):
    """A person's message is stored."""

    message_id: str
    seq: int


class MediaView(Answer):
    """One blob; size and hashes are of the decrypted bytes."""

    media_id: str
    size: int
    sha256: str
    md5: str
    mime: str
    name: str | None
    aes_key_form: str


class ItemView(Answer, omit_defaults=True):
    """One part of a message: its type and what belongs to it."""

    type: int
    text: str | UnsetType = UNSET
    media: MediaView | UnsetType = UNSET


class EntryView(Answer):
    """One line of a chat; `in` is from the person to the bot. A refused send is a line too."""

    n: int
    direction: Literal["in", "out"]
    message_id: str | None
    client_id: str | None
    at: datetime
    state: str
    why: str | None
    items: list[dict[str, object]]
    raw: dict[str, object]


class Transcript(Answer):
    """Lines of a chat, oldest first."""

    messages: list[EntryView]


class TypingView(Answer):
    """Whether the bot is shown as typing, and since when."""

    typing: bool
    since: datetime | None


class ConfigView(Answer):
    """The profile, and every knob with its present value."""

    profile: str
    knobs: dict[str, KnobValue]


class ClockView(Answer):
    """The gateway's time."""

    now: datetime
    frozen: bool


class WireEntry(Answer):
    """One exchange on the protocol listener, secrets masked."""

    id: int
    at: datetime
    endpoint: str
    bot_id: str | None
    status: int
    ret: int | None
    held_ms: float
    request: object
    response: object
    findings: list[str]


class WireLog(Answer):
    """Exchanges, oldest first."""

    entries: list[WireEntry]
