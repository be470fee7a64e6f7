"""The tests of a project that `ilink new` made, many of them and in several processes at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("xdist")

MORE = """
import pytest

from ilink.cli.run import find_bot


@pytest.mark.parametrize("number", range(12))
async def test_everybody_hears_only_what_they_are_told(ilink_gateway, number):
    bot = find_bot("bot.py")
    alice = await ilink_gateway.person("alice")  # the same name in each test
    await alice.befriend(bot)
    for text in (f"number {number}", f"again {number}"):
        await alice.says(text)
        assert (await alice.hears(timeout=40)).endswith(text)
    await ilink_gateway.clock.advance(hours=25)
    entries = await ilink_gateway.rules.transcript(alice.bot_id, alice.user_id)
    assert len(entries) == 4
"""


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.timeout(240)
def test_a_new_project_is_tested_in_four_processes(tmp_path: Path) -> None:
    made = python(tmp_path, "ilink", "new", "mybot")
    assert made.returncode == 0, made.stderr
    project = tmp_path / "mybot"
    own = project.joinpath("tests", "test_bot.py").read_text("utf-8").count("def test_")
    assert own
    project.joinpath("tests", "test_more.py").write_text(MORE)
    run = python(project, "pytest", "-q", "-p", "no:cacheprovider", "-n", "4", "--ilink-forbid-network")
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{12 + own} passed" in run.stdout
    assert "warning" not in run.stdout.lower(), run.stdout
    assert sorted(path.name for path in project.iterdir() if not path.name.startswith((".", "__"))) == [
        "README.md",
        "bot.py",
        "pyproject.toml",
        "tests",
    ]
