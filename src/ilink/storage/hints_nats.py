"""Hints through a NATS server, for installations whose database shall not carry them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from ilink.errors import ConfigError, StoreUnavailableError

try:
    from nats.aio.client import Client
    from nats.errors import Error as NatsError
except ImportError as error:
    message = "hints through NATS need a client that is not installed: pip install 'ilink[nats]'"
    raise ConfigError(message) from error

if TYPE_CHECKING:
    from nats.aio.msg import Msg

__all__ = ["NatsHints"]

_log = logging.getLogger(__name__)

_SCHEMES: Final = ("nats", "tls")
_CONNECT_SECONDS: Final = 5.0
_MOST_BYTES: Final = 60_000
"""How much one message carries."""
_MOST_LINES: Final = 50_000
"""Lines that wait while the server is away; more are dropped."""


class NatsHints:
    """The hints of one process; open it with `async with`.

    Args:
        url: `nats://host:4222`, or `tls://...`; user and password may be in it and are never shown.
        subject: What they are sent about: the same for all processes that share a store.

    Raises:
        ConfigError: The address cannot be read.
    """

    def __init__(self, url: str, *, subject: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES or not parts.hostname:
            message = "the URL for hints cannot be read; write nats://host:4222"
            raise ConfigError(message)
        self._url = url
        self._place = f"{parts.scheme}://{parts.hostname}:{parts.port or 4222}"
        self._subject = f"ilink.{subject}"
        self._client: Client | None = None
        self._lines: list[str] = []
        self._sending: asyncio.Task[None] | None = None
        self._on_gap: set[Callable[[], None]] = set()

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            StoreUnavailableError: The server cannot be reached, or refuses us.
        """
        self._client = client = Client()
        try:
            # Limited as a whole: whoever tries again for ever once it runs does so from the start, too.
            async with asyncio.timeout(_CONNECT_SECONDS):
                await client.connect(
                    self._url,
                    allow_reconnect=True,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=1,
                    error_cb=self._on_error,
                    reconnected_cb=self._on_reconnected,
                )
        except (NatsError, OSError) as error:
            await self._close()
            message = f"{self._place} cannot be reached for hints ({_said(error)}); start it, or mend --hints-url"
            raise StoreUnavailableError(message) from error
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._sending is not None:
            self._sending.cancel()
            with suppress(asyncio.CancelledError):
                await self._sending
        await self._close()

    async def _close(self) -> None:
        """Let go of the server, whether it is there or not."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(NatsError, OSError):
                await client.close()

    def send(self, line: str) -> None:
        """See `Hints.send`."""
        if len(self._lines) >= _MOST_LINES:
            return
        self._lines.append(line)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())

    @asynccontextmanager
    async def listening(self, callback: Callable[[str], None], *, on_gap: Callable[[], None]) -> AsyncGenerator[None]:
        """See `Hints.listening`."""
        assert self._client is not None, "open it with `async with` first"

        async def hear(message: Msg) -> None:
            for line in message.data.decode("utf-8", "replace").split("\n"):
                callback(line)

        subscription = await self._client.subscribe(self._subject, cb=hear)  # pyright: ignore[reportUnknownMemberType]
        # Whoever was told that we listen may rely on it: the server knows of the subscription from here on.
        await self._client.flush()
        self._on_gap.add(on_gap)
        try:
            yield
        finally:
            self._on_gap.discard(on_gap)
            with suppress(NatsError):
                await subscription.unsubscribe()

    async def _send(self) -> None:
        """Send what waits, and what comes up meanwhile."""
        while self._lines and self._client is not None:
            client = self._client
            lines, self._lines = self._lines, []
            for packet in _packed(lines):
                # Lost without a server: whoever misses it looks by itself.
                with suppress(NatsError):
                    await client.publish(self._subject, packet)
            with suppress(NatsError, TimeoutError):
                await client.flush(timeout=1)

    async def _on_error(self, error: Exception) -> None:
        _log.debug("hints through %s: %s", self._place, error)

    async def _on_reconnected(self) -> None:
        for tell in tuple(self._on_gap):
            tell()


def _said(error: Exception) -> str:
    return str(error) or "it did not answer in time"


def _packed(lines: list[str]) -> list[bytes]:
    packets: list[bytes] = []
    room = 0
    for line in map(str.encode, dict.fromkeys(lines)):
        if packets and len(line) < room:
            packets[-1] += b"\n" + line
        else:
            packets.append(line)
            room = _MOST_BYTES
        room -= len(line) + 1
    return packets
