"""`ilink new` makes a project whose test passes, and refuses what would be none."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.cli.test_command import ilink


@pytest.mark.timeout(180)  # a command, and a test run of its own
@pytest.mark.parametrize(("spoken", "words"), [("en", "You said: "), ("zh-CN", "你说：")])
def test_a_new_project_passes_its_test(tmp_path: Path, spoken: str, words: str) -> None:
    folder = tmp_path / "my-bot"
    made = ilink("new", str(folder), ILINK_LANG=spoken)
    assert made.returncode == 0, made.stderr
    assert "ilink dev bot.py" in made.stdout
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == [".gitignore", "README.md", "bot.py", "pyproject.toml", "tests/test_bot.py"]
    assert words in (folder / "bot.py").read_text()
    assert tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"] == "my-bot"
    assert "my-bot" in (folder / "README.md").read_text()
    assert not any("@NAME@" in path.read_text() for path in folder.rglob("*.*") if path.is_file())
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert "1 passed" in run.stdout, run.stdout + run.stderr


@pytest.mark.parametrize("name", ["1bot", "my bot", "-x-", "..", "bot!", "机器人", "a" * 65])
def test_what_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    run = ilink("new", f"{tmp_path}/{name}")
    assert run.returncode == 2
    assert "is no name for a project" in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "bot").mkdir()
    (tmp_path / "file").write_text("mine")
    for name in ("bot", "file"):
        run = ilink("new", str(tmp_path / name))
        assert (run.returncode, "exists already" in run.stderr) == (2, True)
    inside = ilink("new", str(tmp_path / "file" / "bot"))
    assert (inside.returncode, "Traceback" in inside.stderr) == (2, False)
    assert list((tmp_path / "bot").iterdir()) == []
    assert (tmp_path / "file").read_text() == "mine"
