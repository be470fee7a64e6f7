"""The phone's static files, under headers that let nothing but themselves run."""

from __future__ import annotations

from functools import cache, lru_cache
from hashlib import sha256
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from starlette.responses import Response

from ilink.gateway.control.refusals import Refusal

__all__ = ["SECURITY_HEADERS", "serve_page"]

_MIME_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/x-icon",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "mjs": "text/javascript; charset=utf-8",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "wasm": "application/wasm",
    "webmanifest": "application/manifest+json",
    "woff2": "font/woff2",
}
"""Written out because the system's table differs by machine, and a module with a wrong type does not run at all.

A file of any other kind is not served: source code and byte code lie in the same folder.
"""

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

SECURITY_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""On every answer of the listener."""


def serve_page(path: str, *, etag: str | None) -> Response:
    """Answer with a file of the page; `/` is `index.html`.

    Args:
        path: The decoded path of the URL.
        etag: The request's If-None-Match.

    Raises:
        Refusal: 404, the page has no such file.
    """
    content, mime_type, current = _file(path)
    # Always asked again, so that a newer package shows at once; the tag makes that cheap.
    headers = {"content-security-policy": _POLICY, "cache-control": "no-cache", "etag": current}
    if etag == current:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=mime_type, headers=headers)


@cache
def _root() -> Traversable:
    return resources.files("ilink.phone")


def _file(path: str) -> tuple[bytes, str, str]:
    parts = [part for part in path.split("/") if part] or ["index.html"]
    mime_type = _MIME_TYPES.get(parts[-1].rpartition(".")[2].lower())
    if mime_type is None or any(part.startswith(".") or "\\" in part or "\x00" in part for part in parts):
        raise _missing(path)
    file = _root()
    for part in parts:
        file = file / part
    if not file.is_file():
        raise _missing(path)
    if not isinstance(file, Path):  # the package lies in an archive
        return _with_tag(file.read_bytes(), mime_type)
    facts = file.stat()
    return _read(file, mime_type, (facts.st_mtime_ns, facts.st_size))


@lru_cache(maxsize=256)
def _read(file: Path, mime_type: str, _version: tuple[int, int]) -> tuple[bytes, str, str]:
    """Read a file once for each of its versions: a page is many of them, and each load asks for all."""
    return _with_tag(file.read_bytes(), mime_type)


def _with_tag(content: bytes, mime_type: str) -> tuple[bytes, str, str]:
    return content, mime_type, f'"{sha256(content).hexdigest()[:32]}"'


def _missing(path: str) -> Refusal:
    return Refusal(404, f"there is no {path!r} here", hint="the calls are listed at /_sim/openapi.json")
