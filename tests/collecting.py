"""A plugin that finds what a test leaves open in that test, and not wherever the collector happens to run.

pytest -p tests.collecting tests/transport
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    yield
    gc.collect()
