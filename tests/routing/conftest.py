from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "bot"))

from bot_house import FAST, HastyClock, Server

from ilink.bot import Bot


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> HastyClock:
    return HastyClock()


@pytest.fixture
def make_bot(server: Server, clock: HastyClock, tmp_path: Path) -> Callable[..., Bot]:
    """Make a bot on the same data and the same server each time, as a program does that is started again."""

    def make(**options: Any) -> Bot:
        options.setdefault("policies", FAST)
        options.setdefault("allow", "anyone")
        return Bot(data=tmp_path / "data", open_client=server.open, clock=clock, environ={}, **options)

    return make
