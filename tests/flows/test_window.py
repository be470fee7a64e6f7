"""When a user may be written to: a ledger that learns from refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilink.flows.window import (
    ALLOWANCE,
    WINDOW_MS,
    Confidence,
    Gate,
    Window,
    accepted,
    forecast,
    gate,
    heard,
    limited,
    refused,
)

NOON = 1_790_000_000_000


def after_sends(count: int, window: Window | None = None) -> Window:
    window = window or heard(Window(), NOON)
    for _ in range(count):
        window = accepted(window)
    return window


def test_a_message_of_the_user_opens_24_hours_and_ten_messages() -> None:
    window = heard(Window(), NOON)
    assert gate(window, NOON + WINDOW_MS - 1) is Gate.OPEN
    assert gate(window, NOON + WINDOW_MS) is Gate.OVER
    assert gate(after_sends(ALLOWANCE - 1), NOON) is Gate.OPEN
    assert gate(after_sends(ALLOWANCE), NOON) is Gate.USED_UP


def test_who_never_wrote_may_be_tried() -> None:
    assert gate(Window(), NOON) is Gate.OPEN
    assert forecast(Window(), NOON).confidence is Confidence.ASSUMED


def test_several_messages_add_up_until_a_refusal_shows_otherwise() -> None:
    window = heard(Window(), NOON, messages=2)
    window = after_sends(ALLOWANCE + 2, window)
    assert gate(window, NOON) is Gate.OPEN
    window = heard(refused(window, NOON), NOON + 1, messages=2)
    assert window.is_strict
    assert gate(after_sends(ALLOWANCE, window), NOON + 1) is Gate.USED_UP


def test_what_several_messages_added_up_to_ends_with_their_24_hours() -> None:
    window = heard(heard(Window(), NOON, messages=3), NOON + WINDOW_MS)
    assert gate(after_sends(ALLOWANCE - 1, window), NOON + WINDOW_MS) is Gate.OPEN
    assert gate(after_sends(ALLOWANCE, window), NOON + WINDOW_MS) is Gate.USED_UP


def test_a_refusal_holds_until_the_user_writes() -> None:
    window = refused(after_sends(3), NOON)
    assert gate(window, NOON) is Gate.CLOSED
    assert gate(window, NOON + 10 * WINDOW_MS) is Gate.CLOSED
    assert gate(heard(window, NOON + 1), NOON + 1) is Gate.OPEN


HALF_AN_HOUR = 1_800_000


def test_an_early_refusal_is_probed_by_one_message_at_growing_distances() -> None:
    window = refused(after_sends(3), NOON)
    assert gate(window, NOON + HALF_AN_HOUR - 1) is Gate.CLOSED
    assert forecast(window, NOON).until_ms == NOON + HALF_AN_HOUR
    assert gate(window, NOON + HALF_AN_HOUR) is Gate.HALF_OPEN
    assert refused(window, NOON + 1) == window
    again = refused(window, NOON + HALF_AN_HOUR)
    assert again.probe_ms == NOON + 3 * HALF_AN_HOUR
    assert (again.allowance, again.is_strict) == (window.allowance, window.is_strict)


def test_a_probe_that_is_accepted_opens_the_window_and_forgets_what_the_refusal_taught() -> None:
    window = accepted(refused(after_sends(3), NOON))
    assert gate(window, NOON) is Gate.OPEN
    assert forecast(window, NOON).left == ALLOWANCE - 4


def test_the_distance_of_probes_grows_to_six_hours_and_begins_anew_with_a_success() -> None:
    window, now, distances = refused(after_sends(3), NOON), NOON, [HALF_AN_HOUR]
    for _ in range(5):
        now = window.probe_ms
        window = refused(window, now)
        distances.append(window.probe_ms - now)
    assert [distance // HALF_AN_HOUR for distance in distances] == [1, 2, 4, 8, 12, 12]
    assert refused(accepted(window), now).probe_ms == now + HALF_AN_HOUR


@pytest.mark.parametrize("window", [after_sends(ALLOWANCE), heard(Window(), NOON - WINDOW_MS), Window()])
def test_a_refusal_that_has_its_reasons_is_not_probed(window: Window) -> None:
    assert gate(refused(window, NOON), NOON + 6 * HALF_AN_HOUR) is Gate.CLOSED


def test_a_probe_never_goes_out_after_the_24_hours() -> None:
    assert gate(refused(after_sends(3), NOON + WINDOW_MS - 1), NOON + WINDOW_MS + HALF_AN_HOUR) is Gate.CLOSED


def test_an_early_refusal_teaches_a_smaller_allowance_and_success_a_larger_one() -> None:
    taught = refused(after_sends(6), NOON)
    assert taught.allowance == 6
    window = heard(taught, NOON + 1)
    assert forecast(window, NOON + 1).left == 7
    assert forecast(window, NOON + 1).confidence is Confidence.LEARNED
    assert after_sends(8, window).allowance == 8


def test_an_allowance_that_was_learned_too_low_grows_back_while_the_user_writes() -> None:
    window = refused(after_sends(1), NOON)
    seen: list[int] = []
    for minute in range(12):
        window = heard(window, NOON + minute)
        seen.append(window.allowance)
    assert seen == [2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 10]


def test_a_refusal_after_the_24_hours_teaches_nothing_about_the_allowance() -> None:
    window = refused(after_sends(3), NOON + WINDOW_MS)
    assert (window.allowance, window.is_strict) == (ALLOWANCE, False)


def test_a_refusal_before_anything_was_sent_teaches_nothing() -> None:
    assert refused(heard(Window(), NOON), NOON).allowance == ALLOWANCE
    assert refused(Window(), NOON).allowance == ALLOWANCE


def test_pauses_grow_while_calls_are_too_many_and_end_with_a_success() -> None:
    window = limited(heard(Window(), NOON), NOON, retry_after_ms=None)
    assert gate(window, NOON + 29_999) is Gate.PAUSED
    assert gate(window, NOON + 30_000) is Gate.OPEN
    again = limited(window, NOON, retry_after_ms=None)
    assert again.paused_until_ms == NOON + 60_000
    assert limited(again, NOON, retry_after_ms=999_000).paused_until_ms == NOON + 999_000
    assert accepted(again).pauses == 0
    assert heard(again, NOON).paused_until_ms == again.paused_until_ms


def test_a_message_that_is_accepted_ends_a_pause() -> None:
    assert gate(accepted(limited(heard(Window(), NOON), NOON, retry_after_ms=None)), NOON) is Gate.OPEN


@pytest.mark.parametrize(
    ("window", "can_send"),
    [
        (heard(Window(), NOON), True),
        (after_sends(ALLOWANCE), False),
        (refused(after_sends(1), NOON), False),
        (limited(heard(Window(), NOON), NOON, retry_after_ms=None), False),
        (heard(Window(), NOON - WINDOW_MS), False),
    ],
)
def test_a_forecast_says_why(window: Window, can_send: bool) -> None:
    told = forecast(window, NOON)
    assert told.can_send is can_send
    assert told.why


EVENTS = st.sampled_from(["heard", "accepted", "refused", "limited"])


@given(st.lists(st.tuples(EVENTS, st.integers(0, WINDOW_MS)), max_size=40))
def test_a_window_is_never_stuck_once_the_user_writes_and_pauses_are_over(events: list[tuple[str, int]]) -> None:
    window, now = Window(), NOON
    for event, later in events:
        now += later
        match event:
            case "heard":
                window = heard(window, now)
            case "accepted":
                window = accepted(window)
            case "refused":
                window = refused(window, now)
            case _:
                window = limited(window, now, retry_after_ms=None)
        assert forecast(window, now).can_send == (gate(window, now) in (Gate.OPEN, Gate.HALF_OPEN))
    now += 3_600_001
    assert gate(heard(window, now), now) is Gate.OPEN
