"""What every transport does with a request before it travels."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from urllib.parse import urlsplit

from ilink.errors import LocalProtocolError
from ilink.transport.seam import Request, StreamedBody

__all__ = ["checked_chunks", "describe"]


def describe(request: Request) -> str:
    """Name a request in an error or a log: without user and query, which hold secrets."""
    try:
        parts = urlsplit(request.url)
    except ValueError:
        return f"{request.method} of a broken URL"
    return f"{request.method} {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def checked_chunks(body: StreamedBody) -> AsyncGenerator[bytes]:
    """Pass a body on, and hold it to the size that was announced.

    Raises:
        LocalProtocolError: It has more or fewer bytes; the receiver must not take it for whole.
    """
    left = body.size
    async for chunk in body.chunks:
        left -= len(chunk)
        if left < 0:
            break
        yield chunk
    if left:
        message = f"the body was announced with {body.size} bytes and has {'more' if left < 0 else 'fewer'}"
        raise LocalProtocolError(message)
