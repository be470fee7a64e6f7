"""Rows of the journal's tables in PostgreSQL to values and back, many to a statement as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from ilink.flows.window import Window
from ilink.storage.journal import Arrival, Draft, Letter, Outgoing
from ilink.storage.journal_groups import Group, Settlement
from ilink.storage.journal_rows import to_letter, to_outgoing
from ilink.storage.postgres_text import ESCAPE, escaped, unescaped
from ilink.wire.ids import UserId

if TYPE_CHECKING:
    from ilink.storage.postgres import Row

__all__ = ["arrival_columns", "escaped", "group_columns", "letter", "outgoing", "unescaped", "window"]

Columns = list[list[object]]


def _maybe(text: str | None) -> str | None:
    return None if text is None else escaped(text)


def letter(row: Row) -> Letter:
    """Return a row of LETTER as a value."""
    return to_letter(_plain(row))


def outgoing(row: Row) -> Outgoing:
    """Return a row of OUTGOING as a value."""
    return to_outgoing(_plain(row))


def _plain(row: Row) -> tuple[object, ...]:
    values = tuple(row)
    if any(isinstance(value, str) and ESCAPE in value for value in values):
        return tuple(unescaped(value) if isinstance(value, str) else value for value in values)
    return values


def window(row: Row) -> tuple[UserId, Window]:
    """Return a row of WINDOW as a user and what is known about sending to them."""
    user, *values = tuple(row)
    return UserId(unescaped(user)), Window(**dict(zip(Window.__struct_fields__, values, strict=True)))


def arrival_columns(arrivals: Sequence[Arrival]) -> Columns:
    """Return updates as the columns that `ingest` takes."""
    rows = (
        (
            one.raw,
            escaped(one.identity),
            escaped(one.conversation),
            escaped(one.user),
            None if one.context_token is None else escaped(one.context_token.reveal()),
            int(one.state),
            _maybe(one.error),
            one.opens,
            _maybe(one.resembles),
        )
        for one in arrivals
    )
    return _columns(rows, 9)


def group_columns(group: Group) -> Columns:
    """Return a group as the columns that `store_group` takes."""
    runs = ((place, *run) for place, one in enumerate(group.completions, 1) for run in one.runs)
    completions = (
        (one.now_ms, one.state, one.due_ms, one.expires_ms, _maybe(one.ignored)) for one in group.completions
    )
    drafts = (_draft_row(place, now_ms, draft) for place, now_ms, draft in _drafts(group))
    return [
        *_columns(runs, 3),
        *_columns(completions, 5),
        *_columns(drafts, 11),
        *_columns((_outcome_row(one) for one in group.settlements), 11),
    ]


def _drafts(group: Group) -> Iterable[tuple[int, int, Draft]]:
    """Return all messages of a group in order, each with the place of its completion, or 0."""
    for place, completion in enumerate(group.completions, 1):
        yield from ((place, completion.now_ms, draft) for draft in completion.drafts)
    for addition in group.additions:
        yield from ((0, addition.now_ms, draft) for draft in addition.drafts)


def _draft_row(place: int, now_ms: int, draft: Draft) -> tuple[object, ...]:
    return (
        place,
        now_ms,
        escaped(draft.client_id),
        escaped(draft.conversation),
        escaped(draft.user),
        draft.item,
        None if draft.file is None else msgspec.json.encode(draft.file).decode(),
        draft.cause,
        draft.is_progress,
        _maybe(draft.run_id),
        draft.expires_ms,
    )


def _outcome_row(settlement: Settlement) -> tuple[object, ...]:
    outcome = settlement.outcome
    return (
        outcome.out_sequence,
        escaped(outcome.user),
        int(outcome.state),
        int(outcome.event),
        settlement.now_ms,
        outcome.retry_after_ms,
        outcome.was_tried,
        outcome.is_doubtful,
        _maybe(outcome.message_id),
        outcome.code,
        _maybe(outcome.reason),
    )


def _columns(rows: Iterable[tuple[object, ...]], width: int) -> Columns:
    """Return rows as columns, so many even if there are no rows."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    return columns or [[] for _ in range(width)]
