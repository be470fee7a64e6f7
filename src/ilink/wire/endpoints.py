"""Which endpoints there are, how they are called, and how long a caller waits for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "CDN_BASE_URL",
    "DEFAULT_BASE_URL",
    "DOWNLOAD_PATH",
    "ENDPOINTS",
    "GETCONFIG",
    "GETUPDATES",
    "GETUPLOADURL",
    "GET_BOT_QRCODE",
    "GET_QRCODE_STATUS",
    "INTERNATIONAL_BASE_URL",
    "NOTIFYSTART",
    "NOTIFYSTOP",
    "SENDMESSAGE",
    "SENDTYPING",
    "UPLOAD_PATH",
    "Endpoint",
]

DEFAULT_BASE_URL: Final = "https://ilinkai.weixin.qq.com"
"""Where accounts sign in (seed)."""

INTERNATIONAL_BASE_URL: Final = "https://ilinkai.wechat.com"
"""Handed to international accounts; its edge cuts requests after about 16 s (observed: hermes-agent#89983)."""

CDN_BASE_URL: Final = "https://novac2c.cdn.weixin.qq.com/c2c"
"""Where media is kept (seed)."""

UPLOAD_PATH: Final = "/upload"
DOWNLOAD_PATH: Final = "/download"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One call of the protocol.

    Attributes:
        name: Its short name, as in logs, faults and metrics.
        path: Relative to the base URL, without a leading slash, so that a prefix in the base URL is kept.
        method: How this package calls it.
        has_token: Whether the account's token goes with it.
        timeout: Seconds the official client waits (official 2.4.9).
    """

    name: str
    path: str
    method: Literal["GET", "POST"]
    has_token: bool
    timeout: float


GET_BOT_QRCODE: Final = Endpoint("get_bot_qrcode", "ilink/bot/get_bot_qrcode", "POST", has_token=False, timeout=15.0)
GET_QRCODE_STATUS: Final = Endpoint(
    "get_qrcode_status", "ilink/bot/get_qrcode_status", "GET", has_token=False, timeout=35.0
)
GETUPDATES: Final = Endpoint("getupdates", "ilink/bot/getupdates", "POST", has_token=True, timeout=35.0)
SENDMESSAGE: Final = Endpoint("sendmessage", "ilink/bot/sendmessage", "POST", has_token=True, timeout=15.0)
GETCONFIG: Final = Endpoint("getconfig", "ilink/bot/getconfig", "POST", has_token=True, timeout=10.0)
SENDTYPING: Final = Endpoint("sendtyping", "ilink/bot/sendtyping", "POST", has_token=True, timeout=10.0)
GETUPLOADURL: Final = Endpoint("getuploadurl", "ilink/bot/getuploadurl", "POST", has_token=True, timeout=15.0)
NOTIFYSTART: Final = Endpoint("notifystart", "ilink/bot/msg/notifystart", "POST", has_token=True, timeout=10.0)
NOTIFYSTOP: Final = Endpoint("notifystop", "ilink/bot/msg/notifystop", "POST", has_token=True, timeout=10.0)

ENDPOINTS: Final[dict[str, Endpoint]] = {
    endpoint.name: endpoint
    for endpoint in (
        GET_BOT_QRCODE,
        GET_QRCODE_STATUS,
        GETUPDATES,
        SENDMESSAGE,
        GETCONFIG,
        SENDTYPING,
        GETUPLOADURL,
        NOTIFYSTART,
        NOTIFYSTOP,
    )
}
"""All endpoints by name; the CDN's upload and download are addressed by URL and are not among them."""
