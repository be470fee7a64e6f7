"""The outgoing messages of one account in the embedded database, as pieces of a unit of work."""

# ruff: noqa: S608  # statements are built from names and counts of this module; values are always bound
from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ilink.flows.window import Window
from ilink.storage.journal import Draft, OutboxState, Outgoing, after_outcome
from ilink.storage.journal_groups import Settlement
from ilink.storage.journal_rows import (
    DRAFT,
    DRAFT_COLUMNS,
    OUTGOING,
    WINDOW,
    WINDOW_COLUMNS,
    chunks,
    draft_row,
    flat,
    marks,
    to_outgoing,
    to_windows,
    window_row,
)
from ilink.wire.ids import AccountId, ClientId, UserId

__all__ = ["DROPPED", "UNSENT", "OutboxTable"]

UNSENT: Final = "state IN (0, 6, 7)"
"""What still waits, as the partial indexes spell it."""

DROPPED: Final = "nobody knows whether it arrived, and it was decided not to send it again"


class OutboxTable:
    """Reads and writes one account's outgoing messages and windows through a connection that others open and commit."""

    def __init__(self, account: AccountId) -> None:
        self._account = account

    def insert(self, connection: sqlite3.Connection, drafts: Sequence[Draft], now_ms: int) -> dict[ClientId, Outgoing]:
        """Store messages, and return the new ones; those with known client ids are left as they are."""
        stored: dict[ClientId, Outgoing] = {}
        for chunk in chunks(drafts):
            try:
                stored |= self._insert_new(connection, chunk, now_ms)
            except sqlite3.IntegrityError:  # some are known, which is rare, and none of the others was stored
                stored |= self._insert_unknown(connection, chunk, now_ms)
        return stored

    def _insert_new(
        self, connection: sqlite3.Connection, drafts: Sequence[Draft], now_ms: int
    ) -> dict[ClientId, Outgoing]:
        values: list[object] = []
        for draft in drafts:
            values += draft_row(self._account, draft, now_ms)
        inserted = connection.execute(
            f"INSERT INTO outbox ({DRAFT}) VALUES {marks(DRAFT_COLUMNS, len(drafts))}", values
        )
        assert inserted.lastrowid is not None
        stored: dict[ClientId, Outgoing] = {}
        for place, draft in enumerate(drafts, inserted.lastrowid - len(drafts) + 1):
            stored[draft.client_id] = Outgoing(out_sequence=place, draft=draft, created_ms=now_ms)
        return stored

    def _insert_unknown(
        self, connection: sqlite3.Connection, drafts: Sequence[Draft], now_ms: int
    ) -> dict[ClientId, Outgoing]:
        """Store those messages one by one whose names are not known yet, the first of each name."""
        unknown: dict[ClientId, Draft] = {}
        for draft in drafts:
            unknown.setdefault(draft.client_id, draft)
        for known in self.find(connection, list(unknown)):
            del unknown[known.draft.client_id]
        stored: dict[ClientId, Outgoing] = {}
        for draft in unknown.values():
            stored |= self._insert_new(connection, [draft], now_ms)
        return stored

    def find(self, connection: sqlite3.Connection, client_ids: Sequence[ClientId]) -> list[Outgoing]:
        """Return messages by their names."""
        sql = f"SELECT {OUTGOING} FROM outbox WHERE account_id = ? AND client_id = ?"
        rows = (connection.execute(sql, (self._account, client_id)).fetchone() for client_id in client_ids)
        return [to_outgoing(row) for row in rows if row is not None]

    def read_waiting(
        self, connection: sqlite3.Connection, conversation: str, *, after: int, limit: int
    ) -> list[Outgoing]:
        """Return a page of what waits in a conversation, in order."""
        sql = (
            f"SELECT {OUTGOING} FROM outbox WHERE account_id = ? AND conversation = ? AND {UNSENT}"
            " AND out_seq > ? ORDER BY out_seq LIMIT ?"
        )
        return [to_outgoing(row) for row in connection.execute(sql, (self._account, conversation, after, limit))]

    def read_states(
        self, connection: sqlite3.Connection, states: Sequence[OutboxState], *, after: int, limit: int
    ) -> list[Outgoing]:
        """Return a page of the messages in some states, oldest first."""
        sql = (
            f"SELECT {OUTGOING} FROM outbox WHERE account_id = ?"
            f" AND state IN ({', '.join(str(int(state)) for state in states)}) AND out_seq > ? ORDER BY out_seq LIMIT ?"
        )
        return [to_outgoing(row) for row in connection.execute(sql, (self._account, after, limit))]

    def find_enqueued(self, connection: sqlite3.Connection, after: int) -> tuple[list[str], int]:
        """Return the conversations of what was stored behind a place and waits, and the newest place."""
        (newest,) = connection.execute("SELECT ifnull(max(out_seq), 0) FROM outbox").fetchone()
        names = connection.execute(
            "SELECT DISTINCT conversation FROM outbox WHERE +account_id = ? AND out_seq > ? AND +state = 0",
            (self._account, after),
        )
        return [name for (name,) in names], newest

    def find_needed_files(self, connection: sqlite3.Connection, names: Sequence[ClientId]) -> set[ClientId]:
        """Return those messages, of whatever account, whose files are still to be sent."""
        needed: set[ClientId] = set()
        for chunk in chunks([(name,) for name in names]):
            found = connection.execute(
                f"SELECT client_id FROM outbox WHERE client_id IN ({marks(1, len(chunk))})"
                f" AND file IS NOT NULL AND {UNSENT}",
                flat(chunk),
            )
            needed.update(ClientId(name) for (name,) in found)
        return needed

    def doubt_first(self, connection: sqlite3.Connection) -> None:
        """Mark the first waiting message of every conversation: the process that died may have been sending it."""
        connection.execute(
            "UPDATE outbox SET is_doubtful = 1 WHERE out_seq IN"
            f" (SELECT min(out_seq) FROM outbox WHERE account_id = ? AND {UNSENT} GROUP BY conversation)",
            (self._account,),
        )

    def attach(self, connection: sqlite3.Connection, out_sequence: int, item: bytes, now_ms: int) -> None:
        """Store what a file became by its upload."""
        connection.execute(
            f"UPDATE outbox SET item = ?, uploaded_ms = ? WHERE out_seq = ? AND account_id = ? AND {UNSENT}",
            (item, now_ms, out_sequence, self._account),
        )

    def decide(
        self, connection: sqlite3.Connection, client_id: ClientId, *, is_retry: bool, now_ms: int
    ) -> Outgoing | None:
        """Let a message that asked be sent again, or stay unknown for good; None for one that does not ask."""
        state = OutboxState.WAITING if is_retry else OutboxState.UNKNOWN
        changed = connection.execute(
            "UPDATE outbox SET state = ?, is_doubtful = 1, finished_ms = ?, reason = ?"
            " WHERE account_id = ? AND client_id = ? AND state = 7",
            (
                int(state),
                None if is_retry else now_ms,
                None if is_retry else DROPPED,
                self._account,
                client_id,
            ),
        )
        return self.find(connection, [client_id])[0] if changed.rowcount else None

    def settle(
        self,
        connection: sqlite3.Connection,
        settlements: Sequence[Settlement],
        is_owner: Callable[[sqlite3.Connection], bool],
    ) -> None:
        """Store outcomes; one of a message that is finished already changes nothing of it.

        From somebody who does not own the journal only last words are taken: that a message was accepted stays true,
        but what happens to one that waits is not theirs to say.
        """
        final = [settlement for settlement in settlements if settlement.outcome.state.is_final]
        if len(final) < len(settlements) and not is_owner(connection):
            settlements = final
        newest = {settlement.outcome.out_sequence: settlement for settlement in settlements}
        rows = [_outcome_row(settlement) for settlement in newest.values()]
        for chunk in chunks(rows):
            connection.execute(
                "WITH outcome (out_seq, state, tried, doubtful, message_id, code, reason, finished_ms) AS"
                f" (VALUES {marks(8, len(chunk))}) UPDATE outbox SET state = outcome.state,"
                " attempts = attempts + outcome.tried, is_doubtful = max(is_doubtful, outcome.doubtful),"
                " message_id = outcome.message_id, code = outcome.code,"
                " reason = outcome.reason, finished_ms = outcome.finished_ms FROM outcome"
                # the plus keeps the planner from looking through the index of everything that waits
                f" WHERE outbox.out_seq = outcome.out_seq AND +outbox.{UNSENT}",
                flat(chunk),
            )
        self._learn(connection, [settlement for settlement in settlements if settlement.outcome.event])

    def _learn(self, connection: sqlite3.Connection, settlements: list[Settlement]) -> None:
        if not settlements:
            return
        users = list(dict.fromkeys(settlement.outcome.user for settlement in settlements))
        windows = self.load_windows(connection, users)
        for settlement in settlements:
            outcome = settlement.outcome
            window = windows.get(outcome.user, Window())
            windows[outcome.user] = after_outcome(window, outcome, settlement.now_ms)
        self.store_windows(connection, windows)

    def load_windows(self, connection: sqlite3.Connection, users: Sequence[UserId]) -> dict[UserId, Window]:
        """Return what is known about sending to some users."""
        windows: dict[UserId, Window] = {}
        for chunk in chunks([(user,) for user in users]):
            (found,) = connection.execute(
                f"SELECT json_group_array(json_array({WINDOW})) FROM windows"
                f" WHERE account_id = ? AND user_id IN ({marks(1, len(chunk))})",
                (self._account, *flat(chunk)),
            ).fetchone()
            windows.update(to_windows(found))
        return windows

    def store_windows(self, connection: sqlite3.Connection, windows: Mapping[UserId, Window]) -> None:
        """Keep what is known about sending to some users."""
        for chunk in chunks(list(windows.items())):
            values: list[object] = []
            for user, window in chunk:
                values.append(self._account)
                values += window_row(user, window)
            connection.execute(
                f"INSERT OR REPLACE INTO windows (account_id, {WINDOW}) VALUES {marks(WINDOW_COLUMNS, len(chunk))}",
                values,
            )


def _outcome_row(settlement: Settlement) -> tuple[object, ...]:
    outcome = settlement.outcome
    return (
        outcome.out_sequence,
        int(outcome.state),
        int(outcome.was_tried),
        int(outcome.is_doubtful),
        outcome.message_id,
        outcome.code,
        outcome.reason,
        settlement.now_ms if outcome.state.is_final else None,
    )
