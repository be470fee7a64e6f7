"""The simulation of a fleet counts right where one can count by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bench.scale import Cell, Costs, cell_of, main, simulate

CELL = Cell(bots=2_000, processes=4, messages_a_day=500.0)


def test_the_same_seed_gives_the_same_report() -> None:
    assert simulate(CELL, Costs(), seed=7) == simulate(CELL, Costs(), seed=7)
    assert simulate(CELL, Costs(), seed=7) != simulate(CELL, Costs(), seed=8)


def test_polls_and_messages_are_as_many_as_hold_and_day_say() -> None:
    report = simulate(CELL, Costs())
    assert report.messages == pytest.approx(2_000 * 500 * 3 / 86_400)
    # Idle polls last 35 s; a message ends one early.
    assert 2_000 / 35 < report.polls < 2_000 / 35 + 2 * report.messages


def test_nothing_is_left_unanswered_when_a_process_dies_and_the_other_side_is_gone() -> None:
    report = simulate(CELL, Costs())
    assert report.unanswered <= 2  # of the last moment
    assert CELL.lease < report.polled_again < CELL.lease + 5
    assert CELL.lease - 5 < max(report.killed) < CELL.lease + 5
    assert max(report.outage) < CELL.outage + CELL.longest_pause + 5


def test_what_a_shorter_lease_and_a_slower_ramp_do_is_seen() -> None:
    assert simulate(replace(CELL, lease=5.0), Costs()).polled_again < 10
    assert simulate(replace(CELL, ramp=2.0), Costs()).polled_again > CELL.lease + 60


def test_a_database_that_is_too_slow_shows_as_delay() -> None:
    slow = simulate(CELL, replace(Costs(), complete=1 / 12))
    assert slow.database_busy > 0.99
    assert max(slow.calm) > 10 * max(simulate(CELL, Costs()).calm)


def test_beyond_a_cell_there_are_more_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cell_of(10_000_000) == cell_of(250_000)
    assert main(["--bots", "3000", "--seed", "2"]) == 0
    assert "| 1 × 3,000 |" in capsys.readouterr().out
