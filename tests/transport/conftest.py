"""The transports under test, each with a way to the same application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec

import pytest
import uvicorn
from transport_application import Application

from ilink.transport.http import HttpTransport
from ilink.transport.memory import MemoryTransport
from ilink.transport.proxied import ProxiedTransport
from ilink.transport.proxies import ProxyMap
from ilink.transport.seam import Transport


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every test of this folder on the loops that programs run on: they differ in what a broken socket raises."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if find_spec("uvloop"):
        import uvloop

        loops["uvloop"] = uvloop.new_event_loop
    return loops


@asynccontextmanager
async def served(application: Application) -> AsyncIterator[str]:
    """Serve the application on a free port of the loopback."""
    config = uvicorn.Config(application, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    ticker = asyncio.create_task(server.main_loop())
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await ticker
        await server.shutdown()


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture(params=["http", "aiohttp", "memory"])
async def reach(request: pytest.FixtureRequest, application: Application) -> AsyncIterator[tuple[Transport, str]]:
    """A transport and the base URL at which it finds the application."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    if request.param == "memory":
        async with MemoryTransport({"http://ilink.test": application}) as memory:
            yield memory, "http://ilink.test"
        return
    by_http = HttpTransport(environ={}) if request.param == "http" else ProxiedTransport(ProxyMap({}))
    async with served(application) as url, by_http as http:
        yield http, url
