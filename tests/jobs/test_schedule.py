"""When something is due: by the clock on the wall, through changes of that clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilink.errors import ConfigError
from ilink.flows.schedule import Daily, Every, Once, Plan, read_time, read_zone, to_ms

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "America/Santiago", "UTC"]


def at(text: str, zone: str = "UTC") -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)))


def moments(plan: Plan, after: int, count: int) -> list[datetime]:
    found: list[datetime] = []
    for _ in range(count):
        following = plan.following(after, after)
        assert following is not None
        after = following
        found.append(datetime.fromtimestamp(after / 1000, UTC))
    return found


def test_every_counts_from_when_it_was_planned() -> None:
    plan = Every(seconds=60)
    assert plan.first(1_000) == 61_000
    assert plan.following(61_000, 61_500) == 121_000


def test_what_was_missed_is_not_made_up_for() -> None:
    assert Every(seconds=60).following(61_000, 400_000) == 421_000
    assert Every(seconds=60).following(61_000, 121_000) == 181_000


def test_daily_is_today_when_the_time_is_still_to_come() -> None:
    plan = Daily(at=time(8), zone=ZoneInfo("Asia/Shanghai"))
    assert plan.first(at("2026-03-01T07:59", "Asia/Shanghai")) == at("2026-03-01T08:00", "Asia/Shanghai")
    assert plan.first(at("2026-03-01T08:00", "Asia/Shanghai")) == at("2026-03-02T08:00", "Asia/Shanghai")


def test_daily_stays_at_its_time_of_day_when_clocks_change() -> None:
    plan = Daily(at=time(8), zone=BERLIN)
    found = moments(plan, at("2026-03-27T12:00"), 4)
    assert [moment.astimezone(BERLIN).time() for moment in found] == [time(8)] * 4
    assert found[1] - found[0] == timedelta(hours=23)


def test_a_time_that_the_clocks_skip_comes_once() -> None:
    found = moments(Daily(at=time(2, 30), zone=BERLIN), at("2026-03-28T12:00"), 2)
    assert [moment.astimezone(BERLIN).isoformat() for moment in found] == [
        "2026-03-29T03:30:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]


def test_a_time_that_comes_twice_counts_once() -> None:
    found = moments(Daily(at=time(2, 30), zone=BERLIN), at("2026-10-24T12:00"), 2)
    assert [moment.astimezone(BERLIN).isoformat() for moment in found] == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001  # in UTC below
    st.times(),
    st.sampled_from(ZONES),
    st.frozensets(st.integers(0, 6)),
)
def test_every_wanted_day_has_exactly_one_moment(
    start: datetime, wanted: time, zone: str, weekdays: frozenset[int]
) -> None:
    wanted = wanted.replace(microsecond=0)
    plan = Daily(at=wanted, zone=ZoneInfo(zone), weekdays=weekdays)
    after = to_ms(start.replace(microsecond=0, tzinfo=UTC))
    found = moments(plan, after, 12)
    assert found == sorted(set(found))
    assert found[0] > datetime.fromtimestamp(after / 1000, UTC)
    days = [_day_of(moment, wanted, zone) for moment in found]
    expected = days[0]
    for day in days:
        assert day == expected
        expected += timedelta(days=1)
        while weekdays and expected.weekday() not in weekdays:
            expected += timedelta(days=1)
    assert not weekdays or all(day.weekday() in weekdays for day in days)


def _day_of(moment: datetime, wanted: time, zone: str) -> date:
    """The day a moment stands for; one that was skipped at midnight shows as the next day."""
    local = moment.astimezone(ZoneInfo(zone))
    for day in (local.date(), local.date() - timedelta(days=1)):
        if datetime.combine(day, wanted, tzinfo=ZoneInfo(zone)).astimezone(UTC) == moment:
            return day
    raise AssertionError(f"{moment} is no day's {wanted} in {zone}")


def test_once_is_once() -> None:
    plan = Once(at_ms=5_000)
    assert plan.first(4_999) == 5_000
    assert plan.first(5_000) is None
    assert plan.following(5_000, 5_000) is None


def test_a_changed_plan_has_a_changed_text() -> None:
    plans = [
        Every(seconds=5),
        Every(seconds=6),
        Once(at_ms=1),
        Daily(at=time(8)),
        Daily(at=time(8), zone=BERLIN),
        Daily(at=time(9), zone=BERLIN),
        Daily(at=time(9), zone=BERLIN, weekdays=frozenset({1})),
    ]
    assert len({plan.text for plan in plans}) == len(plans)


def test_a_day_of_this_machine_is_a_day() -> None:
    found = Daily(at=time(8)).first(at("2026-06-01T00:00"))
    assert found is not None
    assert datetime.fromtimestamp(found / 1000).astimezone().time() == time(8)


@pytest.mark.parametrize("text", ["25:00", "eight", "", "08:00+01:00"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"time|zone"):
        read_time(text)


def test_settings_are_read() -> None:
    assert read_time("08:30") == time(8, 30)
    assert read_time(time(9)) == time(9)
    assert read_zone("Europe/Berlin") == BERLIN
    assert read_zone(None) is None


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", ""])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="time zone"):
        read_zone(name)


@pytest.mark.parametrize("seconds", [0, 0.5, -3, 1e9, float("nan")])
def test_a_restless_schedule_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigError, match="too often"):
        Every(seconds=seconds)


def test_a_moment_without_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match="no time zone"):
        to_ms(datetime(2026, 1, 1))  # noqa: DTZ001  # that is what is refused
