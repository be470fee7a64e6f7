"""Taking secrets out of what is shown or stored for people."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ilink.wire.shapes import is_array, is_object

__all__ = ["MASK", "excerpt", "redact", "redact_headers", "redact_url"]

MASK: Final = "***"

_SECRET_FIELDS: Final = frozenset(
    {
        "aes_key",
        "aeskey",
        "authorization",
        "bot_token",
        "context_token",
        "encrypt_query_param",
        "encrypted_query_param",
        "filekey",
        "full_url",
        "get_updates_buf",
        "local_token_list",
        "qrcode",
        "qrcode_img_content",
        "sync_buf",
        "taskid",
        "thumb_upload_param",
        "token",
        "typing_ticket",
        "upload_full_url",
        "upload_param",
        "verify_code",
        "x-encrypted-param",
    }
)

_SECRET_WORD: Final = re.compile(r"token|ticket|secret|passw|cookie|authoriz|credential|aes_?key", re.IGNORECASE)
"""What a field nobody has documented is called when it holds a secret."""

_SPOKEN_FIELDS: Final = frozenset({"text", "title", "start", "end", "file_name"})
"""What people wrote: shown as it is, however opaque it looks."""

_SHOWN_HEADERS: Final = frozenset(
    {
        "accept",
        "authorizationtype",
        "connection",
        "content-length",
        "content-type",
        "host",
        "ilink-app-clientversion",
        "ilink-app-id",
        "skroutetag",
        "transfer-encoding",
        "user-agent",
        "x-error-code",
        "x-error-message",
        "x-wechat-uin",
    }
)

_LONG_OPAQUE: Final = re.compile(r"[A-Za-z0-9+/_=-]{40,}")
_OPAQUE_SEGMENT: Final = re.compile(r"[A-Za-z0-9+_=%-]{32,}")
_LONG_PATH: Final = 40
_BEARER: Final = re.compile(r"(bearer\s+)\S+", re.IGNORECASE)
_TEXT_AFTER_NAME: Final = re.compile(r'("([A-Za-z0-9_-]+)"\s*:\s*\[?\s*)"(?:[^"\\]|\\.)*("|$)')
_EXCERPT_BYTES: Final = 200


def redact(value: object) -> object:
    """Return plain JSON data with every secret masked; an empty value stays, since it hides nothing.

    Secrets are known by their field, by a word in their field's name, or as a long opaque run of characters in any
    text that people did not write, the name of a field included.
    """
    if is_object(value):
        return {_redact_text(key): _redact_field(key, entry) for key, entry in value.items()}
    if is_array(value):
        return [redact(entry) for entry in value]
    return _redact_text(value) if isinstance(value, str) else value


def redact_headers(headers: dict[str, str]) -> dict[str, str]:
    """Return headers with every value masked that is not known to be harmless."""
    return {name: value if name.lower() in _SHOWN_HEADERS else MASK for name, value in headers.items()}


def redact_url(url: str) -> str:
    """Return a URL without its user and fragment, secret query values and anything long and opaque masked."""
    try:
        parts = urlsplit(url)
        query = [
            (key, MASK if _is_secret(key) else _LONG_OPAQUE.sub(MASK, value))
            for key, value in parse_qsl(parts.query, keep_blank_values=True)
        ]
    except ValueError:
        return MASK
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, _redact_path(parts.path), urlencode(query, safe="*"), ""))


def excerpt(raw: bytes) -> str:
    """Return the beginning of bytes that could not be read, fit for a report: one line, secrets masked."""
    text = raw[:_EXCERPT_BYTES].decode("utf-8", "replace")
    shown = _TEXT_AFTER_NAME.sub(lambda found: f'{found[1]}"{MASK}"' if _is_secret(found[2]) else found[0], text)
    return "".join(letter if letter.isprintable() else " " for letter in _redact_text(shown))


def _redact_field(key: str, value: object) -> object:
    if _is_secret(key):
        return value if value in ("", None, []) else MASK
    return value if key in _SPOKEN_FIELDS and isinstance(value, str) else redact(value)


def _is_secret(name: str) -> bool:
    return name.lower() in _SECRET_FIELDS or _SECRET_WORD.search(name) is not None


def _redact_path(path: str) -> str:
    """Mask what is opaque in a path; base64 has slashes, so in a long path pieces of mixed case are masked too."""
    is_long = len(path) >= _LONG_PATH
    shown = _OPAQUE_SEGMENT.sub(MASK, path)
    return "/".join(MASK if is_long and _is_mixed(segment) else segment for segment in shown.split("/"))


def _is_mixed(segment: str) -> bool:
    return segment != segment.lower() and segment != segment.upper()


def _redact_text(text: str) -> str:
    if text.startswith(("http://", "https://")):
        return redact_url(text)
    return _LONG_OPAQUE.sub(MASK, _BEARER.sub(rf"\g<1>{MASK}", text))
