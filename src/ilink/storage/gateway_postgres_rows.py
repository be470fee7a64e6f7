"""The longer units of work on the gateway's tables in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from ilink.storage.gateway import (
    DAY_MS,
    FORGOTTEN_AT_ONCE,
    MOST_UNREAD,
    ChatFacts,
    ChatLine,
    Judgement,
    MailDraft,
    SavedState,
    SendDraft,
    SendOutcome,
    StoredMail,
    TokenFacts,
)
from ilink.storage.gateway_records import BOT_COLUMNS, CODE_COLUMNS, ENTRY_COLUMNS, bot_values, entry_values, read_entry
from ilink.storage.gathering_postgres import PostgresGathering
from ilink.storage.postgres import Connection, PostgresDatabase, Row

__all__ = [
    "CHAT_LINES",
    "CLEAR",
    "POST",
    "PUT_CODE",
    "SEND",
    "FactsBook",
    "append",
    "forget",
    "read_chat_line",
    "restore",
    "send",
    "stored_text",
]

CLEAR: Final = "SELECT clear_gateway()"
"""Waits for every transaction on these tables, and is seen by the next."""

_ENTRY_OF_LINE: Final = ", ".join(f"last.{column.strip()}" for column in ENTRY_COLUMNS.split(","))
CHAT_LINES: Final = (
    f"SELECT chat.bot, chat.user_id, coalesce(mark.n, 0), coalesce(newest.n, 0), unread.count, {_ENTRY_OF_LINE}"  # noqa: S608  # of constants
    " FROM chat LEFT JOIN read_mark AS mark ON mark.bot = chat.bot AND mark.user_id = chat.user_id"
    " LEFT JOIN LATERAL (SELECT max(n) AS n FROM entry WHERE entry.bot = chat.bot AND entry.user_id = chat.user_id)"
    " AS newest ON true"
    " LEFT JOIN LATERAL (SELECT count(*) FROM (SELECT 1 FROM entry WHERE entry.bot = chat.bot"
    " AND entry.user_id = chat.user_id AND entry.n > coalesce(mark.n, 0) AND direction = 1 AND state = 'shown'"
    f" LIMIT {MOST_UNREAD}) AS counted) AS unread ON true"
    " LEFT JOIN LATERAL (SELECT * FROM entry WHERE entry.bot = chat.bot AND entry.user_id = chat.user_id"
    " AND (direction = 0 OR state = 'shown') ORDER BY n DESC LIMIT 1) AS last ON true"
    " WHERE $1::text IS NULL OR chat.user_id = $1 ORDER BY newest.n DESC NULLS LAST LIMIT $2"
)
POST: Final = (
    "SELECT place, done.n, done.seq FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[],"
    " $6::bytea[], $7::bytea[], $8::bytea[], $9::bigint[]) WITH ORDINALITY AS given(a, b, c, d, e, f, g, h, i, place),"
    " LATERAL post(a, b, c, d, e, f, g, h, i) AS done"
)
"""Puts messages into mailboxes, one after the other; see `PostgresGathering`."""
_LOOK: Final = (
    "SELECT earlier.n, earlier.state, send_facts($1, $2, $3, $4, $5) FROM (SELECT 1) AS one"
    " LEFT JOIN LATERAL earlier_send($1, $6) AS earlier ON $7::boolean AND $6 <> ''"
)
SEND: Final = (
    "SELECT place, done.n, done.earlier_state, done.facts FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[],"
    " $5::bigint[], $6::bytea[], $7::boolean[], $8::bigint[], $9::boolean[], $10::jsonb[], $11::text[], $12::bigint[],"
    " $13::text[], $14::bigint[], $15::boolean[], $16::boolean[])"
    " WITH ORDINALITY AS given(a, b, c, d, e, f, g, h, i, j, k, l, m, o, p, q, place),"
    " LATERAL send(a, b, c, d, e, f, g, h, i, j, k, l, m, o, p, q) AS done"
)
"""Stores sends, one after the other, each unless what it was judged on is no longer so; see `PostgresGathering`."""
_SPAN_BITS: Final = 32
"""A table of messages holds numbers that are the same but for these bits."""
_REMEMBERED: Final = 20_000
"""Chats whose facts a process keeps for the next send in them."""


def stored_text(text: str) -> str:
    """Return a text as PostgreSQL takes it, which knows no character of number 0; only broken clients send one."""
    return text.replace("\0", "\ufffd")


async def append(mails: PostgresGathering, mail: MailDraft) -> StoredMail:
    """Put a message into a mailbox; the database writes its numbers into its bytes."""
    outline = mail.outline
    _, n, seq = await mails.write(
        mail.bot,
        stored_text(mail.user_id),
        stored_text(mail.client_id),
        mail.at_ms,
        stored_text(mail.context_token),
        outline.head,
        outline.after_seq,
        outline.after_id,
        outline.first_id,
    )
    return StoredMail(n, seq, outline.filled(n, seq))


async def forget(database: PostgresDatabase, *, now_ms: int, before_ms: int) -> None:
    """Begin the table of a new day, drop the tables of old ones, and delete what is old besides."""
    await database.execute("SELECT begin_entry_day($1)", now_ms // DAY_MS)
    while await _ask(database, "SELECT drop_entry_span($1)", before_ms):
        pass
    for statement in ("SELECT forget_entries($1, $2)", "SELECT forget_tokens($1, $2)"):
        while await _ask(database, statement, before_ms, FORGOTTEN_AT_ONCE) >= FORGOTTEN_AT_ONCE:
            pass


async def _ask(database: PostgresDatabase, statement: str, *values: object) -> int:
    row = await database.write_row(statement, *values)
    assert row is not None
    return int(row[0])


class FactsBook:
    """What is so of chats once all is stored that this process sends in them, for the next send.

    It only saves a look, never replaces it: the database compares what a send was judged on with what is so, and a
    guess that is wrong costs a round trip.
    """

    def __init__(self) -> None:
        self._facts: dict[tuple[int, str, str], str] = {}

    def guess(self, draft: SendDraft) -> str | None:
        """Return what may be so, or None."""
        return None if draft.recent else self._facts.pop(_key(draft), None)

    def note(self, draft: SendDraft, facts: str, judgement: Judgement) -> None:
        """Remember what is so once a send is stored: those that come meanwhile are judged on that."""
        if draft.recent:
            return
        values = json.loads(facts)
        if "last" not in values:
            return
        values["sends"] += judgement.counts
        if judgement.uses_token and values["is_used"] is not None:
            values["is_used"] = True
        self._put(_key(draft), values)

    def note_mail(self, mail: MailDraft) -> None:
        """Remember what is so after a person's message was stored, for the answer to it."""
        values: dict[str, object] = {"last": mail.at_ms, "sends": 0, "recent": []}
        values |= {"is_latest": True, "issued": mail.at_ms, "is_used": False}
        self._put((mail.bot, mail.user_id, mail.context_token), values)

    def forget_chat(self, draft: SendDraft) -> None:
        """Forget what was remembered of a send that became something else."""
        self._facts.pop(_key(draft), None)

    def forget(self) -> None:
        """Forget everything."""
        self._facts.clear()

    def _put(self, key: tuple[int, str, str], values: Mapping[str, object]) -> None:
        if len(self._facts) >= _REMEMBERED:
            del self._facts[next(iter(self._facts))]
        self._facts[key] = json.dumps(values)


