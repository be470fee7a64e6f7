"""The pytest plugin: it comes with the package and needs pytest-asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from ilink.testing.gateway import LocalGateway

__all__ = ["ilink_gateway"]


@pytest_asyncio.fixture
async def ilink_gateway() -> AsyncIterator[LocalGateway]:
    """A gateway for this test alone, in its own process and event loop."""
    async with LocalGateway() as gateway:
        yield gateway
