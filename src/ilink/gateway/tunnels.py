"""A proxy that leads the vendor's names to the gateway and nowhere else, for clients whose hosts are fixed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Final, Self

from ilink.errors import ConfigError
from ilink.gateway.authority import VENDOR_NAMES
from ilink.gateway.listeners import parse_address

__all__ = ["TunnelProxy"]

_HEAD_BYTES: Final = 8 * 1024
_HEAD_SECONDS: Final = 10.0
_CHUNK: Final = 64 * 1024
_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


class TunnelProxy:
    """Answers `CONNECT`, as `HTTPS_PROXY` makes clients send it; open it with `async with`.

    What goes through a tunnel stays encrypted between the client and the gateway. No other host is reachable, so a
    client behind it cannot talk to the real one by mistake.

    Args:
        address: HOST:PORT to listen on; port 0 takes a free one.
        gateway: Host and port of the gateway's listener, which may be named directly too.
        names: The hosts that lead there, at port 443.

    Attributes:
        url: Its address.
    """

    url: str

    def __init__(self, address: str, gateway: tuple[str, int], *, names: Collection[str] = VENDOR_NAMES) -> None:
        self._address = address
        self._gateway = gateway
        self._allowed = {(name, 443) for name in names} | {gateway}
        self._server: asyncio.Server | None = None
        self._tunnels: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            ConfigError: It is no address, or it is taken.
        """
        host, port = parse_address(self._address)
        try:
            self._server = await asyncio.start_server(self._accept, host, port, limit=_HEAD_BYTES)
        except OSError as error:
            message = f"cannot listen on {self._address}: {error.strerror or error}; choose another address or port 0"
            raise ConfigError(message) from error
        bound: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        tunnels = list(self._tunnels)
        for tunnel in tunnels:
            tunnel.cancel()
        await asyncio.gather(*tunnels, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of ours and not of asyncio's own making, so that closing can end and await it.
        tunnel = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tunnels.add(tunnel)
        tunnel.add_done_callback(self._tunnels.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            refusal = self._refusal(head)
            if refusal:
                writer.write(refusal)
                await writer.drain()
                return
            await self._lead(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever is on the other end is gone, or never meant to speak to a proxy
        finally:
            writer.close()

    def _refusal(self, head: bytes) -> bytes:
        """Return what a request is refused with, or nothing if it may pass."""
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        if method != "CONNECT":
            return _refuse("405 Method Not Allowed", "this proxy only tunnels HTTPS")
        target = rest.partition(" ")[0]
        try:
            host, port = parse_address(target)
        except ConfigError:
            return _refuse("400 Bad Request", "no HOST:PORT")
        if (host.lower(), port) not in self._allowed:
            return _refuse("403 Forbidden", "this proxy leads to the gateway and nowhere else")
        return b""

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_gateway, to_gateway = await asyncio.open_connection(*self._gateway)
        try:
            writer.write(_ESTABLISHED)
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, to_gateway))
                both.create_task(_copy(from_gateway, writer))
        finally:
            to_gateway.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Pass bytes on until one side ends, and then its end."""
    with suppress(OSError):
        while chunk := await source.read(_CHUNK):
            sink.write(chunk)
            await sink.drain()
    with suppress(OSError, RuntimeError):
        sink.write_eof()


def _refuse(status: str, words: str) -> bytes:
    body = words.encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return head.encode() + body
