"""Who may call: the key, and the checks that keep other web pages out of a listener on this machine.

A browser sends requests to loopback for any page that asks. Two things tell such a request apart: `Host` names the
attacker's domain when the page used DNS rebinding, and `Origin` names the page that asks when it is another one.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address

from ilink.gateway.control.refusals import Refusal

__all__ = ["Guard", "is_loopback"]

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_OWN_SITES = frozenset({"same-origin", "none"})


def is_loopback(host: str) -> bool:
    """Tell whether a host is only reachable from this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Checks every request before anything of it is read.

    Args:
        host: The host that the control listener is bound to.
        port: Its port, which keeps the cookies of several gateways on one machine apart.
        key: The key that callers must present, or None for a listener that needs none.
        names: Further host names the listener is known by, such as that of a proxy in front of it.
    """

    def __init__(self, *, host: str, port: int, key: str | None, names: Iterable[str] = ()) -> None:
        self._key = key
        self._cookie = f"ilink_session_{port}"
        self._names = _LOOPBACK_NAMES | {host.lower(), *(name.lower() for name in names)}
        # An address instead of a name cannot be rebound, so beyond loopback any address of this machine will do.
        self._takes_any_address = not is_loopback(host)
        self._login_codes: set[bytes] = set()
        self._sessions: set[bytes] = set()

    @property
    def has_key(self) -> bool:
        """Whether callers must present a key."""
        return self._key is not None

    def check_page(self, *, host: str | None) -> None:
        """Let a request for the page itself pass, which holds no secrets.

        Raises:
            Refusal: 421, the request was meant for another host.
        """
        name = _host_name(host)
        if name is None or not (name in self._names or (self._takes_any_address and _is_address(name))):
            message = f"this listener is not {host!r}" if host else "the request has no Host"
            raise Refusal(421, message, hint="call it by its address or as localhost")

    def check_call(self, *, host: str | None, origin: str | None, site: str | None) -> None:
        """Let a call pass unless another web page makes it.

        Raises:
            Refusal: 421 as for the page; 403, a page of another origin asks.
        """
        self.check_page(host=host)
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            raise Refusal(403, f"pages of {origin} may not call this API", hint="use the page this listener serves")
        if site is not None and site not in _OWN_SITES:
            raise Refusal(403, "other web pages may not call this API", hint="use the page this listener serves")

    def check_key(self, *, authorization: str | None, cookie: str | None) -> None:
        """Let a caller pass who presents the key, or the cookie of a browser that used a login link.

        Raises:
            Refusal: 401.
        """
        if self._key is None or self.knows_bearer(authorization) or self._knows_cookie(cookie):
            return
        message = "this API needs its key" if not (authorization or cookie) else "that is not this API's key"
        hint = "send the header Authorization: Bearer KEY, or open a login link in the browser"
        raise Refusal(401, message, hint=hint, headers={"www-authenticate": "Bearer"})

    def knows_bearer(self, authorization: str | None) -> bool:
        """Tell whether an Authorization header carries the key; takes equally long for every wrong one."""
        scheme, _, presented = (authorization or "").partition(" ")
        expected = sha256((self._key or "").encode()).digest()
        is_equal = hmac.compare_digest(_digest(presented.strip()), expected)
        return is_equal and self._key is not None and scheme.lower() == "bearer"

    def new_login_code(self) -> str:
        """Return a code for one login link."""
        code = secrets.token_urlsafe(32)
        self._login_codes.add(_digest(code))
        return code

    def redeem(self, code: str) -> str:
        """Take a login code and return the Set-Cookie header of the session it opens; a code works once.

        Raises:
            Refusal: 403, it was used already or never issued.
        """
        digest = _digest(code)
        if digest not in self._login_codes:
            raise Refusal(403, "this login link was used already, or never issued", hint="ask for a new one")
        self._login_codes.discard(digest)
        session = secrets.token_urlsafe(32)
        self._sessions.add(_digest(session))
        return f"{self._cookie}={session}; Path=/; HttpOnly; SameSite=Strict"

    def _knows_cookie(self, header: str | None) -> bool:
        if not header:
            return False
        try:
            morsel = SimpleCookie(header).get(self._cookie)
        except CookieError:
            return False
        return morsel is not None and _digest(morsel.value) in self._sessions


def _digest(text: str) -> bytes:
    """Hash a secret before it is compared or looked up, so that neither takes a time that depends on it."""
    return sha256(text.encode("utf-8", "surrogateescape")).digest()


def _host_name(host: str | None) -> str | None:
    """Return the name in a Host header without its port, or None if there is none to read."""
    if not host:
        return None
    if host.startswith("["):
        name, bracket, _ = host[1:].partition("]")
        return name.lower() if bracket else None
    return host.partition(":")[0].lower().removesuffix(".") or None


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
