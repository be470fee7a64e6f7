"""A gateway in the test's own process and event loop."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from ilink.testing.person import Person
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

    async def person(self, name: str) -> Person:
        """Make a person."""
        person = await self.rules.add_person(name)
        return Person(self.rules, UserId(person.user_id), person.name)

    @property
    def _opened(self) -> GatewayServer:
        assert self._server is not None, "open the gateway with `async with` first"
        return self._server
