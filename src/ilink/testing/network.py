"""A switch that forbids the network beyond this machine."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, cast

__all__ = ["NetworkForbiddenError", "forbid_network"]

_LOCAL_NAMES: Final = frozenset({"", "localhost", "ip6-localhost", "localhost.localdomain"})
_EVENTS: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_LOOKUPS: Final = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})


class NetworkForbiddenError(Exception):
    """A test tried to reach something beyond this machine.

    It is no `OSError`: programs try again after those.

    Attributes:
        target: What was to be reached.
    """

    def __init__(self, target: str) -> None:
        super().__init__(
            f"this test may not reach {target}: the network is forbidden beyond this machine; "
            "use the gateway's address (`ilink_gateway.api_url`), or let the test reach the network"
        )
        self.target = target


class _Watch:
    """The process's audit hook, which cannot be taken off again, and who wants to be told by it."""

    def __init__(self) -> None:
        self.attempts: list[list[str]] = []
        self._is_installed = False

    def install(self) -> None:
        if not self._is_installed:
            sys.addaudithook(self._look)
            self._is_installed = True

    def _look(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.attempts:
            return
        if event in _EVENTS:
            host = _host_of(arguments[1])
        elif event in _LOOKUPS:
            host = _text(arguments[0])
        else:
            return
        if host is not None and not is_local(host):
            for attempts in self.attempts:
                attempts.append(host)
            raise NetworkForbiddenError(host)


_watch: Final = _Watch()


@contextmanager
def forbid_network() -> Generator[list[str], None, None]:
    """Make every connection and look-up beyond this machine fail, in all threads, until the block ends.

    Loopback addresses and Unix sockets work. Other processes that a test starts are not watched, nor is what does not
    go through Python's sockets, such as look-ups by uvloop, whose connections then fail.

    Yields:
        What was tried, so that a test can fail that swallowed the errors.
    """
    _watch.install()
    attempts: list[str] = []
    _watch.attempts.append(attempts)
    try:
        yield attempts
    finally:
        # By identity: two blocks in which nothing was tried are equal.
        _watch.attempts[:] = [one for one in _watch.attempts if one is not attempts]


def is_local(host: str) -> bool:
    """Tell whether a host is this machine, without looking its name up."""
    name = host.lower().rstrip(".")
    if name in _LOCAL_NAMES or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback or address.is_unspecified


def _host_of(address: object) -> str | None:
    """Return the host of a socket's address; None for a path, and for families that are no network."""
    parts = cast("tuple[object, ...]", address) if isinstance(address, tuple) else ()
    return _text(parts[0]) if parts else None


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("ascii", "replace")
    return value if isinstance(value, str) else None
