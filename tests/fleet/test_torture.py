"""A short torture of a fleet with real processes; the long one is `python tests/fleet/torture.py --seconds 300`."""

from __future__ import annotations

import os
from typing import Any

import pytest
from torture import ALL_KINDS, PARTS, open_torture

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("ILINK_FLEET_SECONDS", "15"))
SEED = int(os.environ.get("ILINK_CRASH_SEED", "1"))


async def test_a_fleet_loses_nothing_and_says_nothing_twice_whatever_happens_to_it() -> None:
    async with open_torture(seed=SEED, accounts=12) as torture:
        await torture.run(SECONDS, kinds=ALL_KINDS, rate=8)
        verdict = await torture.judge()
    assert verdict.complaints == [], verdict.figures


async def test_what_a_stopped_process_received_is_not_lost_though_it_is_handed_out_once() -> None:
    async with open_torture(seed=SEED, accounts=12, one_way=True) as torture:
        await torture.run(SECONDS / 2, kinds=("stall",), rate=12)
        verdict = await torture.judge()
    # What it received comes after what its heir received meanwhile: the price of not losing it.
    assert [one for one in verdict.complaints if not one.startswith("out of order")] == [], verdict.figures


async def test_the_oracle_sees_processes_that_poll_without_a_permit() -> None:
    await is_seen("had lost the slot", accounts=12, rate=8, variant="no_permits")


async def test_processes_that_do_a_part_each_lose_nothing_together_and_say_nothing_twice() -> None:
    async with open_torture(seed=SEED, accounts=9, workers=2, roles=PARTS) as torture:
        await torture.run(SECONDS, kinds=("kill", "kill", "stall", "drain", "cut", "deafen"), rate=6)
        verdict = await torture.judge()
    assert verdict.complaints == [], verdict.figures


async def test_the_oracle_sees_a_handler_that_completes_what_another_one_has() -> None:
    await is_seen("of a stale owner", accounts=9, workers=2, roles=PARTS, rate=12, variant="no_fence")


async def is_seen(words: str, *, rate: float, **options: Any) -> None:
    """Torture what is broken on purpose, again when luck or a busy machine hid it."""
    for seed in range(SEED, SEED + 4):
        async with open_torture(seed=seed, **options) as torture:
            await torture.run(SECONDS / 2, kinds=("stall",), rate=rate)
            verdict = await torture.judge()
        if any(words in one for one in verdict.complaints):
            return
    pytest.fail(f"nobody noticed what is broken: {verdict.figures}")
