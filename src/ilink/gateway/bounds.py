"""Bounds on what a connection may cost before its request is known: bytes of its head, and time."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from ilink.gateway.admission import Admission
from ilink.gateway.http.failures import CONNECTION

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

__all__ = ["HEAD_BYTES", "BoundedProtocol", "bounded"]

HEAD_BYTES: Final = 64 * 1024
"""Of request line and headers together; the parser itself would keep any number."""

_TURNS: Final = 100
"""How often the event loop goes round at most until what was written has left."""

_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

_TOO_MANY: Final = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _LazyFlow(FlowControl):
    """uvicorn's flow control, without an event for each of ten thousand connections of which few are ever paused."""

    def __init__(self, transport: asyncio.Transport) -> None:  # without that of the base, which makes the event
        self._transport = transport
        self.read_paused = False
        self.write_paused = False

    async def drain(self) -> None:
        if self.write_paused:
            await self._is_writable_event.wait()

    def pause_writing(self) -> None:
        if not self.write_paused:
            self.write_paused = True
            self._is_writable_event = asyncio.Event()


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with limits on the head of a request, and on the silence within its body."""

    head_seconds = 60.0
    """From a connection's first moment, or a request's first byte, to the end of its headers."""
    body_seconds = 60.0
    """Between two pieces of a body."""
    admission: Admission | None = None
    """How many connections one address may have."""
    is_leaving = False
    """Whether each connection ends with its next answer, which says so."""
    _admitted_as: str | None = None
    _head_bytes = 0
    _is_in_head = True
    _heard = 0.0
    _is_in_message = False
    _idle_since: float | None = None
    _too_slow: asyncio.TimerHandle | None = None
    _on_gone: Callable[[], None] | None = None
    _running: RequestResponseCycle | None = None
    """The request that is being answered; `cycle` is the one that came last."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        stream = cast("asyncio.Transport", transport)
        super().connection_made(stream)
        self.flow = _LazyFlow(stream)
        if self.admission is not None and not self._admit(self.admission):
            stream.write(_TOO_MANY)
            stream.close()
            return
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        if self.admission is not None and self._admitted_as is not None:
            self.admission.disconnect(self._admitted_as)
        scope = cast("dict[str, object] | None", self.scope)
        if scope is not None:
            # A request that is over would otherwise keep its connection alive, and that one the request.
            scope.pop(CONNECTION, None)
        super().connection_lost(exc)
        idle, self.timeout_keep_alive_task = self.timeout_keep_alive_task, None
        if idle is not None:  # it would keep one that was reset for two minutes
            idle.cancel()
        self._tell_running()
        if self._on_gone is not None:
            self._on_gone()

    def data_received(self, data: bytes) -> None:
        """Count what comes before the end of the headers; a little more may come with the same read."""
        if self._is_in_head:
            self._head_bytes += len(data)
        self._heard = self.loop.time()
        super().data_received(data)
        if self._is_in_message and self._too_slow is None:  # a request that came whole needs no timer
            self._wait_for_head()
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to count anew."""
        super().on_message_begin()
        self._is_in_head = self._is_in_message = True

    def on_headers_complete(self) -> None:
        """Hand the request on; the size of its body is limited by who reads it."""
        self._is_in_head = False
        self._head_bytes = 0
        cast("dict[str, object]", self.scope)[CONNECTION] = self
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a piece as it came if none waits before it: uvicorn copies it twice, which costs as much as storing."""
        cycle = self.cycle
        if cycle.body or cycle.response_complete:
            super().on_body(body)
            return
        super().on_body(b"")
        # Of bytes, what uvicorn does with its bytearray makes no copy, or a new object.
        cycle.body = cast("bytearray", body)
        if len(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """Stop waiting: what follows is up to the gateway."""
        self._is_in_message = False
        self._stop_waiting()
        super().on_message_complete()

    def answer_whole(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        """Write a whole answer to the running request; False where it takes uvicorn's own way.

        That is two writes, each of which wakes the caller, and as much work again around them. Refusals take it, since
        their headers may close the connection.
        """
        cycle = self._running
        assert cycle is not None
        is_plain = status == HTTPStatus.OK and cycle.keep_alive
        if not is_plain or cycle.disconnected or self.flow.write_paused:
            return False
        cycle.response_started = cycle.response_complete = True
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[status], head, body))
        cycle.on_response()
        return True

    def on_response_complete(self) -> None:
        """Begin the request that waits, or wait for one.

        As uvicorn does, but with one timer that looks how long nothing came: to set one after every answer and cancel
        it at the next request costs more than reading that request.
        """
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_when_idle_for(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Hang up if nothing came for so long, and look again later if something did."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return  # a request runs, and its answer begins to wait
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._look_when_idle_for(left)
        else:
            self.transport.close()

    def _look_when_idle_for(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        if self.is_leaving:
            cycle.keep_alive = False
        super()._start_asgi_task(cycle, app)

    async def reset(self) -> None:
        """Break the connection as a failing network does: what was written leaves, and then a reset."""
        for _ in range(_TURNS):
            if not self.transport.get_write_buffer_size():
                break
            await asyncio.sleep(0)
        _do_not_linger(self.transport)
        self._tell_running()
        self.transport.abort()

    def watch(self, on_gone: Callable[[], None]) -> Callable[[], None]:
        """Call a function when the caller of the present request leaves; there is one request at a time."""
        if self.transport.is_closing():
            on_gone()
        else:
            self._on_gone = on_gone
        return self._unwatch

    def _tell_running(self) -> None:
        """Tell the running request that its caller is gone; uvicorn tells the one that came last."""
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def _unwatch(self) -> None:
        self._on_gone = None

    def _admit(self, admission: Admission) -> bool:
        address = self.client[0] if self.client else ""
        if not admission.connect(address):
            return False
        self._admitted_as = address
        return True

    def _wait_for_head(self) -> None:
        self._too_slow = self.loop.call_later(self.head_seconds, self._look)

    def _look(self) -> None:
        """Hang up on who is too slow; look again later at a body that comes, or that nobody wants to read yet."""
        self._too_slow = None
        left = self._heard + self.body_seconds - self.loop.time()
        if self._is_in_head or (left <= 0 and not self.flow.read_paused):
            self.transport.abort()
        else:
            self._too_slow = self.loop.call_later(left if left > 0 else self.body_seconds, self._look)

    def _stop_waiting(self) -> None:
        if self._too_slow is not None:
            self._too_slow.cancel()
            self._too_slow = None


def _do_not_linger(transport: asyncio.BaseTransport) -> None:
    """Make the system send a reset when the socket is closed, not the orderly end of a stream."""
    bound = transport.get_extra_info("socket")
    if bound is None or not hasattr(os, "dup"):
        return
    # asyncio's own handle of the socket takes no options on every event loop; a copy of the descriptor does.
    with socket.socket(fileno=os.dup(bound.fileno())) as copy:
        copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def bounded(head_seconds: float, body_seconds: float, admission: Admission | None) -> type[asyncio.Protocol]:
    """Return the protocol with other limits."""
    members: dict[str, Any] = {"head_seconds": head_seconds, "body_seconds": body_seconds, "admission": admission}
    return type("BoundedProtocol", (BoundedProtocol,), members)
