"""By what an update is recognised when the server hands it out again (protocol §4.5)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Final

from ilink.errors import RemoteProtocolError
from ilink.wire.codec import decode_object
from ilink.wire.ids import Cursor
from ilink.wire.models import WeixinMessage, given, read_id
from ilink.wire.shapes import is_array, is_object

__all__ = ["identify"]

_CHANGING: Final = frozenset({"context_token", "update_time_ms", "full_url", "url", "encrypt_query_param"})
"""Fields that differ between two deliveries of one message: tokens, and links that are made for each of them."""


def identify(batch: Sequence[tuple[bytes, WeixinMessage | None]], *, cursor: Cursor) -> list[str]:
    """Return the identity of each update of a batch, unique within its account.

    By the first that is there: the server's id, the sender's own id, the number in the stream, else the content. Two
    updates of one batch with the same content and no id are two messages, so the content is counted within the batch.
    Content without a time of sending says little, so it is the same message only when it comes with the same cursor,
    as a batch does that is handed out again. Ids are never invented: with a random one nothing would be recognised
    (observed: clowder-ai#925).

    Args:
        batch: The raw updates with what was read of them; None for what is no JSON object.
        cursor: The position behind the batch.
    """
    counts: dict[str, int] = {}
    return [_named(message) or _by_content(raw, message, cursor, counts) for raw, message in batch]


def _named(message: WeixinMessage | None) -> str | None:
    if message is None:
        return None
    if (message_id := read_id(message.message_id)) is not None:
        return f"m:{message_id}"
    sender = given(message.from_user_id, "")
    if client_id := given(message.client_id, ""):
        return f"c:{sender}:{client_id}"
    if sequence := given(message.seq, 0):
        return f"s:{sequence}"
    return None


def _by_content(raw: bytes, message: WeixinMessage | None, cursor: Cursor, counts: dict[str, int]) -> str:
    content = _content(raw)
    when = 0 if message is None else given(message.create_time_ms, 0)
    digest = hashlib.sha256(f"{'' if when else cursor}\0{content}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
    ordinal = counts[digest] = counts.get(digest, -1) + 1
    return f"f:{digest}:{ordinal}"


def _content(raw: bytes) -> str:
    try:
        return json.dumps(_lasting(decode_object(raw)), sort_keys=True, ensure_ascii=False)
    except RemoteProtocolError:
        return raw.hex()


def _lasting(value: object) -> object:
    if is_object(value):
        return {name: _lasting(inner) for name, inner in value.items() if name not in _CHANGING}
    return [_lasting(inner) for inner in value] if is_array(value) else value
