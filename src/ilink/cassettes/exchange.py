"""A request on its way through the recorder, and what is kept of it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from time import monotonic
from typing import Final, Literal, cast

from ilink.cassettes.masks import Pseudonyms
from ilink.cassettes.serving import Message, Send
from ilink.cassettes.tape import Part, Take
from ilink.errors import ConfigError, RemoteProtocolError
from ilink.wire.codec import decode_object
from ilink.wire.endpoints import DOWNLOAD_PATH, ENDPOINTS, UPLOAD_PATH

__all__ = ["CDN_PATH", "Exchange", "endpoint_of"]

CDN_PATH: Final = "/c2c"
"""Below which media are served."""

_NAMES: Final = {
    **{f"/{endpoint.path}": endpoint.name for endpoint in ENDPOINTS.values()},
    CDN_PATH + UPLOAD_PATH: "cdn_upload",
    CDN_PATH + DOWNLOAD_PATH: "cdn_download",
}
_HOP_BY_HOP: Final = frozenset(
    [
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)


def endpoint_of(path: str) -> str:
    """Return the short name of what is served at a path; `?` where nothing is."""
    return _NAMES.get(path.rstrip("/"), "?")


class _Blob:
    """What is kept of bytes that are no JSON."""

    def __init__(self) -> None:
        self.size = 0
        self._digest = hashlib.sha256()

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        self._digest.update(piece)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


class Exchange:
    """One request and its answer.

    Attributes:
        request: The body of a call of the API.
        response: Its answer's, as the server sent it.
        status: The HTTP status; 0 until there is one.
        is_begun: Whether the caller has been answered.
        end: How it ended.
    """

    def __init__(self, scope: Message, *, n: int) -> None:
        pairs = cast("list[tuple[bytes, bytes]]", scope["headers"])
        self._n = n
        self._started = monotonic()
        self._headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]
        self._answer_headers: list[tuple[str, str]] = []
        self._up, self._down = _Blob(), _Blob()
        self.method = cast("str", scope["method"])
        self.path = "/" + cast("str", scope["path"]).lstrip("/")
        self.query = cast("bytes", scope["query_string"]).decode("latin-1")
        self.endpoint = endpoint_of(self.path)
        self.request = b""
        self.response = b""
        self.status = 0
        self.is_begun = False
        self.end: Literal["answered", "left", "failed"] = "answered"

    @property
    def size(self) -> int:
        """How many bytes an upload says it has.

        Raises:
            ConfigError: It does not say.
        """
        length = dict(self._headers).get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            message = "an upload without a content-length cannot be passed on"
            raise ConfigError(message)
        return int(length)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that are passed on."""
        return {name: value for name, value in self._headers if name not in _HOP_BY_HOP}

    async def count_up(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Pass pieces of an upload on."""
        async for piece in pieces:
            self._up.add(piece)
            yield piece

    def count_down(self, piece: bytes) -> None:
        """Note a piece of a download."""
        self._down.add(piece)

    def answered(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Note the head of the answer."""
        self.status, self._answer_headers = status, list(headers)

    async def begin(self, send: Send, length: str | None) -> None:
        """Send the head of the answer."""
        self.is_begun = True
        headers = [(name, value) for name, value in self._answer_headers if name not in _HOP_BY_HOP]
        if length is not None:
            headers.append(("content-length", length))
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": self.status, "headers": pairs})

    def take(self, masks: Pseudonyms, began: float) -> Take:
        """Return what is kept."""
        return Take(
            n=self._n,
            at_ms=int((self._started - began) * 1000),
            held_ms=int((monotonic() - self._started) * 1000),
            endpoint=self.endpoint,
            method=self.method,
            path=masks.path(self.path),
            query=masks.query(self.query),
            request=_part(masks, self._headers, self.request, self._up),
            status=self.status,
            response=_part(masks, self._answer_headers, self.response, self._down),
            end=self.end,
        )


def _part(masks: Pseudonyms, headers: Iterable[tuple[str, str]], body: bytes, blob: _Blob) -> Part:
    shown = masks.headers(headers)
    if blob.size:
        return Part(headers=shown, bytes=blob.size, sha256=blob.sha256)
    if not body:
        return Part(headers=shown)
    try:
        return Part(headers=shown, json=masks.body(decode_object(body)))
    except RemoteProtocolError:
        return Part(headers=shown, bytes=len(body))
