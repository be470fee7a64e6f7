"""Messages to bots, and how far bots have read, in SQLite: many at a time in few statements.

The number of statements counts, not of rows: with each one the writer's thread gives the interpreter up and has to get
it back from a busy event loop.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final

from ilink.errors import StoreError
from ilink.storage.gateway import MailDraft, Progress, StoredMail

__all__ = ["add_mail", "advance"]

_MOST_ROWS: Final = 64
_Values = tuple[object, ...]

_NEXT_SEQS: Final = (
    "WITH more (id, added) AS (VALUES {rows})"
    " UPDATE bot SET head_seq = head_seq + more.added FROM more WHERE bot.id = more.id"
)
_HEADS: Final = (
    "WITH asked (id) AS (VALUES {rows})"
    " SELECT json_group_array(json_array(bot.id, head_seq)),"
    " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'entry'), 0)"
    " FROM asked CROSS JOIN bot ON bot.id = asked.id"
)
"""How far mailboxes reach, and the number of the newest entry."""
_ADD_MAIL: Final = "INSERT INTO entry (n, bot, user_id, direction, seq, client_id, at_ms, state, wire) VALUES {rows}"
_MAIL_ROW: Final = "(?, ?, ?, 0, ?, ?, ?, 'stored', ?)"
_OPEN_WINDOW: Final = (
    "INSERT INTO chat (bot, user_id, last_inbound_ms, sends, context_token) VALUES {rows}"
    " ON CONFLICT DO UPDATE SET last_inbound_ms = excluded.last_inbound_ms, sends = 0,"
    " context_token = excluded.context_token"
)
_ADD_ISSUED: Final = "INSERT OR IGNORE INTO context_token (token, bot, user_id, issued_ms) VALUES {rows}"
_ADVANCE: Final = (
    "WITH more (id, handed, acked, polled) AS (VALUES {rows})"
    " UPDATE bot SET handed_seq = max(handed_seq, more.handed), acked_seq = max(acked_seq, more.acked),"
    " last_poll_ms = coalesce(more.polled, last_poll_ms) FROM more WHERE bot.id = more.id"
)


def add_mail(db: sqlite3.Connection, mail: Sequence[MailDraft]) -> list[StoredMail]:
    """Put messages into mailboxes, each at the next place of its own, and open their chats' windows anew.

    Raises:
        StoreError: One is for a bot that is none; nothing was stored.
    """
    places, newest = _take_places(db, [draft.bot for draft in mail])
    stored = [
        StoredMail(n, seq, draft.outline.filled(n, seq))
        for n, (seq, draft) in enumerate(zip(places, mail, strict=True), start=newest + 1)
    ]
    rows: list[_Values] = [
        (one.n, draft.bot, draft.user_id, one.seq, draft.client_id, draft.at_ms, one.wire)
        for one, draft in zip(stored, mail, strict=True)
    ]
    _execute(db, _ADD_MAIL, _MAIL_ROW, rows)
    chats: list[_Values] = [(draft.bot, draft.user_id, draft.at_ms, draft.context_token) for draft in mail]
    _execute(db, _OPEN_WINDOW, "(?, ?, ?, 0, ?)", chats)
    tokens: list[_Values] = [(draft.context_token, draft.bot, draft.user_id, draft.at_ms) for draft in mail]
    _execute(db, _ADD_ISSUED, "(?, ?, ?, ?)", tokens)
    return stored


def advance(db: sqlite3.Connection, progress: Sequence[Progress]) -> list[None]:
    """Store how far bots have read; nothing ever goes back."""
    newest: dict[int, _Values] = {}
    for one in progress:
        _, handed, acked, polled = newest.get(one.bot, (one.bot, 0, 0, None))
        newest[one.bot] = (
            one.bot,
            max(int(str(handed)), one.handed_seq),
            max(int(str(acked)), one.acked_seq),
            polled if one.last_poll_ms is None else one.last_poll_ms,
        )
    _execute(db, _ADVANCE, "(?, ?, ?, ?)", list(newest.values()))
    return [None] * len(progress)


def _take_places(db: sqlite3.Connection, bots: list[int]) -> tuple[list[int], int]:
    """Return the next places in mailboxes, of which one may be named several times, and the newest entry's number."""
    counts: dict[int, int] = {}
    for bot in bots:
        counts[bot] = counts.get(bot, 0) + 1
    _execute(db, _NEXT_SEQS, "(?, ?)", list(counts.items()))
    heads: dict[int, int] = {}
    newest = 0
    for some in _lots([(bot,) for bot in counts]):
        statement = _statement(_HEADS, "(?)", len(some))
        found, newest = db.execute(statement, [value for row in some for value in row]).fetchone()
        heads.update(json.loads(found))
    if len(heads) < len(counts):
        message = "nothing was stored: the bot it is for does not exist any more"
        raise StoreError(message)
    following = {bot: heads[bot] - count for bot, count in counts.items()}
    places: list[int] = []
    for bot in bots:
        following[bot] += 1
        places.append(following[bot])
    return places, newest


def _execute(db: sqlite3.Connection, template: str, row: str, values: Sequence[_Values]) -> None:
    for some in _lots(values):
        db.execute(_statement(template, row, len(some)), [value for one in some for value in one])


def _lots(values: Sequence[_Values]) -> Iterator[Sequence[_Values]]:
    """Cut rows into lots of few sizes, so that there are few statements to prepare."""
    first = 0
    while first < len(values):
        size = min(_MOST_ROWS, 1 << (len(values) - first).bit_length() - 1)
        yield values[first : first + size]
        first += size


@cache
def _statement(template: str, row: str, count: int) -> str:
    return template.format(rows=", ".join([row] * count))
