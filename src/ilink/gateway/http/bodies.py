"""Reading request bodies with a limit that holds before anything is read, and while it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.types import Receive

__all__ = ["BodyTooLargeError", "CallerGoneError", "read_body"]

_DIGITS: Final = 18


class BodyTooLargeError(Exception):
    """The body is, or says it is, larger than allowed."""


class CallerGoneError(Exception):
    """The caller left before the body was complete."""


async def read_body(receive: Receive, headers: Mapping[str, str], *, most: int) -> bytes:
    """Return the whole body.

    Raises:
        BodyTooLargeError: The declared length is over the limit, and nothing was read; or so much came all the same.
        CallerGoneError: The caller left.
    """
    declared = headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > _DIGITS or int(declared) > most):
        raise BodyTooLargeError
    message = await receive()
    body = _chunk(message)
    if len(body) > most:
        raise BodyTooLargeError
    if not message.get("more_body", False):
        return body
    chunks = bytearray(body)
    while message.get("more_body", False):
        message = await receive()
        chunks += _chunk(message)
        if len(chunks) > most:
            raise BodyTooLargeError
    return bytes(chunks)


def _chunk(message: Mapping[str, object]) -> bytes:
    if message["type"] == "http.disconnect":
        raise CallerGoneError
    chunk = message.get("body", b"")
    assert isinstance(chunk, bytes)
    return chunk
