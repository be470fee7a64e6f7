"""The address at which a running bot answers those who look after it."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ilink.bot import Bot
from ilink.gateway.listeners import Listener, parse_address
from ilink.storage.slots_counted import LeaseTally
from ilink.telemetry.leases import show_leases
from ilink.telemetry.metrics import Metrics
from ilink.telemetry.vitals import Finding, Vitals

__all__ = ["Page", "serve_page"]

_log = logging.getLogger(__name__)


class Page:
    """Serves `/metrics`, `/healthz` and `/readyz` over HTTP; open it with `async with` where the bot runs.

    * `/metrics`: the figures, in Prometheus' text format.
    * `/healthz`: 200 while polls are answered, else 503: start the process anew.
    * `/readyz`: 200 while the store takes writes, else 503.

    It tells nothing that is secret, and asks for no key: listen where only those who look after it reach it.

    Args:
        address: HOST:PORT; port 0 takes a free one.
        metrics: The figures.
        vitals: The answers.

    Attributes:
        url: Where it is, once it is open.

    Raises:
        ConfigError: It is no address. Opening it raises this too, if the address cannot be listened on.
    """

    url: str

    def __init__(self, address: str, *, metrics: Metrics, vitals: Vitals) -> None:
        parse_address(address)
        self._address = address
        self._listener: Listener | None = None
        self._metrics = metrics
        self._vitals = vitals

    async def __aenter__(self) -> Self:
        routes = [
            Route("/metrics", self._show_metrics),
            Route("/healthz", self._show_health),
            Route("/readyz", self._show_readiness),
        ]
        listener = self._listener = Listener.bind(self._address)
        await listener.start(Starlette(routes=routes))
        self.url = listener.url
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.aclose(grace=1.0)

    async def _show_metrics(self, _request: Request) -> Response:
        return Response(await self._metrics.read(), media_type=CONTENT_TYPE_LATEST)

    async def _show_health(self, _request: Request) -> Response:
        return _answer(self._vitals.health())

    async def _show_readiness(self, _request: Request) -> Response:
        return _answer(await self._vitals.readiness())


def serve_page(bot: Bot, address: str, *, leases: LeaseTally | None = None, polls: bool = True) -> Page:
    """Let a bot be watched and answer at an address while it runs; call it before.

    Args:
        bot: The bot.
        address: HOST:PORT; port 0 takes a free one.
        leases: What becomes of the leases of a process in a fleet.
        polls: Whether this process polls; see `Vitals`.

    Raises:
        ConfigError: It is no address.
    """
    vitals = Vitals(bot, polls=polls)
    registry = CollectorRegistry()
    metrics = Metrics(bot, vitals, registry=registry)
    if leases is not None:
        show_leases(leases, registry)
    page = Page(address, metrics=metrics, vitals=vitals)
    for observer in (vitals, metrics):
        bot.observe(observer)

    @bot.on_startup
    async def open_page() -> None:
        await page.__aenter__()
        _log.info("metrics and health at %s", page.url)

    @bot.on_shutdown
    async def close_page() -> None:
        await page.__aexit__(None, None, None)

    return page


def _answer(finding: Finding) -> Response:
    return PlainTextResponse(finding.words + "\n", status_code=200 if finding.is_well else 503)
