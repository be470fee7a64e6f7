"""The bytes of pictures, recordings, files and videos, for people to see and hear."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final
from urllib.parse import quote as percent_encoded

from starlette.responses import Response, StreamingResponse

from ilink.gateway.control.calls import CallTable
from ilink.gateway.control.requests import MediaForm
from ilink.gateway.control.state import ControlState

if TYPE_CHECKING:
    from ilink.storage.media import MediaRecord

__all__ = ["calls"]

calls = CallTable()

_SHOWN_INLINE: Final = ("image/png", "image/jpeg", "image/gif", "image/webp", "audio/", "video/")
"""What a browser may show in the page's origin; anything else could be a program, and is only offered for saving."""


@calls.call("GET", "/_sim/media/{media_id}", media_type="*/*", refusals=(404, 409))
async def fetch_media(control: ControlState, media_id: str, query: MediaForm) -> Response:
    """Return the decrypted bytes of a file with its content type and name, or with `raw=1` the ciphertext."""
    record = await control.gateway.media.record(media_id)
    headers = {
        "content-disposition": _disposition(record),
        "content-security-policy": "default-src 'none'; sandbox",
        "cache-control": "private, max-age=3600",
    }
    if query.raw:
        headers |= {"content-type": "application/octet-stream", "content-length": str(record.cipher_bytes)}
        return StreamingResponse(_ciphertext(control, record), headers=headers)
    if record.facts is None or record.facts.problem is not None:
        await _try_decryption(control, record)
    if record.facts is not None:
        headers |= {"content-type": record.facts.mime, "content-length": str(record.facts.plain_bytes)}
    return StreamingResponse(_plain(control, record), headers=headers)


async def _plain(control: ControlState, record: MediaRecord) -> AsyncIterator[bytes]:
    async for chunk in control.gateway.media.plain(record):
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
