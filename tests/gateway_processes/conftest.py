from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from processes_house import Pair, open_pair


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(240))  # processes and databases start and end, and end again


@pytest.fixture
async def pair(postgres_url: str, tmp_path: Path) -> AsyncIterator[Pair]:
    """A pair that knows of each other by hints alone."""
    async with open_pair(postgres_url, tmp_path / "files", sweep_seconds=3600.0) as pair:
        yield pair


@pytest.fixture
async def quick_pair(postgres_url: str, tmp_path: Path) -> AsyncIterator[Pair]:
    """A pair that looks at everything by itself many times a second."""
    async with open_pair(postgres_url, tmp_path / "files", sweep_seconds=0.05) as pair:
        yield pair
