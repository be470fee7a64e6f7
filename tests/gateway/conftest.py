"""A gateway in a temporary folder, a person on it, and a bot that has logged in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gateway_house import BotClient, House, open_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path / "data") as house:
        yield house


@pytest.fixture
async def alice(house: House) -> str:
    return await house.person("alice")


@pytest.fixture
async def bot(house: House, alice: str) -> BotClient:
    return await house.login(alice)
