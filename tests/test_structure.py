"""The house is as drawn: layers, homes of third-party packages, public surface, and what a bare import loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import ilink

SOURCE = Path(ilink.__file__).parent
REPOSITORY = Path(__file__).parent.parent

HOMES = {
    "aiohttp": {"transport"},
    "aiohappyeyeballs": {"transport"},
    "httptools": {"transport"},
    "Crypto": {"wire"},
    "cryptography": {"gateway"},
    "pysilk": {"wire"},
    "sqlite3": {"storage"},
    "starlette": {"gateway", "telemetry"},
    "uvicorn": {"gateway"},
    "prometheus_client": {"gateway", "telemetry"},
    "opentelemetry": {"telemetry"},
    "segno": {"client"},
    "rich": {"cli"},
    "cyclopts": {"cli"},
    "platformdirs": {"storage"},
}
"""Which rooms may import a package; one that is not listed may be imported anywhere."""

MODULES = sorted(SOURCE.rglob("*.py"))


def imported_packages(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_imports_point_down() -> None:
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_third_party_packages_stay_at_home() -> None:
    strangers = {
        f"{path.relative_to(SOURCE)} imports {package}"
        for path in MODULES
        for package in imported_packages(path) & HOMES.keys()
        if path.relative_to(SOURCE).parts[0] not in HOMES[package]
    }
    assert strangers == set()


def test_import_ilink_loads_no_server_no_command_line_and_no_http_library() -> None:
    heavy = {"ilink.gateway", "ilink.cli", "aiohttp", "starlette", "uvicorn", "rich", "cyclopts"}
    assert loaded_by("import ilink") & heavy == set()


def test_naming_a_bot_loads_no_http_library() -> None:
    heavy = {"ilink.gateway", "ilink.cli", "aiohttp", "starlette", "uvicorn"}
    assert loaded_by("from ilink import Bot, Client, Message") & heavy == set()


@pytest.mark.parametrize("module", [path.relative_to(SOURCE.parent) for path in MODULES], ids=str)
def test_every_module_says_what_it_is_for(module: Path) -> None:
    assert ast.get_docstring(ast.parse((SOURCE.parent / module).read_text("utf-8")))


@pytest.mark.parametrize(
    "package",
    ["ilink", *(f"ilink.{folder.name}" for folder in sorted(SOURCE.iterdir()) if (folder / "__init__.py").exists())],
)
def test_public_names_exist_and_are_sorted(package: str) -> None:
    module = import_module(package)
    exported = getattr(module, "__all__", [])
    assert list(exported) == sorted(exported)
    assert [name for name in exported if not hasattr(module, name)] == []
