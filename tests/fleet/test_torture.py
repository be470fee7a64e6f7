"""A short torture of a fleet with real processes; the long one is `python tests/fleet/torture.py --seconds 300`."""

from __future__ import annotations

import os

import pytest
from torture import ALL_KINDS, PARTS, open_torture
from torture_oracle import Verdict
from torture_variants import VARIANTS

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("ILINK_FLEET_SECONDS", "6"))
LONG = bool(os.environ.get("ILINK_LONG_TESTS"))
SEED = int(os.environ.get("ILINK_CRASH_SEED", "1"))

TOGETHER = ("completion_not_fenced", "cursor_not_fenced", "duplicates_kept", "order_not_kept")
"""What one fleet shows at once: the oracle has other words for each."""

GROUPS = [(name,) for name in VARIANTS] if LONG else [TOGETHER, *((name,) for name in VARIANTS if name not in TOGETHER)]


async def test_a_fleet_loses_nothing_and_says_nothing_twice_whatever_happens_to_it() -> None:
    async with open_torture(seed=SEED, accounts=12) as torture:
        await torture.run(SECONDS, kinds=ALL_KINDS, rate=8)
        verdict = await torture.judge()
    assert verdict.complaints == [], verdict.figures
    assert verdict.missing == [], verdict.figures


async def test_what_a_stopped_process_received_is_not_lost_though_it_is_handed_out_once() -> None:
    async with open_torture(seed=SEED, accounts=12, one_way=True) as torture:
        await torture.run(SECONDS, kinds=("stall",), rate=12)
        verdict = await torture.judge()
    # What it received comes after what its heir received meanwhile: the price of not losing it.
    assert [one for one in verdict.complaints if not one.startswith("out of order")] == [], verdict.figures
    assert verdict.missing == [], verdict.figures


async def test_processes_that_do_a_part_each_lose_nothing_together_and_say_nothing_twice() -> None:
    async with open_torture(seed=SEED, accounts=9, workers=2, roles=PARTS) as torture:
        await torture.run(SECONDS, kinds=("kill", "stall", "drain", "cut", "deafen"), rate=6)
        verdict = await torture.judge()
    assert verdict.complaints == [], verdict.figures
    assert verdict.missing == [], verdict.figures


async def test_polls_do_not_overlap_where_slots_are_handed_over_in_order() -> None:
    async with open_torture(seed=SEED, accounts=6, workers=2, conflict="split") as torture:
        await torture.run(SECONDS / 2, kinds=("drain", "rebalance"), rate=8)
        verdict = await torture.judge()
    assert verdict.complaints == [], verdict.figures
    assert verdict.missing == [], verdict.figures


@pytest.mark.parametrize("variants", GROUPS, ids="+".join)
async def test_the_oracle_sees_what_is_broken(variants: tuple[str, ...]) -> None:
    broken = [VARIANTS[name] for name in variants]
    unseen = {one.words for one in broken}
    verdict = Verdict()
    for seed in range(SEED, SEED + 5):  # luck or a busy machine may hide it
        async with open_torture(
            seed=seed,
            variant="+".join(variants),
            accounts=6,
            workers=2,
            one_way=broken[0].one_way,
            conflict=broken[0].conflict,
        ) as torture:
            await torture.run(SECONDS / 2, kinds=broken[0].kinds, rate=broken[0].rate)
            verdict = await torture.judge()
        unseen -= {words for words in unseen if any(words in one for one in verdict.complaints)}
        if not unseen:
            return
    pytest.fail(f"not seen: {unseen}; {verdict.complaints} {verdict.figures}")
