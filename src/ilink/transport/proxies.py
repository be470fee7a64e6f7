"""Which way a request takes: straight, or through a proxy, decided host by host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ilink.errors import ConfigError

__all__ = ["PROXY_VARIABLE", "ProxyMap"]

PROXY_VARIABLE: Final = "ILINK_PROXY"

_DIRECT: Final = "direct"
_ENVIRONMENT: Final = "env"


class ProxyMap:
    """Proxies by host.

    Args:
        ways: From a host (`ilinkai.wechat.com`), a domain with all below it (`*.wechat.com`) or everything (`*`) to
            `direct`, to `env` (what `HTTPS_PROXY`, `NO_PROXY` and the system say), or to the http or https URL of a
            proxy, with user and password in it if it asks for them. The most exact entry wins. What no entry names
            goes straight: proxies for foreign sites are commonly set where WeChat is reached better without.

    Raises:
        ConfigError: A way is none of these.
    """

    def __init__(self, ways: Mapping[str, str]) -> None:
        self._ways = {host.lower(): _checked(host, way) for host, way in ways.items()}

    @property
    def may_lead_through(self) -> bool:
        """Whether any host may be reached through a proxy."""
        return any(way != _DIRECT for way in self._ways.values())

    def find(self, url: str) -> str | None:
        """Return the URL of the proxy for a request, or None for the straight way."""
        if not self._ways:
            return None
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        way = self._way_of(host)
        if way == _ENVIRONMENT:
            return None if proxy_bypass(host) else getproxies().get(parts.scheme)
        return None if way == _DIRECT else way

    def _way_of(self, host: str) -> str:
        labels = host.split(".")
        candidates = [host, *("*." + ".".join(labels[place:]) for place in range(1, len(labels))), "*"]
        return next((self._ways[name] for name in candidates if name in self._ways), _DIRECT)


def _checked(host: str, way: str) -> str:
    if way in (_DIRECT, _ENVIRONMENT):
        return way
    try:
        parts = urlsplit(way)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_usable = False
    if not is_usable:
        message = f"the proxy for {host} is neither `direct`, `env` nor an http or https URL; SOCKS is not spoken"
        raise ConfigError(message)
    return way
