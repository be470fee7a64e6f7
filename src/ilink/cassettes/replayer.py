"""A cassette as a server: a client gets the recorded answers to its own requests."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final, Self, cast
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET

from ilink.cassettes.blobs import Blobs
from ilink.cassettes.compare import shape_of
from ilink.cassettes.exchange import CDN_PATH, endpoint_of
from ilink.cassettes.serving import LeftError, Message, Receive, Send, pieces, read_all, refuse, unless_gone
from ilink.cassettes.tape import Cassette, Part, Take
from ilink.errors import RemoteProtocolError, TooLargeError
from ilink.gateway.listeners import Listener
from ilink.wire.codec import decode_object
from ilink.wire.results import GENERIC_FAILURE

__all__ = ["Miss", "Replayer"]

_BODY_BYTES: Final = 8 << 20
_GRACE: Final = 2.0
_UPLOADED_BYTES: Final = 64 << 20
"""Of uploads that are kept to be downloaded again."""
_QUIET: Final = 30.0
"""Seconds that a poll is held when the cassette has no more for it."""


@dataclass(frozen=True, slots=True)
class Miss:
    """A request that was not the recorded one.

    Attributes:
        endpoint: Its short name.
        n: The take that answered it, or None when there was none left.
        missing: Paths that the recorded request had.
        added: Paths that it had not.
    """

    endpoint: str
    n: int | None
    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


class Replayer:
    """Serves a cassette; open it with `async with`.

    Each request gets the next answer of its endpoint, of several the first whose request has the same shape. Media are
    made up, in the recorded sizes, and decrypt with the keys in the cassette; what the client uploads itself, it gets
    back as it is.

    Args:
        cassette: What is served.
        listen: HOST:PORT.
        at_once: Whether answers come at once; else after the time that the recorded one took.
        quiet: Seconds that a poll is held when there is no more for it.

    Attributes:
        url: Where it listens.
        misses: The requests that were not as recorded.
    """

    url: str

    def __init__(
        self, cassette: Cassette, *, listen: str = "127.0.0.1:0", at_once: bool = True, quiet: float = _QUIET
    ) -> None:
        self._left = [take for take in cassette.takes if take.end == "answered" and take.status]
        self._blobs = Blobs(cassette)
        self._listen = listen
        self._at_once = at_once
        self._quiet = quiet
        self._uploaded: dict[str, bytes] = {}
        self._cursor = ""
        self._status = ""
        self._exits = AsyncExitStack()
        self.misses: list[Miss] = []

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            ConfigError: The address will not do.
        """
        async with AsyncExitStack() as stack:
            listener = Listener.bind(self._listen)
            stack.callback(listener.release)
            self.url = listener.url
            stack.push_async_callback(listener.aclose, grace=_GRACE)
            await listener.start(self._serve)
            self._exits = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._exits.aclose()

    @property
    def is_finished(self) -> bool:
        """Whether every recorded answer was given."""
        return not self._left

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        asked = _Asked(scope)
        try:
            if asked.endpoint.startswith("cdn_"):
                asked.body = await self._read_blob(receive)
            else:
                asked.body = await read_all(receive, _BODY_BYTES)
            answer = await unless_gone(receive, self._answer(asked))
            if asked.endpoint == "cdn_upload":
                self._uploaded[answer.response.headers.get("x-encrypted-param", "")] = asked.body
            await self._send(answer, send)
        except LeftError:
            return
        except TooLargeError as error:
            await refuse(send, 413, str(error))

    async def _read_blob(self, receive: Receive) -> bytes:
        """Return an upload, whose key only the client knows; nothing where there is no room for it."""
        room = _UPLOADED_BYTES - sum(map(len, self._uploaded.values()))
        blob = bytearray()
        size = 0
        async for piece in pieces(receive):
            size += len(piece)
            blob += piece if size <= room else b""
        return bytes(blob) if size <= room else b""

    async def _answer(self, asked: _Asked) -> Take:
        take = self._choose(asked)
        if take is None:
            self.misses.append(Miss(asked.endpoint, None))
            return await self._improvise(asked)
        self._left.remove(take)
        missing, added = asked.differs_from(take)
        if missing or added:
            self.misses.append(Miss(asked.endpoint, take.n, missing, added))
        if not self._at_once:
            await asyncio.sleep(take.held_ms / 1000)
        return take

    def _choose(self, asked: _Asked) -> Take | None:
        """Return the next take of the endpoint; of the media the one of this blob."""
        takes = [take for take in self._left if take.endpoint == asked.endpoint]
        if asked.endpoint == "cdn_download":
            param = asked.query.get("encrypted_query_param", "")
            takes = [take for take in takes if take.query.get("encrypted_query_param") == param] or takes
        same = [take for take in takes if asked.differs_from(take) == ((), ())]
        chosen = same or takes
        return chosen[0] if chosen else None

    async def _improvise(self, asked: _Asked) -> Take:
        """Answer what the cassette has nothing for: polls with nothing new, everything else with a refusal."""
        body: dict[str, object] = {"ret": GENERIC_FAILURE, "errmsg": f"the cassette has no more {asked.endpoint}"}
        if asked.endpoint == "getupdates":
            await asyncio.sleep(self._quiet)
            body = {"ret": 0, "msgs": [], "get_updates_buf": self._cursor}
        elif asked.endpoint == "get_qrcode_status" and self._status:
            await asyncio.sleep(min(self._quiet, 1.0))
            body = {"ret": 0, "status": self._status}
        part = Part(headers={"content-type": "application/json"}, json=body)
        return Take(
            n=0,
            at_ms=0,
            held_ms=0,
            endpoint=asked.endpoint,
            method="",
            path="",
            request=Part(),
            status=200 if asked.endpoint != "?" else 404,
            response=part,
        )

    async def _send(self, take: Take, send: Send) -> None:
        response = take.response
        headers = {name: value for name, value in response.headers.items() if value != "***"}
        body = b""
        if response.json is not UNSET:
            body = self._symbols(msgspec.json.encode(self._blobs.with_digests(response.json)))
            self._remember(response.json)
            headers["content-type"] = "application/json"
        elif response.bytes is not UNSET:
            uploaded = self._uploaded.get(take.query.get("encrypted_query_param", ""))
            body = uploaded or self._blobs.make(take, response.bytes)
        headers["content-length"] = str(len(body))
        headers.pop("content-encoding", None)
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": take.status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})

    def _symbols(self, body: bytes) -> bytes:
        """Return a body that names this server where the recorded one named itself."""
        return body.replace(b'"{api}', f'"{self.url}'.encode()).replace(b'"{cdn}', f'"{self.url}{CDN_PATH}'.encode())

    def _remember(self, body: dict[str, object]) -> None:
        cursor, status = body.get("get_updates_buf"), body.get("status")
        self._cursor = cursor if isinstance(cursor, str) else self._cursor
        self._status = status if isinstance(status, str) else self._status


@dataclass(slots=True)
class _Asked:
    """A request to the replayer."""

    scope: Message
    body: bytes = b""
    endpoint: str = field(init=False)
    query: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.endpoint = endpoint_of("/" + cast("str", self.scope["path"]).lstrip("/"))
        self.query = dict(parse_qsl(cast("bytes", self.scope["query_string"]).decode("latin-1").replace("+", "%2B")))

    def differs_from(self, take: Take) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return which paths of a recorded request are missing in this one, and which it has besides."""
        recorded, mine = set(shape_of(take.request.json)), set(self._shape())
        return tuple(sorted(recorded - mine)), tuple(sorted(mine - recorded))

    def _shape(self) -> dict[str, object]:
        try:
            return dict(shape_of(decode_object(self.body))) if self.body and self.endpoint != "cdn_upload" else {}
        except RemoteProtocolError:
            return {}
