"""What the gateway's tables hold as values, and the longer units of work on them."""

from __future__ import annotations

import sqlite3
from typing import Final

from ilink.storage.gateway import FORGOTTEN_AT_ONCE, MOST_UNREAD, ChatLine, EntryRecord, SavedState
from ilink.storage.gateway_records import BOT_COLUMNS, SELECT_ENTRY, bot_values, entry_values, read_entry

__all__ = [
    "FORGETTABLE",
    "clear",
    "delete_found",
    "find_old",
    "read_chat_lines",
    "read_newest",
    "restore",
    "select_chat",
]

_CLEAR: Final = (
    "DELETE FROM person",
    "DELETE FROM bot",
    "DELETE FROM code",
    "DELETE FROM entry",
    "DELETE FROM chat",
    "DELETE FROM read_mark",
    "DELETE FROM context_token",
    "DELETE FROM typing_ticket",
    "DELETE FROM upload_ticket",
    "DELETE FROM sqlite_sequence",
)
_CHAT_LINES: Final = (
    "SELECT chat.bot, chat.user_id, coalesce(mark.n, 0) AS read_to,"
    " (SELECT max(n) FROM entry WHERE entry.bot = chat.bot AND entry.user_id = chat.user_id) AS newest,"
    " (SELECT n FROM entry WHERE entry.bot = chat.bot AND entry.user_id = chat.user_id"
    " AND (direction = 0 OR state = 'shown') ORDER BY n DESC LIMIT 1) AS last"
    " FROM chat LEFT JOIN read_mark AS mark ON mark.bot = chat.bot AND mark.user_id = chat.user_id"
)
_UNREAD: Final = (
    "SELECT count(*) FROM (SELECT 1 FROM entry WHERE bot = ? AND user_id = ? AND n > ? AND direction = 1"
    " AND state = 'shown' LIMIT ?)"
)


def clear(db: sqlite3.Connection) -> None:
    """Forget everything but the meta values, and count from the beginning again."""
    for statement in _CLEAR:
        db.execute(statement)


def restore(db: sqlite3.Connection, state: SavedState) -> None:
    """Store a state in place of what there is."""
    clear(db)
    db.executemany(
        "INSERT INTO person (user_id, name, created_ms) VALUES (?, ?, ?)",
        [(one.user_id, one.name, one.created_ms) for one in state.people],
    )
    db.executemany(
        f"INSERT INTO bot ({BOT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        [bot_values(bot) for bot in state.bots],
    )
    db.executemany(
        "INSERT INTO entry (n, bot, user_id, direction, seq, client_id, at_ms, state, shown_ms, why, cut, wire)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [entry_values(entry) for entry in state.entries],
    )
    for bot, chat in state.chats:
        db.execute(
            "INSERT INTO chat (bot, user_id, last_inbound_ms, sends, context_token) VALUES (?, ?, ?, ?, ?)",
            (bot, chat.user_id, chat.last_inbound_ms, chat.sends, chat.context_token),
        )
        db.execute(
            "INSERT INTO context_token (token, bot, user_id, issued_ms) VALUES (?, ?, ?, ?)",
            (chat.context_token, bot, chat.user_id, chat.last_inbound_ms),
        )
    db.executemany("INSERT INTO read_mark (bot, user_id, n) VALUES (?, ?, ?)", state.read_marks)


def select_chat(
    bot: int, user_id: str | None, *, after: int, is_outgoing: bool | None
) -> tuple[str, tuple[int | str, ...]]:
    """Return the condition for a bot's entries after a number, of one chat or all, one direction or both."""
    where = " WHERE bot = ? AND n > ?"
    parameters: list[int | str] = [bot, after]
    if user_id is not None:
        where += " AND user_id = ?"
        parameters.append(user_id)
    if is_outgoing is not None:
        where += " AND direction = ?"
        parameters.append(int(is_outgoing))
    return where, tuple(parameters)


def read_newest(db: sqlite3.Connection, bot: int, user_id: str, *, before: int, limit: int) -> list[EntryRecord]:
    """Return the newest entries of a chat below a number, in order."""
    query = SELECT_ENTRY + " WHERE bot = ? AND user_id = ? AND n < ? ORDER BY n DESC LIMIT ?"
    rows = db.execute(query, (bot, user_id, before, limit)).fetchall()
    return [read_entry(row) for row in reversed(rows)]


def read_chat_lines(db: sqlite3.Connection, *, user_id: str | None, limit: int) -> list[ChatLine]:
    """Return chats, the one with the newest entry first."""
    where = "" if user_id is None else " WHERE chat.user_id = ?"
    values: tuple[object, ...] = (limit,) if user_id is None else (user_id, limit)
    lines: list[ChatLine] = []
    for bot, person, read_to, newest, last in db.execute(
        _CHAT_LINES + where + " ORDER BY newest DESC LIMIT ?", values
    ).fetchall():
        ((unread,),) = db.execute(_UNREAD, (bot, person, read_to, MOST_UNREAD))
        entry = None if last is None else db.execute(SELECT_ENTRY + " WHERE n = ?", (last,)).fetchone()
        lines.append(
            ChatLine(
                bot=bot,
                user_id=person,
                newest=newest or 0,
                read_to=read_to,
                unread=unread,
                last=None if entry is None else read_entry(entry),
            )
        )
    return lines


_OLD_ENTRIES: Final = (
    "SELECT n FROM (SELECT n, max(at_ms) OVER (ORDER BY n) AS so_far FROM"
    " (SELECT n, at_ms FROM entry ORDER BY n LIMIT ?2)) WHERE so_far < ?1"
)
_OLD_TOKENS: Final = (
    "SELECT token FROM context_token AS old WHERE issued_ms < ?1 AND NOT EXISTS (SELECT 1 FROM chat WHERE"
    " chat.bot = old.bot AND chat.user_id = old.user_id AND chat.context_token = old.token) LIMIT ?2"
)
FORGETTABLE: Final = (
    ("entry", "n", _OLD_ENTRIES),
    ("context_token", "token", _OLD_TOKENS),
    ("typing_ticket", "ticket", "SELECT ticket FROM typing_ticket WHERE issued_ms < ?1 LIMIT ?2"),
    ("upload_ticket", "param", "SELECT param FROM upload_ticket WHERE issued_ms < ?1 LIMIT ?2"),
)
"""The tables that grow with time, their keys, and what finds the keys of what is old."""


def find_old(db: sqlite3.Connection, table: tuple[str, str, str], before_ms: int) -> list[tuple[object]]:
    """Return some keys of a table whose rows are from before a moment."""
    return db.execute(table[2], (before_ms, FORGOTTEN_AT_ONCE)).fetchall()


def delete_found(db: sqlite3.Connection, table: tuple[str, str, str], keys: list[tuple[object]]) -> None:
    """Delete rows by their keys."""
    db.executemany(f"DELETE FROM {table[0]} WHERE {table[1]} = ?", keys)  # noqa: S608  # of constants