async def send(
    database: PostgresDatabase,
    sends: PostgresGathering,
    draft: SendDraft,
    judge: Callable[[ChatFacts], Judgement],
    book: FactsBook,
) -> SendOutcome:
    """Judge a send on what is so, and store it if that still is so; judge anew if it is not."""
    facts = book.guess(draft)
    judgement = None if facts is None else judge(_chat_facts(facts))
    if facts is None or judgement is None or not judgement.is_stored:
        row = await database.read_row(
            _LOOK,
            draft.bot,
            stored_text(draft.user_id),
            stored_text(draft.context_token),
            draft.recent,
            draft.recent_refused,
            stored_text(draft.client_id),
            draft.is_idempotent,
        )
        assert row is not None
        if row[0] is not None:
            return SendOutcome(row[0], Judgement(state=row[1]), is_repeat=True)
        facts = str(row[2])
        judgement = judge(_chat_facts(facts))
    while judgement.is_stored:
        book.note(draft, facts, judgement)
        _, n, earlier_state, facts_now = await sends.write(*_send_values(draft, facts, judgement))
        if n is not None and earlier_state is None:
            return SendOutcome(n, judgement)
        book.forget_chat(draft)
        if n is not None:
            return SendOutcome(n, Judgement(state=earlier_state), is_repeat=True)
        facts = str(facts_now)
        judgement = judge(_chat_facts(facts))
    return SendOutcome(None, judgement)


