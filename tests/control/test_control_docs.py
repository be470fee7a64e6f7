from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_the_control_api_is_current() -> None:
    drawn = runpy.run_path(str(DOCS / "generate.py"))["control_api"]()
    assert (DOCS / "reference" / "control-api.md").read_text("utf-8") == drawn, "run python docs/generate.py"
