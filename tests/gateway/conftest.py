"""A gateway in a temporary folder, a person on it, and a bot that has logged in.

With `ILINK_TEST_STORE=postgres` the gateways of these tests keep their state in PostgreSQL.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gateway_house import STORES, BotClient, House, open_house


@pytest.fixture(scope="session", autouse=True)
def _store(request: pytest.FixtureRequest) -> None:
    if os.environ.get("ILINK_TEST_STORE") == "postgres":
        STORES[:] = [request.getfixturevalue("make_postgres_url")]


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
