"""The little of HTTP that recorder and replayer need to serve: bodies in, answers out, callers who leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import TypeVar, cast

from ilink.errors import TooLargeError

__all__ = ["LeftError", "Message", "Receive", "Send", "pieces", "read_all", "refuse", "unless_gone"]

T = TypeVar("T")

Message = MutableMapping[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class LeftError(Exception):
    """The caller hung up before it was answered."""


async def pieces(receive: Receive) -> AsyncIterator[bytes]:
    """Yield a request's body as it comes.

    Raises:
        LeftError: The caller hung up in its middle.
    """
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise LeftError
        more = bool(message.get("more_body", False))
        if piece := cast("bytes", message.get("body", b"")):
            yield piece


async def read_all(receive: Receive, most: int) -> bytes:
    """Return a request's body.

    Raises:
        LeftError: The caller hung up in its middle.
        TooLargeError: It has more bytes than that.
    """
    body = bytearray()
    async for piece in pieces(receive):
        body += piece
        if len(body) > most:
            message = f"the body of this request has more than {most} bytes"
            raise TooLargeError(message)
    return bytes(body)


async def unless_gone(receive: Receive, work: Awaitable[T]) -> T:
    """Return what comes of some work, and give it up when the caller hangs up.

    Raises:
        LeftError: It did.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_wait_gone(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise LeftError
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def refuse(send: Send, status: int, words: str) -> None:
    """Answer with an error in plain text."""
    body = words.encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _wait_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
