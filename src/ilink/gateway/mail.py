"""A person's message as it travels to a bot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from ilink.gateway.ids import MESSAGE_ID_BASE
from ilink.storage.gateway import MailOutline
from ilink.wire.enums import ItemType, MessageState, MessageType

__all__ = ["inbound_outline", "text_items"]

_SEQ: Final = b"\x01"
_ID: Final = b"\x02"
"""Stand for numbers that are not known yet; JSON never holds such bytes."""


def inbound_outline(
    *,
    user_id: str,
    bot_id: str,
    bot_number: int,
    client_id: str,
    context_token: str,
    at_ms: int,
    items: Sequence[Mapping[str, object]],
    fields: Mapping[str, object],
) -> MailOutline:
    """Return a message in the form of protocol §4.1, but for its seq and its id.

    Args:
        user_id: Who writes.
        bot_id: To whom.
        bot_number: The bot's number in the store.
        client_id: The phone's own id of it.
        context_token: The token to answer with.
        at_ms: When.
        items: What it holds.
        fields: Fields to add or replace; a seq or an id among these stays.
    """
    seq = _as_given(fields["seq"]) if "seq" in fields else _SEQ
    message_id = _as_given(fields["message_id"]) if "message_id" in fields else _ID
    rest: dict[str, object] = {
        "from_user_id": user_id,
        "to_user_id": bot_id,
        "client_id": client_id,
        "create_time_ms": at_ms,
        "update_time_ms": at_ms,
        "session_id": f"{bot_number}-{user_id[:12]}",
        "message_type": int(MessageType.USER),
        "message_state": int(MessageState.FINISH),
        "context_token": context_token,
        "item_list": items,
        **{name: value for name, value in fields.items() if name not in ("seq", "message_id")},
    }
    message = b'{"seq":%b,"message_id":%b,%b' % (seq, message_id, _as_given(rest)[1:])
    to_seq, has_seq, from_seq = message.partition(_SEQ)
    to_id, has_id, from_id = (from_seq if has_seq else to_seq).partition(_ID)
    return MailOutline(
        head=to_seq if has_seq else to_id,
        after_seq=to_id if has_seq else None,
        after_id=from_id if has_id else None,
        first_id=MESSAGE_ID_BASE,
    )


def text_items(text: str, at_ms: int) -> list[dict[str, object]]:
    """Return the items of a message that is nothing but a text."""
    item: dict[str, object] = {
        "type": int(ItemType.TEXT),
        "create_time_ms": at_ms,
        "update_time_ms": at_ms,
        "is_completed": True,
        "text_item": {"text": text},
    }
    return [item]


def _as_given(message: object) -> bytes:
    """Return a message or a part of it as JSON, whatever it holds: what does not fit is escaped, never replaced."""
    try:
        return msgspec.json.encode(message)
    except (UnicodeEncodeError, OverflowError):  # half a surrogate pair; a number beyond 64 bits
        return json.dumps(message, separators=(",", ":")).encode()
