"""Both checkers agree with what filters promise about types."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(240)  # checkers read the whole library

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CHECKERS = {"mypy": ["--strict", "--no-error-summary"], "basedpyright": []}


def problems(checker: str, *paths: Path) -> dict[str, set[int]]:
    """The lines a checker complains about, by file."""
    program = Path(sys.executable).with_name(checker)
    run = subprocess.run([program, *CHECKERS[checker], *paths], cwd=ROOT, capture_output=True, text=True, check=False)
    found: dict[str, set[int]] = {path.name: set() for path in paths}
    for name, line in re.findall(r"(\w+\.py):(\d+)(?::\d+)?(?: -|:) error", run.stdout):
        found[name].add(int(line))
    assert run.returncode in (0, 1), run.stdout + run.stderr
    return found


@pytest.mark.parametrize("checker", CHECKERS)
def test_filters_narrow_what_handlers_receive_and_nothing_else(checker: str) -> None:
    narrowing, refused = HERE / "narrowing.py", HERE / "refused.py"
    marked = {n for n, line in enumerate(refused.read_text("utf-8").splitlines(), 1) if line.endswith("# refused")}
    assert len(marked) > 10
    assert problems(checker, narrowing, refused) == {"narrowing.py": set(), "refused.py": marked}
