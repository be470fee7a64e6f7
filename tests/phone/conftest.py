from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from phone_house import House, open_browser, open_house
from playwright.async_api import Browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The browser that all tests of a process share: starting one takes longer than most of them."""
    async with open_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def house(browser: Browser) -> AsyncIterator[House]:
    """Whatever a test does, the console stays clean and no request leaves the machine."""
    async with open_house(browser) as house:
        yield house
        assert house.complaints == []
        assert house.strangers == []
