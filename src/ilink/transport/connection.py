"""One HTTP/1.1 connection to a server: an asyncio protocol around the parser that nginx-like servers and Node share.

The parser is strict, and what it lets pass is checked here: a head of bounded size, a status that is one, a framing
that everybody reads alike. A connection that heard anything nobody asked for is never used again, because the answer to
one request could be taken for the answer to another.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Final, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from ilink.transport.answers import broken_off, header_text, no_http
from ilink.transport.exchange import Exchange
from ilink.transport.heads import Origin

__all__ = ["Connection"]

_MAX_HEAD: Final = 64 << 10
"""Bytes of all headers of an answer, those of interim answers before it included."""

_MAX_BARREN: Final = 2 * _MAX_HEAD
"""Bytes that may come without one of the body among them: headers, trailers, extensions of chunks."""

_JOINED: Final = 64 << 10
"""Up to this size a body is written together with its head."""


class _RuleBrokenError(Exception):
    """The answer is HTTP to the parser, and not to us."""


class Connection(asyncio.Protocol):
    """A connection that carries one exchange at a time.

    Args:
        origin: Where it leads.
        on_lost: Called once the connection is closed and its socket given back.

    Attributes:
        origin: Where it leads.
        idle_since: When its last exchange ended, on the loop's clock.
    """

    __slots__ = (
        "_barren",
        "_ends_with_connection",
        "_exchange",
        "_head_bytes",
        "_is_full",
        "_is_interim",
        "_is_kept",
        "_on_lost",
        "_parser",
        "_room",
        "_transport",
        "idle_since",
        "origin",
    )

    def __init__(self, origin: Origin, on_lost: Callable[[Connection], object]) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser: HttpResponseParser | None = None  # of an answer that comes: polls are many and wait for long
        self._exchange: Exchange | None = None
        self._room: asyncio.Future[None] | None = None
        self._is_full = False
        self._is_interim = False
        self._is_kept = False
        self._ends_with_connection = False
        self._head_bytes = 0
        self._barren = 0

    @property
    def is_lost(self) -> bool:
        """Whether it is closed, its socket given back."""
        return self._transport is None

    @property
    def is_open(self) -> bool:
        """Whether something can still be written."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_reusable(self) -> bool:
        """Whether another exchange may follow: the last one is over, on both sides, and nothing stands after it."""
        exchange, transport = self._exchange, self._transport
        return (
            transport is not None
            and self._is_kept
            and (exchange is None or exchange.is_whole)
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        )

    def begin(self, exchange: Exchange, head: bytes, body: bytes) -> None:
        """Write a request; from here on its outcome is unknown until its answer came."""
        assert self._transport is not None
        self._exchange = exchange
        self._is_kept = self._is_interim = self._ends_with_connection = False
        self._head_bytes = self._barren = 0
        exchange.begin(self._transport)
        if len(body) <= _JOINED:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)

    async def write(self, data: bytes) -> bool:
        """Write a piece of a body once there is room for it; False when nobody takes it any more."""
        while self._is_full and self._transport is not None:
            self._room = asyncio.get_running_loop().create_future()
            await self._room
        if self._transport is None or self._transport.is_closing():
            return False
        self._transport.write(data)
        return True

    def rest(self) -> None:
        """End an exchange after which the connection is used again."""
        if self._exchange is not None:
            self._exchange.let_go()
            self._exchange = self._parser = None

    def has_input(self) -> bool:
        """Tell whether something waits to be read: between two exchanges that can only be the end of the connection."""
        sock = None if self._transport is None else self._transport.get_extra_info("socket")
        descriptor = -1 if sock is None else sock.fileno()
        if descriptor < 0:
            return True
        if not hasattr(select, "poll"):  # Windows
            return bool(select.select([descriptor], [], [], 0)[0])
        poller = select.poll()  # select() itself refuses descriptors above 1023
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(0))

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        # TLS has checked the certificate. What it says is not asked for again, and takes 3 KiB of each connection.
        if certificate := transport.get_extra_info("peercert"):
            certificate.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        """End: an answer that is not over yet never will be."""
        exchange, self._exchange = self._exchange, None
        self._transport = self._parser = None
        if exchange is not None:
            self._end(exchange, exc)
        self._make_room()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """Take note that the other side reads slower than we write."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Let a body that waits go on."""
        self._is_full = False
        self._make_room()

    def eof_received(self) -> None:
        """Take the end of an answer that ends with its connection; any other end follows from the loss."""
        if self._exchange is not None and self._ends_with_connection:
            self._exchange.finish()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        exchange = self._exchange
        if exchange is None or exchange.is_over or self._transport is None:
            self._is_kept = False
            self.abort()  # nobody asked for this
            return
        if self._parser is None:
            self._parser = HttpResponseParser(self)
        before = exchange.size
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._refuse(exchange)
            return
        if exchange.error is not None:
            self.abort()
        elif exchange.size > before:
            self._barren = 0
        elif not exchange.is_whole:
            self._barren += len(data)
            if self._barren > _MAX_BARREN:
                self._refuse(exchange)

    def on_message_begin(self) -> None:
        """Begin an answer; a second one to the same request is none."""
        if self._exchange is None or self._exchange.is_over:
            raise _RuleBrokenError

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those after the body are not believed."""
        exchange = self._exchange
        assert exchange is not None
        if exchange.is_headed:
            return
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > _MAX_HEAD:
            raise _RuleBrokenError
        key = name.decode("latin-1").lower()
        if key == "transfer-encoding" and key in exchange.headers:
            raise _RuleBrokenError
        exchange.headers[key] = header_text(value)

    def on_headers_complete(self) -> None:
        """Take the head: what it says about where the body ends has to be plain."""
        exchange, parser = self._exchange, self._parser
        assert exchange is not None
        assert parser is not None
        status = parser.get_status_code()
        self._is_interim = 100 <= status < 200
        if status < 100 or status == 101:
            raise _RuleBrokenError
        if self._is_interim:
            return
        headers = exchange.headers
        coding = headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            raise _RuleBrokenError
        self._is_kept = parser.should_keep_alive()
        has_no_body = status in (204, 304)
        self._ends_with_connection = coding is None and "content-length" not in headers and not has_no_body
        exchange.take_head(status)

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        assert self._exchange is not None
        self._exchange.take(data)

    def on_message_complete(self) -> None:
        """End an answer; one that only says to wait is followed by the real one."""
        exchange = self._exchange
        assert exchange is not None
        if self._is_interim:
            exchange.headers.clear()
            return
        exchange.finish()

    def _refuse(self, exchange: Exchange) -> None:
        """Give a connection up on which something else than one answer came."""
        self._is_kept = False
        exchange.fail(no_http(exchange.request))
        self.abort()

    def _end(self, exchange: Exchange, error: Exception | None) -> None:
        if self._ends_with_connection and error is None:
            exchange.finish()
        elif not exchange.is_over:
            exchange.fail(broken_off(exchange.request, _reason(error)))

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)


def _reason(error: Exception | None) -> str:
    if error is None:
        return "the server closed it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
