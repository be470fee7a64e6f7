"""Reading what comes with a request, within limits."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from starlette.requests import Request

from ilink.gateway.control.refusals import Refusal

__all__ = ["MAX_JSON", "content_type", "limited", "read_json_body"]

MAX_JSON: Final = 1024 * 1024
"""Bytes of a JSON body; a text may have 16 KiB, so this is plenty."""


def content_type(request: Request) -> str:
    """Return the media type of the body in lower case without parameters, or an empty text."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_json_body(request: Request, *, most: int = MAX_JSON) -> bytes:
    """Read a body that is declared as JSON, or as nothing, of at most so many bytes.

    Forms and plain text are refused: they are what a web page can send elsewhere without being asked for permission.

    Raises:
        Refusal: 415, it is declared as something else; 413, it is too large.
        ClientDisconnect: The caller left.
    """
    if _is_empty(request):
        return b""
    declared = content_type(request)
    if declared not in ("", "application/json") and not declared.endswith("+json"):
        raise Refusal(415, f"this call takes JSON, not {declared}", hint="send content-type: application/json")
    body = bytearray()
    async for piece in limited(request, most):
        body += piece
    return bytes(body)


async def limited(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    """Yield a body of at most so many bytes in pieces; one that announces more is refused unread.

    Raises:
        Refusal: 413.
        ClientDisconnect: The caller left.
    """
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:18]) > most:
        raise _too_large(most)
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > most:
            raise _too_large(most)
        yield piece


def _is_empty(request: Request) -> bool:
    """Tell whether a request has no body at all; what type it declares for nothing does not matter then."""
    headers = request.headers
    return headers.get("content-length", "0").strip() == "0" and "transfer-encoding" not in headers


def _too_large(limit: int) -> Refusal:
    # The rest of the body is not read, so the connection cannot carry another request.
    return Refusal(413, f"the body is larger than {limit} bytes", hint="send less", headers={"connection": "close"})
