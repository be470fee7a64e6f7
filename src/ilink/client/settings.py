"""Settings of a client that may come from the environment. An argument beats the environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from ilink.errors import ConfigError
from ilink.wire.accounts import Account
from ilink.wire.endpoints import CDN_BASE_URL, DEFAULT_BASE_URL
from ilink.wire.hosts import HostPolicy, join_url

__all__ = ["ALLOW_HOSTS_VARIABLE", "BASE_URL_VARIABLE", "CDN_URL_VARIABLE", "Addresses", "as_url", "refused_host"]

BASE_URL_VARIABLE: Final = "ILINK_BASE_URL"
CDN_URL_VARIABLE: Final = "ILINK_CDN_URL"
ALLOW_HOSTS_VARIABLE: Final = "ILINK_ALLOW_HOSTS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a client talks to, and where answers may send it.

    Attributes:
        base_url: Origin of the API, with its path prefix if it has one.
        cdn_url: Origin and prefix of the CDN.
        hosts: What URLs out of answers may point to.
    """

    base_url: str
    cdn_url: str
    hosts: HostPolicy

    @staticmethod
    def choose(
        account: Account | None,
        *,
        base_url: str | None,
        cdn_url: str | None,
        allow_hosts: Iterable[str],
        environ: Mapping[str, str],
    ) -> Addresses:
        """Choose the addresses: the argument, else the account's, else the environment's, else Tencent's.

        The environment stands behind the account, because an account lives where it was signed in and its token is
        nobody else's business. The CDN of a server that is not Tencent's is taken to be at `/c2c` below it.

        Raises:
            ConfigError: Something is no http or https URL.
        """
        default = account.base_url if account is not None else environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL
        base = checked_url(base_url or default, BASE_URL_VARIABLE)
        media = checked_url(cdn_url or environ.get(CDN_URL_VARIABLE) or _cdn_of(base), CDN_URL_VARIABLE)
        named = [*allow_hosts, *environ.get(ALLOW_HOSTS_VARIABLE, "").replace(",", " ").split()]
        allowed = [checked_url(as_url(host), ALLOW_HOSTS_VARIABLE) for host in named]
        return _addresses(base, media, *allowed)


@lru_cache(maxsize=64)
def _addresses(base: str, media: str, *allowed: str) -> Addresses:
    """Thousands of clients of one program talk to one server, and share this."""
    return Addresses(base_url=base, cdn_url=media, hosts=HostPolicy(base, media, *allowed))


def as_url(host: str) -> str:
    """Return a host as the https URL it stands for; a whole URL stays as it is (official 2.4.9; peer: nanobot)."""
    return host if "://" in host else f"https://{host}"


def checked_url(url: str, name: str) -> str:
    """Return the URL without a trailing slash.

    Raises:
        ConfigError: It is no http or https URL with a host.
    """
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        message = f"{url!r} is no http or https URL; mend the argument or {name}"
        raise ConfigError(message)
    return url.rstrip("/")


def refused_host(url: str, field: str) -> str:
    """Return the words for an address out of an answer that may not be used, and how to allow it."""
    try:
        parts = urlsplit(url)
        name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    except ValueError:
        name = "no URL"
    return (
        f"{field} names {name}, which is neither Tencent's nor configured; if it is yours, allow it with"
        f" allow_hosts=[{name!r}] or {ALLOW_HOSTS_VARIABLE}={name}"
    )


def _cdn_of(base_url: str) -> str:
    return CDN_BASE_URL if HostPolicy().allows(base_url) else join_url(base_url, "c2c")
