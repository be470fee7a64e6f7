"""The network by HTTP/1.1: straight to a server on connections of our own, through a proxy by aiohttp.

That is the whole rule, for small calls and large files alike, and `HttpTransport` is the only place that knows it.
aiohttp is loaded only where a proxy is configured.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Self

from ilink.errors import ConfigError
from ilink.transport.direct import DirectTransport
from ilink.transport.pool import KEEP_ALIVE
from ilink.transport.proxies import PROXY_VARIABLE, ProxyMap
from ilink.transport.requests import describe
from ilink.transport.seam import MAX_ANSWER_BYTES, Request, Response, StreamedResponse, Transport

__all__ = ["HttpTransport"]


class HttpTransport:
    """The network: connections are kept and reused, as many at a time as there are requests.

    Args:
        proxies: Which hosts are reached through a proxy, see `ProxyMap`. Without it `ILINK_PROXY` gives the way for all
            hosts; without that everything goes straight.
        tls: How certificates are checked; by default against the system's authorities.
        keep_alive: Seconds an idle connection is kept; below the 5 after which common servers close theirs.
        environ: Where the variable is looked up.

    Raises:
        ConfigError: A proxy is neither `direct`, `env` nor an http or https URL.
    """

    def __init__(
        self,
        *,
        proxies: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        keep_alive: float = KEEP_ALIVE,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        everywhere = environ.get(PROXY_VARIABLE, "")
        self._proxies = ProxyMap(({"*": everywhere} if everywhere else {}) if proxies is None else proxies)
        self._tls = tls
        self._keep_alive = keep_alive
        self._direct = DirectTransport(tls=tls, keep_alive=keep_alive)
        self._proxied: Transport | None = None
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._exits.enter_async_context(self._direct)
        if self._proxies.may_lead_through:
            from ilink.transport.proxied import ProxiedTransport

            proxied = ProxiedTransport(self._proxies, tls=self._tls, keep_alive=self._keep_alive)
            self._proxied = await self._exits.enter_async_context(proxied)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._proxied = None
        await self._exits.aclose()

    def send(
        self, request: Request, *, timeout: float, max_bytes: int = MAX_ANSWER_BYTES
    ) -> Coroutine[object, None, Response]:
        """Send one request and return its whole answer; see `Transport.send`."""
        return self._way_of(request).send(request, timeout=timeout, max_bytes=max_bytes)

    def open_stream(self, request: Request, *, timeout: float) -> AbstractAsyncContextManager[StreamedResponse]:
        """Send one request and read its answer in pieces; see `Transport.open_stream`."""
        return self._way_of(request).open_stream(request, timeout=timeout)

    def _way_of(self, request: Request) -> Transport:
        if self._proxied is None:
            return self._direct
        try:
            proxy = self._proxies.find(request.url)
        except ValueError:
            message = f"{describe(request)}: this is no usable URL"
            raise ConfigError(message) from None
        return self._direct if proxy is None else self._proxied
