from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from phone_house import House, open_house


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Whatever a test does, the console stays clean and no request leaves the machine."""
    async with open_house() as house:
        yield house
        assert house.complaints == []
        assert house.strangers == []
