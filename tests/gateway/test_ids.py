"""Ids without a seed never repeat, however many are drawn at a time."""

from __future__ import annotations

import pytest

from ilink.gateway.ids import IdSource


def test_random_bytes_are_given_out_once() -> None:
    ids = IdSource()
    drawn = [ids.draw("client_id", 8) for _ in range(1000)] + [ids.context_token() for _ in range(100)]
    assert len(set(drawn)) == len(drawn)
    whole = b"".join(ids.draw("any", 16) for _ in range(500))
    assert len({whole[first : first + 8] for first in range(0, len(whole), 8)}) == len(whole) // 8


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 5000])
def test_as_many_random_bytes_come_as_are_asked_for(count: int) -> None:
    ids = IdSource()
    assert [len(ids.draw("any", count)) for _ in range(3)] == [count] * 3
