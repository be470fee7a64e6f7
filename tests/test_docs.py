"""The documentation is true: generated pages are current, links lead somewhere, programs run."""

from __future__ import annotations

import re
import runpy
import subprocess
from pathlib import Path

import pytest

from ilink.cli.run import find_bot

REPOSITORY = Path(__file__).parent.parent
DOCS = REPOSITORY / "docs"
PAGES = [*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md")]
PROGRAMS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL), start=1)
]


@pytest.mark.parametrize("name", ["control-api.md", "faults.md", "findings.md", "knobs.md"])
def test_generated_page_is_current(name: str) -> None:
    drawn = runpy.run_path(str(DOCS / "generate.py"))["PAGES"][name]()
    assert (DOCS / "reference" / name).read_text("utf-8") == drawn, "run python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_on_a_page_loads(program: str, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(program, "utf-8")
    if "Bot(" in program:
        find_bot(str(path))
    else:
        runpy.run_path(str(path))


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md", "docs/tutorials/first-bot.md"])
def test_shown_program_is_the_tested_example(page: str) -> None:
    def code(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.strip() and not line.startswith('"""')]

    (shown, *_) = re.findall(r"```python\n(.*?)```", (REPOSITORY / page).read_text("utf-8"), re.DOTALL)
    assert code(shown) == code((REPOSITORY / "examples" / "echo.py").read_text("utf-8"))


def test_both_readmes_have_the_same_parts() -> None:
    def shape(name: str) -> list[str]:
        text = (REPOSITORY / name).read_text("utf-8")
        return re.findall(r"^(#+|```\w*|!\[|\|---.*)", text, re.MULTILINE)

    assert shape("README.md") == shape("README.zh-CN.md")


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"(?:`|^)make (\w+)", (REPOSITORY / "README.md").read_text("utf-8"), re.MULTILINE))
    listed = subprocess.run(["make", "-pn"], cwd=REPOSITORY, capture_output=True, text=True, check=False).stdout
    assert {target for target in targets if not re.search(rf"^{target}:", listed, re.MULTILINE)} == set()
