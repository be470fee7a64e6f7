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

__all__ = ["content_of", "identify", "in_order", "is_named"]

Update = tuple[bytes, WeixinMessage | None]
"""One update as it came, and what was read of it; None for what is no JSON object."""

_CHANGING: Final = frozenset({"context_token", "update_time_ms", "full_url", "url", "encrypt_query_param"})
"""Fields that differ between two deliveries of one message: tokens, and links that are made for each of them."""


_NAMES: Final = frozenset({"message_id", "msg_id", "client_id", "seq", "session_id", "run_id", "create_time_ms"})
"""Fields that name or date a delivery; the same words under another id differ in them."""

_Place = tuple[int, int]


def in_order(batch: Sequence[Update]) -> list[Update]:
    """Return a batch with the messages of each conversation in the order they were said.

    No order within a batch is documented (protocol §4.5). Where every message of a conversation says when it was sent,
    that decides, and among those of one moment the number in the stream; otherwise they stay as they came.
    """
    if len(batch) < 2:
        return list(batch)
    places: dict[tuple[str, str], list[int]] = {}
    for number, (_, message) in enumerate(batch):
        if message is not None:
            conversation = given(message.group_id, "") or given(message.from_user_id, "")
            places.setdefault((given(message.to_user_id, ""), conversation), []).append(number)
    ordered = list(batch)
    for numbers in places.values():
        if len(numbers) < 2:
            continue
        for number, update in zip(numbers, _by_time([batch[number] for number in numbers]), strict=True):
            ordered[number] = update
    return ordered


def _by_time(updates: list[Update]) -> list[Update]:
    keys: list[_Place] = []
    for _, message in updates:
        when = 0 if message is None else given(message.create_time_ms, 0)
        if message is None or not when:
            return updates
        keys.append((when, given(message.seq, 0)))
    if any(not place for _, place in keys):  # a number that only some have says nothing
        keys = [(when, 0) for when, _ in keys]
    return [update for _, update in sorted(zip(keys, updates, strict=True), key=lambda pair: pair[0])]


def content_of(raw: bytes, message: WeixinMessage) -> str:
    """Return what a message says, whatever it is called and whenever it was sent, as a short text to compare.

    Messages of one sender in one place with the same content are one message said twice, or one that was handed out
    under two ids (observed: hermes-agent#16182, ocw#66).
    """
    where = f"{given(message.from_user_id, '')}\0{given(message.group_id, '')}\0"
    content = _plain_text(message)
    if content is None:
        content = _content(raw, without=_NAMES)
    # Compared within one process only, so whichever digest is made quickest will do.
    return hashlib.blake2b(f"{where}{content}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _plain_text(message: WeixinMessage) -> str | None:
    """Return the words of a message that is nothing but text, which most are; None for others."""
    items = given(message.item_list, None) or []
    texts: list[str] = []
    for item in items:
        text = given(item.text_item, None)
        if text is None or given(item.ref_msg, None) is not None:
            return None
        texts.append(given(text.text, ""))
    if len(texts) == 1:
        return f"\0{texts[0]}"  # told apart from all JSON by its beginning, and much cheaper to make
    return json.dumps(texts, ensure_ascii=False) if texts else None


def identify(batch: Sequence[Update], *, cursor: Cursor) -> list[str]:
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


def is_named(identity: str) -> bool:
    """Tell whether an identity is an id or a number that the update carried, not its content."""
    return not identity.startswith("f:")


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


def _content(raw: bytes, *, without: frozenset[str] = frozenset()) -> str:
    try:
        return json.dumps(_lasting(decode_object(raw), _CHANGING | without), sort_keys=True, ensure_ascii=False)
    except RemoteProtocolError:
        return raw.hex()


def _lasting(value: object, without: frozenset[str]) -> object:
    if is_object(value):
        return {name: _lasting(inner, without) for name, inner in value.items() if name not in without}
    return [_lasting(inner, without) for inner in value] if is_array(value) else value
