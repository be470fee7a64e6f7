"""Bounds on what a connection may cost before its request is known: bytes of its head, and time."""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HEAD_BYTES", "BoundedProtocol", "bounded"]

HEAD_BYTES: Final = 64 * 1024
"""Of request line and headers together; the parser itself would keep any number."""

_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with limits on the head of a request."""

    head_seconds = 60.0
    """From a connection's first moment, or a request's first byte, to the end of its headers."""
    _head_bytes = 0
    _is_in_head = True
    _too_slow: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        super().connection_made(cast("asyncio.Transport", transport))
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes before the end of the headers; a little more may come with the same read."""
        if self._is_in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to count anew."""
        super().on_message_begin()
        self._is_in_head = True
        if self._too_slow is None:
            self._wait_for_head()

    def on_headers_complete(self) -> None:
        """Hand the request on; its body has limits of its own."""
        self._is_in_head = False
        self._head_bytes = 0
        self._stop_waiting()
        super().on_headers_complete()

    def _wait_for_head(self) -> None:
        self._too_slow = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._too_slow is not None:
            self._too_slow.cancel()
            self._too_slow = None


def bounded(head_seconds: float) -> type[asyncio.Protocol]:
    """Return the protocol with another time limit."""
    members: dict[str, Any] = {"head_seconds": head_seconds}
    return type("BoundedProtocol", (BoundedProtocol,), members)
