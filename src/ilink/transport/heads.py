"""A request as it is written: where it goes, and what stands before its body."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from ilink.errors import ConfigError
from ilink.transport.requests import describe
from ilink.transport.seam import Request, StreamedBody

__all__ = ["Head", "Origin", "write_head"]

_TOKENS: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(\n[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no value may hold: the end of a line would let it write headers of its own."""

_OURS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te"})
"""Headers that say how a message is framed, which only the one who frames it may write."""

_DEFAULTS: Final = {
    "accept": "Accept: */*",
    "accept-encoding": "Accept-Encoding: gzip",
    "user-agent": "User-Agent: ilink",
}


class Origin(NamedTuple):
    """Where a connection leads; requests to the same share connections."""

    scheme: str
    host: str
    port: int


class _Place(NamedTuple):
    origin: Origin
    host: str
    target: str
    credentials: str


class Head(NamedTuple):
    """Where a request goes, and all that is written before its body."""

    origin: Origin
    text: bytes


def write_head(request: Request) -> Head:
    """Return the head of a request.

    Raises:
        ConfigError: The URL is none, or a header cannot be written.
    """
    try:
        place = _locate(request.url)
    except ValueError:
        message = f"{describe(request)}: this is no usable URL"
        raise ConfigError(message) from None
    headers = request.headers
    try:
        _check_values("".join(headers.values()))
        lines = [f"{request.method} {place.target} HTTP/1.1\r\nHost: {place.host}", *_defaults(tuple(headers))]
    except ValueError:
        message = f"{describe(request)}: a header or the URL holds characters that HTTP does not allow"
        raise ConfigError(message) from None
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if place.credentials:
        if any(name.lower() == "authorization" for name in headers):
            message = f"{describe(request)}: the URL holds a user, and there is a token; only one can be sent"
            raise ConfigError(message)
        lines.append(place.credentials)
    if (size := _size(request)) is not None:
        lines.append(f"Content-Length: {size}")
    lines.append("\r\n")
    return Head(place.origin, "\r\n".join(lines).encode())


def _size(request: Request) -> int | None:
    body = request.body
    if body is None:
        return 0 if request.method == "POST" else None
    return body.size if isinstance(body, StreamedBody) else len(body)


@lru_cache(256)
def _locate(url: str) -> _Place:
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(url)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(url)
    port = parts.port if parts.port is not None else 443 if parts.scheme == "https" else 80
    user, _, host = parts.netloc.rpartition("@")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    credentials = f"Authorization: Basic {b64encode(unquote(user).encode()).decode()}" if user else ""
    return _Place(Origin(parts.scheme, parts.hostname, port), host, target, credentials)


@lru_cache(256)
def _defaults(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the headers that every request has unless it brings its own; the names are checked on the way."""
    lower = {name.lower() for name in names}
    if names and (not _TOKENS.fullmatch("\n".join(names)) or lower & _OURS):
        raise ValueError(names)
    return tuple(line for name, line in _DEFAULTS.items() if name not in lower)


def _check_values(values: str) -> None:
    is_plain = values.isascii() and values.isprintable()
    if not is_plain and _FORBIDDEN.search(values):
        raise ValueError
