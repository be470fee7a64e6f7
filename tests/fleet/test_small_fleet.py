"""Two gateways and four workers, started as an operator starts them: one of each kind is killed while people write."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = "--accounts 24 --workers 4 --gateways 2 --lease 6 --settle 0 --idle 0 --rate 3 --kill"


@pytest.mark.timeout(500)
@pytest.mark.crash
async def test_whoever_is_killed_everybody_is_answered_once_and_polled_for_again() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.fleet", *SMALL.split()),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, words = (text.decode() for text in await process.communicate())
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, words[-4000:]
    told = dict(re.findall(r"^\S+ ([^:]+): (.*)$", out, re.MULTILINE))
    assert told["people without one answer to each of 4 messages, in order"] == "[]"
    # The command waits until all are polled for again, whoever was killed, and fails when that does not happen.
    assert {"worker killed", "gateway killed", "PostgreSQL killed and started; all answered after s"} <= told.keys()
