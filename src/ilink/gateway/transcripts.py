"""What was said, for people to look at: stored entries as views, and wire items as they can be shown."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Final, Literal

from msgspec import UNSET, UnsetType

from ilink.errors import RemoteProtocolError
from ilink.gateway.bots import Bot
from ilink.gateway.clock import as_datetime
from ilink.gateway.ids import MESSAGE_ID_BASE
from ilink.gateway.views import Entry, EntryState, ItemView, MediaView
from ilink.storage.gateway import EntryRecord
from ilink.wire.codec import decode, decode_object, encode, is_array, is_object
from ilink.wire.models import CdnMedia, MessageItem, given

__all__ = ["MediaLookup", "entry_state", "entry_view", "item_view", "key_form", "wire_message"]

MediaLookup = Callable[[str], MediaView | None]
"""Finds what the gateway keeps under a download reference."""

_HEX: Final = frozenset("0123456789abcdefABCDEF")


def wire_message(record: EntryRecord) -> dict[str, object]:
    """Return an entry's message as it was on the wire."""
    try:
        body = decode_object(record.wire)
    except RemoteProtocolError:
        return {}
    message = body.get("msg") if record.is_outgoing else body
    return message if is_object(message) else {}


def entry_view(record: EntryRecord, bot: Bot, *, now_ms: int, media: MediaLookup) -> Entry:
    """Return what is shown of an entry."""
    raw = wire_message(record)
    items = raw.get("item_list")
    return Entry(
        n=record.n,
        direction="out" if record.is_outgoing else "in",
        user_id=record.user_id,
        bot_id=bot.bot_id,
        message_id=None if record.state == "refused" else str(MESSAGE_ID_BASE + record.n),
        client_id=record.client_id,
        at=as_datetime(record.at_ms),
        state=entry_state(record, bot, now_ms=now_ms),
        why=record.why,
        items=[item_view(item, cut=record.cut, media=media) for item in (items if is_array(items) else [])],
        raw=raw,
        seq=record.seq,
    )


def item_view(item: object, *, cut: int | None, media: MediaLookup) -> ItemView:
    """Return what can be shown of a wire item, whatever it is."""
    if not is_object(item):
        return ItemView(type=0)
    wire = decode(encode(item), MessageItem).value
    view = ItemView(type=given(wire.type, 0))
    if wire.text_item:
        view.text = given(wire.text_item.text, "")[:cut]
    _add_media(view, wire, media)
    _add_tool(view, wire)
    if wire.ref_msg:
        quoted = wire.ref_msg.message_item
        view.quoted_message_id = str(given(wire.ref_msg.svr_id, given(quoted.msg_id, "") if quoted else ""))
        if quoted and quoted.text_item:
            view.quoted_text = given(quoted.text_item.text, "")
    return view


def _add_media(view: ItemView, wire: MessageItem, media: MediaLookup) -> None:
    if wire.image_item:
        view.media = _media(wire.image_item.media, given(wire.image_item.aeskey, ""), media)
    elif wire.voice_item:
        view.media = _media(wire.voice_item.media, "", media)
        view.playtime = _int(wire.voice_item.playtime)
        view.text = _text(wire.voice_item.text)
    elif wire.file_item:
        view.media = _media(wire.file_item.media, "", media)
        view.file_name = _text(wire.file_item.file_name)
        view.media.name = view.file_name
    elif wire.video_item:
        view.media = _media(wire.video_item.media, "", media)
        view.play_length = _int(wire.video_item.play_length)


def _add_tool(view: ItemView, wire: MessageItem) -> None:
    if wire.tool_call_start_item:
        view.tool_name = _text(wire.tool_call_start_item.tool_name)
        view.tool_call_id = _text(wire.tool_call_start_item.tool_call_id)
    elif wire.tool_call_result_item:
        view.tool_name = _text(wire.tool_call_result_item.tool_name)
        view.tool_call_id = _text(wire.tool_call_result_item.tool_call_id)
        view.status = _text(wire.tool_call_result_item.status)


def _media(reference: CdnMedia | None | UnsetType, hex_key: str, media: MediaLookup) -> MediaView:
    """Return what is known of a media reference; the form of its key is told in any case."""
    if not reference:
        return MediaView()
    found = media(given(reference.encrypt_query_param, "")) or MediaView()
    key = given(reference.aes_key, "") or hex_key
    if key:
        found.aes_key_form = key_form(key)
    return found


def key_form(key: str) -> Literal["hex", "base64_raw", "base64_hex", "unreadable"]:
    """Tell the three spellings of a key apart (protocol §5.2)."""
    if len(key) == 32 and _HEX.issuperset(key):
        return "hex"
    try:
        blob = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return "unreadable"
    if len(blob) == 16:
        return "base64_raw"
    return "base64_hex" if len(blob) == 32 and _HEX.issuperset(blob.decode("latin-1")) else "unreadable"


def entry_state(record: EntryRecord, bot: Bot, *, now_ms: int) -> EntryState:
    """Return how far a message has come: a person's as the bot has read, a bot's as it was judged."""
    if record.is_outgoing:
        if record.shown_ms is not None and record.shown_ms > now_ms:
            return "stored"
        return "refused" if record.state == "refused" else "shown" if record.state == "shown" else "not_shown"
    seq = record.seq or 0
    if seq <= bot.acked_seq:
        return "acked"
    return "handed_out" if seq <= bot.handed_seq else "stored"


def _text(value: str | None | UnsetType) -> str | UnsetType:
    return UNSET if value is None else value


def _int(value: int | None | UnsetType) -> int | UnsetType:
    return UNSET if value is None else value
