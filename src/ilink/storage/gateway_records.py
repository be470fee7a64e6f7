"""Rows of the gateway's tables as values, whichever database they come from."""

from __future__ import annotations

import json
from typing import Any, Final, Protocol

from ilink.storage.gateway import (
    BotRecord,
    ChatRecord,
    CodeRecord,
    EntryRecord,
    TicketRecord,
    UploadTicketRecord,
)

__all__ = [
    "BOT_COLUMNS",
    "CODE_COLUMNS",
    "ENTRY_COLUMNS",
    "SELECT_BOT",
    "SELECT_CHAT",
    "SELECT_CODE",
    "SELECT_ENTRY",
    "SELECT_TICKET",
    "SELECT_UPLOAD",
    "UPLOAD_COLUMNS",
    "Row",
    "bot_values",
    "code_values",
    "entry_values",
    "read_bot",
    "read_chat",
    "read_code",
    "read_entry",
    "read_ticket",
    "read_upload",
    "upload_values",
]


class Row(Protocol):
    """A row of any database; what its columns hold is said where it is read."""

    def __getitem__(self, place: int, /) -> Any: ...  # noqa: ANN401


BOT_COLUMNS: Final = (
    "id, bot_id, owner_user_id, state, generation, created_ms, token_hash, revoke_ms, head_seq, handed_seq,"
    " acked_seq, last_poll_ms, is_notified"
)
CODE_COLUMNS: Final = (
    "qrcode, url, secret, status, created_ms, expires_ms, known_bots, user_id, digits, attempts, redirect_host, bot_id"
)
ENTRY_COLUMNS: Final = "n, bot, user_id, direction, seq, client_id, at_ms, state, shown_ms, why, cut, wire"
_CHAT_COLUMNS: Final = "user_id, last_inbound_ms, sends, context_token"
_TICKET_COLUMNS: Final = "ticket, bot, user_id, issued_ms"
UPLOAD_COLUMNS: Final = (
    "param, bot, user_id, filekey, media_type, plain_bytes, plain_md5, cipher_bytes, aes_key, is_thumbnail,"
    " issued_ms, used_ms"
)
SELECT_BOT: Final = f"SELECT {BOT_COLUMNS} FROM bot"  # noqa: S608  # of constants
SELECT_CODE: Final = f"SELECT {CODE_COLUMNS} FROM code"  # noqa: S608  # of constants
SELECT_ENTRY: Final = f"SELECT {ENTRY_COLUMNS} FROM entry"  # noqa: S608  # of constants
SELECT_CHAT: Final = f"SELECT {_CHAT_COLUMNS} FROM chat"  # noqa: S608  # of constants
SELECT_TICKET: Final = f"SELECT {_TICKET_COLUMNS} FROM typing_ticket"  # noqa: S608  # of constants
SELECT_UPLOAD: Final = f"SELECT {UPLOAD_COLUMNS} FROM upload_ticket"  # noqa: S608  # of constants


def read_bot(row: Row) -> BotRecord:
    """Return a row of `BOT_COLUMNS` as a value."""
    return BotRecord(
        number=row[0],
        bot_id=row[1],
        owner_user_id=row[2],
        state=row[3],
        generation=row[4],
        created_ms=row[5],
        token_hash=row[6],
        revoke_ms=row[7],
        head_seq=row[8],
        handed_seq=row[9],
        acked_seq=row[10],
        last_poll_ms=row[11],
        is_notified=bool(row[12]),
    )


def bot_values(bot: BotRecord) -> tuple[object, ...]:
    """Return the values of `BOT_COLUMNS`."""
    return (
        bot.number,
        bot.bot_id,
        bot.owner_user_id,
        bot.state,
        bot.generation,
        bot.created_ms,
        bot.token_hash,
        bot.revoke_ms,
        bot.head_seq,
        bot.handed_seq,
        bot.acked_seq,
        bot.last_poll_ms,
        bot.is_notified,
    )


def read_code(row: Row) -> CodeRecord:
    """Return a row of `CODE_COLUMNS` as a value."""
    return CodeRecord(
        qrcode=row[0],
        url=row[1],
        secret=row[2],
        status=row[3],
        created_ms=row[4],
        expires_ms=row[5],
        known_bots=tuple(json.loads(row[6])),
        user_id=row[7],
        digits=row[8],
        attempts=row[9],
        redirect_host=row[10],
        bot_id=row[11],
    )


def code_values(code: CodeRecord) -> tuple[object, ...]:
    """Return the values of `CODE_COLUMNS`."""
    return (
        code.qrcode,
        code.url,
        code.secret,
        code.status,
        code.created_ms,
        code.expires_ms,
        json.dumps(code.known_bots),
        code.user_id,
        code.digits,
        code.attempts,
        code.redirect_host,
        code.bot_id,
    )


def read_entry(row: Row) -> EntryRecord:
    """Return a row of `ENTRY_COLUMNS` as a value."""
    return EntryRecord(
        n=row[0],
        bot=row[1],
        user_id=row[2],
        is_outgoing=bool(row[3]),
        seq=row[4],
        client_id=row[5],
        at_ms=row[6],
        state=row[7],
        shown_ms=row[8],
        why=row[9],
        cut=row[10],
        wire=row[11],
    )


def entry_values(entry: EntryRecord) -> tuple[object, ...]:
    """Return the values of `ENTRY_COLUMNS`."""
    return (
        entry.n,
        entry.bot,
        entry.user_id,
        int(entry.is_outgoing),
        entry.seq,
        entry.client_id,
        entry.at_ms,
        entry.state,
        entry.shown_ms,
        entry.why,
        entry.cut,
        entry.wire,
    )


def read_chat(row: Row) -> ChatRecord:
    """Return a row of `_CHAT_COLUMNS` as a value."""
    return ChatRecord(user_id=row[0], last_inbound_ms=row[1], sends=row[2], context_token=row[3])


def read_ticket(row: Row) -> TicketRecord:
    """Return a row of `_TICKET_COLUMNS` as a value."""
    return TicketRecord(ticket=row[0], bot=row[1], user_id=row[2], issued_ms=row[3])


def read_upload(row: Row) -> UploadTicketRecord:
    """Return a row of `UPLOAD_COLUMNS` as a value."""
    return UploadTicketRecord(
        param=row[0],
        bot=row[1],
        user_id=row[2],
        filekey=row[3],
        media_type=row[4],
        plain_bytes=row[5],
        plain_md5=row[6],
        cipher_bytes=row[7],
        aes_key=row[8],
        is_thumbnail=bool(row[9]),
        issued_ms=row[10],
        used_ms=row[11],
    )


def upload_values(ticket: UploadTicketRecord) -> tuple[object, ...]:
    """Return the values of `UPLOAD_COLUMNS`."""
    return (
        ticket.param,
        ticket.bot,
        ticket.user_id,
        ticket.filekey,
        ticket.media_type,
        ticket.plain_bytes,
        ticket.plain_md5,
        ticket.cipher_bytes,
        ticket.aes_key,
        ticket.is_thumbnail,
        ticket.issued_ms,
        ticket.used_ms,
    )
