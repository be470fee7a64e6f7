"""The headers of every request (protocol §1.4)."""

from __future__ import annotations

from typing import Final

from ilink.wire.ids import Secret
from ilink.wire.versions import encode_uin, encode_version

__all__ = [
    "APP_ID",
    "AUTHORIZATION_TYPE",
    "DOWNLOAD_REFERENCE",
    "ERROR_CODE",
    "ERROR_MESSAGE",
    "app_headers",
    "post_headers",
]

APP_ID: Final = "bot"
"""iLink-App-Id of every official client since 2.1.1; without it polls were refused (observed: qwen-code#2908)."""

AUTHORIZATION_TYPE: Final = "ilink_bot_token"

DOWNLOAD_REFERENCE: Final = "x-encrypted-param"
"""The CDN upload's answer header whose value is the reference to download by (seed)."""

ERROR_MESSAGE: Final = "x-error-message"
"""The CDN's words on a failure, preferred over the body (official 2.4.9)."""

ERROR_CODE: Final = "x-error-code"
"""The CDN's number of a failure; -5102031 is illegal content (peer: dsh-bridge)."""


def app_headers(version: str, *, route_tag: str | None = None) -> dict[str, str]:
    """Return the headers of a GET: which program calls, and the operator's routing tag if there is one."""
    headers = {"iLink-App-Id": APP_ID, "iLink-App-ClientVersion": str(encode_version(version))}
    if route_tag:
        headers["SKRouteTag"] = route_tag
    return headers


def post_headers(
    version: str, *, uin: int, token: Secret | None = None, route_tag: str | None = None
) -> dict[str, str]:
    """Return the headers of a POST.

    Args:
        version: The client's version, `major.minor.patch`.
        uin: A fresh random 32-bit number for each request.
        token: The account's token; without one there is no Authorization header, as on the login calls.
        route_tag: The operator's routing tag.
    """
    headers = {
        "Content-Type": "application/json",
        "AuthorizationType": AUTHORIZATION_TYPE,
        "X-WECHAT-UIN": encode_uin(uin),
        **app_headers(version, route_tag=route_tag),
    }
    if token is not None and (text := token.reveal().strip()):
        headers["Authorization"] = f"Bearer {text}"
    return headers
