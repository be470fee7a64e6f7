"""From an HTTP answer to a model or an error."""

from __future__ import annotations

import logging
from typing import TypeVar

from ilink.errors import ApiError, RemoteProtocolError
from ilink.transport.seam import Response
from ilink.wire.codec import decode
from ilink.wire.models import Answer, given
from ilink.wire.redact import excerpt
from ilink.wire.results import read_http_error, read_result

__all__ = ["read_answer"]

A = TypeVar("A", bound=Answer)

_log = logging.getLogger(__name__)


def read_answer(endpoint: str, response: Response, model: type[A]) -> A:
    """Read an answer whose `ret` and `errcode` both say that it worked.

    An empty body is a success without fields, as older servers spell it (peer: ilink-hub).

    Raises:
        ApiError: The server said no, by its numbers or by the HTTP status.
        RemoteProtocolError: The answer is no JSON object.
    """
    if not 200 <= response.status < 300:
        raise _http_error(endpoint, response)
    if not response.body.strip():
        return model()
    try:
        decoded = decode(response.body, model)
    except RemoteProtocolError as error:
        message = (
            f"{endpoint} was answered with something that is no JSON object ({len(response.body)} bytes); a proxy or a"
            " login page may stand in between, or the base URL is wrong"
        )
        raise RemoteProtocolError(message, excerpt=excerpt(response.body)) from error
    if decoded.problems:
        _log.debug("%s: unreadable fields %s", endpoint, ", ".join(decoded.problems))
    refused = read_result(endpoint, decoded.value)
    if refused is not None:
        raise refused
    return decoded.value


def _http_error(endpoint: str, response: Response) -> ApiError:
    """Read a status that is no success. A hub's body may say more precisely what is wrong, such as -14."""
    try:
        answer = decode(response.body, Answer).value
    except RemoteProtocolError:
        answer = Answer()
    refused = read_result(endpoint, answer)
    if refused is not None:
        refused.http_status = response.status
        return refused
    return read_http_error(
        endpoint, response.status, errmsg=given(answer.errmsg, ""), retry_after=_retry_after(response)
    )


def _retry_after(response: Response) -> float | None:
    """Read Retry-After in seconds; its other form, a date, would need a clock that agrees with the server's."""
    text = response.headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else None
