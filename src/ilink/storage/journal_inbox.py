"""The updates of one account in the embedded database, as pieces of a unit of work."""

# ruff: noqa: S608  # statements are built from names and counts of this module; values are always bound
from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from ilink.errors import RemoteProtocolError
from ilink.flows.window import Window
from ilink.storage.journal import Arrival, InboxState, Letter
from ilink.storage.journal_groups import Completion
from ilink.storage.journal_rows import LETTER, WINDOW, chunks, flat, marks, to_letter, to_windows
from ilink.wire.codec import decode
from ilink.wire.ids import AccountId, UserId
from ilink.wire.models import WeixinMessage, given

__all__ = ["GIVEN_UP", "Failure", "InboxTable"]

GIVEN_UP: Final = "(state = 2 OR is_parked = 1)"
"""As its index has it."""

_numbers: Final = msgspec.json.Decoder(list[int])
_names: Final = msgspec.json.Decoder(list[str])


class Failure(Struct, frozen=True):
    """Why a run failed, when its update is due again (None: never), and whether its lane waits for a decision."""

    error: str
    due_ms: int | None
    now_ms: int
    is_parked: bool


class InboxTable:
    """Reads and writes one account's updates through a connection that others open and commit."""

    def __init__(self, account: AccountId) -> None:
        self._account = account

    def doubt_first(self, connection: sqlite3.Connection) -> None:
        """Count as interrupted what may have been running when a process ended without a word.

        That is the first update of each conversation. The second time only what was written down as running counts, so
        that one poisonous update does not take the innocent with it.
        """
        connection.execute(
            "UPDATE inbox SET interrupted = interrupted + 1, is_running = 0 WHERE seq IN"
            " (SELECT min(seq) FROM inbox WHERE account_id = ? AND state = 0 GROUP BY conversation)"
            " AND (interrupted = 0 OR is_running = 1)",
            (self._account,),
        )

    def look_up(
        self, connection: sqlite3.Connection, arrivals: Sequence[Arrival]
    ) -> tuple[set[str], dict[UserId, Window]]:
        """Return which identities were stored before, and what is known about sending to those who wrote."""
        known: set[str] = set()
        windows: dict[UserId, Window] = {}
        for chunk in chunks(arrivals):
            places = marks(1, len(chunk))
            identities, found = connection.execute(
                "SELECT (SELECT json_group_array(identity) FROM inbox"
                f" WHERE account_id = ? AND identity IN ({places})),"
                f" (SELECT json_group_array(json_array({WINDOW})) FROM windows"
                f" WHERE account_id = ? AND user_id IN ({places}))",
                (
                    self._account,
                    *[arrival.identity for arrival in chunk],
                    self._account,
                    *[arrival.user for arrival in chunk],
                ),
            ).fetchone()
            known.update(_names.decode(identities))
            windows.update(to_windows(found))
        return known, windows

    def insert(self, connection: sqlite3.Connection, arrivals: list[Arrival], now_ms: int) -> dict[str, int]:
        """Store updates that are new, and return their sequences by their identities."""
        sequences: dict[str, int] = {}
        for chunk in chunks(arrivals):
            values: list[object] = []
            for arrival in chunk:
                values += (
                    self._account,
                    arrival.conversation,
                    arrival.user,
                    arrival.identity,
                    int(arrival.state),
                    now_ms,
                    None if arrival.state == InboxState.WAITING else now_ms,
                    arrival.error,
                    arrival.raw,
                    arrival.resembles,
                )
            inserted = connection.execute(
                "INSERT INTO inbox (account_id, conversation, user_id, identity, state, received_ms, finished_ms,"
                f" error, raw, resembles) VALUES {marks(10, len(chunk))}",
                values,
            )
            assert inserted.lastrowid is not None
            for sequence, arrival in enumerate(chunk, inserted.lastrowid - len(chunk) + 1):
                sequences[arrival.identity] = sequence
        return sequences

    def store_context_tokens(
        self, connection: sqlite3.Connection, arrivals: Sequence[Arrival], outdated: frozenset[int], now_ms: int
    ) -> None:
        """Keep the newest token of each user, also of updates that were stored before: it may be fresher."""
        tokens: dict[UserId, tuple[object, ...]] = {}
        for place, arrival in enumerate(arrivals):
            if place not in outdated and arrival.user and arrival.context_token:
                tokens[arrival.user] = (self._account, arrival.user, arrival.context_token.reveal(), now_ms)
        for chunk in chunks(list(tokens.values())):
            connection.execute(
                "INSERT INTO peers (account_id, user_id, context_token, updated_at_ms)"
                f" VALUES {marks(4, len(chunk))} ON CONFLICT DO UPDATE SET"
                " context_token = excluded.context_token, updated_at_ms = excluded.updated_at_ms",
                flat(chunk),
            )

    def find_outdated(
        self, connection: sqlite3.Connection, arrivals: Sequence[Arrival], known: set[str]
    ) -> frozenset[int]:
        """Return the places of those that come again with the context token they came with first."""
        return frozenset(
            place
            for place, arrival in enumerate(arrivals)
            if arrival.identity in known
            and arrival.context_token is not None
            and arrival.context_token.reveal() == self._first_context_token(connection, arrival.identity)
        )

    def find_foreign(self, connection: sqlite3.Connection, *, after: int, before: int) -> tuple[str, ...]:
        """Return in which conversations updates wait that were stored between two places."""
        if before <= after + 1:
            return ()
        found = connection.execute(
            "SELECT DISTINCT conversation FROM inbox WHERE seq > ? AND seq < ? AND account_id = ? AND state = 0",
            (after, before, self._account),
        )
        return tuple(conversation for (conversation,) in found)

    def finish(self, connection: sqlite3.Connection, completions: list[Completion], *, epoch: int) -> list[bool]:
        """Mark updates as finished, and tell of each completion whether it was accepted.

        Its updates still wait, for this run, in this epoch; a second completion of one of them is refused.
        """
        runs = list({run for completion in completions for run in completion.runs})
        waiting = self._find_waiting(connection, runs, epoch)
        taken: list[bool] = []
        done: list[int] = []
        for completion in completions:
            taken.append(waiting.issuperset(completion.runs))
            if taken[-1]:
                waiting.difference_update(completion.runs)
                numbers = [sequence for sequence, _ in completion.runs]
                if completion.ignored is None:
                    done += numbers
                else:
                    _ignore(connection, numbers, completion.ignored, completion.now_ms)
        for chunk in chunks(done):
            connection.execute(
                f"UPDATE inbox SET state = 1, is_running = 0, finished_ms = ? WHERE seq IN ({marks(1, len(chunk))})",
                (completions[0].now_ms, *chunk),
            )
        return taken

    def _find_waiting(
        self, connection: sqlite3.Connection, runs: list[tuple[int, int]], epoch: int
    ) -> set[tuple[int, int]]:
        """Return those runs that may finish their updates; none when the journal belongs to another epoch by now."""
        waiting: set[tuple[int, int]] = set()
        for chunk in chunks(runs):
            sequences, claims = connection.execute(
                f"WITH run (seq, claim) AS (VALUES {marks(2, len(chunk))})"
                " SELECT json_group_array(inbox.seq), json_group_array(inbox.claim)"
                " FROM run CROSS JOIN inbox ON inbox.seq = run.seq AND inbox.claim = run.claim"
                " WHERE inbox.state = 0 AND inbox.is_parked = 0 AND inbox.account_id = ?"
                " AND EXISTS (SELECT 1 FROM journals WHERE account_id = ? AND epoch = ?)",
                (*flat(chunk), self._account, self._account, epoch),
            ).fetchone()
            waiting.update(zip(_numbers.decode(sequences), _numbers.decode(claims), strict=True))
        return waiting

    def fail(
        self, connection: sqlite3.Connection, run: tuple[int, int], others: Sequence[tuple[int, int]], failure: Failure
    ) -> Letter | None:
        """Store the failure of a run, and of those that go with it when it was their last; None if it was fenced."""
        is_dead = failure.due_ms is None and not failure.is_parked
        sql = (
            "UPDATE inbox SET attempts = attempts + 1, claim = claim + 1, is_running = 0, error = ?, due_ms = ?,"
            " state = ?, finished_ms = ?, is_parked = ? WHERE seq = ? AND account_id = ? AND claim = ?"
            " AND state = 0 AND is_parked = 0"
        )
        state = InboxState.DEAD if is_dead else InboxState.WAITING
        finished_ms = failure.now_ms if is_dead else None
        values = (failure.error, failure.due_ms or 0, state, finished_ms, int(failure.is_parked))
        sequence, claim = run
        if not connection.execute(sql, (*values, sequence, self._account, claim)).rowcount:
            return None
        if is_dead:
            connection.executemany(sql, [(*values, number, self._account, other) for number, other in others])
        return to_letter(connection.execute(f"SELECT {LETTER} FROM inbox WHERE seq = ?", (sequence,)).fetchone())

    def replay(self, connection: sqlite3.Connection, sequences: Sequence[int]) -> list[str]:
        """Let what was given up wait again as if it had never failed; return its conversations."""
        conversations: set[str] = set()
        for sequence in sequences:
            where = (sequence, self._account)
            row = connection.execute(
                f"SELECT conversation FROM inbox WHERE seq = ? AND account_id = ? AND {GIVEN_UP}", where
            ).fetchone()
            if row is not None:
                conversations.add(row[0])
                connection.execute(
                    "UPDATE inbox SET state = 0, is_parked = 0, attempts = 0, interrupted = 0, claim = claim + 1,"
                    " due_ms = 0, finished_ms = NULL WHERE seq = ? AND account_id = ?",
                    where,
                )
        return sorted(conversations)

    def drop(self, connection: sqlite3.Connection, sequences: Sequence[int]) -> int:
        """Give up for good what was given up, and return how many."""
        return sum(
            connection.execute(
                f"UPDATE inbox SET state = 3, is_parked = 0 WHERE seq = ? AND account_id = ? AND {GIVEN_UP}",
                (sequence, self._account),
            ).rowcount
            for sequence in sequences
        )

    def _first_context_token(self, connection: sqlite3.Connection, identity: str) -> str | None:
        (raw,) = connection.execute(
            "SELECT raw FROM inbox WHERE account_id = ? AND identity = ?", (self._account, identity)
        ).fetchone()
        try:
            return given(decode(raw, WeixinMessage).value.context_token, None)
        except RemoteProtocolError:
            return None


def _ignore(connection: sqlite3.Connection, sequences: Sequence[int], reason: str, now_ms: int) -> None:
    connection.executemany(
        "UPDATE inbox SET state = 3, is_running = 0, finished_ms = ?, error = ? WHERE seq = ?",
        [(now_ms, reason, sequence) for sequence in sequences],
    )
