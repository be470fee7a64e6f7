from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bot_house import FAST, HastyClock, Server

from ilink.bot import Bot


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> HastyClock:
    return HastyClock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def make_bot(server: Server, clock: HastyClock, folder: Path) -> Callable[..., Bot]:
    def make(**options: Any) -> Bot:
        options.setdefault("policies", FAST)
        options.setdefault("allow", "anyone")
        return Bot(data=folder, open_client=server.open, clock=clock, environ={}, **options)

    return make
