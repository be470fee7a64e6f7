from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fleet_house import Fleet, open_fleet


@pytest.fixture
async def fleet(postgres_url: str) -> AsyncIterator[Fleet]:
    async with open_fleet(postgres_url) as opened:
        yield opened
