"""Addresses bound before anything is served on them, and the HTTP server behind each."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import TYPE_CHECKING, Any, Final, Self

from ilink.errors import ConfigError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, MutableMapping

    import uvicorn

    from ilink.gateway.admission import Admission

    Message = MutableMapping[str, object]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    AsgiApp = Callable[[MutableMapping[str, object], Receive, Send], Awaitable[None]]

__all__ = ["Listener", "parse_address"]

KEEP_ALIVE: Final = 120
"""Seconds an idle connection stays open: longer than clients pause between polls, so that they meet a live one."""
_BACKLOG: Final = 4096
_TURNS: Final = 100
_TURN: Final = 0.005
"""How often, and every how many seconds, closing connections are looked at before they are cut."""

_ADDRESS: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})")


def parse_address(text: str) -> tuple[str, int]:
    """Read HOST:PORT or [IPV6]:PORT; port 0 takes a free one.

    Raises:
        ConfigError: It is neither.
    """
    match = _ADDRESS.fullmatch(text.strip())
    if match is None or int(match["port"]) > 65535:
        message = f"{text!r} is no address to listen on; write HOST:PORT, such as 127.0.0.1:8080"
        raise ConfigError(message)
    return match["six"] or match["name"], int(match["port"])


class Listener:
    """One bound socket; its port is known from the start, and nobody is answered before `start`."""

    def __init__(self, bound: socket.socket, host: str, tls: ssl.SSLContext | None) -> None:
        self._socket = bound
        self._tls = tls
        self._server: uvicorn.Server | None = None
        self.host = host
        self.port: int = bound.getsockname()[1]

    @classmethod
    def bind(cls, address: str, *, tls: ssl.SSLContext | None = None) -> Self:
        """Bind an address, which will be served with TLS if a context for it is given.

        Raises:
            ConfigError: It is no address, or it is taken or not one of this machine.
        """
        host, port = parse_address(address)
        try:
            family, kind, protocol, _, target = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            bound = socket.socket(family, kind, protocol)
        except OSError as error:
            raise _cannot_listen(address, error) from error
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(target)
            bound.listen(_BACKLOG)
        except OSError as error:
            bound.close()
            raise _cannot_listen(address, error) from error
        return cls(bound, host, tls)

    @property
    def url(self) -> str:
        """The address as a URL without a trailing slash; a listener on all addresses is named by the loopback one."""
        scheme, host = "http" if self._tls is None else "https", self.reached_by
        return f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"

    @property
    def reached_by(self) -> str:
        """The host to connect to: the loopback one, if it listens on all."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  # compared, not bound

    async def start(
        self,
        app: AsgiApp,
        *,
        head_seconds: float = 60.0,
        body_seconds: float = 60.0,
        admission: Admission | None = None,
    ) -> None:
        """Serve an application from now on; connections that came before are answered too.

        Args:
            app: What answers.
            head_seconds: How long a connection may take to its request's last header.
            body_seconds: How long it may be silent in the middle of a body.
            admission: How many connections one address may have; None for any number.
        """
        # Loaded here because it takes a tenth of a second, which a wrong argument need not wait for.
        import uvicorn

        from ilink.gateway.bounds import bounded

        config = uvicorn.Config(
            app,
            http=bounded(head_seconds, body_seconds, admission),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=KEEP_ALIVE,
        )
        config.load()
        config.ssl = self._tls
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        # Started without its main loop, which takes the process's signals and wakes ten times a second for nothing
        # that is used here.
        await server.startup(sockets=[self._socket])
        self._server = server

    def release(self) -> None:
        """Close the socket of a listener that was never started; harmless otherwise."""
        if self._server is None:
            self._socket.close()

    def leave(self) -> None:
        """Go on serving, but end each connection with its next answer, which says so: callers go elsewhere by then."""
        if self._server is None:
            return
        protocol: Any = self._server.config.http_protocol_class
        protocol.is_leaving = True
        connections: list[Any] = list(self._server.server_state.connections)
        for connection in connections:
            cycle = connection.cycle
            if cycle is not None and not cycle.response_complete:
                cycle.keep_alive = False

    def stop_accepting(self) -> None:
        """Take no new connections, and close each one as soon as its present request is answered."""
        if self._server is None:
            return
        for server in self._server.servers:
            server.close()
        for connection in list(self._server.server_state.connections):
            connection.shutdown()

    async def aclose(self, *, grace: float) -> None:
        """Stop, giving requests that run some seconds to be answered; what runs longer is cut."""
        self.stop_accepting()
        server, self._server = self._server, None
        if server is None:
            return
        await _finish(server, grace)
        await _let_go(server)


async def _finish(server: uvicorn.Server, grace: float) -> None:
    """Wait for running requests; cut the connections of those that are late, and at last the requests themselves."""
    tasks = list(server.server_state.tasks)
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=grace)
    if not late:
        return
    for connection in list(server.server_state.connections):
        connection.transport.abort()
    _, stuck = await asyncio.wait(late, timeout=_TURN)
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)


async def _let_go(server: uvicorn.Server) -> None:
    """Let the last bytes of the answers leave, then cut the connections that are left."""
    connections = server.server_state.connections
    for _ in range(_TURNS):
        for connection in list(connections):
            connection.shutdown()
        if not connections:
            return
        await asyncio.sleep(_TURN)
    for connection in list(connections):
        connection.transport.abort()


def _cannot_listen(address: str, error: OSError) -> ConfigError:
    return ConfigError(f"cannot listen on {address}: {error.strerror or error}; choose another address or port 0")
