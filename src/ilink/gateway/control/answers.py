"""What the calls answer where a view of the gateway is not the whole answer already."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from ilink.gateway.control.refusals import ErrorBody
from ilink.gateway.fault_actions import FaultView
from ilink.gateway.views import BotView, ChatView, CodeView, Entry, PersonView, Posted, WireEntry

__all__ = [
    "BotList",
    "Bound",
    "ChatList",
    "CodeList",
    "FaultList",
    "Health",
    "Info",
    "LoginLink",
    "PersonList",
    "PostedAll",
    "PostedOrRefused",
    "Transcript",
    "WireLog",
]


class FaultList(Struct, kw_only=True):
    """What fails on purpose, oldest first."""

    faults: list[FaultView]


class Health(Struct, kw_only=True):
    """The process answers."""

    version: str
    status: Literal["ok"] = "ok"


class Info(Struct, kw_only=True, frozen=True):
    """The fields of the ready line."""

    version: str
    api_url: str
    cdn_url: str
    control_url: str
    phone_url: str
    control_key: str | None
    pid: int
    authority: str | UnsetType = UNSET
    """With TLS: the file of the certificate that clients have to trust."""
    proxy_url: str | UnsetType = UNSET
    """The proxy that leads Tencent's names here, if there is one."""


class PostedOrRefused(Struct, kw_only=True, omit_defaults=True):
    """What became of one of many messages: one of the two."""

    posted: Posted | UnsetType = UNSET
    error: ErrorBody | UnsetType = UNSET


class PostedAll(Struct, kw_only=True):
    """What became of many messages, in their order."""

    messages: list[PostedOrRefused]


class LoginLink(Struct, kw_only=True):
    """A link that signs one browser in, once."""

    url: str


class PersonList(Struct, kw_only=True):
    """Everybody, oldest first."""

    people: list[PersonView]


class CodeList(Struct, kw_only=True):
    """Login codes, newest first."""

    codes: list[CodeView]


class Bound(Struct, kw_only=True):
    """A confirmed code: the bot, and whose it is."""

    bot_id: str
    user_id: str


class BotList(Struct, kw_only=True):
    """Bots, oldest first."""

    bots: list[BotView]


class ChatList(Struct, kw_only=True):
    """Chats, the one with the newest entry first."""

    chats: list[ChatView]


class Transcript(Struct, kw_only=True):
    """Lines of a chat, oldest first."""

    messages: list[Entry]


class WireLog(Struct, kw_only=True):
    """Exchanges on the protocol listener, oldest first; `findings` says in words what the codes in them mean."""

    entries: list[WireEntry]
    findings: dict[str, str] | UnsetType = UNSET
