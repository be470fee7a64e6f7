"""A gateway that holds polls only briefly."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from cassette_house import QUICK

from ilink.testing import LocalGateway


@pytest.fixture
async def gateway() -> AsyncIterator[LocalGateway]:
    async with LocalGateway(knobs=QUICK, seed=7) as gateway:
        yield gateway
