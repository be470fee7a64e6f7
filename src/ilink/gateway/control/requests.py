"""What the calls take, field by field; a field that is not named here is refused with its name."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

__all__ = [
    "AdvanceClock",
    "ChatFilter",
    "ConfigScope",
    "Confirmation",
    "EventPosition",
    "FileMessage",
    "KnobValue",
    "LongWait",
    "MediaForm",
    "NewConfig",
    "NewMessage",
    "NewPerson",
    "Nothing",
    "Notice",
    "Page",
    "Quote",
    "ReadMark",
    "Redirect",
    "Reset",
    "Scan",
    "VerifyCode",
    "WireFilter",
]

Id = Annotated[str, Meta(min_length=1, max_length=256)]
KnobValue = bool | int | float | str | None
"""What a knob may be set to; which of them a knob takes is in its description."""


class Request(Struct, kw_only=True, forbid_unknown_fields=True):
    """What all of them share."""


class Nothing(Request):
    """A body without fields; it may be left out."""


class Reset(Request):
    """Start over; ids, tokens and keys follow from the seed, and with `now` the clock stands still there."""

    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | UnsetType = UNSET
    now: Annotated[datetime, Meta(tz=True)] | UnsetType = UNSET


class NewConfig(Request):
    """What changes, for all or for one bot or person: a profile sets its knobs, then those named here are set."""

    profile: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET
    knobs: dict[str, KnobValue] = {}
    bot_id: Id | UnsetType = UNSET
    user_id: Id | UnsetType = UNSET


class ConfigScope(Request):
    """For whom the knobs are: a bot, a person, or neither for the whole gateway."""

    bot_id: Id | UnsetType = UNSET
    user_id: Id | UnsetType = UNSET


class NewPerson(Request):
    """Somebody with a phone."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]


class Scan(Request):
    """Whose phone scans."""

    user_id: Id


class Confirmation(Request):
    """Tap confirm; with `user_id` that person scans first unless somebody has."""

    user_id: Id | UnsetType = UNSET


class VerifyCode(Request):
    """The digits the phone shows."""

    code: Annotated[str, Meta(pattern=r"^[0-9]{1,12}$")]


class Redirect(Request):
    """Where the client is sent: a host with an optional port."""

    host: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.:\[\]-]{1,255}$")]


class Quote(Request):
    """Which message is quoted, and which of its words if not all."""

    message_id: Id
    partial: str | UnsetType = UNSET


class NewMessage(Request):
    """What a person says to a bot: a text, or items as they travel; with an optional quote."""

    bot_id: Id
    text: str | UnsetType = UNSET
    items: Annotated[list[dict[str, object]], Meta(max_length=100)] | UnsetType = UNSET
    quote: Quote | UnsetType = UNSET


class CrowdMessage(NewMessage, kw_only=True):
    """What one of many people says to a bot."""

    user_id: Id


class CrowdMessages(Request):
    """What many people say."""

    messages: Annotated[list[CrowdMessage], Meta(max_length=2_000)]


class FileMessage(Request):
    """What a person sends to a bot with a file; `text` goes with it, `quote` is as in a text message."""

    bot_id: Id
    kind: Literal["image", "voice", "file", "video"]
    text: str | UnsetType = UNSET
    quote: Quote | UnsetType = UNSET


class MediaForm(Request):
    """Which bytes: the plain ones, or with `raw=1` the encrypted ones, or with `wav=1` sound that browsers play."""

    raw: bool = False
    wav: bool = False


class Page(Request):
    """Which entries: after a number, before one, at most so many; with `limit` and no `after`, the newest of them."""

    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] | UnsetType = UNSET
    before: Annotated[int, Meta(ge=0, le=2**63 - 1)] | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=10_000)] | UnsetType = UNSET


class ChatFilter(Request):
    """Whose chats, and how many at most."""

    user_id: Id | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 500


class ReadMark(Request):
    """The newest entry that the person has seen."""

    n: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class LongWait(Request):
    """Either entries of a chat, or with `qr=1` a code nobody has scanned; at most `timeout` seconds."""

    bot_id: Id | UnsetType = UNSET
    user_id: Id | UnsetType = UNSET
    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    count: Annotated[int, Meta(ge=1, le=10_000)] = 1
    direction: Literal["in", "out"] | UnsetType = UNSET
    qr: bool = False
    timeout: Annotated[float, Meta(ge=0, le=600)] = 10.0


class AdvanceClock(Request):
    """Go forward, stop or run on; what is left out stays as it is."""

    advance_s: Annotated[float, Meta(ge=0, le=10 * 366 * 86_400)] | UnsetType = UNSET
    freeze: bool | UnsetType = UNSET


class WireFilter(Request):
    """Which exchanges: after an id, of a bot, of an endpoint."""

    since: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    bot_id: Id | UnsetType = UNSET
    endpoint: Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType = UNSET


class Notice(Request):
    """What is shown on the page: a line, more below it, and whether it is good news."""

    text: Annotated[str, Meta(min_length=1, max_length=1000)]
    hint: Annotated[str, Meta(max_length=10_000)] = ""
    is_good: bool = False


class EventPosition(Request):
    """The number of the last event that was seen."""

    last_event_id: Annotated[int, Meta(ge=0, le=2**63 - 1)] | UnsetType = UNSET
