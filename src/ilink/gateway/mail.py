"""A person's message as it travels to a bot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import msgspec

from ilink.gateway.ids import MESSAGE_ID_BASE
from ilink.wire.enums import ItemType, MessageState, MessageType

__all__ = ["inbound_message", "text_items"]


def inbound_message(
    *,
    n: int,
    seq: int,
    user_id: str,
    bot_id: str,
    bot_number: int,
    client_id: str,
    context_token: str,
    at_ms: int,
    items: Sequence[Mapping[str, object]],
    fields: Mapping[str, object],
) -> bytes:
    """Return a message in the form of protocol §4.1.

    Args:
        n: The number of its entry, from which its id follows.
        seq: Its place in the mailbox.
        user_id: Who writes.
        bot_id: To whom.
        bot_number: The bot's number in the store.
        client_id: The phone's own id of it.
        context_token: The token to answer with.
        at_ms: When.
        items: What it holds.
        fields: Fields to add or replace.
    """
    message: dict[str, object] = {
        "seq": seq,
        "message_id": MESSAGE_ID_BASE + n,
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
    }
    return _as_given({**message, **fields})


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


def _as_given(message: dict[str, object]) -> bytes:
    """Return a message as JSON, with whatever it was asked to hold: what does not fit is escaped, never replaced."""
    try:
        return msgspec.json.encode(message)
    except (UnicodeEncodeError, OverflowError):  # half a surrogate pair; a number beyond 64 bits
        return json.dumps(message, separators=(",", ":")).encode()
