"""What only shows over several exchanges, or beside what is stored: storms, loops, and media that do not fit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ilink.gateway.media import MediaRoom
from ilink.gateway.transcripts import key_form
from ilink.wire.cipher import ciphertext_size
from ilink.wire.models import CdnMedia, MessageItem, given

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ilink.gateway.wire_log import Exchange

__all__ = ["AT_ONCE", "Linter", "inspect_media", "inspect_upload"]

_SOON_MS: Final = 1000
"""A call that follows a failure within this time is a repeat."""

_STORM: Final = 4
_LOOP: Final = 3
_REMEMBERED: Final = 1000
"""How many callers, and how many client ids of each, are remembered."""

AT_ONCE: Final = 8 << 20
"""Bytes up to which an upload is decrypted and looked at before its answer; larger ones when a message shows them."""

_UNREADABLE_CURSOR: Final = frozenset({"lose_cursor", "omit", "truncate_json", "reset"})


@dataclass(slots=True)
class _Failing:
    """Calls in a row that failed."""

    count: int = 0
    ended_ms: int = 0


@dataclass(slots=True)
class _Caller:
    """What is remembered of one caller."""

    failing: dict[tuple[str, str | None], _Failing] = field(default_factory=dict[tuple[str, str | None], _Failing])
    stale: _Failing = field(default_factory=_Failing)
    unanswered: dict[str, None] = field(default_factory=dict[str, None])
    may_lose_cursor: bool = False


class Linter:
    """Looks at exchanges in the order in which they end."""

    def __init__(self) -> None:
        self._callers: dict[str, _Caller] = {}

    def forget(self) -> None:
        """Forget every caller."""
        self._callers.clear()

    def look(self, exchange: Exchange, *, now_ms: int) -> None:
        """Add to an exchange's findings, and take away what the gateway itself is to blame for."""
        name = _name(exchange)
        has_failed = _has_failed(exchange)
        if not (has_failed or exchange.status == 0 or exchange.faults or name in self._callers):
            return  # nearly all of them, at thousands a second
        caller = self._remember(name)
        if exchange.endpoint == "getupdates":
            _look_at_poll(exchange, caller, now_ms)
        elif exchange.endpoint == "sendmessage":
            _look_at_send(exchange, caller)
        if has_failed and not exchange.is_stale:
            failing = caller.failing.setdefault((exchange.endpoint, exchange.person), _Failing())
            if _is_repeated(failing, exchange, now_ms, _STORM):
                exchange.findings += ("retry_storm",)
        elif caller.failing:
            caller.failing.pop((exchange.endpoint, exchange.person), None)

    def _remember(self, name: str) -> _Caller:
        caller = self._callers.pop(name, None) or _Caller()
        self._callers[name] = caller
        if len(self._callers) > _REMEMBERED:
            del self._callers[next(iter(self._callers))]
        return caller


def _name(exchange: Exchange) -> str:
    """Return what tells callers apart: a bot's id, or else a digest of the token, if there is any."""
    if exchange.bot_id is not None:
        return exchange.bot_id
    token = next((value for header, value in exchange.headers if header == b"authorization"), b"")
    return hashlib.sha256(token).hexdigest()


def _look_at_poll(exchange: Exchange, caller: _Caller, now_ms: int) -> None:
    if exchange.is_stale:
        if _is_repeated(caller.stale, exchange, now_ms, _LOOP):
            exchange.findings += ("stale_loop",)
    else:
        caller.stale = _Failing()
    if caller.may_lose_cursor:
        exchange.findings = tuple(code for code in exchange.findings if code != "cursor_lost")
    caller.may_lose_cursor = not _UNREADABLE_CURSOR.isdisjoint(action for _, action in exchange.faults)


def _look_at_send(exchange: Exchange, caller: _Caller) -> None:
    """Excuse a client id that comes again because nobody can know whether its first answer arrived."""
    is_lost = bool(exchange.faults) or exchange.status == 0
    is_repeated = "client_id_repeated" in exchange.findings
    client_id = exchange.client_id if is_lost or is_repeated else None
    if client_id in caller.unanswered:
        exchange.findings = tuple(code for code in exchange.findings if code != "client_id_repeated")
    if client_id and is_lost:
        caller.unanswered[client_id] = None
        if len(caller.unanswered) > _REMEMBERED:
            del caller.unanswered[next(iter(caller.unanswered))]


def _has_failed(exchange: Exchange) -> bool:
    """Tell whether a call failed in the caller's eyes; who left before an answer, did not wait for one."""
    return exchange.is_refused or exchange.status >= 400 or (exchange.status == 0 and bool(exchange.faults))


def _is_repeated(failing: _Failing, exchange: Exchange, now_ms: int, most: int) -> bool:
    """Count a failure, and tell whether that was one too many without a pause."""
    failing.count = failing.count + 1 if exchange.at_ms - failing.ended_ms < _SOON_MS else 1
    failing.ended_ms = now_ms
    return failing.count >= most


async def inspect_upload(room: MediaRoom, param: str) -> tuple[str, ...]:
    """Return the findings for the bytes of an upload that was just stored, by its permission."""
    record = await room.uploaded(param)
    if record is None or record.cipher_bytes > AT_ONCE:
        return ()
    finding = await room.content_finding(record)
    return () if finding is None else (finding,)


async def inspect_media(room: MediaRoom, bot: int, items: Iterable[MessageItem]) -> tuple[str, ...]:
    """Return the findings for the media in a message of a bot."""
    findings: list[str] = []
    for item in items:
        for media, cipher, plain in _parts(item):
            key = given(media.aes_key, "")
            if key and key_form(key) != "base64_hex":
                findings.append("media_key_form")
            record = await room.sent(bot, given(media.encrypt_query_param, ""))
            if record is None:
                findings.append("media_reference_unknown")
                continue
            size = record.cipher_bytes
            if cipher not in (None, size) or (plain is not None and ciphertext_size(plain) != size):
                findings.append("media_size_mismatch")
            if size > AT_ONCE and (finding := await room.content_finding(record)):
                findings.append(finding)
    return tuple(dict.fromkeys(findings))


def _parts(item: MessageItem) -> list[tuple[CdnMedia, int | None, int | None]]:
    """Return the media of an item, each with what the item says about its encrypted and its plain size."""
    parts: list[tuple[CdnMedia, int | None, int | None]] = []
    if item.image_item and item.image_item.media:
        parts.append((item.image_item.media, given(item.image_item.mid_size, 0), None))
    if item.video_item and item.video_item.media:
        parts.append((item.video_item.media, given(item.video_item.video_size, 0), None))
    if item.voice_item and item.voice_item.media:
        parts.append((item.voice_item.media, None, None))
    if item.file_item and item.file_item.media:
        length = given(item.file_item.len, "")
        is_number = length.isascii() and length.isdigit() and len(length) < 19
        parts.append((item.file_item.media, None if is_number else 0, int(length) if is_number else None))
    return parts
