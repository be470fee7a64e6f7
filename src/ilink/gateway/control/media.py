"""The bytes of pictures, recordings, files and videos, for people to see and hear."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final
from urllib.parse import quote as percent_encoded

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ilink.gateway.control.calls import CallTable
from ilink.gateway.control.ranges import read_range
from ilink.gateway.control.requests import MediaForm
from ilink.gateway.control.state import ControlState

if TYPE_CHECKING:
    from ilink.storage.media import MediaRecord

__all__ = ["calls"]

calls = CallTable()

_SHOWN_INLINE: Final = ("image/png", "image/jpeg", "image/gif", "image/webp", "audio/", "video/")
"""What a browser may show in the page's origin; anything else could be a program, and is only offered for saving."""


@calls.call("GET", "/_sim/media/{media_id}", media_type="*/*", refusals=(404, 409, 416, 501))
async def fetch_media(control: ControlState, media_id: str, query: MediaForm, request: Request) -> Response:
    """Return the decrypted bytes of a file with its content type and name.

    With `raw=1` it is the ciphertext, with `wav=1` sound of any kind as WAV. A Range of the bytes may be asked for.
    """
    record = await control.gateway.media.record(media_id)
    headers = {
        "content-disposition": _disposition(record),
        "content-security-policy": "default-src 'none'; sandbox",
        # Asked again each time: after a reset with the same seed an id may stand for something else.
        "cache-control": "private, no-cache",
    }
    if query.raw:
        headers |= {"content-type": "application/octet-stream", "content-length": str(record.cipher_bytes)}
        return StreamingResponse(_ciphertext(control, record), headers=headers)
    if record.facts is None or record.facts.problem is not None:
        await _try_decryption(control, record)
    if record.facts is None:
        return StreamingResponse(_plain(control, record), headers=headers)
    headers |= {"etag": f'"{record.facts.sha256[:32]}{"-wav" if query.wav else ""}"', "accept-ranges": "bytes"}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    if query.wav:
        sound = await control.gateway.media.sound(record)
        return _pieces(request, len(sound), {**headers, "content-type": "audio/wav"}, sound)
    return _pieces(request, record.facts.plain_bytes, {**headers, "content-type": record.facts.mime}, (control, record))


def _pieces(
    request: Request, size: int, headers: dict[str, str], source: bytes | tuple[ControlState, MediaRecord]
) -> Response:
    """Answer with all of something, or with the range that was asked for."""
    asked = read_range(request.headers.get("range"), size=size)
    start, end = asked or (0, size)
    headers["content-length"] = str(end - start)
    if asked is not None:
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    status = 200 if asked is None else 206
    if isinstance(source, bytes):
        return Response(source[start:end], status, headers)
    control, record = source
    content = _plain(control, record) if asked is None else _part(control, record, start, end)
    return StreamingResponse(content, status, headers)


async def _plain(control: ControlState, record: MediaRecord) -> AsyncIterator[bytes]:
    async for chunk in control.gateway.media.plain(record):
        yield bytes(chunk)


async def _part(control: ControlState, record: MediaRecord, start: int, end: int) -> AsyncIterator[bytes]:
    async for chunk in control.gateway.media.plain_part(record, start, end):
        yield bytes(chunk)


async def _ciphertext(control: ControlState, record: MediaRecord) -> AsyncIterator[bytes]:
    async with control.gateway.media.open_ciphertext(record) as reader:
        async for chunk in reader.chunks():
            yield chunk


async def _try_decryption(control: ControlState, record: MediaRecord) -> None:
    """Decrypt a blob that is not as announced, before an answer begins that could only be cut."""
    async for _ in control.gateway.media.plain(record):
        pass


def _disposition(record: MediaRecord) -> str:
    mime = record.facts.mime if record.facts else ""
    way = "inline" if mime.startswith(_SHOWN_INLINE) else "attachment"
    return f"{way}; filename*=UTF-8''{percent_encoded(record.name or record.media_id, safe='')}"
