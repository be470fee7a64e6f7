from __future__ import annotations

import pytest

from ilink.gateway.control.guard import Guard, is_loopback
from ilink.gateway.control.refusals import Refusal

KEY = "a-key-of-this-test"


def guard(host: str = "127.0.0.1", key: str | None = None, names: tuple[str, ...] = ()) -> Guard:
    return Guard(host=host, port=41002, key=key, names=names)


def refused_status(check, **arguments) -> int:
    with pytest.raises(Refusal) as caught:
        check(**arguments)
    return caught.value.status


@pytest.mark.parametrize("host", ["127.0.0.1:41002", "localhost:41002", "LOCALHOST", "[::1]:41002", "127.0.0.1"])
def test_the_listeners_own_names_pass(host: str) -> None:
    guard().check_call(host=host, origin=None, site=None)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:41002",
        "127.0.0.1.evil.example",
        "localhost.evil.example:41002",
        "10.0.0.7:41002",
        "",
        None,
        "[::1",
    ],
)
def test_a_rebound_name_is_refused(host: str | None) -> None:
    assert refused_status(guard().check_call, host=host, origin=None, site=None) == 421


def test_beyond_loopback_any_address_and_the_given_names_pass() -> None:
    wide = guard("0.0.0.0", KEY, ("phone.example",))
    for host in ("192.168.1.5:41002", "[fd00::1]:41002", "phone.example", "localhost:41002"):
        wide.check_call(host=host, origin=None, site=None)
    assert refused_status(wide.check_call, host="evil.example", origin=None, site=None) == 421


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:3000", "http://127.0.0.1", "file://", ""]
)
def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    assert refused_status(guard().check_call, host="127.0.0.1:41002", origin=origin, site=None) == 403


def test_the_own_page_passes() -> None:
    guard().check_call(host="127.0.0.1:41002", origin="http://127.0.0.1:41002", site="same-origin")
    guard().check_call(host="127.0.0.1:41002", origin=None, site="none")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_request_that_another_page_causes_is_refused_without_origin_too(site: str) -> None:
    assert refused_status(guard().check_call, host="127.0.0.1:41002", origin=None, site=site) == 403


def test_without_a_key_everybody_on_the_machine_may_call() -> None:
    guard().check_key(authorization=None, cookie=None)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_key_passes(scheme: str) -> None:
    guard(key=KEY).check_key(authorization=f"{scheme} {KEY}", cookie=None)


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}x", "Bearer \xff"],
)
def test_anything_but_the_key_is_refused(authorization: str | None) -> None:
    assert refused_status(guard(key=KEY).check_key, authorization=authorization, cookie=None) == 401


def test_a_login_link_opens_one_session_once() -> None:
    doorman = guard(key=KEY)
    code = doorman.new_login_code()
    cookie = doorman.redeem(code)
    doorman.check_key(authorization=None, cookie=f"other=1; {cookie.partition(';')[0]}")
    assert refused_status(doorman.redeem, code=code) == 403


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites() -> None:
    doorman = guard(key=KEY)
    attributes = doorman.redeem(doorman.new_login_code()).split("; ")[1:]
    assert attributes == ["Path=/", "HttpOnly", "SameSite=Strict"]


@pytest.mark.parametrize("cookie", ["ilink_session_41002=guess", "ilink_session_41002=", "\x00=;;=", "a" * 5000])
def test_an_invented_cookie_is_refused(cookie: str) -> None:
    assert refused_status(guard(key=KEY).check_key, authorization=None, cookie=cookie) == 401


def test_a_session_of_one_gateway_is_none_on_another() -> None:
    one, other = guard(key=KEY), guard(key=KEY)
    cookie = one.redeem(one.new_login_code()).partition(";")[0]
    assert refused_status(other.check_key, authorization=None, cookie=cookie) == 401


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("example.org", False),
    ],
)
def test_loopback_is_known(host: str, *, expected: bool) -> None:
    assert is_loopback(host) is expected
