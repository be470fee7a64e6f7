"""What a CDN's answer means and whether to try again, as values in and values out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilink.errors import (
    ConfigError,
    ConnectError,
    DecryptionError,
    IlinkError,
    IntegrityError,
    OutcomeUnknownError,
    RateLimitedError,
    RemoteProtocolError,
    RequestRejectedError,
    ServerError,
    StaleTokenError,
    StoreError,
    TooLargeError,
)
from ilink.flows.upload import MAX_TRIES, CdnAnswer, download_url, next_pause, read_download, read_upload, upload_url

LASTING = [
    ConfigError("x"),
    DecryptionError("x"),
    IntegrityError("x"),
    TooLargeError("x"),
    StoreError("x"),
    RequestRejectedError("x", endpoint="cdn_upload"),
    RateLimitedError("x", endpoint="cdn_upload"),
]
PASSING = [
    ConnectError("x"),
    OutcomeUnknownError("x"),
    RemoteProtocolError("x"),
    ServerError("x", endpoint="cdn_upload"),
    RateLimitedError("x", endpoint="cdn_upload", retry_after=1.0),
]


def answer(status: int, words: str = "", **headers: str) -> CdnAnswer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return CdnAnswer(status=status, headers=named, words=words)


def test_success_is_200_with_the_reference() -> None:
    assert read_upload(answer(200, x_encrypted_param=" a+/= ")) == "a+/="


@pytest.mark.parametrize("status", [201, 204, 206])
def test_another_success_is_none(status: int) -> None:
    with pytest.raises(RemoteProtocolError):
        read_upload(answer(status, x_encrypted_param="a"))


@pytest.mark.parametrize("headers", [{}, {"x_encrypted_param": ""}, {"x_encrypted_param": "  "}])
def test_200_without_the_reference_is_no_success(headers: dict[str, str]) -> None:
    with pytest.raises(RemoteProtocolError, match="x-encrypted-param"):
        read_upload(answer(200, **headers))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, RequestRejectedError),
        (400, RequestRejectedError),
        (404, RequestRejectedError),
        (429, RateLimitedError),
        (500, ServerError),
        (503, ServerError),
    ],
)
def test_status_decides_the_error(status: int, error: type[IlinkError]) -> None:
    for read in (read_upload, read_download):
        with pytest.raises(error):
            read(answer(status))


@pytest.mark.parametrize("status", [401, 403])
def test_refused_permission_is_never_a_stale_token(status: int) -> None:
    with pytest.raises(RequestRejectedError) as refused:
        read_upload(answer(status))
    assert not isinstance(refused.value, StaleTokenError)


@pytest.mark.parametrize("status", [200, 203, 206])
def test_any_2xx_is_a_download(status: int) -> None:
    read_download(answer(status))


def test_header_wins_over_the_body_and_an_odd_code_is_left_out() -> None:
    with pytest.raises(ServerError) as failed:
        read_upload(answer(500, "body", x_error_message="header", x_error_code="odd"))
    assert (failed.value.errmsg, failed.value.errcode) == ("header", None)


@given(st.sampled_from(PASSING), st.integers(1, MAX_TRIES - 1), st.floats(0, 1, exclude_max=True))
def test_passing_failures_are_paused_for_within_bounds(error: IlinkError, tries: int, jitter: float) -> None:
    pause = next_pause(error, tries=tries, jitter=jitter)
    assert pause is not None
    assert 0.2 <= pause <= 9.0


@given(st.sampled_from(PASSING), st.integers(MAX_TRIES, 10), st.floats(0, 1, exclude_max=True))
def test_third_failure_is_the_last(error: IlinkError, tries: int, jitter: float) -> None:
    assert next_pause(error, tries=tries, jitter=jitter) is None


@pytest.mark.parametrize("error", LASTING, ids=lambda error: type(error).__name__)
def test_lasting_failures_are_not_tried_again(error: IlinkError) -> None:
    assert next_pause(error, tries=1, jitter=0.5) is None


def test_parameters_are_percent_encoded() -> None:
    assert upload_url("https://x/c2c/", param="a+/=", file_key="k&") == (
        "https://x/c2c/upload?encrypted_query_param=a%2B%2F%3D&filekey=k%26"
    )
    assert download_url("https://x/c2c", "a b") == "https://x/c2c/download?encrypted_query_param=a%20b"
