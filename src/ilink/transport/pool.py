"""Connections to servers: found, opened, kept for the next request, closed."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

from aiohappyeyeballs import start_connection  # pyright: ignore[reportUnknownVariableType]  # of bare tuples

from ilink.transport.connection import Connection
from ilink.transport.heads import Origin

__all__ = ["KEEP_ALIVE", "Pool"]

_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]

KEEP_ALIVE: Final = 4.0
"""Seconds an idle connection is kept: less than the 5 after which common servers close theirs, so that a server seldom
closes one just while a request is written on it."""

_REMEMBER_NAMES: Final = 60.0
_HEAD_START: Final = 0.25
"""Seconds an address has before the next one of its host is tried beside it (RFC 8305)."""


class Pool:
    """The connections of one transport, as many at a time as there are requests.

    Args:
        tls: How certificates are checked; by default against the system's authorities.
        keep_alive: Seconds an idle connection is kept.
    """

    def __init__(self, *, tls: ssl.SSLContext | None, keep_alive: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._tls = tls
        self._keep_alive = keep_alive
        self._idle: dict[Origin, deque[Connection]] = {}
        self._open: set[Connection] = set()
        self._all_lost: asyncio.Future[None] | None = None
        self._on_lost = self._forget  # one for all of them
        self._names: dict[tuple[str, int], tuple[float, Sequence[_Address]]] = {}
        self._asking: dict[tuple[str, int], asyncio.Lock] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False

    def take(self, origin: Origin) -> Connection | None:
        """Return an idle connection on which the server has neither said anything nor hung up, if there is one."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.is_reusable and not connection.has_input():
                return connection
            connection.abort()
        return None

    async def connect(self, origin: Origin) -> Connection:
        """Open a connection.

        Raises:
            OSError: There is none to be had: no such host, nobody listens, its certificate is not trusted.
        """
        connection = await self._connect(origin)
        if not connection.is_lost:
            self._open.add(connection)
        if self._is_closed:
            connection.abort()
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request, or close it when its last one did not end well."""
        if not connection.is_reusable or self._is_closed:
            connection.abort()
            return
        connection.rest()
        connection.idle_since = self._loop.time()
        self._idle.setdefault(connection.origin, deque()).append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._keep_alive, self._sweep)

    async def aclose(self) -> None:
        """Close all connections, those in use too."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()
        if self._open:
            self._all_lost = self._loop.create_future()
            await self._all_lost

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        if self._all_lost is not None and not self._open and not self._all_lost.done():
            self._all_lost.set_result(None)

    def _sweep(self) -> None:
        """Close what was idle for too long, and look again when the next one will have been."""
        self._sweeper = None
        due = self._loop.time() - self._keep_alive
        oldest: float | None = None
        for origin, idle in list(self._idle.items()):
            while idle and (idle[0].idle_since <= due or not idle[0].is_open):
                idle.popleft().abort()
            if not idle:
                del self._idle[origin]
            elif oldest is None or idle[0].idle_since < oldest:
                oldest = idle[0].idle_since
        if oldest is not None:
            self._sweeper = self._loop.call_at(oldest + self._keep_alive, self._sweep)

    async def _connect(self, origin: Origin) -> Connection:
        make: Callable[[], Connection] = lambda: Connection(origin, self._on_lost)  # noqa: E731
        tls = await self._context() if origin.scheme == "https" else None
        name = origin.host.rstrip(".") if tls is not None else None
        if _is_address(origin.host):
            _, connection = await self._loop.create_connection(
                make, origin.host, origin.port, ssl=tls, server_hostname=name
            )
            return connection
        addresses = await self._find(origin.host, origin.port)
        sock = await start_connection(addresses, happy_eyeballs_delay=_HEAD_START, interleave=1)
        try:
            _, connection = await self._loop.create_connection(make, sock=sock, ssl=tls, server_hostname=name)
        except BaseException:
            sock.close()
            raise
        return connection

    async def _context(self) -> ssl.SSLContext:
        """Return how certificates are checked; the system's authorities are read once, in a thread."""
        if self._tls is None:
            self._tls = await asyncio.to_thread(_system_trust)
        return self._tls

    async def _find(self, host: str, port: int) -> Sequence[_Address]:
        """Look a name up, once for all who ask at the same time and for a minute after that."""
        place = host, port
        async with self._asking.setdefault(place, asyncio.Lock()):
            until, addresses = self._names.get(place, (0.0, ()))
            if self._loop.time() >= until:
                addresses = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                self._names[place] = self._loop.time() + _REMEMBER_NAMES, addresses
        return addresses


def _system_trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