def _key(draft: SendDraft) -> tuple[int, str, str]:
    return draft.bot, draft.user_id, draft.context_token


def _send_values(draft: SendDraft, facts: str, judgement: Judgement) -> tuple[object, ...]:
    return (
        draft.bot,
        stored_text(draft.user_id),
        stored_text(draft.client_id),
        stored_text(draft.context_token),
        draft.at_ms,
        draft.wire,
        draft.is_idempotent,
        draft.recent,
        draft.recent_refused,
        facts,
        judgement.state,
        judgement.shown_ms,
        judgement.why,
        judgement.cut,
        judgement.counts,
        judgement.uses_token,
    )


def _chat_facts(text: str) -> ChatFacts:
    facts = json.loads(text)
    if "last" not in facts:
        return ChatFacts(is_person=facts["is_person"], last_inbound_ms=None, sends=0, token=None, recent=())
    token = None
    if facts["issued"] is not None:
        token = TokenFacts(issued_ms=facts["issued"], is_used=facts["is_used"], is_latest=facts["is_latest"])
    return ChatFacts(
        is_person=True,
        last_inbound_ms=facts["last"],
        sends=facts["sends"],
        token=token,
        recent=tuple(facts["recent"]),
    )


def read_chat_line(row: Row) -> ChatLine:
    """Return a row of `CHAT_LINES` as a value."""
    return ChatLine(
        bot=row[0],
        user_id=row[1],
        read_to=row[2],
        newest=row[3],
        unread=row[4],
        last=None if row[5] is None else read_entry(tuple(row)[5:]),
    )


async def restore(connection: Connection, state: SavedState) -> None:
    """Store a state in place of what there is, inside a transaction."""
    await connection.execute(CLEAR)
    spans = sorted({entry.n >> _SPAN_BITS for entry in state.entries})
    await connection.execute("SELECT make_entry_span(span) FROM unnest($1::bigint[]) AS span", spans)
    tables: tuple[tuple[str, str, list[tuple[object, ...]]], ...] = (
        ("person", "user_id, name, created_ms", [(one.user_id, one.name, one.created_ms) for one in state.people]),
        ("bot", BOT_COLUMNS, [bot_values(bot) for bot in state.bots]),
        ("entry", ENTRY_COLUMNS, [entry_values(entry) for entry in state.entries]),
        (
            "chat",
            "bot, user_id, last_inbound_ms, sends, context_token",
            [(bot, chat.user_id, chat.last_inbound_ms, chat.sends, chat.context_token) for bot, chat in state.chats],
        ),
        (
            "context_token",
            "token, bot, user_id, issued_ms",
            [(chat.context_token, bot, chat.user_id, chat.last_inbound_ms) for bot, chat in state.chats],
        ),
        ("read_mark", "bot, user_id, n", list(state.read_marks)),
    )
    for table, columns, rows in tables:
        names = [column.strip() for column in columns.split(",")]
        await connection.copy_records_to_table(table, columns=names, records=[_stored(row) for row in rows])
    await connection.execute(
        "SELECT setval('entry_n', coalesce(max(n), 1), max(n) IS NOT NULL) FROM entry;"
        "SELECT make_entry_span(entry_current_span() + 1);"
        "SELECT setval(pg_get_serial_sequence('bot', 'id'), coalesce(max(id), 1), max(id) IS NOT NULL) FROM bot;"
        "UPDATE bot SET last_n = coalesce((SELECT max(n) FROM entry WHERE entry.bot = bot.id), 0)"
    )


def _stored(row: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(stored_text(value) if isinstance(value, str) else value for value in row)


PUT_CODE: Final = (
    f"INSERT INTO code ({CODE_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"  # noqa: S608  # of constants
    " ON CONFLICT (qrcode) DO UPDATE SET status = excluded.status, user_id = excluded.user_id,"
    " digits = excluded.digits, attempts = excluded.attempts, redirect_host = excluded.redirect_host,"
    " bot_id = excluded.bot_id, url = excluded.url, secret = excluded.secret, created_ms = excluded.created_ms,"
    " expires_ms = excluded.expires_ms, known_bots = excluded.known_bots"
)
