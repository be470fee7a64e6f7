"""Which hosts a URL out of an answer may point to."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

__all__ = ["TENCENT_DOMAINS", "HostPolicy", "join_url"]

TENCENT_DOMAINS: Final = ("weixin.qq.com", "wechat.com")
"""The vendor's domains, with everything below them (protocol §7.14)."""

_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|[0-9a-f:.]*:[0-9a-f:.]*")
"""Names in ASCII, IPv4, and IPv6 without its brackets."""


class HostPolicy:
    """The hosts this program may be sent to by an answer: the vendor's, and what the user configured.

    The vendor's are reached by HTTPS only. A configured URL allows its own scheme, host and port, no other.
    """

    def __init__(self, *configured: str) -> None:
        self._configured = frozenset(filter(None, (_origin(url) for url in configured)))

    def allows(self, url: str) -> bool:
        """Tell whether a URL may be used; False for anything that is not a plain http or https URL."""
        origin = _origin(url)
        if origin is None:
            return False
        if origin in self._configured:
            return True
        scheme, host, port = origin
        at_vendor = any(host == domain or host.endswith("." + domain) for domain in TENCENT_DOMAINS)
        return at_vendor and scheme == "https" and port == 443

    def with_hosts(self, *urls: str) -> HostPolicy:
        """Return a policy that also allows these URLs' origins."""
        policy = HostPolicy(*urls)
        policy._configured |= self._configured
        return policy


def join_url(base: str, path: str) -> str:
    """Join a base URL and a relative path, keeping the base's own path (official 2.4.9)."""
    return base.rstrip("/") + "/" + path.lstrip("/")


def _origin(url: str) -> tuple[str, str, int] | None:
    """Return scheme, lower-case host and port; None for what is no http URL or carries a user.

    None also for a backslash, a blank or a host outside ASCII: there two readers of URLs differ about the host.
    """
    if any(character <= " " or character == "\\" for character in url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return None
    if not _HOST.fullmatch(parts.hostname):
        return None
    default_port = 443 if parts.scheme == "https" else 80
    return parts.scheme, parts.hostname.removesuffix("."), default_port if port is None else port
