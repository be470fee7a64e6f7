"""The CDN's HTTP: uploads and downloads in pieces, as a plain ASGI application (protocol §2.10, §2.11)."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import unquote

from ilink.errors import StoreError
from ilink.gateway.media import CdnRefusalError, MediaRoom
from ilink.wire.endpoints import DOWNLOAD_PATH, UPLOAD_PATH
from ilink.wire.headers import DOWNLOAD_REFERENCE, ERROR_MESSAGE

__all__ = ["CDN_PREFIX", "FINDINGS", "CdnApp"]

CDN_PREFIX: Final = "/c2c"
FINDINGS: Final = "ilink.findings"
"""Where whoever calls the application finds, in the scope, what is to be said of an upload that was refused."""

Message = MutableMapping[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_log = logging.getLogger(__name__)

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")
_DIGITS: Final = 18
_MANY: Final = 16 << 20
"""Bytes of a refused body that are read and thrown away, so that its sender gets to read the refusal."""


class _LeftError(Exception):
    """The caller hung up."""


@dataclass(frozen=True, slots=True)
class _Range:
    start: int
    end: int


class CdnApp:
    """`/c2c/upload` and `/c2c/download` of a gateway.

    There is no other authentication than the unguessable parameters, as on the real CDN (official 2.4.9).
    """

    def __init__(self, room: MediaRoom) -> None:
        self._room = room

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        body, answer = _Body(receive), _Answer(send)
        try:
            await self._answer(scope, body, answer)
        except CdnRefusalError as refusal:
            if refusal.finding is not None:
                cast("list[str]", scope.get(FINDINGS, [])).append(refusal.finding)
            await _refuse(answer, body, refusal.status, refusal.words, scope)
        except StoreError as error:
            _log.error("the CDN cannot store or read: %s", error)
            # Once bytes went out only cutting the connection tells that they are not all; the server does that.
            if not answer.is_begun:
                await _refuse(answer, body, 500, "the store failed; try again later", scope)
        except _LeftError:
            _log.debug("a caller of the CDN hung up")

    async def _answer(self, scope: Message, body: _Body, answer: _Answer) -> None:
        path = re.sub(r"/+", "/", cast("str", scope["path"])).rstrip("/")
        query = _query(cast("bytes", scope["query_string"]))
        method = scope["method"]
        if path == CDN_PREFIX + UPLOAD_PATH and method == "POST":
            await self._upload(scope, query, body, answer)
        elif path == CDN_PREFIX + DOWNLOAD_PATH and method in ("GET", "HEAD"):
            await self._download(scope, query, answer)
        else:
            # So does the real one for PUT (observed: Lingtai-AI/lingtai#82).
            raise CdnRefusalError(404, "upload by POST to /upload, download by GET from /download")

    async def _upload(self, scope: Message, query: dict[str, str], body: _Body, answer: _Answer) -> None:
        reference = await self._room.take_upload(
            query.get("encrypted_query_param", ""),
            query.get("filekey", ""),
            body.chunks(),
            announced=_announced(scope),
        )
        await answer.head(200, {DOWNLOAD_REFERENCE: reference, "content-length": "0"})
        await answer.body(b"", is_last=True)

    async def _download(self, scope: Message, query: dict[str, str], answer: _Answer) -> None:
        record = await self._room.find(query.get("encrypted_query_param", ""), has_task="taskid" in query)
        wanted = _read_range(_header(scope, b"range"), record.cipher_bytes)
        start, end = (0, record.cipher_bytes) if wanted is None else (wanted.start, wanted.end)
        headers = {
            "content-type": "application/octet-stream",
            "content-length": str(end - start),
            "accept-ranges": "bytes",
        }
        if wanted is not None:
            headers["content-range"] = f"bytes {start}-{end - 1}/{record.cipher_bytes}"
        async with self._room.open_ciphertext(record, start, end) as reader:
            await answer.head(200 if wanted is None else 206, headers)
            if scope["method"] == "GET":
                async for chunk in reader.chunks():
                    await answer.body(chunk)
            await answer.body(b"", is_last=True)


class _Body:
    """A request's body, read in the pieces the server gives."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_over = False

    async def chunks(self) -> AsyncIterator[bytes]:
        while not self._is_over:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._is_over = True
                raise _LeftError
            self._is_over = not message.get("more_body", False)
            if chunk := cast("bytes", message.get("body", b"")):
                yield chunk

    async def throw_away(self, most: int) -> bool:
        """Read what is left, up to a limit, and tell whether that was all of it."""
        async for chunk in self.chunks():
            most -= len(chunk)
            if most < 0:
                return False
        return True


class _Answer:
    """An answer on its way."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_begun = False

    async def head(self, status: int, headers: dict[str, str]) -> None:
        self.is_begun = True
        pairs = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def body(self, chunk: bytes, *, is_last: bool = False) -> None:
        await self._send({"type": "http.response.body", "body": chunk, "more_body": not is_last})


async def _refuse(answer: _Answer, body: _Body, status: int, words: str, scope: Message) -> None:
    """Answer with an error, once its caller is ready to read one: most write everything before they look."""
    is_short = (_announced(scope) or 0) <= _MANY
    try:
        is_read = is_short and await body.throw_away(_MANY)
    except _LeftError:
        return
    headers = {ERROR_MESSAGE: words, "content-type": "text/plain", "content-length": str(len(words))}
    if not is_read:
        headers["connection"] = "close"
    await answer.head(status, headers)
    await answer.body(words.encode("ascii", "replace"), is_last=True)


def _query(raw: bytes) -> dict[str, str]:
    """Read a query in which base64 may stand as it is.

    A plus is a plus and not a blank, a slash and an equals sign belong to the value, and a blank stands for the plus
    that some program decoded too early (A12).
    """
    fields: dict[str, str] = {}
    for pair in raw.decode("latin-1").split("&"):
        name, _, value = pair.partition("=")
        fields.setdefault(unquote(name), unquote(value).replace(" ", "+"))
    return fields


def _read_range(text: str, size: int) -> _Range | None:
    """Return the range a header asks for; None for none, and for forms that a server may pass over.

    Raises:
        CdnRefusalError: 416, nothing of it exists.
    """
    match = _RANGE.match(text)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
    if start >= size or start >= end:
        raise CdnRefusalError(416, f"the blob has {size} bytes")
    return _Range(start, end)


def _announced(scope: Message) -> int | None:
    """Return the length that a request declares; of a length beyond any measure, one that is too much for everybody."""
    length = _header(scope, b"content-length")
    is_number = length.isascii() and length.isdigit()
    return int(length[:_DIGITS]) if is_number else None


def _header(scope: Message, name: bytes) -> str:
    headers = cast("list[tuple[bytes, bytes]]", scope["headers"])
    return next((value.decode("latin-1").strip() for key, value in headers if key == name), "")
