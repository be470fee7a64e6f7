"""How much one address may ask."""

from __future__ import annotations

from ilink.gateway.admission import Admission
from ilink.gateway.knobs import Knobs


class Watch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_limits_everybody_is_served() -> None:
    admission = Admission(Knobs())
    assert all(admission.connect("a") for _ in range(1000))
    assert {admission.request("a") for _ in range(1000)} == {None}


def test_a_rate_allows_a_burst_and_then_what_the_time_brings() -> None:
    watch = Watch()
    admission = Admission(Knobs(knobs={"limits.requests": "4/8"}), monotonic=watch)
    assert [admission.request("a") for _ in range(6)] == [None, None, None, None, 2, 2]
    watch.now = 1.0
    assert admission.request("a") == 1
    watch.now = 2.0
    assert [admission.request("a") for _ in range(2)] == [None, 2]
    watch.now = 1000.0
    assert [admission.request("a") for _ in range(5)] == [None, None, None, None, 2]


def test_addresses_are_counted_apart() -> None:
    admission = Admission(Knobs(knobs={"limits.requests": "1/10", "limits.connections": 1}), monotonic=Watch())
    assert [admission.request(address) for address in "aab"] == [None, 10, None]
    assert [admission.connect(address) for address in "aab"] == [True, False, True]


def test_a_closed_connection_makes_room_for_one() -> None:
    admission = Admission(Knobs(knobs={"limits.connections": 2}))
    assert [admission.connect("a") for _ in range(3)] == [True, True, False]
    admission.disconnect("a")
    assert [admission.connect("a") for _ in range(2)] == [True, False]
    for _ in range(2):
        admission.disconnect("a")
    assert [admission.connect("a") for _ in range(3)] == [True, True, False]


def test_addresses_do_not_fill_the_memory() -> None:
    admission = Admission(Knobs(knobs={"limits.requests": "1/10"}), monotonic=Watch())
    assert admission.request("first") is None
    for number in range(10_000):
        admission.request(str(number))
    assert admission.request("first") is None
    assert admission.request("9999") == 10
