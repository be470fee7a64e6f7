"""The measurement of dispatch measures what it says."""

from __future__ import annotations

import pytest

from bench import dispatch, report


def test_every_arrangement_is_measured_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_MESSAGES", 2)
    monkeypatch.setattr(dispatch, "_ROUNDS", 1)
    figures = dispatch.measure_dispatch()
    assert figures[0].beyond_one == 0.0
    assert len(figures) == 7
    table = report.dispatch_table(figures)
    assert [line.split("  ")[0] for line in table.splitlines()[3:]] == [one.name for one in figures]
