"""A gateway, somebody with a phone on it, and recordings of what a client does there."""

from __future__ import annotations

from pathlib import Path

from ilink.cassettes import Cassette, Outcome, Recorder, read_cassette, run_parity
from ilink.testing import LocalGateway
from ilink.transport.http import HttpTransport
from ilink.wire.ids import AccountId, UserId

QUICK: dict[str, object] = {"poll.hold_ms": 200, "poll.error_delay_ms": 0}


class GatewayHand:
    """Scans and writes on a gateway of our own."""

    def __init__(self, gateway: LocalGateway) -> None:
        self._rules = gateway.rules
        self.user_id = UserId("")
        self.bot_id = AccountId("")
        self.said: list[str] = []

    async def scan(self, url: str, qrcode: str) -> None:
        assert qrcode in url
        self.user_id = UserId((await self._rules.add_person("alice")).user_id)
        code = await self._rules.confirm(qrcode, user_id=self.user_id)
        self.bot_id = AccountId(code.bot_id or "")

    async def write(self, text: str) -> None:
        self.said.append(text)
        await self._rules.post_message(self.user_id, self.bot_id, text=text)


async def outcomes(
    gateway: LocalGateway, hand: GatewayHand | None = None, *, base_url: str = "", cdn_url: str = "", **options: object
) -> list[Outcome]:
    async with HttpTransport(environ={}) as transport:
        return [
            outcome
            async for outcome in run_parity(
                transport,
                hand or GatewayHand(gateway),
                random_id="canary-random-id",
                base_url=base_url or gateway.api_url,
                cdn_url=cdn_url or gateway.cdn_url,
                **options,  # type: ignore[arg-type]
            )
        ]


async def record(gateway: LocalGateway, path: Path, hand: GatewayHand | None = None) -> tuple[Cassette, list[Outcome]]:
    """Record a whole parity run."""
    async with (
        HttpTransport(environ={}) as transport,
        Recorder(path, transport=transport, base_url=gateway.api_url, cdn_url=gateway.cdn_url) as recorder,
    ):
        found = await outcomes(gateway, hand, base_url=recorder.url, cdn_url=f"{recorder.url}/c2c", spends=True)
    return read_cassette(path), found
