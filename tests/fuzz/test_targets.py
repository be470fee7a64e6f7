"""The fuzzer's targets hold for their seeds, and for a few seconds of what a fuzzer makes of them."""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.house import House, UnexpectedError
from tests.fuzz.targets import TARGETS

SECONDS = int(os.environ.get("ILINK_FUZZ_SECONDS", "4"))
ROOT = Path(__file__).parents[2]
IS_FUZZER_THERE = importlib.util.find_spec("atheris") is not None

pytestmark = pytest.mark.timeout(90 + 2 * SECONDS)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_their_neighbours_break_nothing(name: str) -> None:
    chance = random.Random(name)
    with TARGETS[name].open() as run:
        for seed in TARGETS[name].seeds:
            run(seed)
            for _ in range(20):
                run(damaged(seed, chance))


@pytest.mark.skipif(not IS_FUZZER_THERE, reason="atheris is not made for this Python")
@pytest.mark.parametrize("name", TARGETS)
def test_a_short_hunt_finds_nothing(name: str, tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(SECONDS)]
    hunt = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert hunt.returncode == 0, hunt.stderr[-4000:]
    assert "Done " in hunt.stderr


def test_the_house_tells_of_an_error() -> None:
    with House() as house:

        async def fail(*_: object) -> None:
            raise ValueError

        house._gateway.door.getconfig = fail  # type: ignore[method-assign,assignment]
        headers = {"authorization": f"Bearer {house.words[b'T'].decode()}"}
        with pytest.raises(UnexpectedError, match="503"):
            house.request("POST", "/ilink/bot/getconfig", headers=headers, body=b'{"ilink_user_id":"x"}')
        house._errors.records.clear()


def test_the_house_tells_of_a_leak(tmp_path: Path) -> None:
    with House() as house, (tmp_path / "open").open("w"), pytest.raises(UnexpectedError, match="descriptors"):
        house.renew()


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Change, drop or repeat a few bytes."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed)) if changed else 0
        match chance.randrange(3):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del changed[at : at + chance.randint(1, 8)]
            case _:
                changed[at:at] = changed[max(0, at - 8) : at] * chance.randint(1, 3)
    return bytes(changed)
