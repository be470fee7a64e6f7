"""What a fleet does at ten thousand to ten million bots: a simulation, event by event, from measured costs.

    python -m bench.scale                   10⁴, 10⁵, 10⁶ and 10⁷ bots, about two minutes
    python -m bench.scale --bots 10000      one size

Beyond the size of a cell there are cells of that size side by side, which share nothing but the directory. So one cell
is simulated whole, every poll and every message of it, and the rest is arithmetic.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from math import ceil
from random import Random
from typing import Final

__all__ = ["Cell", "Costs", "Report", "main", "simulate"]

SLOTS: Final = 4_096
"""Units that processes lease; fixed for ever, because an account's slot follows from its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What things cost, in seconds of one core or of the database, and in bytes.

    All are measured on a quiet machine with two cores. What a poll takes and what an account holds: `python -m
    bench.fleet --role poller`, with 2,500 accounts; a connection and a message: `python -m bench`. Those of the
    database are what one can do a second of one kind while the program that asks runs beside it: `python -m bench
    --only stores`, the rows with one update, one completion, one outcome at a time.
    """

    poll: float = 250e-6
    message: float = 600e-6
    connect: float = 1.5e-3
    ingest: float = 1 / 1_100
    complete: float = 1 / 780
    settle: float = 1 / 920
    adopt_account: float = 4.5e-6
    account_bytes: int = 60 * 1024
    """Of a poll that is held, with TLS."""
    row_bytes: int = 715 + 145 + 280
    """Of a message and its answer, with indexes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell, and what happens to it.

    Attributes:
        bots: How many accounts.
        processes: How many processes poll, one core each.
        databases: How many times the measured database the one of this cell is: cores, disks.
        messages_a_day: Of each bot, on average.
        peak: How many times the average the simulated hours have.
        hold: Seconds an idle poll is held.
        lease: Seconds until a silent process counts as dead.
        ramp: New connections a second of each process.
        seconds: How long it is watched.
        kill_at: When one process dies.
        outage_at: When the other side is gone; it comes back after `outage`.
        outage: Seconds.
        longest_pause: Seconds between two attempts at what failed often, at most.
    """

    bots: int
    processes: int
    databases: float = 1.0
    messages_a_day: float = 50.0
    peak: float = 3.0
    hold: float = 35.0
    lease: float = 30.0
    ramp: float = 200.0
    seconds: float = 600.0
    kill_at: float = 150.0
    outage_at: float = 350.0
    outage: float = 60.0
    longest_pause: float = 60.0


@dataclass(slots=True)
class Report:
    """What was seen.

    Attributes:
        polls: Poll turns a second in calm.
        messages: Messages a second.
        process_busy: The share of its core the busiest process used in calm.
        database_busy: The share of the database in calm.
        calm: Seconds from a message to its accepted answer while nothing was wrong.
        killed: The same, of messages to bots whose process died, from then until all were polled again.
        outage: The same, of messages that came while the other side was gone or was being connected to anew.
        polled_again: Seconds from the death until the last of its bots was polled.
        reconnected: Seconds from the end of the outage until the last bot was polled.
        unanswered: Messages that nobody had answered in the end.
    """

    polls: float = 0.0
    messages: float = 0.0
    process_busy: float = 0.0
    database_busy: float = 0.0
    calm: list[float] = field(default_factory=list[float])
    killed: list[float] = field(default_factory=list[float])
    outage: list[float] = field(default_factory=list[float])
    polled_again: float = 0.0
    reconnected: float = 0.0
    unanswered: int = 0


@dataclass(slots=True)
class _Server:
    """Something that does one thing after the other."""

    free_at: float = 0.0
    busy: float = 0.0

    def take(self, now: float, cost: float) -> float:
        """Return when work that comes now is done."""
        self.free_at = max(self.free_at, now) + cost
        self.busy += cost
        return self.free_at


class _Ramp:
    """Gives out new connections, so many a second."""

    def __init__(self, rate: float) -> None:
        self._step = 1 / rate
        self._next = 0.0

    def take(self, now: float) -> float:
        """Return when a connection that is wanted now may be opened."""
        self._next = max(self._next + self._step, now)
        return self._next


def simulate(cell: Cell, costs: Costs, *, seed: int = 1) -> Report:
    """Watch a cell for as long as it says; the same seed gives the same report."""
    return _Run(cell, costs, Random(seed)).run()


_NOBODY: Final = -1

_Event = tuple[float, int, Callable[[float, int], None], int, int]
"""When; a number that keeps equal times in order; what; to which account; in which of its turns."""


class _Run:
    """One simulation. An account is a number; its slot is its number modulo the slots, as hashes spread them.

    An account has turns: whatever was to happen in an earlier one, such as the answer of a poll whose process died,
    does not happen any more.
    """

    def __init__(self, cell: Cell, costs: Costs, random: Random) -> None:
        self._cell = cell
        self._costs = costs
        self._random = random
        self._rate = cell.bots * cell.messages_a_day * cell.peak / 86_400
        self._events: list[_Event] = []
        self._numbers = count()
        self._processes = [_Server() for _ in range(cell.processes)]
        self._ramps = [_Ramp(cell.ramp) for _ in range(cell.processes)]
        self._database = _Server()
        self._owner = [slot % cell.processes for slot in range(SLOTS)]
        self._is_held = bytearray(cell.bots)
        self._turn = [0] * cell.bots
        self._mail: dict[int, list[float]] = {}
        self._orphans: set[int] = set()
        self._cut: set[int] = set()
        self._polls = 0
        self._report = Report()

    def run(self) -> Report:
        """Let everything happen."""
        cell = self._cell
        for account in range(cell.bots):
            self._is_held[account] = 1
            self._at(self._random.random() * cell.hold, self._poll, account)
        self._at(0.0, self._someone_writes)
        self._at(cell.kill_at, self._die)
        self._at(cell.kill_at + cell.lease, self._take_over)
        self._at(cell.outage_at, self._go_out)
        self._at(cell.outage_at + cell.outage, self._come_back)
        while self._events[0][0] < cell.seconds:
            now, _, happen, account, turn = heapq.heappop(self._events)
            if account == _NOBODY or turn == self._turn[account]:
                happen(now, account)
        self._report.messages = self._rate
        self._report.unanswered = sum(len(waiting) for waiting in self._mail.values())
        return self._report

    def _at(self, at: float, happen: Callable[[float, int], None], account: int = _NOBODY) -> None:
        turn = 0 if account == _NOBODY else self._turn[account]
        heapq.heappush(self._events, (at, next(self._numbers), happen, account, turn))

    def _server(self, account: int) -> _Server:
        return self._processes[self._owner[account % SLOTS]]

    def _end_turn(self, account: int) -> None:
        self._turn[account] += 1
        self._is_held[account] = 0

    def _someone_writes(self, now: float, _: int) -> None:
        account = self._random.randrange(self._cell.bots)
        self._mail.setdefault(account, []).append(now)
        if self._is_held[account]:
            self._end_turn(account)
            self._hand_out(now, account)
        self._at(now + self._random.expovariate(self._rate), self._someone_writes)

    def _poll(self, now: float, account: int) -> None:
        """The last poll came back empty, or what it brought is stored: the next one goes out."""
        self._polls += 1
        self._at(self._server(account).take(now, self._costs.poll), self._is_sent, account)

    def _connect(self, now: float, account: int) -> None:
        """As soon as a new connection is allowed, open it and poll."""
        self._at(self._ramps[self._owner[account % SLOTS]].take(now), self._open, account)

    def _open(self, now: float, account: int) -> None:
        cost = self._costs.connect + self._costs.poll
        self._at(self._server(account).take(now, cost), self._is_sent, account)

    def _is_sent(self, now: float, account: int) -> None:
        if account in self._orphans:
            self._orphans.discard(account)
            self._report.polled_again = now - self._cell.kill_at
        if account in self._cut:
            self._cut.discard(account)
            self._report.reconnected = now - self._back_at
        if account in self._mail:
            self._hand_out(now, account)
        else:
            self._is_held[account] = 1
            self._at(now + self._cell.hold, self._poll, account)

    def _hand_out(self, now: float, account: int) -> None:
        """A poll is answered with what waited; the batch is stored, then its messages are handled one by one."""
        came = self._mail.pop(account)
        read = self._server(account).take(now, self._costs.poll)

        def store(now: float, account: int) -> None:
            stored = self._take_database(now, self._costs.ingest)
            self._at(stored, self._poll, account)
            self._at(stored, partial(self._handle, came))

        self._at(read, store, account)

    def _handle(self, came: list[float], now: float, _: int) -> None:
        # Which process that was does not matter for the time it takes; the least busy stands for it.
        handled = min(self._processes, key=lambda process: process.free_at).take(now, self._costs.message)
        self._at(handled, partial(self._complete, came))

    def _complete(self, came: list[float], now: float, _: int) -> None:
        completed = self._take_database(now, self._costs.complete)
        self._take_database(now, self._costs.settle)
        self._note_lag(came[0], completed - came[0])
        if len(came) > 1:
            self._at(completed, partial(self._handle, came[1:]))

    def _take_database(self, now: float, cost: float) -> float:
        return self._database.take(now, cost / self._cell.databases)

    def _die(self, now: float, _: int) -> None:
        """The last process is gone; what its polls would have brought stays on the other side."""
        report, dead = self._report, self._cell.processes - 1
        report.polls = self._polls / now
        report.process_busy = max(process.busy for process in self._processes) / now
        report.database_busy = self._database.busy / now
        for account in range(self._cell.bots):
            if self._owner[account % SLOTS] == dead:
                self._end_turn(account)
                self._orphans.add(account)

    def _take_over(self, now: float, _: int) -> None:
        """The others claim its slots in fair shares, adopt its accounts in batches, and connect as fast as may be."""
        others = self._cell.processes - 1
        for place, slot in enumerate(slot for slot in range(SLOTS) if self._owner[slot] == others):
            self._owner[slot] = place % others
        adopted = self._take_database(now, len(self._orphans) * self._costs.adopt_account)
        for account in sorted(self._orphans):
            self._at(adopted, self._connect, account)

    def _go_out(self, _now: float, _: int) -> None:
        """The other side is gone, and with it every held poll."""
        for account in range(self._cell.bots):
            self._end_turn(account)
            self._cut.add(account)

    def _come_back(self, now: float, _: int) -> None:
        """Whoever failed tries again within the longest pause, and connects as fast as may be."""
        for account in sorted(self._cut):
            self._at(now + self._random.random() * self._cell.longest_pause, self._connect, account)

    @property
    def _back_at(self) -> float:
        return self._cell.outage_at + self._cell.outage

    def _note_lag(self, came: float, lag: float) -> None:
        cell, report = self._cell, self._report
        if came < cell.kill_at - 1:
            report.calm.append(lag)
        elif cell.outage_at <= came < self._back_at:
            report.outage.append(lag)
        elif came < cell.outage_at and lag > 1.0:
            report.killed.append(lag)


_SIZES: Final = (10_000, 100_000, 1_000_000, 10_000_000)
_CELL_BOTS: Final = 250_000
"""Bots of a cell: what one database and its stand-by carry with room for a bad day."""

_PROCESS_BOTS: Final = 10_000
"""Bots of a process: a core would carry more, but it is what has to be connected anew when it dies."""


def cell_of(bots: int) -> Cell:
    """Return the cell that so many bots live in, or one of several."""
    own = min(bots, _CELL_BOTS)
    return Cell(bots=own, processes=max(3, ceil(own / _PROCESS_BOTS)), databases=max(1.0, own / 100_000))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table, a column a size."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.scale", description="What a fleet does at ten thousand to ten million bots."
    )
    parser.add_argument("--bots", type=int, nargs="+", default=list(_SIZES))
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    costs = Costs()
    reports: dict[int, Report] = {}
    columns: list[list[str]] = []
    for bots in chosen.bots:
        cell = cell_of(bots)
        if cell.bots not in reports:
            reports[cell.bots] = simulate(cell, costs, seed=chosen.seed)
        columns.append(list(_lines(bots, cell, costs, reports[cell.bots])))
    for row in zip(_TITLES, *columns, strict=True):
        print("| " + " | ".join(row) + " |")
    return 0


_TITLES: Final = (
    "bots",
    "---",
    "cells × bots",
    "processes of a cell",
    "databases like the measured one, of a cell",
    "polls held by a process",
    "memory of its polls",
    "poll turns a second, of a cell",
    "messages a second, of a cell",
    "busiest process",
    "database",
    "rows a day, of a cell",
    "calm: message to answer p50, p99",
    "a process dies: all polled again after",
    "its messages wait at most",
    "the other side is gone for 60 s: all connected after",
    "messages of that minute wait, p50, at most",
    "messages left unanswered",
)


def _lines(bots: int, cell: Cell, costs: Costs, report: Report) -> Iterator[str]:
    cells = ceil(bots / cell.bots)
    held = cell.bots / cell.processes
    yield f"{bots:,}"
    yield "---"
    yield f"{cells:,} × {cell.bots:,}"
    yield f"{cell.processes}"
    yield f"{cell.databases:g}"
    yield f"{held:,.0f}"
    yield f"{held * costs.account_bytes / 2**20:,.0f} MiB"
    yield f"{report.polls:,.0f}"
    yield f"{report.messages:,.0f}"
    yield f"{report.process_busy:.0%}"
    yield f"{report.database_busy:.0%}"
    yield f"{cell.bots * cell.messages_a_day * costs.row_bytes / 1e9:,.1f} GB"
    yield f"{_part(report.calm, 0.5) * 1e3:.1f} ms, {_part(report.calm, 0.99) * 1e3:.1f} ms"
    yield f"{report.polled_again:.0f} s"
    yield f"{_part(report.killed, 1.0):.0f} s"
    yield f"{report.reconnected:.0f} s"
    yield f"{_part(report.outage, 0.5):.0f} s, {_part(report.outage, 1.0):.0f} s"
    yield f"{report.unanswered}"


def _part(values: Sequence[float], share: float) -> float:
    """Return what so large a share of some values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


if __name__ == "__main__":
    raise SystemExit(main())
