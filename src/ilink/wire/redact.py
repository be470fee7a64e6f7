"""Taking secrets out of what is shown or stored for people."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ilink.wire.codec import is_array, is_object

__all__ = ["MASK", "redact", "redact_headers", "redact_url"]

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


def redact(value: object) -> object:
    """Return plain JSON data with every secret field's value masked; an empty value stays, since it hides nothing."""
    if is_object(value):
        return {
            key: MASK if key.lower() in _SECRET_FIELDS and entry not in ("", None, []) else redact(entry)
            for key, entry in value.items()
        }
    if is_array(value):
        return [redact(entry) for entry in value]
    return value


def redact_headers(headers: dict[str, str]) -> dict[str, str]:
    """Return headers with every value masked that is not known to be harmless."""
    return {name: value if name.lower() in _SHOWN_HEADERS else MASK for name, value in headers.items()}


def redact_url(url: str) -> str:
    """Return a URL with the values of secret query fields and anything long and opaque masked."""
    parts = urlsplit(url)
    query = [
        (key, MASK if key.lower() in _SECRET_FIELDS else _LONG_OPAQUE.sub(MASK, value))
        for key, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, urlencode(query, safe="*"), ""))
