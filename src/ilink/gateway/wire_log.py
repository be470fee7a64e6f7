"""The newest exchanges on the wire, redacted when somebody looks."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from ilink.errors import RemoteProtocolError
from ilink.gateway.clock import as_datetime
from ilink.gateway.views import FaultNote, WireEntry
from ilink.wire.codec import decode_object, is_object
from ilink.wire.redact import redact, redact_headers, redact_url

__all__ = ["Exchange", "WireLog"]

_ORIGIN: Final = "http://gateway"
"""Put before a path to read it as a URL: one that begins with two slashes would be read as a host."""
_ENTRIES: Final = 5_000
_BYTES: Final = 16 * 1024 * 1024
_BODY_BYTES: Final = 64 * 1024
"""Of a longer body only its size is kept."""


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and what became of it.

    Attributes:
        at_ms: When it came, by the gateway's clock.
        endpoint: Its short name, or `?`.
        bot_id: Who asked, once that is known.
        status: The HTTP status of the answer; 0 until there is one, and when the caller left before.
        ret: The answer's `ret`.
        held_ms: From request to answer, in real milliseconds.
        why: Why the gateway refused, for people.
        is_refused: Whether the answer is a failure in the protocol's own numbers.
        is_stale: Whether it says that the token does not work.
        findings: What the protocol says should have been otherwise.
        faults: The id and action of every fault that struck it.
    """

    at_ms: int
    endpoint: str
    method: str
    path: str
    query: str
    headers: list[tuple[bytes, bytes]]
    bot_id: str | None = None
    status: int = 0
    ret: int | None = None
    held_ms: int = 0
    request: bytes = b""
    response: bytes = b""
    why: str | None = None
    is_refused: bool = False
    is_stale: bool = False
    findings: tuple[str, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()

    @property
    def person(self) -> str | None:
        """Whom the request names, in whichever field its endpoint has for that."""
        user_id = self._message.get("to_user_id") or self._fields.get("ilink_user_id") or self._fields.get("to_user_id")
        return user_id if isinstance(user_id, str) and user_id else None

    @property
    def client_id(self) -> str | None:
        """The id that a send gives its message."""
        client_id = self._message.get("client_id")
        return client_id if isinstance(client_id, str) and client_id else None

    @property
    def _message(self) -> dict[str, object]:
        message = self._fields.get("msg")
        return message if is_object(message) else {}

    @property
    def _fields(self) -> dict[str, object]:
        try:
            return decode_object(self.request) if self.request else {}
        except RemoteProtocolError:
            return {}


class WireLog:
    """A ring of exchanges, bounded in number and in bytes; secrets leave it masked."""

    def __init__(self, *, entries: int = _ENTRIES, most_bytes: int = _BYTES) -> None:
        self._exchanges: deque[tuple[int, int, Exchange]] = deque()
        self._entries = entries
        self._most_bytes = most_bytes
        self._bytes = 0
        self._newest = 0

    def add(self, exchange: Exchange) -> int:
        """Add an exchange and return its id."""
        exchange.request = _bounded(exchange.request)
        exchange.response = _bounded(exchange.response)
        size = len(exchange.request) + len(exchange.response) + 1024
        self._newest += 1
        self._exchanges.append((self._newest, size, exchange))
        self._bytes += size
        while len(self._exchanges) > self._entries or self._bytes > self._most_bytes:
            self._bytes -= self._exchanges.popleft()[1]
        return self._newest

    def clear(self) -> None:
        """Forget everything and count from 1 again."""
        self._exchanges.clear()
        self._bytes = 0
        self._newest = 0

    def entries(self, *, since: int, bot_id: str | None, endpoint: str | None, limit: int) -> list[WireEntry]:
        """Return the oldest entries after an id that match, redacted."""
        found: list[WireEntry] = []
        for number, _, exchange in self._exchanges:
            if number > since and bot_id in (None, exchange.bot_id) and endpoint in (None, exchange.endpoint):
                found.append(_view(number, exchange))
                if len(found) >= limit:
                    break
        return found


def _bounded(body: bytes) -> bytes:
    return body if len(body) <= _BODY_BYTES else b'{"bytes":%d}' % len(body)


def _view(number: int, exchange: Exchange) -> WireEntry:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in exchange.headers}
    path = exchange.path + ("?" + exchange.query if exchange.query else "")
    return WireEntry(
        id=number,
        at=as_datetime(exchange.at_ms),
        endpoint=exchange.endpoint,
        bot_id=exchange.bot_id,
        status=exchange.status,
        ret=exchange.ret,
        held_ms=exchange.held_ms,
        method=exchange.method,
        path=redact_url(_ORIGIN + path).removeprefix(_ORIGIN),
        headers=redact_headers(headers),
        request=_readable(exchange.request) or _readable_query(exchange.query),
        response=_readable(exchange.response),
        why=exchange.why,
        findings=list(exchange.findings),
        faults=[FaultNote(id=fault_id, action=action) for fault_id, action in exchange.faults],
    )


def _readable(body: bytes) -> object:
    """Return a body as redacted JSON; what is no JSON object is not shown, since nobody knows what it holds."""
    if not body:
        return None
    try:
        return redact(decode_object(body))
    except RemoteProtocolError:
        return {"bytes": len(body)}


def _readable_query(query: str) -> object:
    return redact(dict(parse_qsl(query))) if query else None
