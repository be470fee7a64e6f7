"""A gateway in the test's own process and event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self, Unpack

from ilink.testing.faults import Fault, FaultWords, set_fault
from ilink.testing.person import Person
from ilink.testing.reports import describe_chats, describe_wire, find_findings
from ilink.wire.ids import UserId

if TYPE_CHECKING:
    from ilink.gateway.server import GatewayServer
    from ilink.gateway.service import Gateway

__all__ = ["GatewayClock", "LocalGateway"]


class GatewayClock:
    """The gateway's own time, which windows, codes, tickets and tokens live by."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def advance(self, *, seconds: float = 0.0, minutes: float = 0.0, hours: float = 0.0) -> None:
        """Move it forward."""
        await self._gateway.advance_clock(seconds + 60 * minutes + 3600 * hours)

    async def freeze(self) -> None:
        """Stop it."""
        await self._gateway.freeze_clock(frozen=True)

    async def run_on(self) -> None:
        """Let it run on from where it stands."""
        await self._gateway.freeze_clock(frozen=False)


class LocalGateway:
    """A whole gateway on free ports of this machine, gone without a trace when the `async with` ends.

    Args:
        profile: A named set of knobs.
        knobs: Knobs that differ from the profile.
        seed: Makes ids, tokens and keys follow from it.

    Attributes:
        clock: Its time.
    """

    clock: GatewayClock

    def __init__(
        self, *, profile: str = "observed", knobs: Mapping[str, object] | None = None, seed: int | None = None
    ) -> None:
        self._profile = profile
        self._knobs = dict(knobs or {})
        self._seed = seed
        self._server: GatewayServer | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        # Loaded here, because the pytest plugin is loaded in every test run of a user, and most start no gateway.
        from ilink.gateway.server import GatewayServer, ServerOptions

        # Nothing has to survive a test, so nothing waits for the disk.
        options = ServerOptions(profile=self._profile, knobs=self._knobs, seed=self._seed, synchronous="OFF")
        self._server = await self._stack.enter_async_context(GatewayServer(options))
        self.clock = GatewayClock(self.rules)
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    @property
    def rules(self) -> Gateway:
        """The gateway without HTTP: everything the control API can do, as methods."""
        return self._opened.gateway

    @property
    def api_url(self) -> str:
        """The base URL for bots."""
        return self._opened.info.api_url

    @property
    def cdn_url(self) -> str:
        """The base URL of media."""
        return self._opened.info.cdn_url

    @property
    def control_url(self) -> str:
        """The base URL of the control API."""
        return self._opened.info.control_url

    @property
    def phone_url(self) -> str:
        """The page's address."""
        return self._opened.info.phone_url

    def fault(self, endpoint: str = "*", **words: Unpack[FaultWords]) -> Fault:
        """Make requests fail from now on: `gateway.fault("sendmessage", ret=-2, errmsg="prepare failed", times=1)`.

        Args:
            endpoint: Which call: a short name such as `getupdates`, or `cdn_upload`, `cdn_download`, or `*` for all.
            words: One thing that happens, and which of the requests it happens to; docs/reference/faults.md has all.

        Raises:
            ConfigError: It could never strike, or says two things at once; the message names what is wrong.
        """
        return set_fault(self.rules, endpoint, words)

    def assert_no_findings(self, *, ignore: Iterable[str] = ()) -> None:
        """Fail if a client did what the protocol's notes advise against; docs/reference/findings.md has all.

        Args:
            ignore: Codes of findings that are all right here.

        Raises:
            AssertionError: It names every finding, and what should have been done.
        """
        found = find_findings(self.rules, frozenset(ignore))
        if found:
            message = "\n".join([f"{len(found)} findings in the wire log:", *found])
            raise AssertionError(message)

    async def person(self, name: str) -> Person:
        """Make a person."""
        person = await self.rules.add_person(name)
        return Person(self.rules, UserId(person.user_id), person.name)

    def describe(self) -> dict[str, str]:
        """Return what happened so far, in words: `chats` and `wire`; for reports, from outside the event loop.

        While the loop runs the chats cannot be read and are left out.
        """
        parts = {"wire": describe_wire(self.rules)}
        if not (self._loop.is_running() or self._loop.is_closed()):
            parts["chats"] = self._loop.run_until_complete(describe_chats(self.rules))
        return {name: text for name, text in parts.items() if text}

    @property
    def _opened(self) -> GatewayServer:
        assert self._server is not None, "open the gateway with `async with` first"
        return self._server
