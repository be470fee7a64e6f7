"""The seam to the network: what a request and an answer are, and what every transport promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Literal, Protocol, Self

import msgspec
from msgspec import Struct

__all__ = ["MAX_ANSWER_BYTES", "Request", "Response", "StreamedBody", "StreamedResponse", "Transport"]

MAX_ANSWER_BYTES: Final = 64 << 20
"""The largest answer read as a whole, in bytes: what the most generous peer takes (peer: cc-connect)."""


@dataclass(frozen=True, slots=True)
class StreamedBody:
    """A request body that never is in memory as a whole.

    Attributes:
        chunks: The bytes, in order; read once.
        size: How many bytes they are together; sent as Content-Length.
    """

    chunks: AsyncIterator[bytes]
    size: int


class Request(Struct, frozen=True, kw_only=True):
    """One HTTP request.

    Attributes:
        method: GET or POST; the protocol knows no other.
        url: Absolute, with its query already encoded; it is sent exactly so.
        headers: Added to what HTTP itself needs.
        body: The whole body, or one that is streamed; None for no body.
    """

    method: Literal["GET", "POST"]
    url: str
    headers: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    body: bytes | StreamedBody | None = None


class Response(Struct, frozen=True, kw_only=True):
    """A whole answer.

    Attributes:
        status: The HTTP status.
        headers: Names in lower case; of repeated ones the last.
        body: All of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class StreamedResponse(Protocol):
    """An answer whose body is read in pieces, inside the `async with` that opened it."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, names in lower case."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the body in pieces of the transport's choice, once.

        Raises:
            OutcomeUnknownError: The body ended too early, or the time limit of the exchange passed.
        """
        ...

    async def read(self, max_bytes: int) -> bytes:
        """Return what is left of the body, at most `max_bytes` of it: for the words of an error."""
        ...


class Transport(Protocol):
    """The only door to the network. Open it with `async with`; it may be shared by any number of clients.

    What every transport promises, and one suite of tests checks on all of them:

    * `ConnectError` means that nothing of the request was written. Whatever fails later is an `OutcomeUnknownError`.
    * Redirects are not followed and cookies not kept; an answer of any status is returned.
    * Cancelling gives up the exchange: the connection is closed, not returned to the pool.
    * Errors never carry bodies, tokens or the query of a URL.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...

    def send(
        self, request: Request, *, timeout: float, max_bytes: int = MAX_ANSWER_BYTES
    ) -> Coroutine[object, None, Response]:
        """Send one request and return its whole answer.

        Args:
            request: A request; a streamed body is consumed.
            timeout: Seconds for everything: connecting, writing, and reading the whole answer.
            max_bytes: An answer larger than this is given up.

        Raises:
            ConnectError: Nothing was written; repeating is safe.
            OutcomeUnknownError: Something was written and no whole answer came; `timed_out` tells why.
            RemoteProtocolError: What came is no HTTP, or is larger than `max_bytes`.
            ConfigError: The URL is none, or its proxy is of an unknown kind.

        Cancellation: gives up the exchange; after the first byte was written its outcome is unknown.
        """
        ...

    def open_stream(self, request: Request, *, timeout: float) -> AbstractAsyncContextManager[StreamedResponse]:
        """Send one request and read its answer in pieces, for media of any size in bounded memory.

        Args:
            request: A request; a streamed body is consumed.
            timeout: Seconds without any progress: connecting, between two pieces written or read, and until the
                answer begins. A large file may take as long as it moves.

        Raises:
            ConnectError: Nothing was written; repeating is safe.
            OutcomeUnknownError: Something was written and no answer began; `timed_out` tells why.
            RemoteProtocolError: What came is no HTTP.
            ConfigError: The URL is none, or its proxy is of an unknown kind.

        What the body's chunks raise is raised here unchanged, and the exchange is given up.
        """
        ...
