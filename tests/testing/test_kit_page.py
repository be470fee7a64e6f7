"""The program on the page about testing bots runs as it is written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytest_plugins = ["pytester"]


@pytest.mark.timeout(180)  # a test run of its own, of all programs of a page
def test_the_pages_programs_run(pytester: pytest.Pytester) -> None:
    page = (ROOT / "docs" / "how-to" / "test-a-bot.md").read_text()
    greets, survives = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    shutil.copy(ROOT / "examples" / "echo.py", pytester.path / "bot.py")
    pytester.makepyfile(test_page=f"{greets}\n\n{survives}")
    options = ("-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "--ilink-forbid-network")
    outcome = pytester.runpytest_subprocess(*options).parseoutcomes()
    assert outcome["passed"] > 20
    assert set(outcome) == {"passed"}
