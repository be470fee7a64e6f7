"""When to poll again, for how long, and when to stop."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilink.errors import (
    ApiError,
    ConnectError,
    IlinkError,
    LocalProtocolError,
    OutcomeUnknownError,
    RateLimitedError,
    RemoteProtocolError,
    RequestRejectedError,
    ServerError,
    StaleTokenError,
    StoreError,
)
from ilink.flows.polling import (
    Backoff,
    PollAfter,
    PollState,
    Revive,
    Stop,
    after_batch,
    after_error,
    is_empty_poll,
    poll_timeout,
)

HOME = "https://ilinkai.weixin.qq.com"
ABROAD = "https://ilinkai.wechat.com"
STALE = StaleTokenError("-14", endpoint="getupdates", ret=-14)
FINITE = {"allow_nan": False, "allow_infinity": False}


@pytest.mark.parametrize(
    ("hint_ms", "base_url", "slack", "seconds"),
    [
        (None, HOME, 5.0, 40.0),
        (35_000, HOME, 10.0, 45.0),
        (20_000, HOME, 7.5, 27.5),
        (None, ABROAD, 5.0, 12.0),
        (35_000, ABROAD + "/", 10.0, 12.0),
        (5_000, ABROAD, 5.0, 10.0),
        (None, "https://ILINKAI.wechat.com.", 5.0, 12.0),
        (0, HOME, 5.0, 40.0),
        (-1, HOME, 5.0, 40.0),
        (10**15, HOME, 5.0, 40.0),
        (1, HOME, 5.0, 5.001),
        (35_000, HOME, 0.0, 40.0),
        (35_000, HOME, 99.0, 45.0),
        (10_000, "http://127.0.0.1:4100", 5.0, 15.0),
    ],
)
def test_time_limit_follows_the_hint_with_slack_and_keeps_below_the_edge(
    hint_ms: int | None, base_url: str, slack: float, seconds: float
) -> None:
    assert poll_timeout(hint_ms, base_url=base_url, slack=slack) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("error", "is_empty"),
    [
        (OutcomeUnknownError("late", timed_out=True), True),
        (OutcomeUnknownError("cut"), False),
        (ServerError("524", endpoint="getupdates", http_status=524), True),
        (ServerError("504", endpoint="getupdates", http_status=504), True),
        (ServerError("502", endpoint="getupdates", http_status=502), False),
        (ConnectError("refused"), False),
        (RemoteProtocolError("html"), False),
        (STALE, False),
    ],
)
def test_cut_poll_is_an_empty_poll(error: IlinkError, is_empty: bool) -> None:
    assert is_empty_poll(error) is is_empty


def test_batch_is_followed_by_the_next_poll_at_once_and_forgets_failures() -> None:
    state = PollState(failures=4, rejections=2, fast_empties=3, is_revived=True)
    assert after_batch(state, is_empty=False, held=0.0, jitter=0.5) == (PollState(), PollAfter(0.0))
    assert after_batch(state, is_empty=True, held=30.0, jitter=0.5) == (PollState(), PollAfter(0.0))


def test_server_that_answers_empty_at_once_is_slowed_down() -> None:
    state, pauses = PollState(), []
    for _ in range(8):
        state, step = after_batch(state, is_empty=True, held=0.01, jitter=0.999)
        assert isinstance(step, PollAfter)
        pauses.append(round(step.seconds))
    assert pauses == [0, 0, 0, 2, 4, 8, 16, 32]


def test_polls_that_end_long_before_the_time_the_server_names_are_counted() -> None:
    state, shared = PollState(), []
    for held in (0.01, 1.2, 2.0, 3.0, 3.0, 0.02, 3.0, 3.0):
        state, step = after_batch(state, is_empty=True, held=held, hint_ms=35_000, jitter=0.5)
        assert step == PollAfter()
        shared.append(state.is_shared)
    assert shared == [False] * 7 + [True]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"is_empty": True, "held": 7.0, "hint_ms": 35_000}, id="held for long enough"),
        pytest.param({"is_empty": True, "held": 3.0, "hint_ms": None}, id="the server names no time"),
        pytest.param({"is_empty": True, "held": 3.0, "hint_ms": 5_000}, id="the server names a short time"),
    ],
)
def test_polls_that_last_as_they_should_are_not(other: dict[str, Any]) -> None:
    state, _ = after_batch(PollState(short_empties=5), jitter=0.5, **other)
    assert state == PollState()


def test_refused_token_is_revived_once_and_then_ends_the_loop() -> None:
    state, step = after_error(PollState(), STALE, jitter=0.5)
    assert step == Revive()
    assert after_error(state, STALE, jitter=0.5)[1] == Stop(STALE)


def test_token_that_worked_again_is_revived_again_later() -> None:
    state, _ = after_error(PollState(), STALE, jitter=0.5)
    state, _ = after_batch(state, is_empty=True, held=30.0, jitter=0.5)
    assert after_error(state, STALE, jitter=0.5)[1] == Revive()


@pytest.mark.parametrize(
    "error",
    [
        ConnectError("refused"),
        OutcomeUnknownError("cut"),
        ServerError("500", endpoint="getupdates", http_status=500),
        RemoteProtocolError("a login page"),
        ApiError("unknown code", endpoint="getupdates", ret=-77),
    ],
)
def test_passing_failures_are_repeated_with_growing_pauses_for_ever(error: IlinkError) -> None:
    state, pauses = PollState(), []
    for _ in range(40):
        state, step = after_error(state, error, jitter=0.9999)
        assert isinstance(step, PollAfter)
        pauses.append(round(step.seconds))
    assert pauses[:6] == [2, 4, 8, 16, 32, 60]
    assert set(pauses[6:]) == {60}


def test_request_refused_again_and_again_ends_the_loop() -> None:
    error = RequestRejectedError("404", endpoint="getupdates", http_status=404)
    state = PollState()
    for _ in range(4):
        state, step = after_error(state, error, jitter=0.0)
        assert isinstance(step, PollAfter)
    assert after_error(state, error, jitter=0.0)[1] == Stop(error)


@pytest.mark.parametrize("error", [LocalProtocolError("ours"), StoreError("disk full")])
def test_failure_that_is_no_answer_ends_the_loop_at_once(error: IlinkError) -> None:
    assert after_error(PollState(), error, jitter=0.5)[1] == Stop(error)


@pytest.mark.parametrize(("asked", "least"), [(None, 30.0), (7.0, 7.0), (300.0, 300.0)])
def test_rate_limit_is_waited_out_in_full(asked: float | None, least: float) -> None:
    error = RateLimitedError("429", endpoint="getupdates", http_status=429, retry_after=asked)
    _, step = after_error(PollState(), error, jitter=0.0)
    assert isinstance(step, PollAfter)
    assert least <= step.seconds <= least + 2.0


@given(
    failures=st.integers(1, 10_000),
    jitter=st.floats(0, 1, exclude_max=True, **FINITE),
    first=st.floats(0.1, 10, **FINITE),
    ceiling=st.floats(10, 600, **FINITE),
)
def test_pause_stays_between_floor_and_ceiling(failures: int, jitter: float, first: float, ceiling: float) -> None:
    backoff = Backoff(first=first, ceiling=ceiling, floor=0.05)
    assert 0.05 <= backoff.delay(failures, jitter=jitter) <= ceiling


def test_polls_that_end_early_are_counted_though_people_write_in_between() -> None:
    state = PollState()
    for polls in range(1, 20):
        for held, is_empty in ((3.0, True), (0.5, False), (0.5, False)):
            state, _ = after_batch(state, is_empty=is_empty, held=held, hint_ms=35_000, jitter=0.5)
        assert state.is_shared == (polls > 6)
    for _ in range(200):
        state, _ = after_batch(state, is_empty=False, held=0.5, hint_ms=35_000, jitter=0.5)
    assert state == PollState()


def test_a_pause_doubles_and_is_drawn_from_all_of_its_length() -> None:
    backoff = Backoff(first=2.0, ceiling=60.0, floor=0.25)
    assert [backoff.delay(failures, jitter=0.5) for failures in (1, 2, 3, 4, 9)] == [1, 2, 4, 8, 30]
    assert [backoff.delay(3, jitter=jitter) for jitter in (0.0, 0.25, 0.75)] == [0.25, 2, 6]


@given(failures=st.integers(1, 100), jitter=st.floats(0, 1, exclude_max=True, **FINITE), asked=st.floats(0, 3600))
def test_pause_is_never_shorter_than_the_server_asked(failures: int, jitter: float, asked: float) -> None:
    assert asked <= Backoff().delay(failures, jitter=jitter, retry_after=asked) <= asked + 2.0


@given(st.integers(-(2**70), 2**70) | st.none(), st.sampled_from([HOME, ABROAD]), st.floats(-5, 50, **FINITE))
def test_time_limit_is_always_usable(hint_ms: int | None, base_url: str, slack: float) -> None:
    assert 5.0 <= poll_timeout(hint_ms, base_url=base_url, slack=slack) <= 310.0
