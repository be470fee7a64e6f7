"""What people are given to run a fleet elsewhere fits the commands that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from ilink.cli.app import build_app

DEPLOY = Path(__file__).parent.parent / "deploy"
KNOWN = {
    "ILINK_DATABASE_URL",
    "ILINK_STORE_KEY",
    "ILINK_CONTROL_KEY",
    "ILINK_BASE_URL",
    "ILINK_DATA",
    "ILINK_SPOOL_URL",
}


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))


def kubernetes() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text("utf-8"))


def commands() -> list[list[str]]:
    (container,) = kubernetes()["spec"]["template"]["spec"]["containers"]
    ours = [service for service in compose()["services"].values() if service["image"] == "ilink"]
    return [container["args"], *(shlex.split(service["command"]) for service in ours)]


@pytest.mark.parametrize("command", commands(), ids=lambda command: " ".join(command[:2]))
def test_every_command_is_one_that_there_is(command: list[str]) -> None:
    function, bound, unused = build_app().parse_known_args(command)[:3]
    assert function.__name__ == command[0]
    assert unused == []
    assert bound.arguments


def test_every_variable_is_one_that_is_read() -> None:
    sources = "".join(path.read_text("utf-8") for path in (Path(__file__).parent.parent / "src").rglob("*.py"))
    named = {name for path in DEPLOY.iterdir() for name in re.findall(r"\bILINK_[A-Z_]+", path.read_text("utf-8"))}
    assert named == KNOWN
    assert [name for name in named if f'"{name}"' not in sources] == []


def test_no_secret_is_written_down() -> None:
    for path in DEPLOY.iterdir():
        for secret in re.findall(r"(?:PASSWORD|KEY): +([^\s}]+)", path.read_text("utf-8")):
            assert secret.strip('"').startswith("${"), path.name


def test_programs_are_told_to_end_in_good_time() -> None:
    from ilink.fleet.settings import FleetSettings

    needed = FleetSettings().drain_seconds
    assert kubernetes()["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > needed
    assert int(compose()["services"]["workers"]["stop_grace_period"].rstrip("s")) > needed
