"""How a call travels: its headers, its repeats while nothing was written, its answer."""

from __future__ import annotations

import logging
from random import Random
from typing import Final, TypeVar

from ilink.client.clock import Clock
from ilink.client.reading import read_answer
from ilink.errors import ConfigError, ConnectError
from ilink.flows.polling import Backoff
from ilink.transport.seam import Request, Transport
from ilink.wire.endpoints import Endpoint
from ilink.wire.headers import app_headers, post_headers
from ilink.wire.hosts import join_url
from ilink.wire.ids import Secret
from ilink.wire.models import Answer
from ilink.wire.versions import encode_uin

__all__ = ["CONNECT_TRIES", "Calls", "endpoint_at"]

A = TypeVar("A", bound=Answer)

_log = logging.getLogger(__name__)

CONNECT_TRIES: Final = 3
"""How often a call is tried while nothing could be written."""

_CONNECT_BACKOFF: Final = Backoff(first=0.2, ceiling=2.0, floor=0.05)


class Calls:
    """The calls of one client.

    Attributes:
        transport: The way to the network, while the client is open.
    """

    transport: Transport | None = None

    def __init__(
        self, base_url: str, *, token: Secret | None, version: str, route_tag: str | None, random: Random, clock: Clock
    ) -> None:
        self._base_url = base_url
        self._random = random
        self._clock = clock
        self._version = version
        self._route_tag = route_tag
        self._account_headers = post_headers(version, uin=0, token=token, route_tag=route_tag)

    async def get(
        self, endpoint: Endpoint, path: str, model: type[A], *, timeout: float, base_url: str | None = None
    ) -> A:
        """Call an endpoint by GET, here or at another base URL."""
        url = join_url(base_url or self._base_url, path)
        headers = app_headers(self._version, route_tag=self._route_tag)
        request = Request(method="GET", url=url, headers=headers)
        return (await self._exchange(endpoint, request, model, timeout=timeout, tries=1))[1]

    async def post(
        self,
        endpoint: Endpoint,
        body: bytes,
        model: type[A],
        *,
        timeout: float,
        tries: int = CONNECT_TRIES,
        path: str | None = None,
    ) -> tuple[bytes, A]:
        """Call an endpoint by POST, and return the answer as it came and as it was read."""
        uin = self._random.getrandbits(32)
        if endpoint.has_token:
            headers = {**self._account_headers, "X-WECHAT-UIN": encode_uin(uin)}
        else:
            headers = post_headers(self._version, uin=uin, route_tag=self._route_tag)
        url = join_url(self._base_url, path or endpoint.path)
        request = Request(method="POST", url=url, headers=headers, body=body)
        return await self._exchange(endpoint, request, model, timeout=timeout, tries=tries)

    async def _exchange(
        self, endpoint: Endpoint, request: Request, model: type[A], *, timeout: float, tries: int
    ) -> tuple[bytes, A]:
        """Send a request, again while nothing of it could be written, and read the answer."""
        if self.transport is None:
            message = "the client is not open; use it inside `async with client:`"
            raise ConfigError(message)
        deadline = self._clock.monotonic() + timeout
        left, failures = timeout, 0
        while True:
            try:
                response = await self.transport.send(request, timeout=left)
            except ConnectError:
                failures += 1
                pause = _CONNECT_BACKOFF.delay(failures, jitter=self._random.random())
                if failures == tries or self._clock.monotonic() + pause >= deadline:
                    raise
                _log.debug("%s could not be sent, trying again in %.2f s", endpoint.name, pause)
                await self._clock.sleep(pause)
                left = deadline - self._clock.monotonic()
            else:
                return response.body, read_answer(endpoint.name, response, model)


def endpoint_at(path: str) -> Endpoint:
    """Return the endpoint that a path below the base URL stands for.

    Raises:
        ConfigError: It is no such path.
    """
    if "://" in path or path.startswith("//") or "/" not in path:
        message = f"{path!r} is neither a known endpoint nor a path below the base URL, such as ilink/bot/newthing"
        raise ConfigError(message)
    name = path.partition("?")[0].rstrip("/").rpartition("/")[2]
    return Endpoint(name, path, "POST", has_token=True, timeout=15.0)
