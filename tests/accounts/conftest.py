from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "bot"))

from accounts_house import Street


@pytest.fixture
def street(tmp_path: Path) -> Street:
    return Street(tmp_path / "data")
