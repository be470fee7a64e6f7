"""Which message a quote means, and which of its words (protocol §4.7)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from ilink.wire.ids import MessageId
from ilink.wire.models import MessageItem, PartialText, QuotedMessage, given, read_id

__all__ = ["find_quote", "quoted_message_id", "select_quoted_text"]


def find_quote(items: list[MessageItem]) -> QuotedMessage | None:
    """Return the quote a message carries: that of the first item that has one, of whatever type (official 2.4.9)."""
    return next((quote for item in items if (quote := given(item.ref_msg, None)) is not None), None)


def quoted_message_id(quote: QuotedMessage) -> MessageId | None:
    """Return the id of the quoted message: `svr_id`, else the embedded item's `msg_id` (official 2.4.9)."""
    embedded = given(quote.message_item, None)
    return read_id(quote.svr_id) or (read_id(embedded.msg_id) if embedded is not None else None)


def select_quoted_text(text: str, partial: PartialText) -> str:
    """Return the words of a quoted text that were selected, or the whole text where nothing fits.

    Two readings of `endindex` are in use: occurrences of `end` counted over the whole text, or after the start. The
    hash tells which is meant; without one the first reading is taken (official 2.4.9). An absent index counts as 0,
    because the protocol leaves zeros out (assumed).
    """
    expected = given(partial.quotemd5, "").strip().lower()
    for selection in _selections(text, partial):
        if not expected or _md5(selection) == expected:
            return selection
    return text


def _selections(text: str, partial: PartialText) -> Iterator[str]:
    start, end = given(partial.start, ""), given(partial.end, "")
    end_number = given(partial.endindex, 0)
    begin = _find_occurrence(text, start, given(partial.startindex, 0))
    if begin is None:
        return
    for searched_from in (0, begin + len(start)):
        last = _find_occurrence(text, end, end_number, searched_from)
        if last is not None and last >= begin:
            yield text[begin : last + len(end)]


def _find_occurrence(text: str, part: str, number: int, searched_from: int = 0) -> int | None:
    """Return where occurrence `number` of a part begins, counted from 0 and without overlaps."""
    if not part or number < 0:
        return None
    position = text.find(part, searched_from)
    while position >= 0 and number > 0:
        position = text.find(part, position + len(part))
        number -= 1
    return position if position >= 0 else None


def _md5(text: str) -> str:
    return hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
