"""A gateway in the test's own process and event loop."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self, Unpack

from ilink.testing.bots import BotUnderTest
from ilink.testing.faults import Fault, FaultWords, set_fault
from ilink.testing.person import Person
from ilink.testing.reports import describe_chats, describe_wire, find_findings
from ilink.testing.virtual import GatewayClock
from ilink.wire.ids import UserId

if TYPE_CHECKING:
    from ilink.bot import Bot
    from ilink.gateway.server import GatewayServer
    from ilink.gateway.service import Gateway

__all__ = ["LocalGateway"]


class LocalGateway:
    """A whole gateway on free ports of this machine, gone without a trace when the `async with` ends.

    Args:
        profile: A named set of knobs.
        knobs: Knobs that differ from the profile.
        seed: Makes ids, tokens and keys follow from it.
        media_url: Where files are kept, such as `s3://bucket/folder`; a folder that goes away by default.

    Attributes:
        clock: Its time.
    """

    clock: GatewayClock

    def __init__(
        self,
        *,
        profile: str = "observed",
        knobs: Mapping[str, object] | None = None,
        seed: int | None = None,
        media_url: str | None = None,
    ) -> None:
        self._profile = profile
        self._knobs = dict(knobs or {})
        self._seed = seed
        self._media_url = media_url
        self._server: GatewayServer | None = None
        self._stack = AsyncExitStack()
        self._bots: list[BotUnderTest] = []

    async def __aenter__(self) -> Self:
        # Loaded here, because the pytest plugin is loaded in every test run of a user, and most start no gateway.
        from ilink.gateway.server import GatewayServer, ServerOptions

        # Nothing has to survive a test, so nothing waits for the disk.
        options = ServerOptions(
            profile=self._profile,
            knobs=self._knobs,
            seed=self._seed,
            media_url=self._media_url,
            synchronous="OFF",
        )
        self._server = await self._stack.enter_async_context(GatewayServer(options))
        self.clock = GatewayClock(self.rules)
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop the bots, then the gateway.

        Raises:
            Exception: What a bot under test ended with, if the test was not told yet.
        """
        try:
            await self._stack.aclose()
        finally:
            self._server = None

    @property
    def is_open(self) -> bool:
        """Whether it serves."""
        return self._server is not None

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
        return Person(self.rules, UserId(person.user_id), person.name, find_bot=self.start)

    def start(self, bot: Bot) -> BotUnderTest:
        """Run a bot as it is, in this loop: it signs in here, and lives by this gateway's time.

        Whatever address, folder, account and clock it was made with, it works for this gateway, and keeps its data in a
        folder that lasts as long as the gateway: what is stopped and started again goes on where it was. A bot that is
        running is left alone. All bots are stopped when the gateway is closed.
        """
        known = next((one for one in self._bots if one.bot is bot), None)
        if known is None:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ilink-test-")))
            known = BotUnderTest(bot, self.rules, api_url=self.api_url, folder=folder)
            self._bots.append(known)
            self._stack.push_async_callback(known.stop)
        known.start()
        return known

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
