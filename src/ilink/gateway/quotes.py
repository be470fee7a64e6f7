"""What a phone sends when a person quotes a message: the forms that were seen over time (protocol §4.7)."""

from __future__ import annotations

import hashlib

from ilink.gateway.ids import MESSAGE_ID_BASE
from ilink.gateway.knobs import Readings
from ilink.gateway.problems import InvalidRequestError
from ilink.gateway.transcripts import wire_message
from ilink.storage.gateway import EntryRecord
from ilink.wire.codec import is_array, is_object

__all__ = ["quote_of", "quoted_words"]


def quote_of(record: EntryRecord, *, partial: str | None, knobs: Readings) -> dict[str, object]:
    """Return the `ref_msg` that quotes a stored message, in the form of `quote.style`.

    Args:
        record: The quoted message.
        partial: The words that were selected, or None for the whole message.
        knobs: `quote.style` and `quote.endindex`.

    Raises:
        InvalidRequestError: The words do not occur in the message.
    """
    message_id = str(MESSAGE_ID_BASE + record.n)
    style = knobs.choice("quote.style")
    item = _first_item(record)
    if style == "svr_id":
        quote: dict[str, object] = {"svr_id": message_id}
    elif style == "embedded":
        quote = {"title": _text(item), "message_item": {**item, "msg_id": message_id}}
    else:
        kind = 8 if style == "type8" else 0
        times = {"create_time_ms": record.at_ms, "update_time_ms": record.at_ms, "is_completed": True}
        quote = {"message_item": {"type": kind, **times, "msg_id": message_id}}
    if partial is not None:
        quote["partial_text"] = _partial_text(
            _text(item), partial, relative=knobs.choice("quote.endindex") == "relative"
        )
    return quote


def quoted_words(text: str, partial: dict[str, object]) -> str | None:
    """Return the words that a `partial_text` selects, as the official client finds them; None when nothing fits.

    `endindex` counts over the whole text or from behind the start, and nothing but the MD5 tells which.
    """
    start, end = partial.get("start"), partial.get("end")
    first, last = partial.get("startindex", 0), partial.get("endindex", 0)
    if not (isinstance(start, str) and isinstance(end, str) and isinstance(first, int) and isinstance(last, int)):
        return None
    start_at = _place(text, start, first)
    if start_at < 0:
        return None
    behind = start_at + len(start)
    ends = [_place(text, end, last), _place(text[behind:], end, last)]
    places = [ends[0], ends[1] + behind if ends[1] >= 0 else -1]
    found = [text[start_at : at + len(end)] for at in places if at >= start_at]
    if start == end:  # one word alone
        found.append(start)
    md5 = partial.get("quotemd5")
    if isinstance(md5, str) and md5:
        return next((words for words in found if _md5(words) == md5.lower()), None)
    return found[0] if found else None


def _place(text: str, word: str, number: int) -> int:
    """Return where the occurrence of a word with a number begins, from 0 and without overlaps, or -1."""
    at = -len(word)
    for _ in range(number + 1):
        at = text.find(word, at + len(word)) if word else -1
        if at < 0:
            return -1
    return at


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _first_item(record: EntryRecord) -> dict[str, object]:
    items = wire_message(record).get("item_list")
    if not is_array(items) or not items:
        return {}
    first = items[0]
    return {key: value for key, value in first.items() if key != "ref_msg"} if is_object(first) else {}


def _text(item: dict[str, object]) -> str:
    payload = item.get("text_item")
    text = payload.get("text") if is_object(payload) else None
    return text if isinstance(text, str) else ""


def _partial_text(text: str, partial: str, *, relative: bool) -> dict[str, object]:
    """Return the selection as first word, last word and which occurrence of each (official 2.4.9)."""
    at = text.find(partial)
    words = partial.split()
    if at < 0 or not words:
        message = f"the words {partial!r} do not occur in the quoted message"
        raise InvalidRequestError(message)
    start, end = words[0], words[-1]
    end_at = at + len(partial.rstrip()) - len(end)
    start_at = at + len(partial) - len(partial.lstrip())
    searched = text[start_at + len(start) :] if relative else text
    end_offset = end_at - (start_at + len(start)) if relative else end_at
    return {
        "start": start,
        "end": end,
        "startindex": _occurrence(text, start, start_at),
        "endindex": max(0, _occurrence(searched, end, end_offset)),
        "quotemd5": _md5(text[start_at : end_at + len(end)]),
    }


def _occurrence(text: str, word: str, at: int) -> int:
    """Return the 0-based number of the occurrence of a word at an offset, not counting overlaps."""
    return text[:at].count(word) if at >= 0 else -1
