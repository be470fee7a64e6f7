"""The gateway's state in PostgreSQL, shared by as many processes as there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Self

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
    UploadTicketRecord,
)
from ilink.storage.gateway_postgres_rows import (
    CHAT_LINES,
    CLEAR,
    POST,
    PUT_CODE,
    SEND,
    FactsBook,
    append,
    forget,
    read_chat_line,
    restore,
    send,
    stored_text,
)
from ilink.storage.gateway_records import (
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
from ilink.storage.gathering_postgres import PostgresGathering
from ilink.storage.postgres import PostgresDatabase, Row

__all__ = ["PostgresGatewayStore"]

_OF_CHAT: Final = (
    " WHERE bot = $1 AND n > $2 AND ($3::text IS NULL OR user_id = $3) AND ($4::smallint IS NULL OR direction = $4)"
)
_COUNT_ENTRIES: Final = "SELECT count(*), coalesce(max(n), $2) FROM entry"
_READ_MAIL: Final = (
    "SELECT seq, wire FROM (SELECT seq, wire, sum(length(wire)) OVER (ORDER BY seq) AS bytes,"
    " row_number() OVER (ORDER BY seq) AS place FROM (SELECT seq, wire FROM entry WHERE bot = $1 AND seq > $2"
    " AND at_ms >= $3 ORDER BY seq LIMIT $4) AS next) AS measured WHERE bytes <= $5 OR place = 1 ORDER BY seq"
)
_BIND: Final = (
    "SELECT number, replaced FROM bind($1, $2, $3, $4, $5, $6, $7,"
    " ROW($8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)::code)"
)
_CHANGE_CODE: Final = (
    "UPDATE code SET status = $1, user_id = $2, digits = $3, attempts = $4, redirect_host = $5, bot_id = $6"
    " WHERE qrcode = $7 AND status = $8 AND user_id IS NOT DISTINCT FROM $9 AND digits IS NOT DISTINCT FROM $10"
    " AND attempts = $11 AND redirect_host IS NOT DISTINCT FROM $12 AND bot_id IS NOT DISTINCT FROM $13"
)
_PUT_META: Final = (
    "INSERT INTO meta (name, value) SELECT * FROM unnest($1::text[], $2::text[])"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_CLAIM_META: Final = (
    "INSERT INTO meta (name, value) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT (name) DO NOTHING"
)
_ADD_UPLOADS: Final = (
    f"INSERT INTO upload_ticket ({UPLOAD_COLUMNS}) SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[],"  # noqa: S608  # of constants
    " $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::bigint[], $9::text[], $10::boolean[], $11::bigint[],"
    " $12::bigint[])"
)


class PostgresGatewayStore:
    """The gateway's tables in an open database.

    Args:
        database: One of the schema "gateway".
    """

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._book = FactsBook()
        self._mails = PostgresGathering(database, POST)
        self._sends = PostgresGathering(database, SEND)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Store what was asked for, and close the database."""
        await self._mails.aclose()
        await self._sends.aclose()
        self._book.forget()
        await self._database.aclose()

    async def clear(self) -> None:
        """Forget everything but the meta values, and count from the beginning again."""
        await self._database.execute(CLEAR)
        self._book.forget()

    async def restore(self, state: SavedState) -> None:
        """Forget everything but the meta values, and store this instead."""
        async with self._database.transaction() as connection:
            await restore(connection, state)
        self._book.forget()

    async def meta(self) -> dict[str, str]:
        """Return all meta values."""
        return {row[0]: row[1] for row in await self._database.read("SELECT name, value FROM meta")}

    async def put_meta(self, values: dict[str, str]) -> None:
        """Set meta values."""
        await self._database.execute(_PUT_META, list(values), list(values.values()))

    async def check(self, *, at_ms: int) -> None:
        """Write something; after something was refused also something that needs room on the disk."""
        await self.put_meta({"checked": str(at_ms)})
        await self._database.prove_room()

    async def claim_meta(self, values: dict[str, str]) -> dict[str, str]:
        """Set the meta values that are not set yet, and return all."""
        await self._database.execute(_CLAIM_META, list(values), list(values.values()))
        return await self.meta()

    async def count_up(self, name: str) -> int:
        """Raise a meta value that counts, and return it; the first is 0."""
        row = await self._database.write_row(
            "INSERT INTO meta AS old (name, value) VALUES ($1, '0')"
            " ON CONFLICT (name) DO UPDATE SET value = (old.value::bigint + 1)::text RETURNING value",
            name,
        )
        assert row is not None
        return int(row[0])

    async def add_person(self, person: PersonRecord) -> None:
        """Add a person."""
        await self._database.execute(
            "INSERT INTO person (user_id, name, created_ms) VALUES ($1, $2, $3)",
            stored_text(person.user_id),
            stored_text(person.name),
            person.created_ms,
        )

    async def people(self) -> list[PersonRecord]:
        """Return all people, oldest first."""
        rows = await self._database.read("SELECT user_id, name, created_ms FROM person ORDER BY id")
        return [_person(row) for row in rows]

    async def person(self, user_id: str) -> PersonRecord | None:
        """Return a person; ids are case-sensitive."""
        query = "SELECT user_id, name, created_ms FROM person WHERE user_id = $1"
        row = await self._database.read_row(query, stored_text(user_id))
        return None if row is None else _person(row)

    async def bots(self) -> list[BotRecord]:
        """Return all bots, oldest first."""
        return [read_bot(row) for row in await self._database.read(SELECT_BOT + " ORDER BY id")]

    async def bot(self, bot_id: str) -> BotRecord | None:
        """Return a bot."""
        row = await self._database.read_row(SELECT_BOT + " WHERE bot_id = $1", stored_text(bot_id))
        return None if row is None else read_bot(row)

    async def bots_numbered(self, numbers: Sequence[int]) -> list[BotRecord]:
        """Return the bots that have some numbers; a number that is none's is no error."""
        rows = await self._database.read(SELECT_BOT + " WHERE id = ANY ($1::bigint[])", list(numbers))
        return [read_bot(row) for row in rows]

    async def live_bots(self, owner_user_id: str) -> list[BotRecord]:
        """Return the live bots of a person."""
        query = SELECT_BOT + " WHERE owner_user_id = $1 AND state = 'live' ORDER BY id"
        return [read_bot(row) for row in await self._database.read(query, stored_text(owner_user_id))]

    async def bind(self, bot: BotRecord, code: CodeRecord, *, revoke_others_ms: int | None) -> Bound | None:
        """Add a bot, store its code, and replace the owner's other live bots from a time on."""
        row = await self._database.write_row(
            _BIND,
            bot.bot_id,
            bot.owner_user_id,
            bot.state,
            bot.generation,
            bot.created_ms,
            bot.token_hash,
            revoke_others_ms,
            *code_values(code),
        )
        return None if row is None else Bound(row[0], tuple(row[1]))

    async def expire_bot(self, bot_id: str) -> None:
        """Make a bot `expired`."""
        await self._database.execute("UPDATE bot SET state = 'expired' WHERE bot_id = $1", stored_text(bot_id))

    async def replace_bot(self, bot_id: str, *, revoke_ms: int) -> None:
        """Make a bot `replaced`, its token dead from a time on."""
        statement = "UPDATE bot SET state = 'replaced', revoke_ms = $1 WHERE bot_id = $2"
        await self._database.execute(statement, revoke_ms, stored_text(bot_id))

    async def start_generation(self, bot_id: str) -> int:
        """Raise a bot's generation and return the new one."""
        row = await self._database.write_row(
            "UPDATE bot SET generation = generation + 1 WHERE bot_id = $1 RETURNING generation", stored_text(bot_id)
        )
        assert row is not None
        return int(row[0])

    async def set_notified(self, bot: int, *, is_notified: bool) -> None:
        """Note that notifystart or notifystop came."""
        await self._database.execute("UPDATE bot SET is_notified = $1 WHERE id = $2", is_notified, bot)

    async def put_code(self, code: CodeRecord) -> None:
        """Store a code as it is now."""
        await self._database.execute(PUT_CODE, *code_values(code))

    async def change_code(self, old: CodeRecord, new: CodeRecord) -> bool:
        """Store a changed code if it still is as it was; else change nothing and return False."""
        changed = await self._database.execute(_CHANGE_CODE, *_state_of(new), new.qrcode, *_state_of(old))
        return changed > 0

    async def code(self, qrcode: str) -> CodeRecord | None:
        """Return a code."""
        row = await self._database.read_row(SELECT_CODE + " WHERE qrcode = $1", stored_text(qrcode))
        return None if row is None else read_code(row)

    async def codes(self) -> list[CodeRecord]:
        """Return all codes, newest first."""
        return [read_code(row) for row in await self._database.read(SELECT_CODE + " ORDER BY created_ms DESC")]

    async def drop_codes(self, *, expired_before_ms: int) -> None:
        """Forget the codes that ran out before a time, and the secrets of their tokens with them."""
        await self._database.execute("DELETE FROM code WHERE expires_ms < $1", expired_before_ms)

    async def append(self, mail: MailDraft) -> StoredMail:
        """Put a message into a mailbox and open the chat's window anew."""
        stored = await append(self._mails, mail)
        self._book.note_mail(mail)
        return stored

    async def forget(self, *, now_ms: int, before_ms: int) -> None:
        """Forget messages, old context tokens and tickets from before a moment."""
        await forget(self._database, now_ms=now_ms, before_ms=before_ms)

    async def read_mail(
        self, bot: int, *, after_seq: int, not_before_ms: int, most: int, most_bytes: int
    ) -> list[MailRecord]:
        """Return the next messages of a mailbox in order; at least one when there is one, whatever its size."""
        rows = await self._database.read(_READ_MAIL, bot, after_seq, not_before_ms, most, most_bytes)
        return [MailRecord(row[0], row[1]) for row in rows]

    async def advance(self, progress: Progress) -> None:
        """Store how far a bot has read; nothing ever goes back."""
        await self._database.execute(
            "UPDATE bot SET handed_seq = greatest(handed_seq, $1), acked_seq = greatest(acked_seq, $2),"
            " last_poll_ms = coalesce(greatest(last_poll_ms, $3), last_poll_ms) WHERE id = $4",
            progress.handed_seq,
            progress.acked_seq,
            progress.last_poll_ms,
            progress.bot,
        )

    async def send(self, draft: SendDraft, judge: Callable[[ChatFacts], Judgement]) -> SendOutcome:
        """Judge a send on what is stored, and store what became of it."""
        return await send(self._database, self._sends, draft, judge, self._book)

    async def entries(
        self, bot: int, *, user_id: str | None, after: int, limit: int, is_outgoing: bool | None = None
    ) -> list[EntryRecord]:
        """Return entries of a bot in order, of one chat or all."""
        query = SELECT_ENTRY + _OF_CHAT + " ORDER BY n LIMIT $5"
        rows = await self._database.read(query, *_chat_values(bot, after, user_id, is_outgoing), limit)
        return [read_entry(row) for row in rows]

    async def count_entries(
        self, bot: int, *, user_id: str | None, after: int, is_outgoing: bool | None = None
    ) -> tuple[int, int]:
        """Return how many entries `entries` would find without a limit, and the number of the last, or `after`."""
        query = _COUNT_ENTRIES + _OF_CHAT
        row = await self._database.read_row(query, *_chat_values(bot, after, user_id, is_outgoing))
        assert row is not None
        return row[0], row[1]

    async def newest_entries(self, bot: int, user_id: str, *, before: int, limit: int) -> list[EntryRecord]:
        """Return the newest entries of a chat whose numbers are below `before`, in order."""
        query = SELECT_ENTRY + " WHERE bot = $1 AND user_id = $2 AND n < $3 ORDER BY n DESC LIMIT $4"
        rows = await self._database.read(query, bot, stored_text(user_id), before, limit)
        return [read_entry(row) for row in reversed(rows)]

    async def entry(self, n: int) -> EntryRecord | None:
        """Return one entry."""
        row = await self._database.read_row(SELECT_ENTRY + " WHERE n = $1", n)
        return None if row is None else read_entry(row)

    async def pending(self, bot: int, *, after_seq: int, limit: int) -> tuple[int, list[EntryRecord]]:
        """Return how many messages of a mailbox come after a seq, and the first of them."""
        query = SELECT_ENTRY + " WHERE bot = $1 AND seq > $2 ORDER BY seq LIMIT $3"
        rows = await self._database.read(query, bot, after_seq, limit)
        found = [read_entry(row) for row in rows]
        count = "SELECT count(*) FROM entry WHERE bot = $1 AND seq > $2"
        row = None if len(found) < limit else await self._database.read_row(count, bot, after_seq)
        return len(found) if row is None else row[0], found

    async def chats(self, bot: int) -> list[ChatRecord]:
        """Return the chats in which a person has written to the bot."""
        query = SELECT_CHAT + " WHERE bot = $1 ORDER BY user_id"
        return [read_chat(row) for row in await self._database.read(query, bot)]

    async def chat_lines(self, *, user_id: str | None, limit: int) -> list[ChatLine]:
        """Return the chats of a person or of all, the one with the newest entry first."""
        rows = await self._database.read(CHAT_LINES, None if user_id is None else stored_text(user_id), limit)
        return [read_chat_line(row) for row in rows]

    async def mark_read(self, bot: int, user_id: str, n: int) -> bool:
        """Note that a person has read a chat up to an entry; nothing goes back, and False says that nothing changed."""
        changed = await self._database.execute(
            "INSERT INTO read_mark AS old (bot, user_id, n) VALUES ($1, $2, $3)"
            " ON CONFLICT (bot, user_id) DO UPDATE SET n = excluded.n WHERE excluded.n > old.n",
            bot,
            stored_text(user_id),
            n,
        )
        return changed > 0

    async def chat(self, bot: int, user_id: str) -> ChatRecord | None:
        """Return one chat."""
        query = SELECT_CHAT + " WHERE bot = $1 AND user_id = $2"
        row = await self._database.read_row(query, bot, stored_text(user_id))
        return None if row is None else read_chat(row)

    async def context_tokens(self, bot: int, *, limit: int) -> list[ContextTokenRecord]:
        """Return the newest context tokens of a bot."""
        query = (
            "SELECT token, user_id, issued_ms, is_used FROM context_token WHERE bot = $1"
            " ORDER BY issued_ms DESC LIMIT $2"
        )
        return [
            ContextTokenRecord(token=row[0], user_id=row[1], issued_ms=row[2], is_used=row[3])
            for row in await self._database.read(query, bot, limit)
        ]

    async def add_context_token(self, bot: int, user_id: str, token: str, *, at_ms: int) -> None:
        """Give a chat a newer context token."""
        await self._database.execute(
            "WITH renewed AS (UPDATE chat SET context_token = $3 WHERE bot = $1 AND user_id = $2)"
            " INSERT INTO context_token (token, bot, user_id, issued_ms) VALUES ($3, $1, $2, $4)"
            " ON CONFLICT (token) DO NOTHING",
            bot,
            stored_text(user_id),
            token,
            at_ms,
        )

    async def add_ticket(self, ticket: TicketRecord) -> None:
        """Store a typing ticket."""
        await self._database.execute(
            "INSERT INTO typing_ticket (ticket, bot, user_id, issued_ms) VALUES ($1, $2, $3, $4)",
            ticket.ticket,
            ticket.bot,
            stored_text(ticket.user_id),
            ticket.issued_ms,
        )

    async def ticket(self, ticket: str) -> TicketRecord | None:
        """Return a typing ticket."""
        row = await self._database.read_row(SELECT_TICKET + " WHERE ticket = $1", stored_text(ticket))
        return None if row is None else read_ticket(row)

    async def chat_ticket(self, bot: int, user_id: str) -> TicketRecord | None:
        """Return the newest typing ticket of a chat."""
        query = SELECT_TICKET + " WHERE bot = $1 AND user_id = $2 ORDER BY issued_ms DESC LIMIT 1"
        row = await self._database.read_row(query, bot, stored_text(user_id))
        return None if row is None else read_ticket(row)

    async def tickets(self, bot: int, *, limit: int) -> list[TicketRecord]:
        """Return the newest typing tickets of a bot."""
        query = SELECT_TICKET + " WHERE bot = $1 ORDER BY issued_ms DESC LIMIT $2"
        return [read_ticket(row) for row in await self._database.read(query, bot, limit)]

    async def add_upload_tickets(self, tickets: Sequence[UploadTicketRecord]) -> None:
        """Store permissions to upload."""
        columns = zip(*(_stored(upload_values(ticket)) for ticket in tickets), strict=True)
        await self._database.execute(_ADD_UPLOADS, *(list(column) for column in columns))

    async def upload_ticket(self, param: str) -> UploadTicketRecord | None:
        """Return a permission to upload."""
        row = await self._database.read_row(SELECT_UPLOAD + " WHERE param = $1", stored_text(param))
        return None if row is None else read_upload(row)

    async def use_upload_ticket(self, param: str, *, at_ms: int) -> None:
        """Note that a permission to upload was used."""
        statement = "UPDATE upload_ticket SET used_ms = coalesce(used_ms, $1) WHERE param = $2"
        await self._database.execute(statement, at_ms, stored_text(param))


def _person(row: Row) -> PersonRecord:
    return PersonRecord(user_id=row[0], name=row[1], created_ms=row[2])


def _state_of(code: CodeRecord) -> tuple[object, ...]:
    return (code.status, code.user_id, code.digits, code.attempts, code.redirect_host, code.bot_id)


def _chat_values(
    bot: int, after: int, user_id: str | None, is_outgoing: bool | None
) -> tuple[object, ...]:  # as it is stored
    direction = None if is_outgoing is None else int(is_outgoing)
    return bot, after, None if user_id is None else stored_text(user_id), direction


def _stored(values: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(stored_text(value) if isinstance(value, str) else value for value in values)
