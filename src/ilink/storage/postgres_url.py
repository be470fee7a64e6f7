"""The address of a PostgreSQL database: what of it is ours, what is the driver's, and what may be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

from ilink.errors import ConfigError

__all__ = ["DATABASE_URL_VARIABLE", "PostgresUrl", "is_postgres_url"]

DATABASE_URL_VARIABLE: Final = "ILINK_DATABASE_URL"

_SCHEMES: Final = ("postgresql", "postgres")
_NAMESPACE: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_OURS: Final = ("schema", "pool", "prepared", "direct")
_SECRETS: Final = ("password", "sslpassword", "passfile")


def is_postgres_url(text: str) -> bool:
    """Tell whether a text is meant as the address of a PostgreSQL database."""
    return text.partition("://")[0] in _SCHEMES and "://" in text


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresUrl:
    """An address, taken apart.

    Attributes:
        driver_url: What the driver connects to; it may carry a password and is never shown.
        place: The same for people: without its password and without settings.
        namespace: The PostgreSQL schema that everything of ours lies in: `schema` in the URL, else `ilink`.
        connections: How many connections a process opens at most: `pool` in the URL, else 10.
        is_prepared: Whether statements may be prepared: not with `prepared=off`, for poolers that cannot keep them.
        direct_url: What the driver connects to past a pooler, for what wants a connection of its own: the host and port
            of `direct` in the URL, else the same.
    """

    driver_url: str
    place: str
    namespace: str = "ilink"
    connections: int = 10
    is_prepared: bool = True
    direct_url: str = ""

    def __repr__(self) -> str:
        """Show the place only."""
        return f"PostgresUrl({self.place})"

    @classmethod
    def parse(cls, url: str) -> PostgresUrl:
        """Take an address apart.

        Raises:
            ConfigError: It is no address of a PostgreSQL database; the error does not repeat it, because it may hold a
                password.
        """
        try:
            parts = urlsplit(url)
            _ = parts.port  # read for its check: the driver's own error shows what it could not read
            pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else []
        except ValueError:
            raise _unreadable() from None
        if parts.scheme not in _SCHEMES or parts.fragment or "@" in (parts.hostname or ""):
            raise _unreadable()
        ours = {name: value for name, value in pairs if name in _OURS}
        others = [(name, value) for name, value in pairs if name not in _OURS]
        driver_url = urlunsplit(parts._replace(query=urlencode(others, quote_via=quote)))
        return cls(
            driver_url=driver_url,
            place=_shown(parts),
            namespace=_namespace(ours.get("schema", "ilink")),
            connections=_connections(ours.get("pool", "10")),
            is_prepared=_is_on(ours.get("prepared", "on")),
            direct_url=_direct(driver_url, ours["direct"]) if "direct" in ours else driver_url,
        )


def _shown(parts: SplitResult) -> str:
    """Return an address without password; hosts that the query names are shown, as sockets are named there."""
    user = "" if parts.username is None else f"{parts.username}@"
    host = parts.netloc.rpartition("@")[2]
    named = next((value for name, value in parse_qsl(parts.query) if name == "host"), "")
    query = f"?host={named}" if named and not host else ""
    return f"{parts.scheme}://{user}{host}{parts.path}{query}"


def _direct(driver_url: str, address: str) -> str:
    """Return an address with another host and port."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or set(address) & set("@/?#"):
        message = "direct= in the database URL is no address; write HOST:PORT of the server behind the pooler"
        raise ConfigError(message)
    parts = urlsplit(driver_url)
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}{address}"))


def _namespace(text: str) -> str:
    if not _NAMESPACE.fullmatch(text):
        message = (
            f"{text!r} cannot be a PostgreSQL schema of ilink; use small letters, digits and underscores, 40 at most"
        )
        raise ConfigError(message)
    return text


def _connections(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        message = f"pool={text} in the database URL is no number of connections; give one from 1 to 1000"
        raise ConfigError(message)
    return int(text)


def _is_on(text: str) -> bool:
    if text not in {"on", "off"}:
        message = f"prepared={text} in the database URL means nothing; write on or off"
        raise ConfigError(message)
    return text == "on"


def _unreadable() -> ConfigError:
    message = (
        "the database URL cannot be read; write postgresql://user:password@host:5432/database, and give characters"
        " such as @, /, # or % in the password as %40, %2F, %23, %25"
    )
    return ConfigError(message)
