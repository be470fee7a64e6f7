from __future__ import annotations

import pytest

from ilink.errors import (
    ApiError,
    IlinkError,
    RateLimitedError,
    RequestRejectedError,
    ServerError,
    StaleTokenError,
    WindowClosedError,
)
from ilink.wire.codec import decode
from ilink.wire.models import Answer
from ilink.wire.results import EDGE_TIMEOUT_STATUSES, read_http_error, read_result


def read(body: str, endpoint: str = "sendmessage") -> ApiError | None:
    return read_result(endpoint, decode(body.encode(), Answer).value)


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"ret":0}',
        '{"errcode":0}',
        '{"ret":0,"errcode":0,"errmsg":"ok"}',
        '{"ret":0.0}',
        '{"ret":-0}',
        '{"errmsg":"a word without a number"}',
    ],
)
def test_success_is_spelled_in_several_ways(body: str) -> None:
    assert read(body) is None


@pytest.mark.parametrize(
    ("body", "kind", "ret", "errcode"),
    [
        ('{"ret":-14,"errcode":-14,"errmsg":"session timeout"}', StaleTokenError, -14, -14),
        ('{"ret":-14}', StaleTokenError, -14, None),
        ('{"errcode":-14}', StaleTokenError, None, -14),
        ('{"ret":0,"errcode":-14}', StaleTokenError, 0, -14),
        ('{"ret":-14,"errcode":0}', StaleTokenError, -14, 0),
        ('{"ret":-2,"errcode":-14}', StaleTokenError, -2, -14),
        ('{"ret":-1}', ServerError, -1, None),
        ('{"ret":-3,"errmsg":"invalid arguments"}', RequestRejectedError, -3, None),
        ('{"ret":-4,"errmsg":"GetTypingTicket rpc failed"}', WindowClosedError, -4, None),
        ('{"ret":-12}', RateLimitedError, -12, None),
        ('{"ret":-9999}', ApiError, -9999, None),
        ('{"errcode":40001,"errmsg":"?"}', ApiError, None, 40001),
        ('{"ret":null}', ApiError, None, None),
        ('{"ret":"0"}', ApiError, 0, None),
        ('{"ret":"-14"}', StaleTokenError, -14, None),
        ('{"ret":"no"}', ApiError, None, None),
        ('{"ret":false}', ApiError, None, None),
        ('{"ret":true}', ApiError, None, None),
        ('{"ret":[]}', ApiError, None, None),
        ('{"ret":0,"errcode":null}', ApiError, 0, None),
        ('{"ret":-2.5}', ApiError, None, None),
        ('{"ret":2147483647}', ApiError, 2**31 - 1, None),
        ('{"ret":100000000000000000000,"errcode":-14}', StaleTokenError, None, -14),
        ('{"ret":"9999999999999999999"}', ApiError, None, None),
        ('{"ret":1e300}', ApiError, None, None),
    ],
)
def test_either_slot_tells_a_failure(body: str, kind: type[ApiError], ret: int | None, errcode: int | None) -> None:
    error = read(body)
    assert type(error) is kind
    assert (error.ret, error.errcode, error.endpoint, error.http_status) == (ret, errcode, "sendmessage", 200)


@pytest.mark.parametrize(
    ("errmsg", "kind"),
    [
        ("ilink_user_id required", RequestRejectedError),
        ("rate limited", RateLimitedError),
        ("freq limit", RateLimitedError),
        ("Rate Limited", RateLimitedError),
        ("prepare failed", WindowClosedError),
        (" Prepare failed ", WindowClosedError),
        ("unknown error", WindowClosedError),
        ("", WindowClosedError),
        (None, WindowClosedError),
        ("text too long", RequestRejectedError),
    ],
)
@pytest.mark.parametrize("slot", ["ret", "errcode"])
def test_minus_two_is_read_by_its_words(errmsg: str | None, kind: type[ApiError], slot: str) -> None:
    body = f'{{"{slot}":-2}}' if errmsg is None else f'{{"{slot}":-2,"errmsg":"{errmsg}"}}'
    error = read(body)
    assert type(error) is kind
    assert error.errmsg == (errmsg or "")
    assert error.code == -2


@pytest.mark.parametrize("ret", [-1, -2, -3, -4, -12, -14, -77])
def test_a_refusal_tells_what_was_refused_why_and_what_to_do(ret: int) -> None:
    error = read(f'{{"ret":{ret},"errmsg":"because"}}')
    assert str(error).startswith(f"sendmessage was refused: ret {ret}, 'because'; ")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RequestRejectedError),
        (401, StaleTokenError),
        (403, RequestRejectedError),
        (404, RequestRejectedError),
        (429, RateLimitedError),
        (500, ServerError),
        (503, ServerError),
        (504, ServerError),
        (524, ServerError),
    ],
)
def test_an_http_status_is_an_error_of_its_kind(status: int, kind: type[ApiError]) -> None:
    error = read_http_error("getupdates", status, errmsg="edge")
    assert type(error) is kind
    assert (error.http_status, error.ret, error.errcode, error.errmsg) == (status, None, None, "edge")
    assert str(error).startswith(f"getupdates was answered with HTTP {status}: edge; ")


def test_the_servers_delay_is_kept() -> None:
    error = read_http_error("sendmessage", 429, retry_after=42.0)
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == 42.0


def test_the_edge_cutting_a_poll_is_known() -> None:
    assert {504, 524} == EDGE_TIMEOUT_STATUSES


def test_only_what_may_succeed_unchanged_is_transient() -> None:
    transient = {kind.__name__ for kind in _all_errors(IlinkError) if kind.transient}
    assert transient == {"ConnectError", "RateLimitedError", "ServerError", "StoreUnavailableError"}


def _all_errors(kind: type[IlinkError]) -> set[type[IlinkError]]:
    return {kind}.union(*(_all_errors(child) for child in kind.__subclasses__()))
