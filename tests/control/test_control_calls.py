from __future__ import annotations

import pytest

from ilink.gateway.control.app import CALLS
from ilink.gateway.control.refusals import Refusal


def test_an_encoded_slash_stays_inside_its_parameter() -> None:
    call, values = CALLS.find("POST", "/_sim/qr/a%2Fb%40c/scan")
    assert (call.path, values) == ("/_sim/qr/{qrcode}/scan", {"qrcode": "a/b@c"})


def test_head_is_answered_by_the_call_for_get() -> None:
    assert CALLS.find("HEAD", "/_sim/people")[0].method == "GET"


@pytest.mark.parametrize("path", ["/_sim", "/_sim/", "/_sim/people/", "/_sim//people", "/_sim/qr//scan"])
def test_a_path_that_is_nearly_right_is_not_found(path: str) -> None:
    with pytest.raises(Refusal) as caught:
        CALLS.find("GET", path)
    assert caught.value.status == 404


def test_every_call_says_in_one_line_what_it_does() -> None:
    assert [call.path for call in CALLS.calls if not call.summary.endswith(".")] == []
