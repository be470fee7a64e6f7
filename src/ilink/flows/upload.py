"""Moving a blob to or from the CDN: what an answer means, and whether to try again (protocol §5.3, §5.8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from ilink.errors import (
    ApiError,
    ConnectError,
    IlinkError,
    OutcomeUnknownError,
    RateLimitedError,
    RemoteProtocolError,
    RequestRejectedError,
    ServerError,
)
from ilink.flows.polling import Backoff
from ilink.wire.endpoints import DOWNLOAD_PATH, UPLOAD_PATH
from ilink.wire.headers import DOWNLOAD_REFERENCE, ERROR_CODE, ERROR_MESSAGE
from ilink.wire.hosts import join_url

__all__ = [
    "CDN_DOWNLOAD",
    "CDN_UPLOAD",
    "MAX_TRIES",
    "CdnAnswer",
    "download_url",
    "next_pause",
    "read_download",
    "read_upload",
    "upload_url",
]

CDN_UPLOAD: Final = "cdn_upload"
CDN_DOWNLOAD: Final = "cdn_download"

MAX_TRIES: Final = 3
"""How often one blob is moved at most (official 2.4.9)."""

_BACKOFF: Final = Backoff(first=1.0, ceiling=8.0, floor=0.2)
"""The official client tries again at once; a pause is kinder to a server that just failed (protocol §7.14)."""

_ILLEGAL_CONTENT: Final = -5_102_031
"""x-error-code of content that Tencent refuses (peer: dsh-bridge)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CdnAnswer:
    """What the CDN said, without a body that is media.

    Attributes:
        status: The HTTP status.
        headers: Names in lower case.
        words: The beginning of the body of a failure.
    """

    status: int
    headers: Mapping[str, str]
    words: str = ""


def upload_url(cdn_base: str, *, param: str, file_key: str) -> str:
    """Return the address to upload to when the permission is a parameter (seed, official 2.4.9)."""
    query = urlencode({"encrypted_query_param": param, "filekey": file_key}, quote_via=quote, safe="")
    return f"{join_url(cdn_base, UPLOAD_PATH)}?{query}"


def download_url(cdn_base: str, param: str) -> str:
    """Return the address to download from by parameter (seed, official 2.4.9)."""
    return (
        f"{join_url(cdn_base, DOWNLOAD_PATH)}?{urlencode({'encrypted_query_param': param}, quote_via=quote, safe='')}"
    )


def read_upload(answer: CdnAnswer) -> str:
    """Return the reference to download by: success is exactly 200 with the header that carries it (official 2.4.9).

    Raises:
        RequestRejectedError: 3xx or 4xx: the address, the permission or the content is refused.
        ServerError, RateLimitedError: 5xx or 429.
        RemoteProtocolError: 200 without the header (observed: ocw#172, ocw#149), or another 2xx.
    """
    if not 200 <= answer.status < 300:
        raise _refusal(CDN_UPLOAD, answer)
    reference = answer.headers.get(DOWNLOAD_REFERENCE, "").strip()
    if answer.status != 200 or not reference:
        has = "with" if reference else "without"
        message = f"{CDN_UPLOAD} was answered with HTTP {answer.status} {has} {DOWNLOAD_REFERENCE}: no upload ends so"
        raise RemoteProtocolError(message)
    return reference


def read_download(answer: CdnAnswer) -> None:
    """Return for a success, which is any 2xx (official 2.4.9).

    Raises:
        RequestRejectedError: 3xx or 4xx: the link ran out, is none of ours, or points elsewhere.
        ServerError, RateLimitedError: 5xx or 429.
    """
    if not 200 <= answer.status < 300:
        raise _refusal(CDN_DOWNLOAD, answer)


def next_pause(error: IlinkError, *, tries: int, jitter: float) -> float | None:
    """Return the seconds to wait before the next try, or None to give up.

    Moving a blob again is harmless: the upload's name and bytes are the same. So a lost answer, a failing server and a
    missing reference are tried again, and what is refused is not (official 2.4.9).

    Args:
        error: What the last try ended with.
        tries: How many there were, 1 or more.
        jitter: A random number from 0 up to 1.
    """
    passing = isinstance(error, ConnectError | OutcomeUnknownError | RemoteProtocolError | ServerError)
    if isinstance(error, RateLimitedError):
        passing = error.retry_after is not None
    if tries >= MAX_TRIES or not passing:
        return None
    return _BACKOFF.delay(tries, jitter=jitter, retry_after=getattr(error, "retry_after", None))


def _refusal(endpoint: str, answer: CdnAnswer) -> ApiError:
    words = answer.headers.get(ERROR_MESSAGE, "").strip() or answer.words.strip()
    code = _number(answer.headers.get(ERROR_CODE, ""))
    said = f"{endpoint} was answered with HTTP {answer.status}"
    said += f", code {code}" if code is not None else ""
    said += f": {words[:200]!r}" if words else ""
    kind, advice = _classify(answer.status, code)
    return kind(f"{said}; {advice}", endpoint=endpoint, http_status=answer.status, errcode=code, errmsg=words[:1000])


def _classify(status: int, code: int | None) -> tuple[type[ApiError], str]:
    # 401 and 403 are about the blob's permission here; read as a stale token they would sign the account out
    # (observed: hermes-agent PR 80166).
    if code == _ILLEGAL_CONTENT:
        return RequestRejectedError, "the content is not allowed; do not send it again"
    if status == 429:
        return RateLimitedError, "wait before the next attempt"
    if status >= 500:
        return ServerError, "try again later"
    if status == 404:
        return RequestRejectedError, "there is nothing at this address; check the CDN's base URL"
    if 300 <= status < 400:
        return RequestRejectedError, "it points elsewhere, and redirects of media are not followed"
    return RequestRejectedError, "the permission or the link is refused; ask for a new one"


def _number(text: str) -> int | None:
    try:
        return int(text) if len(text) < 20 else None
    except ValueError:
        return None
