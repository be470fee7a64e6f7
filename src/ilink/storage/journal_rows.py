"""Rows of the journal's tables to values and back, many to a statement."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final, TypeVar

import msgspec

from ilink.flows.window import Window
from ilink.storage.journal import Draft, InboxState, Letter, OutboxState, Outgoing, OutgoingFile
from ilink.wire.ids import AccountId, ClientId, MessageId, UserId

__all__ = [
    "DRAFT",
    "DRAFT_COLUMNS",
    "LETTER",
    "OUTGOING",
    "WINDOW",
    "WINDOW_COLUMNS",
    "chunks",
    "draft_row",
    "flat",
    "marks",
    "to_letter",
    "to_outgoing",
    "to_windows",
    "window_row",
]

T = TypeVar("T")
Row = tuple[object, ...]

_CHUNKS: Final = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 64)
"""Rows in one statement: few sizes, so that prepared statements are found again, and any batch takes one or two."""

LETTER: Final = (
    "seq, conversation, user_id, identity, raw, claim, attempts, interrupted, due_ms, received_ms, state, error,"
    " is_parked, resembles"
)
OUTGOING: Final = (
    "out_seq, client_id, conversation, user_id, item, file, cause_seq, is_progress, run_id, expires_ms, state,"
    " attempts, is_doubtful, created_ms, uploaded_ms, message_id, code, reason"
)
DRAFT: Final = (
    "account_id, conversation, user_id, client_id, cause_seq, is_progress, item, file, run_id, expires_ms, created_ms,"
    " state"
)
DRAFT_COLUMNS: Final = 12
WINDOW: Final = (
    "user_id, heard_ms, sent, credit, allowance, is_strict, is_closed, paused_until_ms, pauses, probe_ms, refusals"
)
WINDOW_COLUMNS: Final = 12
"""Those of WINDOW, and the account."""

_windows: Final = msgspec.json.Decoder(list[tuple[str, int | None, int, int, int, int, int, int, int, int, int]])
_files: Final = msgspec.json.Decoder(OutgoingFile)


def chunks(rows: Sequence[T]) -> Sequence[Sequence[T]]:
    """Return rows in pieces of few sizes, so that every statement is one of few texts."""
    if len(rows) == 1:  # as of a single message
        return (rows,)
    pieces: list[Sequence[T]] = []
    start = 0
    while left := len(rows) - start:
        size = _CHUNKS[bisect_right(_CHUNKS, left) - 1]
        pieces.append(rows if size == len(rows) else rows[start : start + size])
        start += size
    return pieces


@cache
def marks(columns: int, rows: int) -> str:
    """Return the question marks of so many rows of so many columns."""
    one = ", ".join("?" * columns)
    return ", ".join([f"({one})" if columns > 1 else one] * rows)


def flat(rows: Iterable[Row]) -> list[object]:
    """Return the values of rows, one after the other, as a statement takes them."""
    return list(chain.from_iterable(rows))


def to_letter(row: tuple[Any, ...]) -> Letter:
    """Return a row of LETTER as a value."""
    sequence, conversation, user, identity, raw, claim, attempts, interrupted, due_ms, received_ms, *rest = row
    state, error, is_parked, resembles = rest
    return Letter(
        sequence=sequence,
        conversation=conversation,
        user=UserId(user),
        identity=identity,
        raw=raw,
        claim=claim,
        attempts=attempts,
        interrupted=interrupted,
        due_ms=due_ms,
        received_ms=received_ms,
        state=InboxState(state),
        error=error,
        is_parked=bool(is_parked),
        resembles=resembles,
    )


def to_outgoing(row: tuple[Any, ...]) -> Outgoing:
    """Return a row of OUTGOING as a value."""
    out_sequence, client_id, conversation, user, item, file, cause, progress, run_id, expires_ms, *rest = row
    state, attempts, is_doubtful, created_ms, uploaded_ms, message_id, code, reason = rest
    draft = Draft(
        client_id=ClientId(client_id),
        conversation=conversation,
        user=UserId(user),
        item=item,
        file=None if file is None else _files.decode(file),
        cause=cause,
        is_progress=bool(progress),
        run_id=run_id,
        expires_ms=expires_ms,
    )
    return Outgoing(
        out_sequence=out_sequence,
        draft=draft,
        state=OutboxState(state),
        attempts=attempts,
        is_doubtful=bool(is_doubtful),
        created_ms=created_ms,
        uploaded_ms=uploaded_ms,
        message_id=None if message_id is None else MessageId(message_id),
        code=code,
        reason=reason,
    )


def to_windows(found: str) -> dict[UserId, Window]:
    """Return windows from a JSON array of rows of WINDOW, which comes in one step however many there are."""
    return {
        UserId(user): Window(
            heard_ms=heard_ms,
            sent=sent,
            credit=credit,
            allowance=allowance,
            is_strict=bool(is_strict),
            is_closed=bool(is_closed),
            paused_until_ms=paused_until_ms,
            pauses=pauses,
            probe_ms=probe_ms,
            refusals=refusals,
        )
        for (
            user,
            heard_ms,
            sent,
            credit,
            allowance,
            is_strict,
            is_closed,
            paused_until_ms,
            pauses,
            probe_ms,
            refusals,
        ) in _windows.decode(found)
    }


def window_row(user: UserId, window: Window) -> Row:
    """Return a window as a row of WINDOW."""
    return (
        user,
        window.heard_ms,
        window.sent,
        window.credit,
        window.allowance,
        int(window.is_strict),
        int(window.is_closed),
        window.paused_until_ms,
        window.pauses,
        window.probe_ms,
        window.refusals,
    )


def draft_row(account: AccountId, draft: Draft, now_ms: int) -> Row:
    """Return a message as a row of DRAFT."""
    return (
        account,
        draft.conversation,
        draft.user,
        draft.client_id,
        draft.cause,
        int(draft.is_progress),
        draft.item,
        None if draft.file is None else msgspec.json.encode(draft.file).decode(),
        draft.run_id,
        draft.expires_ms,
        now_ms,
        0,
    )
