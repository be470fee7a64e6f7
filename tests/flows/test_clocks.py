"""What clocks tell when they are read now and again."""

from __future__ import annotations

import pytest

from ilink.flows.clocks import Gap, Reading, compare


def after(*, awake: float = 5.0, asleep: float = 0.0, jumped: float = 0.0) -> Gap | None:
    before = Reading(monotonic=100.0, uptime=1_000.0, wall_ms=1_790_000_000_000)
    passed = awake + asleep
    now = Reading(
        monotonic=100.0 + awake,
        uptime=1_000.0 + passed,
        wall_ms=1_790_000_000_000 + round((passed + jumped) * 1000),
    )
    return compare(before, now, asked=5.0)


@pytest.mark.parametrize(
    ("times", "gap"),
    [
        ({}, None),
        ({"awake": 14.9, "asleep": 4.9, "jumped": 4.9}, None),
        ({"jumped": -4.9}, None),
        ({"asleep": 5.0}, Gap(slept=5.0)),
        ({"awake": 15.0}, Gap(stalled=10.0)),
        ({"jumped": 5.0}, Gap(jumped=5.0)),
        ({"jumped": -86_400.0}, Gap(jumped=-86_400.0)),
        ({"awake": 65.0, "asleep": 600.0, "jumped": 7.0}, Gap(stalled=60.0, slept=600.0, jumped=7.0)),
    ],
)
def test_sleep_stalls_and_jumps_are_told_apart(times: dict[str, float], gap: Gap | None) -> None:
    assert after(**times) == gap


@pytest.mark.parametrize(
    ("gap", "is_absence"),
    [(Gap(slept=9.0), True), (Gap(stalled=9.0), True), (Gap(jumped=9.0), True), (Gap(jumped=-9.0), False)],
)
def test_a_clock_that_was_set_back_is_no_absence(gap: Gap, is_absence: bool) -> None:
    assert gap.is_absence is is_absence
