"""Figures as tables on the terminal and as JSON in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from bench.disk import DiskFigures
from bench.dispatch import ALLOWED_US, DispatchFigures
from bench.echo import Contestant, EchoFigures, WaitFigures
from bench.polls import PollFigures
from bench.sends import SendFigures
from bench.shared import WAKE_MS, IdleFigures, WakeFigures
from bench.stores import OPERATIONS, StoreFigures

__all__ = ["as_data", "disk_line", "echo_rows", "echo_table", "idle_line", "poll_table", "send_table", "store_table"]

_NONE = "–"


def echo_rows(taking_part: Sequence[Contestant], figures: dict[str, EchoFigures]) -> list[dict[str, object]]:
    """Return one row a contestant, with its share of the limit, which is the first, and beside the fastest peer."""
    limit = figures[taking_part[0].name].rate
    best = max((figures[one.name].rate or 0.0 for one in taking_part if one.is_peer), default=0.0)
    rows: list[dict[str, object]] = []
    for contestant in taking_part:
        own = figures[contestant.name]
        rows.append(
            {
                "name": contestant.name,
                "messages_per_second": own.rate,
                "rounds": own.rates,
                "share_of_limit": own.rate / limit if own.rate and limit else None,
                "times_the_fastest_peer": own.rate / best if own.rate and best else None,
                "cpu_us_per_message": _scaled(own.cpu_of_one, 1e6),
                "delay_ms_p50": _scaled(own.delay(0.5), 1e3),
                "delay_ms_p99": _scaled(own.delay(0.99), 1e3),
                "remark": own.error or contestant.remark,
            }
        )
    return rows


def echo_table(title: str, rows: list[dict[str, object]]) -> str:
    """Lay echo rows out."""
    head = ["", "messages/s", "of limit", "× best peer", "CPU µs each", "p50 ms", "p99 ms", ""]
    names = [
        "name",
        "messages_per_second",
        "share_of_limit",
        "times_the_fastest_peer",
        "cpu_us_per_message",
        "delay_ms_p50",
        "delay_ms_p99",
        "remark",
    ]
    formats = ["{}", "{:,.0f}", "{:.0%}", "{:.1f}", "{:,.0f}", "{:.2f}", "{:.2f}", "{}"]
    return _table(
        title, head, [[_cell(row[name], form) for name, form in zip(names, formats, strict=True)] for row in rows]
    )


def disk_line(disk: DiskFigures) -> str:
    """Say what the disk alone takes; a single message of a bot that loses nothing waits for it."""
    return f"limit: the disk alone, 28 KiB written through: p50 {disk.p50 * 1e3:.2f} ms, p99 {disk.p99 * 1e3:.2f} ms"


def wait_line(figures: WaitFigures) -> str:
    """Say how soon many have their answers whose handlers wait side by side."""
    return (
        f"{figures.people:,} people write at once, each handler waits {figures.handler_seconds:g} s:"
        f" all have their answers after {figures.seconds:.2f} s"
    )


def poll_table(servers: dict[str, list[PollFigures]]) -> str:
    """Lay the held polls of several servers out."""
    head = ["", "polls", "KiB each", "idle CPU", "wake one p50 ms", "p99 ms", "wake all ms", "of them a second"]
    rows = [
        [
            name,
            f"{own.polls:,}",
            _cell(_scaled(own.memory_of_one, 1 / 1024), "{:.1f}"),
            _cell(own.idle_cpu, "{:.1%}"),
            f"{own.wake_one * 1e3:.2f}",
            f"{own.wake_one_p99 * 1e3:.2f}",
            f"{own.wake_all * 1e3:,.0f}",
            f"{own.polls / own.wake_all:,.0f}",
        ]
        for name, figures in servers.items()
        for own in figures
    ]
    return _table("Held polls: a person's message arrives at a poll that waits", head, rows)


def send_table(servers: dict[str, SendFigures]) -> str:
    """Lay the sends of several servers out."""
    head = ["", "sendmessage/s", "of the first", "CPU µs each"]
    first = next(iter(servers.values())).rate
    rows = [
        [name, f"{own.rate:,.0f}", f"{own.rate / first:.2f}", _cell(_scaled(own.cpu_of_one, 1e6), "{:,.0f}")]
        for name, own in servers.items()
    ]
    return _table("sendmessage: 64 connections of 16 bots, each answered before its next", head, rows)


def idle_line(idle: IdleFigures) -> str:
    """Say what polls that bring nothing cost the database; nothing is allowed."""
    return f"\nIdle: {idle.polls} polls brought nothing, {idle.writes} rows were written meanwhile"


def wake_table(figures: Sequence[WakeFigures]) -> str:
    """Lay out how soon a held poll has what a person wrote."""
    rows = [[one.way, f"{one.stored_p50 * 1e3:.1f}", f"{one.p50 * 1e3:.1f}", f"{one.p99 * 1e3:.1f}"] for one in figures]
    title = f"Waking a held poll: from a message's answer to the poll's; {WAKE_MS:.0f} ms are allowed between processes"
    return _table(title, ["", "stored, p50 ms", "woken, p50 ms", "p99 ms"], rows)


def dispatch_table(figures: Sequence[DispatchFigures]) -> str:
    """Lay out what finding a handler costs."""
    rows = [
        [one.name, f"{one.microseconds:.1f}", f"{one.beyond_one:.1f}", "yes" if one.beyond_one <= ALLOWED_US else "no"]
        for one in figures
    ]
    title = f"Dispatch: a message finds its handler and runs it; {ALLOWED_US:.0f} µs more than a single one are allowed"
    return _table(title, ["", "CPU µs", "beyond one", "within"], rows)


def store_table(figures: Sequence[StoreFigures]) -> str:
    """Lay out what a journal costs in each store; the first one is the limit."""
    rows: list[list[str]] = []
    for operation in OPERATIONS:
        own = [one for one in figures if one.operation == operation]
        rows += [
            [
                operation if one is own[0] else "",
                one.store,
                f"{one.per_second:,.0f}",
                f"{one.per_second / own[0].per_second:.2f}",
                f"{one.p50 * 1e3:.1f}",
                f"{one.p99 * 1e3:.1f}",
            ]
            for one in own
        ]
    head = ["", "store", "rows/s", "of the limit", "p50 ms", "p99 ms"]
    return _table("Journals: 16 accounts side by side, each with one unit of work at a time, durable", head, rows)


def as_data(servers: dict[str, list[PollFigures]] | dict[str, SendFigures]) -> dict[str, object]:
    """Return figures as plain data."""
    return {
        name: [asdict(one) for one in own] if isinstance(own, list) else asdict(own) for name, own in servers.items()
    }


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _cell(value: object, form: str) -> str:
    return _NONE if value is None else form.format(value)


def _table(title: str, head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[place]) for row in [head, *rows]) for place in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 or (place == len(row) - 1 and not head[-1]) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [head, *rows]
    ]
    return "\n".join(["", title, *lines])
