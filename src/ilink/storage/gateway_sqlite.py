"""The gateway's state in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Self

from ilink.storage.gateway import (
    BotRecord,
    Bound,
    ChatFacts,
    ChatLine,
    ChatRecord,
    CodeRecord,
    ContextTokenRecord,
    EntryRecord,
    Judgement,
    MailDraft,
    MailRecord,
    PersonRecord,
    Progress,
    SavedState,
    SendDraft,
    SendOutcome,
    StoredMail,
    TicketRecord,
    TokenFacts,
    UploadTicketRecord,
)
from ilink.storage.gateway_records import (
    CODE_COLUMNS,
    SELECT_BOT,
    SELECT_CHAT,
    SELECT_CODE,
    SELECT_ENTRY,
    SELECT_TICKET,
    SELECT_UPLOAD,
    UPLOAD_COLUMNS,
    code_values,
    read_bot,
    read_chat,
    read_code,
    read_entry,
    read_ticket,
    read_upload,
    upload_values,
)
from ilink.storage.gateway_rows import (
    FORGETTABLE,
    clear,
    delete_found,
    find_old,
    read_chat_lines,
    read_newest,
    restore,
    select_chat,
)
from ilink.storage.gateway_sqlite_mail import add_mail, advance
from ilink.storage.gathering import Gathering
from ilink.storage.sqlite import Database

__all__ = ["SqliteGatewayStore"]

_Row = tuple[Any, ...]
"""A row; what its columns hold is said where it is read."""
_COUNT_ENTRIES: Final = "SELECT count(*), max(n) FROM entry"
_PUT_CODE: Final = f"INSERT OR REPLACE INTO code ({CODE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # of constants
_CHANGE_CODE: Final = (
    "UPDATE code SET status = ?, user_id = ?, digits = ?, attempts = ?, redirect_host = ?, bot_id = ? WHERE qrcode = ?"
    " AND status = ? AND user_id IS ? AND digits IS ? AND attempts = ? AND redirect_host IS ? AND bot_id IS ?"
)
_ADD_SEND: Final = (
    "INSERT INTO entry (bot, user_id, direction, client_id, at_ms, state, shown_ms, why, cut, wire)"
    " VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?)"
)
_SEND_FACTS: Final = (
    "SELECT earlier.n, earlier.state, chat.last_inbound_ms, chat.sends, chat.context_token, token.issued_ms,"
    " token.is_used FROM (SELECT 1)"
    " LEFT JOIN (SELECT n, state FROM entry WHERE bot = :bot AND client_id = :client_id AND direction = 1"
    " AND state != 'refused' ORDER BY n LIMIT 1) AS earlier"
    " LEFT JOIN chat ON chat.bot = :bot AND chat.user_id = :user_id"
    " LEFT JOIN context_token AS token ON token.token = :token AND token.bot = :bot AND token.user_id = :user_id"
)
"""The first accepted send with the client id, the chat, and the context token, each where there is one."""


class SqliteGatewayStore:
    """One file, written by one process; open it with `async with`.

    Args:
        path: The file.
        synchronous: "FULL" survives a power cut; "NORMAL" the death of the process; "OFF" is for tests.
    """

    def __init__(self, path: Path, *, synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL") -> None:
        self._database = Database(path, schema="gateway", synchronous=synchronous)
        self._mail = Gathering(self._database, add_mail)
        self._progress = Gathering(self._database, advance)

    async def __aenter__(self) -> Self:
        await self._database.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish what was asked for, and close."""
        self._flush()
        await self._database.aclose()

    async def clear(self) -> None:
        """Forget everything but the meta values, and count from the beginning again."""
        self._flush()
        await self._database.write(clear)

    async def restore(self, state: SavedState) -> None:
        """Forget everything but the meta values, and store this instead."""
        self._flush()
        await self._database.write(lambda db: restore(db, state))

    async def meta(self) -> dict[str, str]:
        """Return all meta values."""
        return dict(await self._database.read(lambda db: db.execute("SELECT name, value FROM meta").fetchall()))

    async def put_meta(self, values: dict[str, str]) -> None:
        """Set meta values."""
        await self._write_many("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", list(values.items()))

    async def check(self, *, at_ms: int) -> None:
        """Write something."""
        await self.put_meta({"checked": str(at_ms)})

    async def claim_meta(self, values: dict[str, str]) -> dict[str, str]:
        """Set the meta values that are not set yet, and return all."""

        def work(db: sqlite3.Connection) -> dict[str, str]:
            db.executemany("INSERT OR IGNORE INTO meta (name, value) VALUES (?, ?)", list(values.items()))
            return dict(db.execute("SELECT name, value FROM meta").fetchall())

        return await self._database.write(work)

    async def count_up(self, name: str) -> int:
        """Raise a meta value that counts, and return it; the first is 0."""

        def work(db: sqlite3.Connection) -> int:
            query = (
                "INSERT INTO meta (name, value) VALUES (?, '0')"
                " ON CONFLICT DO UPDATE SET value = CAST(value AS INTEGER) + 1 RETURNING value"
            )
            (value,) = db.execute(query, (name,)).fetchone()
            return int(value)

        return await self._database.write(work)

    async def add_person(self, person: PersonRecord) -> None:
        """Add a person."""
        await self._write(
            "INSERT INTO person (user_id, name, created_ms) VALUES (?, ?, ?)",
            (person.user_id, person.name, person.created_ms),
        )

    async def people(self) -> list[PersonRecord]:
        """Return all people, oldest first."""
        rows = await self._rows("SELECT user_id, name, created_ms FROM person ORDER BY id")
        return [PersonRecord(user_id=user_id, name=name, created_ms=at) for user_id, name, at in rows]

    async def person(self, user_id: str) -> PersonRecord | None:
        """Return a person; ids are case-sensitive."""
        rows = await self._rows("SELECT user_id, name, created_ms FROM person WHERE user_id = ?", (user_id,))
        return PersonRecord(user_id=rows[0][0], name=rows[0][1], created_ms=rows[0][2]) if rows else None

    async def bots(self) -> list[BotRecord]:
        """Return all bots, oldest first."""
        return [read_bot(row) for row in await self._rows(SELECT_BOT + " ORDER BY id")]

    async def bot(self, bot_id: str) -> BotRecord | None:
        """Return a bot."""
        rows = await self._rows(SELECT_BOT + " WHERE bot_id = ?", (bot_id,))
        return read_bot(rows[0]) if rows else None

    async def bots_numbered(self, numbers: Sequence[int]) -> list[BotRecord]:
        """Return the bots that have some numbers; a number that is none's is no error."""

        def work(db: sqlite3.Connection) -> list[BotRecord]:
            query = SELECT_BOT + " WHERE id = ?"
            rows = [row for number in numbers for row in db.execute(query, (number,))]
            return [read_bot(row) for row in rows]

        return await self._database.read(work)

    async def live_bots(self, owner_user_id: str) -> list[BotRecord]:
        """Return the live bots of a person."""
        query = SELECT_BOT + " WHERE owner_user_id = ? AND state = 'live' ORDER BY id"
        return [read_bot(row) for row in await self._rows(query, (owner_user_id,))]

    async def bind(self, bot: BotRecord, code: CodeRecord, *, revoke_others_ms: int | None) -> Bound | None:
        """Add a bot, store its code, and replace the owner's other live bots from a time on."""

        def work(db: sqlite3.Connection) -> Bound | None:
            query = "SELECT 1 FROM code WHERE qrcode = ? AND bot_id IS NOT NULL"
            if db.execute(query, (code.qrcode,)).fetchone() is not None:
                return None
            replaced: list[str] = []
            if revoke_others_ms is not None:
                rows = db.execute(
                    "UPDATE bot SET state = 'replaced', revoke_ms = ? WHERE owner_user_id = ? AND state = 'live'"
                    " RETURNING bot_id",
                    (revoke_others_ms, bot.owner_user_id),
                ).fetchall()
                replaced = [bot_id for (bot_id,) in rows]
            cursor = db.execute(
                "INSERT INTO bot (bot_id, owner_user_id, state, generation, created_ms, token_hash)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (bot.bot_id, bot.owner_user_id, bot.state, bot.generation, bot.created_ms, bot.token_hash),
            )
            _put_code(db, code)
            assert cursor.lastrowid is not None
            return Bound(cursor.lastrowid, tuple(replaced))

        return await self._database.write(work)

    async def expire_bot(self, bot_id: str) -> None:
        """Make a bot `expired`."""
        await self._write("UPDATE bot SET state = 'expired' WHERE bot_id = ?", (bot_id,))

    async def replace_bot(self, bot_id: str, *, revoke_ms: int) -> None:
        """Make a bot `replaced`, its token dead from a time on."""
        await self._write("UPDATE bot SET state = 'replaced', revoke_ms = ? WHERE bot_id = ?", (revoke_ms, bot_id))

    async def start_generation(self, bot_id: str) -> int:
        """Raise a bot's generation and return the new one."""

        def work(db: sqlite3.Connection) -> int:
            query = "UPDATE bot SET generation = generation + 1 WHERE bot_id = ? RETURNING generation"
            (generation,) = db.execute(query, (bot_id,)).fetchone()
            return int(generation)

        return await self._database.write(work)

    async def set_notified(self, bot: int, *, is_notified: bool) -> None:
        """Note that notifystart or notifystop came."""
        await self._write("UPDATE bot SET is_notified = ? WHERE id = ?", (is_notified, bot))

    async def put_code(self, code: CodeRecord) -> None:
        """Store a code as it is now."""
        await self._database.write(lambda db: _put_code(db, code))

    async def change_code(self, old: CodeRecord, new: CodeRecord) -> bool:
        """Store a changed code if it still is as it was; else change nothing and return False."""
        values = (*_state_of(new), new.qrcode, *_state_of(old))
        return await self._database.write(lambda db: db.execute(_CHANGE_CODE, values).rowcount > 0)

    async def code(self, qrcode: str) -> CodeRecord | None:
        """Return a code."""
        rows = await self._rows(SELECT_CODE + " WHERE qrcode = ?", (qrcode,))
        return read_code(rows[0]) if rows else None

    async def codes(self) -> list[CodeRecord]:
        """Return all codes, newest first."""
        rows = await self._rows(SELECT_CODE + " ORDER BY created_ms DESC")
        return [read_code(row) for row in rows]

    async def drop_codes(self, *, expired_before_ms: int) -> None:
        """Forget the codes that ran out before a time, and the secrets of their tokens with them."""
        await self._write("DELETE FROM code WHERE expires_ms < ?", (expired_before_ms,))

    async def append(self, mail: MailDraft) -> StoredMail:
        """Put a message into a mailbox and open the chat's window anew."""
        return await self._mail.add(mail)

    async def forget(self, *, now_ms: int, before_ms: int) -> None:
        """Forget messages, old context tokens and tickets from before a moment; see `GatewayStore.forget`."""
        del now_ms  # nothing is done ahead here
        for table in FORGETTABLE:
            find = partial(find_old, table=table, before_ms=before_ms)
            while keys := await self._database.read(find):
                await self._database.write(partial(delete_found, table=table, keys=keys))

    async def read_mail(
        self, bot: int, *, after_seq: int, not_before_ms: int, most: int, most_bytes: int
    ) -> list[MailRecord]:
        """Return the next messages of a mailbox in order; at least one when there is one, whatever its size."""

        def work(db: sqlite3.Connection) -> list[MailRecord]:
            rows = db.execute(
                "SELECT seq, wire FROM entry WHERE bot = ? AND seq > ? AND at_ms >= ? ORDER BY seq LIMIT ?",
                (bot, after_seq, not_before_ms, most),
            )
            batch: list[MailRecord] = []
            room = most_bytes
            for seq, wire in rows:
                room -= len(wire)
                if room < 0 and batch:
                    break
                batch.append(MailRecord(seq, wire))
            return batch

        return await self._database.read(work)

    async def advance(self, progress: Progress) -> None:
        """Store how far a bot has read; nothing ever goes back."""
        await self._progress.add(progress)

    async def send(self, draft: SendDraft, judge: Callable[[ChatFacts], Judgement]) -> SendOutcome:
        """Judge a send on what is stored, and store what became of it."""

        def work(db: sqlite3.Connection) -> SendOutcome:
            # One statement for all that is asked: each one hands the interpreter to the event loop and back.
            row: _Row = db.execute(_SEND_FACTS, _facts_values(draft)).fetchone()
            if draft.is_idempotent and draft.client_id and row[0] is not None:
                return SendOutcome(row[0], Judgement(state=row[1]), is_repeat=True)
            judgement = judge(_chat_facts(db, draft, row))
            if not judgement.is_stored:
                return SendOutcome(None, judgement)
            n = _add_send(db, draft, judgement)
            if judgement.counts:
                db.execute(
                    "UPDATE chat SET sends = sends + 1 WHERE bot = ? AND user_id = ?", (draft.bot, draft.user_id)
                )
            if judgement.uses_token:
                db.execute("UPDATE context_token SET is_used = 1 WHERE token = ?", (draft.context_token,))
            return SendOutcome(n, judgement)

        return await self._database.write(work)

    async def entries(
        self, bot: int, *, user_id: str | None, after: int, limit: int, is_outgoing: bool | None = None
    ) -> list[EntryRecord]:
        """Return entries of a bot in order, of one chat or all."""
        where, parameters = select_chat(bot, user_id, after=after, is_outgoing=is_outgoing)
        rows = await self._rows(SELECT_ENTRY + where + " ORDER BY n LIMIT ?", (*parameters, limit))
        return [read_entry(row) for row in rows]

    async def count_entries(
        self, bot: int, *, user_id: str | None, after: int, is_outgoing: bool | None = None
    ) -> tuple[int, int]:
        """Return how many entries `entries` would find without a limit, and the number of the last, or `after`."""
        where, parameters = select_chat(bot, user_id, after=after, is_outgoing=is_outgoing)
        ((count, last),) = await self._rows(_COUNT_ENTRIES + where, parameters)
        return count, after if last is None else last

    async def newest_entries(self, bot: int, user_id: str, *, before: int, limit: int) -> list[EntryRecord]:
        """Return the newest entries of a chat whose numbers are below `before`, in order."""
        return await self._database.read(lambda db: read_newest(db, bot, user_id, before=before, limit=limit))

    async def entry(self, n: int) -> EntryRecord | None:
        """Return one entry."""
        rows = await self._rows(SELECT_ENTRY + " WHERE n = ?", (n,))
        return read_entry(rows[0]) if rows else None

    async def pending(self, bot: int, *, after_seq: int, limit: int) -> tuple[int, list[EntryRecord]]:
        """Return how many messages of a mailbox come after a seq, and the first of them."""
        ((depth,),) = await self._rows("SELECT count(*) FROM entry WHERE bot = ? AND seq > ?", (bot, after_seq))
        query = SELECT_ENTRY + " WHERE bot = ? AND seq > ? ORDER BY seq LIMIT ?"
        return depth, [read_entry(row) for row in await self._rows(query, (bot, after_seq, limit))]

    async def chats(self, bot: int) -> list[ChatRecord]:
        """Return the chats in which a person has written to the bot."""
        query = SELECT_CHAT + " WHERE bot = ? ORDER BY user_id"
        return [read_chat(row) for row in await self._rows(query, (bot,))]

    async def chat_lines(self, *, user_id: str | None, limit: int) -> list[ChatLine]:
        """Return the chats of a person or of all, the one with the newest entry first."""
        return await self._database.read(lambda db: read_chat_lines(db, user_id=user_id, limit=limit))

    async def mark_read(self, bot: int, user_id: str, n: int) -> bool:
        """Note that a person has read a chat up to an entry; nothing goes back, and False says that nothing changed."""

        def work(db: sqlite3.Connection) -> bool:
            cursor = db.execute(
                "INSERT INTO read_mark (bot, user_id, n) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET n = excluded.n WHERE excluded.n > n",
                (bot, user_id, n),
            )
            return cursor.rowcount > 0

        return await self._database.write(work)

    async def chat(self, bot: int, user_id: str) -> ChatRecord | None:
        """Return one chat."""
        query = SELECT_CHAT + " WHERE bot = ? AND user_id = ?"
        rows = await self._rows(query, (bot, user_id))
        return read_chat(rows[0]) if rows else None

    async def context_tokens(self, bot: int, *, limit: int) -> list[ContextTokenRecord]:
        """Return the newest context tokens of a bot."""
        query = (
            "SELECT token, user_id, issued_ms, is_used FROM context_token WHERE bot = ? ORDER BY issued_ms DESC LIMIT ?"
        )
        return [
            ContextTokenRecord(token=token, user_id=user_id, issued_ms=at, is_used=bool(used))
            for token, user_id, at, used in await self._rows(query, (bot, limit))
        ]

    async def add_context_token(self, bot: int, user_id: str, token: str, *, at_ms: int) -> None:
        """Give a chat a newer context token."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("UPDATE chat SET context_token = ? WHERE bot = ? AND user_id = ?", (token, bot, user_id))
            _add_token(db, bot, user_id, token, at_ms)

        await self._database.write(work)

    async def add_ticket(self, ticket: TicketRecord) -> None:
        """Store a typing ticket."""
        await self._write(
            "INSERT INTO typing_ticket (ticket, bot, user_id, issued_ms) VALUES (?, ?, ?, ?)",
            (ticket.ticket, ticket.bot, ticket.user_id, ticket.issued_ms),
        )

    async def ticket(self, ticket: str) -> TicketRecord | None:
        """Return a typing ticket."""
        query = SELECT_TICKET + " WHERE ticket = ?"
        rows = await self._rows(query, (ticket,))
        return read_ticket(rows[0]) if rows else None

    async def chat_ticket(self, bot: int, user_id: str) -> TicketRecord | None:
        """Return the newest typing ticket of a chat."""
        query = SELECT_TICKET + " WHERE bot = ? AND user_id = ? ORDER BY issued_ms DESC LIMIT 1"
        rows = await self._rows(query, (bot, user_id))
        return read_ticket(rows[0]) if rows else None

    async def tickets(self, bot: int, *, limit: int) -> list[TicketRecord]:
        """Return the newest typing tickets of a bot."""
        query = SELECT_TICKET + " WHERE bot = ? ORDER BY issued_ms DESC LIMIT ?"
        return [read_ticket(row) for row in await self._rows(query, (bot, limit))]

    async def add_upload_tickets(self, tickets: Sequence[UploadTicketRecord]) -> None:
        """Store permissions to upload."""
        await self._write_many(
            f"INSERT INTO upload_ticket ({UPLOAD_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            [upload_values(ticket) for ticket in tickets],
        )

    async def upload_ticket(self, param: str) -> UploadTicketRecord | None:
        """Return a permission to upload."""
        rows = await self._rows(SELECT_UPLOAD + " WHERE param = ?", (param,))
        return read_upload(rows[0]) if rows else None

    async def use_upload_ticket(self, param: str, *, at_ms: int) -> None:
        """Note that a permission to upload was used."""
        await self._write("UPDATE upload_ticket SET used_ms = coalesce(used_ms, ?) WHERE param = ?", (at_ms, param))

    def _flush(self) -> None:
        """Put what was asked for until now before what is asked for next."""
        self._mail.flush()
        self._progress.flush()

    async def _write(self, statement: str, values: tuple[object, ...]) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.execute(statement, values)

        await self._database.write(work)

    async def _write_many(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.executemany(statement, rows)

        await self._database.write(work)

    async def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[_Row]:
        return await self._database.read(lambda db: db.execute(query, values).fetchall())


def _put_code(db: sqlite3.Connection, code: CodeRecord) -> None:
    db.execute(_PUT_CODE, code_values(code))


def _state_of(code: CodeRecord) -> tuple[object, ...]:
    return (code.status, code.user_id, code.digits, code.attempts, code.redirect_host, code.bot_id)


def _add_token(db: sqlite3.Connection, bot: int, user_id: str, token: str, at_ms: int) -> None:
    db.execute(
        "INSERT OR IGNORE INTO context_token (token, bot, user_id, issued_ms) VALUES (?, ?, ?, ?)",
        (token, bot, user_id, at_ms),
    )


def _add_send(db: sqlite3.Connection, draft: SendDraft, judgement: Judgement) -> int:
    cursor = db.execute(
        _ADD_SEND,
        (
            draft.bot,
            draft.user_id,
            draft.client_id,
            draft.at_ms,
            judgement.state,
            judgement.shown_ms,
            judgement.why,
            judgement.cut,
            draft.wire,
        ),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _facts_values(draft: SendDraft) -> dict[str, object]:
    return {
        "bot": draft.bot,
        "user_id": draft.user_id,
        "client_id": draft.client_id,
        "token": draft.context_token,
    }


def _chat_facts(db: sqlite3.Connection, draft: SendDraft, row: _Row) -> ChatFacts:
    _, _, last_inbound_ms, sends, latest, issued_ms, is_used = row
    if last_inbound_ms is None:
        person = db.execute("SELECT 1 FROM person WHERE user_id = ?", (draft.user_id,)).fetchone()
        return ChatFacts(is_person=person is not None, last_inbound_ms=None, sends=0, token=None, recent=())
    is_latest = draft.context_token == latest
    token = (
        TokenFacts(issued_ms=issued_ms, is_used=bool(is_used), is_latest=is_latest) if issued_ms is not None else None
    )
    recent = _recent_sends(db, draft) if draft.recent else ()
    return ChatFacts(is_person=True, last_inbound_ms=last_inbound_ms, sends=sends, token=token, recent=recent)


def _recent_sends(db: sqlite3.Connection, draft: SendDraft) -> tuple[int, ...]:
    rows = db.execute(
        "SELECT at_ms FROM entry WHERE bot = ? AND user_id = ? AND direction = 1 AND (state != 'refused' OR ?)"
        " ORDER BY n DESC LIMIT ?",
        (draft.bot, draft.user_id, draft.recent_refused, draft.recent),
    )
    return tuple(at for (at,) in rows)
