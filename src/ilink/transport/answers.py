"""What every transport does with an answer: read it in pieces, and say what was wrong with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from ilink.errors import ConnectError, OutcomeUnknownError, RemoteProtocolError
from ilink.transport.requests import describe
from ilink.transport.seam import Request

__all__ = ["PiecewiseAnswer", "broken_off", "header_text", "late", "no_http", "too_large", "unreachable"]


class PiecewiseAnswer(ABC):
    """An answer that is read in pieces; a transport says how it gets the next one."""

    @property
    @abstractmethod
    def status(self) -> int:
        """The HTTP status."""

    @property
    @abstractmethod
    def headers(self) -> Mapping[str, str]:
        """The headers, names in lower case."""

    @abstractmethod
    async def _read_some(self) -> bytes:
        """Return the next piece, or nothing at the end."""

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Return the body in pieces; see `StreamedResponse.chunks`."""
        while chunk := await self._read_some():
            yield chunk

    async def read(self, max_bytes: int) -> bytes:
        """Return what is left of the body, at most `max_bytes` of it."""
        parts = bytearray()
        async with aclosing(self.chunks()) as chunks:
            async for chunk in chunks:
                parts += chunk
                if len(parts) >= max_bytes:
                    break
        return bytes(parts[:max_bytes])


def header_text(value: bytes) -> str:
    """Read a header's value: UTF-8, as the CDN spells its words, else one character a byte."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def no_http(request: Request) -> RemoteProtocolError:
    """Return the error for an answer that breaks the rules of HTTP."""
    return RemoteProtocolError(f"{describe(request)}: what came back is no HTTP; is the base URL right?")


def too_large(request: Request, max_bytes: int) -> RemoteProtocolError:
    """Return the error for an answer above its limit."""
    return RemoteProtocolError(f"{describe(request)}: the answer is larger than {max_bytes} bytes")


def broken_off(request: Request, reason: str = "") -> OutcomeUnknownError:
    """Return the error for an answer that ended early."""
    words = f"{describe(request)}: the connection ended before the whole answer came"
    return OutcomeUnknownError(f"{words}, {reason}" if reason else words)


def late(request: Request, seconds: float) -> OutcomeUnknownError:
    """Return the error for an answer that did not come in time."""
    return OutcomeUnknownError(f"{describe(request)}: no whole answer within {seconds:g} s", timed_out=True)


def unreachable(request: Request, reason: str) -> ConnectError:
    """Return the error for a request of which nothing could be written."""
    return ConnectError(f"{describe(request)}: no connection{reason}; nothing was sent")
