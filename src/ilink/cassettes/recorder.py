"""A transparent proxy before any iLink server, which keeps what passes without its secrets."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from typing import Final, Self
from urllib.parse import urlsplit

import msgspec

from ilink.cassettes.exchange import CDN_PATH, Exchange
from ilink.cassettes.masks import Pseudonyms
from ilink.cassettes.serving import LeftError, Message, Receive, Send, pieces, read_all, refuse, unless_gone
from ilink.cassettes.tape import CassetteWriter, Take
from ilink.errors import ConfigError, IlinkError, RemoteProtocolError, TooLargeError
from ilink.gateway.listeners import Listener
from ilink.transport.seam import Request, StreamedBody, Transport
from ilink.wire.codec import decode_object
from ilink.wire.endpoints import CDN_BASE_URL, DEFAULT_BASE_URL

__all__ = ["Recorder"]

_log = logging.getLogger(__name__)

_PATIENCE: Final = 180.0
"""Seconds for one exchange: more than any poll is held."""

_BODY_BYTES: Final = 8 << 20
"""Of an API call's body; media are passed on in pieces."""

_GRACE: Final = 2.0
_LOGIN: Final = ("get_bot_qrcode", "get_qrcode_status")


class Recorder:
    """Listens, passes every request on, and writes a cassette; open it with `async with`.

    A client is given `url` as its base URL, and `url` + `/c2c` for media. Addresses in answers are turned to the
    recorder, so that a client which follows them stays with it; only a `redirect_host` leads past it, because clients
    use HTTPS there.

    Args:
        path: The cassette, a new file; nobody but its owner can read it, from its first moment.
        transport: The way to the server; open.
        base_url: The server.
        cdn_url: Its media.
        listen: HOST:PORT. What passes is not encrypted, so beyond this machine it is refused.

    Attributes:
        url: Where it listens.
        recorded: How many exchanges it has kept.

    Raises:
        ConfigError: An address is none.
    """

    url: str

    def __init__(
        self,
        path: Path,
        *,
        transport: Transport,
        base_url: str = DEFAULT_BASE_URL,
        cdn_url: str = CDN_BASE_URL,
        listen: str = "127.0.0.1:0",
    ) -> None:
        self._transport = transport
        self._login_base = self._api_base = base_url.rstrip("/")
        self._cdn_base = cdn_url.rstrip("/")
        self._listen = listen
        self._masks = Pseudonyms(api=[self._api_base], cdn=self._cdn_base)
        self._writer = CassetteWriter(path, api=_origin(self._api_base), cdn=_origin(self._cdn_base))
        self._exits = AsyncExitStack()
        self._started = 0.0
        self._count = 0
        self.recorded = 0

    async def __aenter__(self) -> Self:
        """Make the file and listen.

        Raises:
            ConfigError: The file exists, or the address will not do.
            StoreError: The file cannot be written.
        """
        async with AsyncExitStack() as stack:
            listener = Listener.bind(self._listen)
            stack.callback(listener.release)
            if listener.host not in ("127.0.0.1", "::1"):
                message = f"{self._listen} is reached from other machines, and tokens pass in the clear: use 127.0.0.1"
                raise ConfigError(message)
            stack.enter_context(self._writer)
            self.url = listener.url
            self._started = monotonic()
            stack.push_async_callback(listener.aclose, grace=_GRACE)
            await listener.start(self._serve)
            self._exits = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._exits.aclose()

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        self._count += 1
        exchange = Exchange(scope, n=self._count)
        try:
            if exchange.method not in ("GET", "POST"):
                await refuse(send, 405, "the recorder passes on GET and POST only")
            elif exchange.path.startswith(f"{CDN_PATH}/"):
                await self._pass_media(exchange, receive, send)
            else:
                await self._pass_call(exchange, receive, send)
        except LeftError:
            exchange.end = "left"
        except IlinkError as error:
            exchange.end = "failed"
            _log.warning("%s could not be passed on: %s", exchange.endpoint, error)
            if not exchange.is_begun:
                status = 413 if isinstance(error, TooLargeError) else 502
                await refuse(send, status, "the recorder could not pass this on; it says why on standard error")
        finally:
            self._keep(exchange)

    async def _pass_call(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        """Pass on a call of the API, and let go of it when its caller leaves."""
        exchange.request = await read_all(receive, _BODY_BYTES)
        asking = self._transport.send(self._request(exchange, exchange.request), timeout=_PATIENCE)
        answer = await unless_gone(receive, asking)
        exchange.answered(answer.status, answer.headers.items())
        exchange.response = answer.body
        body = self._turned(answer.body)
        await exchange.begin(send, str(len(body)))
        await send({"type": "http.response.body", "body": body})

    async def _pass_media(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        """Pass a blob on in pieces, up or down; of it only size and hash are kept."""
        is_upload = exchange.method == "POST"
        body = StreamedBody(exchange.count_up(pieces(receive)), exchange.size) if is_upload else None
        async with self._transport.open_stream(self._request(exchange, body), timeout=_PATIENCE) as answer:
            exchange.answered(answer.status, answer.headers.items())
            await exchange.begin(send, answer.headers.get("content-length"))
            async for piece in answer.chunks():
                exchange.count_down(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    def _request(self, exchange: Exchange, body: bytes | StreamedBody | None) -> Request:
        query = f"?{exchange.query}" if exchange.query else ""
        if exchange.path.startswith(f"{CDN_PATH}/"):
            target = self._cdn_base + exchange.path.removeprefix(CDN_PATH)
        else:
            target = (self._login_base if exchange.endpoint in _LOGIN else self._api_base) + exchange.path
        if exchange.method == "GET":
            return Request(method="GET", url=target + query, headers=exchange.headers)
        return Request(method="POST", url=target + query, headers=exchange.headers, body=body)

    def _turned(self, body: bytes) -> bytes:
        """Return an answer with the server's addresses turned to the recorder, and follow where a login leads."""
        try:
            base = decode_object(body).get("baseurl")
        except RemoteProtocolError:
            return body
        if isinstance(base, str) and base.startswith(("https://", "http://")):
            self._api_base = base.rstrip("/")
            self._masks.add_api(self._api_base)
        for theirs, mine in ((self._cdn_base, self.url + CDN_PATH), (self._api_base, self.url)):
            for spelled in (theirs, theirs.replace("/", "\\/")):
                body = body.replace(f'"{spelled}'.encode(), f'"{mine}'.encode())
        return body

    def _keep(self, exchange: Exchange) -> None:
        line = self._masks.scrub(msgspec.json.encode(exchange.take(self._masks, self._started)))
        self._writer.add(msgspec.json.decode(line, type=Take))
        self.recorded += 1


def _origin(base: str) -> str:
    """Return a base URL without a user, fit to be shown.

    Raises:
        ConfigError: It is no http or https URL.
    """
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        message = f"{base!r} is no base URL: give one such as https://ilinkai.weixin.qq.com"
        raise ConfigError(message)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
